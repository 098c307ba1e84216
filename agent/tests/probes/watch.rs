//! The kernel side with probes in one file, and what it told.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent_common::read::{KernelEvent, read};
use agent_common::{CertificatesEvent, Counter, kind};
use tlsight::libraries::ProbePoint;
use tlsight::loader::{AsyncEvents, AttachedFile, CgroupRoot, Kernel, KernelConfig, Uprobes};
use tokio::runtime::Runtime;

/// Counters are the whole kernel side's, and the machine is small: one case at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// True unless `cargo xtask test` runs this, as root and with the BPF programs built.
pub(crate) fn is_off() -> bool {
    let off = std::env::var_os("TLSIGHT_NO_KERNEL").is_some_and(|v| v == "1");
    let off = off || std::env::var_os("TLSIGHT_BIN").is_none();
    if off {
        eprintln!("left out: run by `cargo xtask test`, without --no-kernel");
    }
    off
}

/// A Certificate message as the kernel side handed it over.
pub(crate) struct Message {
    /// Everything but the entries.
    pub(crate) event: CertificatesEvent,
    /// The entries.
    pub(crate) entries: Vec<u8>,
}

impl Message {
    /// The certificates, by the lengths in the entries.
    pub(crate) fn chain(&self) -> Vec<Vec<u8>> {
        let has_extensions = self.event.flags & agent_common::CERTIFICATES_HAVE_EXTENSIONS != 0;
        let mut rest = self.entries.as_slice();
        let mut chain = Vec::new();
        while let [a, b, c, tail @ ..] = rest {
            let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            chain.push(tail[..len].to_vec());
            rest = &tail[len..];
            if has_extensions {
                let len = usize::from(rest[0]) << 8 | usize::from(rest[1]);
                rest = &rest[2 + len..];
            }
        }
        assert!(rest.is_empty(), "{} bytes are no entry", rest.len());
        chain
    }
}

pub(crate) struct Watch {
    pub(crate) kernel: Kernel,
    pub(crate) uprobes: Uprobes,
    attached: Option<AttachedFile>,
    events: AsyncEvents,
    runtime: Runtime,
    /// Process and cookie of each `connect`, local port and cookie of each accepted connection.
    pub(crate) connects: Vec<(u32, u64)>,
    pub(crate) accepts: Vec<(u16, u64)>,
    pub(crate) messages: Vec<Message>,
    _alone: MutexGuard<'static, ()>,
}

impl Watch {
    pub(crate) fn new(file: &Path, points: &[ProbePoint]) -> Self {
        Self::with(&KernelConfig::default(), file, points)
    }

    pub(crate) fn with(config: &KernelConfig, file: &Path, points: &[ProbePoint]) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let root = CgroupRoot::open(None).unwrap();
        let (kernel, events, uprobes) = Kernel::attach(config, &root).unwrap();
        assert_eq!(kernel.degraded.iter().map(|(d, why)| (d.name, why)).collect::<Vec<_>>(), []);
        let mut uprobes = uprobes.unwrap();
        let attached = uprobes.attach(&File::open(file).unwrap(), points).unwrap();
        assert_eq!(attached.probes(), points.len());
        let events = {
            let _inside = runtime.enter();
            events.into_async().unwrap()
        };
        let (connects, accepts, messages) = Default::default();
        Self {
            kernel,
            uprobes,
            attached: Some(attached),
            events,
            runtime,
            connects,
            accepts,
            messages,
            _alone: alone,
        }
    }

    pub(crate) fn detach(&mut self) {
        self.uprobes.detach(self.attached.take().unwrap());
    }

    /// Takes events until `enough` or for ten seconds.
    pub(crate) fn until(&mut self, enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !enough(self) && Instant::now() < deadline {
            self.drain();
            let ready = async { tokio::time::timeout(Duration::from_millis(50), self.events.ready()).await };
            let _ = self.runtime.block_on(ready);
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(item) = self.events.take() {
            match read(&item).unwrap() {
                KernelEvent::Open(e) if e.header.kind == kind::CONNECT => {
                    self.connects.push((e.task.pid, e.header.cookie));
                }
                KernelEvent::Open(e) if e.header.kind == kind::ACCEPT => {
                    self.accepts.push((e.tuple.local_port, e.header.cookie));
                }
                KernelEvent::Certificates(event, entries) => {
                    self.messages.push(Message { event, entries: entries.to_vec() });
                }
                _ => {}
            }
        }
    }

    /// The messages that a process parsed.
    pub(crate) fn messages_of(&self, pid: u32) -> Vec<&Message> {
        self.messages.iter().filter(|m| m.event.task.pid == pid).collect()
    }

    /// Counters that are not zero, of those whose name has `part` in it.
    pub(crate) fn counters(&self, part: &str) -> Vec<(&'static str, u64)> {
        let all = Counter::ALL.iter().filter(|c| c.name().contains(part));
        all.map(|c| (c.name(), self.kernel.counter(*c))).filter(|(_, n)| *n > 0).collect()
    }
}
