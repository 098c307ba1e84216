//! One look at all processes, with nothing attached: what could be probed here, and what could not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::counters::Counters;
use super::events::Events;
use super::files::{Attach, FileStatus, Files, Sighting};
use super::names::Named;
use super::{FileKey, Options, maps, resolve};
use crate::libraries::{self, Contents, ProbePoint, Unprobed};
use crate::loader::UprobeError;

/// What was found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Files with a TLS library that processes map, and those that are too large to know.
    pub files: Vec<FileStatus>,
    /// Executables whose library cannot be probed.
    pub named: Vec<Named>,
    /// Processes whose mappings are hidden from us.
    pub hidden: usize,
    /// Why processes cannot be followed by events, if they cannot.
    pub events: Option<String>,
}

/// Attaches nothing.
struct Nothing;

impl Attach for Nothing {
    type Attached = ();

    fn attach(&mut self, _: &File, _: &[ProbePoint]) -> Result<(), UprobeError> {
        Ok(())
    }

    fn detach(&mut self, (): ()) {}

    fn retire(&mut self, (): ()) {}
}

/// Looks at all processes, and into the executables of `speakers` for libraries that only a slow search finds.
pub fn survey(speakers: &BTreeSet<u32>) -> Survey {
    survey_with(speakers, libraries::inspect)
}

fn survey_with(speakers: &BTreeSet<u32>, inspect: fn(&File, &Path) -> Contents) -> Survey {
    let now = Instant::now();
    let counters = Arc::new(Counters::new());
    let mut files = Files::new(Nothing, inspect, Options::default(), counters);
    let mut large: BTreeMap<FileKey, FileStatus> = BTreeMap::new();
    let mut hidden = 0;
    for pid in maps::pids().unwrap_or_default() {
        match maps::of_process(pid) {
            Ok(mappings) => {
                let mut counted = BTreeSet::new();
                for mapping in mappings.iter().filter(|m| resolve::is_file(m)) {
                    let (key, path) = (mapping.key, mapping.path.as_path());
                    let open = &mut || resolve::open(pid, mapping);
                    let stamp = &mut || None;
                    files.seen(Sighting { pid, key, generation: None, path, stamp, open }, now);
                    if files.is_too_large(key) && counted.insert(key) {
                        large.entry(key).or_insert_with(|| too_large(path, pid)).processes += 1;
                    }
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => hidden += 1,
            // Ended while we looked.
            Err(_) => {}
        }
    }
    let mut sought: BTreeSet<FileKey> = BTreeSet::new();
    let mut named = Vec::new();
    for pid in speakers {
        let Some((file, path)) = resolve::executable(*pid) else { continue };
        let Ok(key) = resolve::key_of(&file) else { continue };
        if files.holds_tls(key) || !sought.insert(key) {
            continue;
        }
        named.extend(libraries::name_unprobed(&file).map(|reason| Named { path, pid: *pid, reason }));
    }
    let mut files = files.status();
    files.extend(large.into_values());
    Survey { files, named, hidden, events: Events::try_open().err().map(|e| e.to_string()) }
}

/// A file that may hold a TLS library: nobody knows.
fn too_large(path: &Path, pid: u32) -> FileStatus {
    let contents = Arc::new(Contents::Unprobed(Unprobed::TooLargeToInspect));
    FileStatus { path: path.to_owned(), pid, processes: 0, contents, not_attached: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_listed_with_the_processes_that_map_it() {
        let me = std::env::current_exe().expect("own path");
        let inspect = |_: &File, path: &Path| {
            let is_mine = std::env::current_exe().is_ok_and(|me| me == path);
            if is_mine { Contents::Unprobed(Unprobed::TooLargeToInspect) } else { Contents::NoTls }
        };
        let survey = survey_with(&BTreeSet::new(), inspect);
        let [found] = survey.files.as_slice() else { panic!("{:?}", survey.files) };
        assert_eq!(found.path, me);
        assert_eq!(*found.contents, Contents::Unprobed(Unprobed::TooLargeToInspect));
        // Other runs of these tests are processes too.
        assert!(found.processes >= 1);
    }
}
