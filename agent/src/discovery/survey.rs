//! One look at all processes, with nothing attached: what could be probed here, and what could not.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use super::counters::Counters;
use super::events::Events;
use super::files::{Attach, FileStatus, Files, Sighting};
use super::names::Named;
use super::{FileKey, Options, maps, resolve};
use crate::libraries::{self, ProbePoint};
use crate::loader::UprobeError;

/// What was found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Files with a TLS library that processes map.
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
    let now = Instant::now();
    let counters = Arc::new(Counters::new());
    let mut files = Files::new(Nothing, libraries::inspect, Options::default(), counters);
    let mut hidden = 0;
    for pid in maps::pids().unwrap_or_default() {
        match maps::of_process(pid) {
            Ok(mappings) => {
                for mapping in mappings.iter().filter(|m| resolve::is_file(m)) {
                    let (key, path) = (mapping.key, mapping.path.as_path());
                    let open = &mut || resolve::open(pid, mapping);
                    let stamp = &mut || None;
                    files.seen(Sighting { pid, key, generation: None, path, stamp, open }, now);
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
    Survey { files: files.status(), named, hidden, events: Events::try_open().err().map(|e| e.to_string()) }
}
