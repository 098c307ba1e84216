//! Which files the settings are in, and whether they changed. They are looked at once in a while: that works on every file
//! system, needs no descriptor, and sees the symbolic links that Kubernetes swaps in a mounted ConfigMap or Secret.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// Files and folders looked at; of more, changes are not seen without being asked (SIGHUP).
const MAX_FILES: usize = 4096;
/// How deep folders are looked into.
const MAX_DEPTH: usize = 16;

/// How the files were when they were looked at; those that were not there have no state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<PathBuf, Option<State>>);

/// What tells two states of a file apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    /// Of the last change, in seconds and nanoseconds of Unix time.
    changed: (i64, i64),
}

impl State {
    fn of(m: &fs::Metadata) -> Self {
        Self { device: m.dev(), inode: m.ino(), size: m.size(), changed: (m.ctime(), m.ctime_nsec()) }
    }
}

impl Files {
    /// Looks at them. What is not there is part of the picture.
    pub(super) fn look(paths: &[PathBuf]) -> Self {
        let mut files = Self::default();
        for path in paths {
            files.add(path, 0);
        }
        files
    }

    fn add(&mut self, path: &Path, depth: usize) {
        if self.0.len() >= MAX_FILES || depth > MAX_DEPTH {
            return;
        }
        // Through links: what they lead to is what is read.
        let found = fs::metadata(path).ok();
        let is_folder = found.as_ref().is_some_and(fs::Metadata::is_dir);
        let state = found.as_ref().map(State::of);
        let is_new = self.0.insert(path.to_owned(), state).is_none();
        if !is_folder || !is_new {
            return;
        }
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            self.add(&entry.path(), depth + 1);
        }
    }
}

/// Every file and folder that a reload reads.
pub(super) fn of(config: &Config, file: Option<&Path>) -> Vec<PathBuf> {
    let tls = config.metrics.tls.iter();
    let tls = tls.flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]).flatten();
    let configured = file.into_iter().map(Path::to_owned);
    configured
        .chain(config.policy.files.iter().cloned())
        .chain(config.rules.files.iter().cloned())
        .chain(config.trust.bundles.values().flatten().cloned())
        .chain(tls.cloned())
        .chain(config.metrics.bearer_token_file.clone())
        .filter(|path| path.as_os_str() != "-")
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn sees_what_is_written_added_removed_and_swapped() {
        let folder = std::env::temp_dir().join(format!("tlsight-files-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for name in ["first", "second", "flat"] {
            fs::create_dir_all(folder.join(name)).expect("folder");
        }
        fs::write(folder.join("first/a.yaml"), "a").expect("write");
        fs::write(folder.join("second/a.yaml"), "b").expect("write");
        symlink("first", folder.join("data")).expect("link");
        symlink("data/a.yaml", folder.join("a.yaml")).expect("link");
        let watched = [folder.join("a.yaml"), folder.join("flat"), folder.join("absent")];
        let mut last = Files::look(&watched);
        assert_eq!(Files::look(&watched), last);
        let mut step = |what: &str| {
            let now = Files::look(&watched);
            assert_ne!(now, last, "{what}");
            last = now;
        };
        fs::write(folder.join("flat/b.rego"), "package b").expect("write");
        step("a file more");
        fs::write(folder.join("flat/b.rego"), "package bb").expect("write");
        step("another text");
        fs::remove_file(folder.join("flat/b.rego")).expect("remove");
        step("a file less");
        fs::write(folder.join("absent"), "").expect("write");
        step("there now");
        // As a mounted ConfigMap does it.
        symlink("second", folder.join("data.new")).expect("link");
        fs::rename(folder.join("data.new"), folder.join("data")).expect("rename");
        step("another link");
        fs::remove_dir_all(&folder).expect("remove");
    }

    #[test]
    fn looks_at_no_more_than_so_many() {
        let folder = std::env::temp_dir().join(format!("tlsight-many-files-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        for n in 0..MAX_FILES + 10 {
            fs::write(folder.join(n.to_string()), "").expect("write");
        }
        assert_eq!(Files::look(std::slice::from_ref(&folder)).0.len(), MAX_FILES);
        fs::remove_dir_all(&folder).expect("remove");
    }
}
