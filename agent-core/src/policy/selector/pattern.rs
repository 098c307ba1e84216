//! Names with a wildcard.

use crate::identity::ProcessDetails;

/// A name, with `*` standing for any characters, as often as one likes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The name, where it has no wildcard.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        // The leftmost place for each middle part leaves the most for those after it.
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in middle.split('*') {
            let Some((_, after)) = name.split_once(part) else { return false };
            name = after;
        }
        name.ends_with(last)
    }

    /// Whether it is a process, by the path of its executable, or by one of its names: the executable's file, the file it was
    /// started by (a link, a script), the name that the kernel gives it.
    pub(crate) fn names(&self, process: &ProcessDetails) -> Named {
        let path = process.executable_path.as_deref();
        if self.0.starts_with('/') {
            return path.map_or(Named::Untold, |path| Named::known(self.matches(path)));
        }
        let file = |path: &str| self.matches(path.rsplit('/').next().unwrap_or(path));
        if path.is_some_and(file) || process.command_args.first().is_some_and(|started| file(started)) {
            return Named::Yes;
        }
        let Some(name) = process.name.as_deref() else {
            return if path.is_some() { Named::No } else { Named::Untold };
        };
        let is_cut = path.is_none() && name.len() >= ProcessDetails::MAX_NAME;
        match self.exact() {
            _ if self.matches(name) => Named::Yes,
            // All that is left of a longer name.
            Some(exact) if is_cut => Named::known(exact.starts_with(name)),
            None if is_cut => Named::Untold,
            _ => Named::No,
        }
    }

    /// Whether it is a container's id or the beginning of one, in the length that tools print or longer.
    pub(crate) fn names_container(&self, id: &str) -> bool {
        const SHORT: usize = 12;
        self.matches(id) || (self.0.len() >= SHORT && self.exact().is_some_and(|short| id.starts_with(short)))
    }
}

/// Whether a pattern names a process; what tells most is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    /// It does not.
    No,
    /// Too little is known of the process.
    Untold,
    /// It does.
    Yes,
}

impl Named {
    fn known(is: bool) -> Self {
        if is { Named::Yes } else { Named::No }
    }
}

/// Whether a host name, given in parts, is meant by a pattern: equal without regard to case, or with everything after a
/// leading `*` as its end. A trailing dot does not count.
pub(crate) fn host_matches(pattern: &str, parts: &[&str]) -> bool {
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    let host = || parts.iter().rev().flat_map(|part| part.bytes().rev()).map(|b| b.to_ascii_lowercase());
    let mut host = host().skip(usize::from(host().next() == Some(b'.')));
    let (wild, end) = match pattern.strip_prefix('*') {
        Some(end) => (true, end),
        None => (false, pattern),
    };
    let tail = end.bytes().rev().all(|b| host.next() == Some(b.to_ascii_lowercase()));
    // A wildcard stands for at least one character.
    tail && (wild == host.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let cases = [
            ("web", "web", true),
            ("web", "web2", false),
            ("web*", "web2", true),
            ("web*", "web", true),
            ("*-db", "shop-db", true),
            ("*", "", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("a*bc", "abcbc", true),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn processes_are_named_by_path_file_and_the_name_they_were_started_by() {
        let details = |path: Option<&str>, name: Option<&str>, started: &[&str]| ProcessDetails {
            executable_path: path.map(str::to_owned),
            name: name.map(str::to_owned),
            command_args: started.iter().map(|arg| (*arg).to_owned()).collect(),
            ..ProcessDetails::default()
        };
        let curl = details(Some("/usr/bin/curl"), Some("curl"), &[]);
        let redis = details(Some("/usr/bin/redis-check-rdb"), Some("redis-server"), &[]);
        let script = details(Some("/usr/bin/python3.11"), Some("python3"), &["/opt/app/serve", "-v"]);
        let gone = details(None, Some("curl"), &[]);
        let cut = details(None, Some("prometheus-node"), &[]);
        let read = details(Some("/usr/bin/prometheus-node-probe"), Some("prometheus-node"), &[]);
        for (pattern, process, expected) in [
            ("curl", &curl, Named::Yes),
            ("/usr/bin/curl", &curl, Named::Yes),
            ("/bin/curl", &curl, Named::No),
            ("redis-server", &redis, Named::Yes),
            ("redis-check-rdb", &redis, Named::Yes),
            ("/usr/bin/redis-server", &redis, Named::No),
            ("serve", &script, Named::Yes),
            ("python3*", &script, Named::Yes),
            ("curl", &gone, Named::Yes),
            ("cu*", &gone, Named::Yes),
            ("wget", &gone, Named::No),
            ("curl-but-longer-than-that", &gone, Named::No),
            ("/usr/bin/curl", &gone, Named::Untold),
            ("prometheus-node-exporter", &cut, Named::Yes),
            ("prometheus-nose-exporter", &cut, Named::No),
            ("*-exporter", &cut, Named::Untold),
            ("prometheus-node-exporter", &read, Named::No),
            ("curl", &details(None, None, &[]), Named::Untold),
        ] {
            assert_eq!(Pattern::new(pattern).names(process), expected, "{pattern} {process:?}");
        }
    }

    #[test]
    fn hosts_match_without_case_and_by_their_end() {
        let cases = [
            ("web.example.com", "WEB.example.com", true),
            ("web.example.com", "web.example.com.", true),
            ("*.example.com", "web.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*", "anything", true),
            ("example.com", "web.example.com", false),
        ];
        for (pattern, host, expected) in cases {
            assert_eq!(host_matches(pattern, &[host]), expected, "{pattern} {host}");
        }
        assert!(host_matches("*.shop.svc.cluster.local", &["web", ".", "shop", ".svc.", "cluster.local"]));
    }
}
