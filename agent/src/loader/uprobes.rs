//! Probes in files of TLS libraries, attached and detached while the agent runs.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::{fs, io};

use aya::Ebpf;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope};
use aya::programs::{Program, ProgramError, UProbe};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::chain;
use super::{LoadError, PROGRAMS, ProgramSpec};
use crate::libraries::{ProbeKind, ProbePoint};

/// What the kernel calls the events that these probes are (kernel 4.17, CONFIG_UPROBE_EVENTS).
const EVENT_SOURCE: &str = "/sys/bus/event_source/devices/uprobe/type";

/// The programs that are attached to files. The kernel takes a probe back when its descriptor is closed: this one's end, or
/// this process's, leaves nothing behind.
pub struct Uprobes {
    ebpf: Ebpf,
}

/// What is attached to one file; handed back to [`Uprobes::detach`], or dropped, which does the same.
#[derive(Debug)]
pub struct AttachedFile {
    /// One descriptor each.
    links: Vec<UProbeLink>,
}

impl AttachedFile {
    /// Probes in the file, which are as many descriptors of this process.
    pub fn probes(&self) -> usize {
        self.links.len()
    }
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

/// Whether this kernel has such probes at all.
pub(super) fn supported() -> Result<(), LoadError> {
    let doing = |e: io::Error| LoadError::Kernel {
        what: format!("reading {EVENT_SOURCE}"),
        cause: format!("{e}; the kernel has no CONFIG_UPROBE_EVENTS, or /sys is not mounted"),
    };
    fs::metadata(EVENT_SOURCE).map(drop).map_err(doing)
}

impl Uprobes {
    /// Takes over an object whose programs of this kind are loaded.
    pub(super) fn new(ebpf: Ebpf) -> Self {
        raise_descriptor_limit();
        Self { ebpf }
    }

    /// Attaches every point to a file, in every process that maps it now or later; all or none. The file is named by its
    /// descriptor, so that a deleted or replaced one, or one of another mount namespace, is reached all the same; the
    /// descriptor may be closed afterwards.
    ///
    /// # Errors
    /// [`UprobeError`] for the first point that was refused.
    pub fn attach(&mut self, file: &File, points: &[ProbePoint]) -> Result<AttachedFile, UprobeError> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // Those that were attached go with this value when a later one is refused.
        let mut attached = AttachedFile { links: Vec::with_capacity(points.len()) };
        for point in points {
            let program = self.program(point.kind)?;
            let location = UProbeAttachLocation::AbsoluteOffset(point.offset);
            let link = program
                .attach(location, Path::new(&path), UProbeScope::AllProcesses)
                .and_then(|id| program.take_link(id));
            let refused = |e: ProgramError| UprobeError::Refused {
                kind: point.kind,
                offset: point.offset,
                cause: chain(&e),
            };
            attached.links.push(link.map_err(refused)?);
        }
        Ok(attached)
    }

    fn program(&mut self, kind: ProbeKind) -> Result<&mut UProbe, UprobeError> {
        match self.ebpf.program_mut(kind.program()) {
            Some(Program::UProbe(program)) if program.fd().is_ok() => Ok(program),
            _ => Err(UprobeError::NotLoaded(kind)),
        }
    }

    /// Whether the kernel takes probes from this process: attaches one to a file in memory that nobody runs, and takes it out
    /// again.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn try_attach(&mut self) -> Result<(), String> {
        let file = unused_file().map_err(|e| format!("making a file in memory: {e}"))?;
        let kind = ProbeKind::OpenSslCertificate;
        match self.attach(&file, &[ProbePoint { kind, offset: 0 }]) {
            Ok(attached) => {
                self.detach(attached);
                Ok(())
            }
            Err(UprobeError::Refused { cause, .. }) => Err(cause),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Takes the probes out of a file.
    pub fn detach(&mut self, file: AttachedFile) {
        drop(file);
    }

    /// What the programs are, and what each is for.
    pub fn specs() -> impl Iterator<Item = &'static ProgramSpec> {
        PROGRAMS.iter().filter(|spec| ProbeKind::ALL.iter().any(|kind| kind.program() == spec.name))
    }
}

/// A page of memory with a descriptor. Kernels from 6.3 on can be told to refuse one that might be executed, older ones do not
/// know the flag that says so.
fn unused_file() -> io::Result<File> {
    const NAME: &str = "tlsight-check";
    let made = match memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(NAME, MemfdFlags::CLOEXEC),
        made => made,
    };
    let file = File::from(made?);
    file.set_len(4096)?;
    Ok(file)
}

/// Every probe is a descriptor: an OpenSSL has about five, a Go program three, each file counted once however many
/// processes map it. The usual soft limit of 1,024 is for programs that use `select`; this one does not, so it takes what
/// it may have.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused, attaching fails at the old limit and says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Uprobes>();
    is_send::<AttachedFile>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_probe_is_in_the_table_of_programs() {
        let names: Vec<_> = Uprobes::specs().map(|spec| spec.name).collect();
        let kinds: Vec<_> = ProbeKind::ALL.iter().map(|kind| kind.program()).collect();
        assert_eq!(names, kinds);
    }
}
