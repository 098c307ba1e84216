//! What the prober counts, readable from any thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::libraries::Unprobed;
use crate::loader::UprobeError;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// One number of the prober.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Counter {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Counter {
            const ALL: &'static [Counter] = &[$(Counter::$name,)+];

            const fn name(self) -> &'static str {
                match self {
                    $(Counter::$name => $text,)+
                }
            }
        }
    };
}

counters! {
    /// Files with probes now.
    FilesProbed = "files_probed",
    /// Places with probes now.
    PointsAttached = "points_attached",
    /// Files with a TLS library that somebody maps, or did until a moment ago.
    FilesInUse = "files_in_use",
    /// Processes that map one of these.
    Processes = "processes",
    /// Files looked into.
    Inspected = "files_inspected",
    /// Files probed since the start.
    Attached = "files_attached",
    /// Files whose probes were taken out.
    Detached = "files_detached",
    /// Files written to while they were in use.
    Changed = "files_changed",
    /// Files that were no well-formed ELF files.
    Unreadable = "files_unreadable",
    /// Files of which more would have to be read than is read of any.
    TooLarge = "files_too_large_to_inspect",
    /// Files gone or hidden before they could be opened.
    Unopenable = "files_unopenable",
    /// Files the kernel refused to probe.
    AttachRefused = "attach_refused",
    /// Files not probed because the program for it is not loaded.
    AttachNotLoaded = "attach_not_loaded",
    /// Files not probed because as many are as may be.
    ProbedOverBound = "files_probed_over_bound",
    /// Files left out because as many are in use as may be.
    FilesOverBound = "files_over_bound",
    /// Processes left out because as many are known as may be.
    ProcessesOverBound = "processes_over_bound",
    /// Processes that map more files with a TLS library than are followed of one.
    FullProcesses = "processes_over_files_bound",
    /// Events of processes read.
    Events = "events",
    /// Events of processes that did not fit into their buffer.
    EventsLost = "events_lost",
    /// Every process was looked at anew.
    Rescans = "rescans",
    /// Executables searched for the name of a library that cannot be probed.
    NamesSought = "names_sought",
    /// Processes whose executable was not searched because too many were waiting.
    NamesOverBound = "names_over_bound",
}

impl Counter {
    /// The counter of a reason for which a file was not probed.
    pub(super) fn refused(error: &UprobeError) -> Self {
        match error {
            UprobeError::NotLoaded(_) => Counter::AttachNotLoaded,
            _ => Counter::AttachRefused,
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Counters {
    values: Vec<AtomicU64>,
    /// Distinct files that cannot be probed, by reason.
    unprobed: Mutex<BTreeMap<Unprobed, u64>>,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self { values: Counter::ALL.iter().map(|_| AtomicU64::new(0)).collect(), unprobed: Mutex::default() }
    }

    pub(super) fn add(&self, counter: Counter, n: u64) {
        if let Some(value) = self.values.get(counter as usize) {
            value.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(super) fn set(&self, counter: Counter, n: usize) {
        self.set_total(counter, n as u64);
    }

    pub(super) fn set_total(&self, counter: Counter, n: u64) {
        if let Some(value) = self.values.get(counter as usize) {
            value.store(n, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, counter: Counter) -> u64 {
        self.values.get(counter as usize).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    pub(super) fn unprobed(&self, reason: Unprobed) {
        *self.unprobed.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// All by name, `probe.` in front.
    pub(super) fn named(&self) -> Vec<(String, u64)> {
        let numbers = Counter::ALL.iter().map(|c| (format!("probe.{}", c.name()), self.get(*c)));
        let unprobed = self.unprobed.lock().unwrap_or_else(PoisonError::into_inner);
        let unprobed = unprobed.iter().map(|(reason, n)| (format!("probe.unprobed.{}", reason.as_str()), *n));
        numbers.chain(unprobed).collect()
    }
}

/// The names of all numbers there are before anything is counted.
#[cfg(test)]
pub(crate) fn names() -> Vec<String> {
    Counters::new().named().into_iter().map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_place_and_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = Counter::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), Counter::ALL.len());
        for (at, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, at);
        }
    }

    #[test]
    fn reasons_are_counted_once_they_occur() {
        let counters = Counters::new();
        counters.add(Counter::Inspected, 2);
        counters.unprobed(Unprobed::Java);
        counters.unprobed(Unprobed::Java);
        let named = counters.named();
        assert_eq!(named.len(), Counter::ALL.len() + 1);
        assert!(named.contains(&("probe.files_inspected".to_owned(), 2)));
        assert_eq!(named.last(), Some(&("probe.unprobed.java".to_owned(), 2)));
    }
}
