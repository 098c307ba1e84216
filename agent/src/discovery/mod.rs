//! Which processes map which TLS libraries, and the life of the probes in them.
//!
//! One thread owns everything: it lists all processes once, follows them by events ([`events`]), finds and inspects the
//! files they map ([`resolve`], [`files`]), attaches probes when a file with a TLS library is mapped for the first time
//! and takes them out when nobody has mapped it for a while ([`tracker`]).

mod counters;
mod events;
mod files;
mod maps;
mod names;
mod prober;
mod record;
mod resolve;
mod retire;
mod survey;
mod tracker;

use std::time::Duration;

#[cfg(test)]
pub(crate) use self::counters::names as counter_names;
pub use self::files::{FileStatus, NotAttached};
pub use self::names::Named;
pub use self::prober::{Mode, Prober, Status};
pub use self::survey::{Survey, survey};

/// A file, as the kernel names it in the mappings of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey {
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
    /// Inode number.
    pub inode: u64,
}

/// How probes live, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a file that nobody maps any more keeps its probes: a program that is started over and over should not have
    /// its probes taken out and put in each time.
    pub detach_after: Duration,
    /// Files probed at the same time.
    pub max_probed: usize,
    /// Files with a TLS library known at the same time, those that cannot be probed included.
    pub max_files: usize,
    /// Processes with a TLS library known at the same time.
    pub max_processes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            detach_after: Duration::from_secs(60),
            max_probed: 1024,
            max_files: 4096,
            max_processes: 65_536,
        }
    }
}

/// Bytes as `/proc/PID/maps`.
#[cfg(fuzzing)]
pub fn fuzz_maps(bytes: &[u8]) {
    maps::fuzz(bytes);
}
