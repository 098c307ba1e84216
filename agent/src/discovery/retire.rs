//! Taking probes out takes the kernel long: for each it waits until no CPU can still be in it, which was measured at 20 to 100 ms
//! a probe. So that is a thread's own work, while new files are probed.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::files::Attach;
use crate::libraries::ProbePoint;
use crate::loader::{AttachedFile, UprobeError, Uprobes};

/// Attaches itself, detaches elsewhere.
pub(super) struct Retiring {
    uprobes: Uprobes,
    /// As many as are attached at most, which is bounded.
    retired: Sender<AttachedFile>,
}

impl Retiring {
    /// Starts the thread, which ends with this value.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn new(uprobes: Uprobes) -> io::Result<Self> {
        let (retired, files) = channel::<AttachedFile>();
        thread::Builder::new().name("retire".to_owned()).spawn(move || files.into_iter().for_each(drop))?;
        Ok(Self { uprobes, retired })
    }
}

impl Attach for Retiring {
    type Attached = AttachedFile;

    fn attach(&mut self, file: &File, points: &[ProbePoint]) -> Result<AttachedFile, UprobeError> {
        self.uprobes.attach(file, points)
    }

    fn detach(&mut self, attached: AttachedFile) {
        self.uprobes.detach(attached);
    }

    fn retire(&mut self, attached: AttachedFile) {
        // Dropped here if the thread is gone, which comes to the same.
        let _ = self.retired.send(attached);
    }
}
