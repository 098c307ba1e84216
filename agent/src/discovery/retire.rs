//! Taking probes out takes the kernel long: for each it waits until no CPU can still be in it, which was measured at 20 to 100 ms
//! a probe. So that is a thread's own work, while new files are probed.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::{mem, thread};

use super::files::Attach;
use crate::libraries::ProbePoint;
use crate::loader::{AttachedFile, UprobeError, Uprobes};

/// Attaches itself, detaches elsewhere.
pub(super) struct Retiring {
    uprobes: Uprobes,
    /// As many as are attached at most, which is bounded.
    retired: Sender<AttachedFile>,
    /// Held while probes are taken out.
    busy: Arc<Mutex<()>>,
}

impl Retiring {
    /// Starts the thread, which ends with this value.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn new(uprobes: Uprobes) -> io::Result<Self> {
        let (retired, files) = channel::<AttachedFile>();
        let busy = Arc::new(Mutex::new(()));
        let held = Arc::clone(&busy);
        thread::Builder::new().name("retire".to_owned()).spawn(move || {
            for file in files {
                let _busy = held.lock().unwrap_or_else(PoisonError::into_inner);
                drop(file);
            }
        })?;
        Ok(Self { uprobes, retired, busy })
    }

    /// The means to keep probes where they are.
    pub(super) fn halt(&self) -> Halt {
        Halt(Arc::clone(&self.busy))
    }
}

/// Keeps probes where they are.
pub(super) struct Halt(Arc<Mutex<()>>);

impl Halt {
    /// Waits until the thread is taking nothing out, and keeps it so.
    pub(super) fn wait(&self) {
        mem::forget(self.0.lock().unwrap_or_else(PoisonError::into_inner));
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
