//! Which executables go by which name on this host: what a process is called that was gone before it could be read.

use quick_cache::unsync::Cache;

use crate::enrich::Counters;

/// Names that are remembered.
const NAMES: usize = 1024;

/// What goes by a name.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// This executable alone.
    One(String),
    /// Several.
    Several,
}

/// The executables that were seen, by the names that the kernel gave their processes.
pub(super) struct Usual {
    names: Cache<String, Known>,
    capacity: u64,
}

impl Usual {
    pub(super) fn new() -> Self {
        Self::with_capacity(NAMES)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { names: Cache::new(capacity), capacity: u64::try_from(capacity).unwrap_or(u64::MAX) }
    }

    /// A process of this name runs this executable.
    pub(super) fn learn(&mut self, name: &str, path: &str, counters: &mut Counters) {
        if let Some(mut known) = self.names.get_mut(name) {
            if matches!(&*known, Known::One(other) if other != path) {
                *known = Known::Several;
            }
            return;
        }
        let before = self.names.len();
        self.names.insert(name.to_owned(), Known::One(path.to_owned()));
        // One went for the new one.
        if self.names.len() <= before && self.names.weight() >= self.capacity {
            counters.executable_names_evicted += 1;
        }
    }

    /// The only executable whose processes have this name.
    pub(super) fn path(&self, name: &str) -> Option<&str> {
        match self.names.peek(name)? {
            Known::One(path) => Some(path),
            Known::Several => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_the_one_executable_that_has_it() {
        let (mut usual, mut counters) = (Usual::new(), Counters::default());
        assert_eq!(usual.path("curl"), None);
        usual.learn("curl", "/usr/bin/curl", &mut counters);
        usual.learn("curl", "/usr/bin/curl", &mut counters);
        assert_eq!(usual.path("curl"), Some("/usr/bin/curl"));
        usual.learn("curl", "/opt/curl", &mut counters);
        usual.learn("curl", "/usr/bin/curl", &mut counters);
        assert_eq!(usual.path("curl"), None);
        assert_eq!(counters, Counters::default());
    }

    #[test]
    fn names_are_kept_within_their_bound() {
        let (mut usual, mut counters) = (Usual::with_capacity(4), Counters::default());
        for i in 0..64 {
            usual.learn(&format!("worker-{i}"), "/bin/app", &mut counters);
        }
        assert!(usual.names.len() <= 4, "{}", usual.names.len());
        assert_eq!(counters.executable_names_evicted, 60);
    }
}
