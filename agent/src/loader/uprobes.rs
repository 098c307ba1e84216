//! Probes in files of TLS libraries, attached and detached while the agent runs.

use std::fs::File;

use crate::libraries::{ProbeKind, ProbePoint};

/// The programs that are attached to files.
pub struct Uprobes {
    _private: (),
}

/// What is attached to one file; handed back to [`Uprobes::detach`].
#[derive(Debug)]
pub struct AttachedFile {
    _private: (),
}

/// Why a probe could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum UprobeError {
    /// The object has no such program, or it was not loaded.
    #[error("the program {} is not loaded", .0.program())]
    NotLoaded(ProbeKind),
    /// The kernel refused.
    #[error("attaching {} at offset {offset:#x}: {cause}", kind.program())]
    Refused {
        /// The program.
        kind: ProbeKind,
        /// Where.
        offset: u64,
        /// What the kernel said.
        cause: String,
    },
}

impl Uprobes {
    /// Attaches every point to a file, in every process that maps it now or later; all or none. The file is named by its
    /// descriptor, so that a deleted or replaced one, or one of another mount namespace, is reached all the same; the
    /// descriptor may be closed afterwards.
    ///
    /// # Errors
    /// [`UprobeError`] for the first point that was refused.
    pub fn attach(&mut self, _file: &File, _points: &[ProbePoint]) -> Result<AttachedFile, UprobeError> {
        Err(UprobeError::NotLoaded(ProbeKind::OpenSslCertificate))
    }

    /// Takes the probes out of a file.
    pub fn detach(&mut self, _file: AttachedFile) {}
}
