//! Loads the BPF programs and attaches them. Everything is held by file descriptors: nothing is pinned, so the kernel
//! takes all of it back when the process ends, however it ends.

mod cgroup;
mod cost;
mod error;
mod events;
mod messages;
mod perf;
mod programs;
mod uprobes;

use std::mem::size_of;
use std::os::fd::AsFd;

use agent_common::{CaptureConfig, ConnState, Counter};
use agent_core::net::ConnId;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::cgroup_skb::CgroupSkbLink;
use aya::programs::raw_trace_point::RawTracePointLink;
use aya::programs::sock_ops::SockOpsLink;
use aya::programs::{CgroupAttachMode, Program};
use aya::{Ebpf, EbpfLoader};

pub use self::cgroup::CgroupRoot;
use self::cost::Costs;
pub use self::cost::ProgramCost;
pub use self::error::LoadError;
pub use self::events::{AsyncEvents, Events};
pub use self::perf::PerfRing;
pub use self::programs::{PROGRAMS, ProgramSpec, Requirement};
pub use self::uprobes::{AttachedFile, UprobeError, Uprobes};

/// The compiled BPF programs; empty in a build without them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tlsight.o"));

/// Sizes and bounds of the kernel side.
#[derive(Clone, Copy, Debug)]
pub struct KernelConfig {
    /// Bounds per connection.
    pub capture: CaptureConfig,
    /// Connections observed at the same time.
    pub max_connections: u32,
    /// Size of the ring buffer in bytes, a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Load the probes for TLS libraries, and keep track of which task reads from which connection.
    pub certificates: bool,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            capture: CaptureConfig::DEFAULT,
            max_connections: 65_536,
            ring_bytes: 8 << 20,
            certificates: true,
        }
    }
}

/// Tasks whose last read is remembered, and goroutines in a handshake. One that is forgotten costs a certificate the tie to
/// its connection.
const REMEMBERED: u32 = 16_384;

/// The programs, attached.
pub struct Kernel {
    /// What keeps the programs attached, and loaded.
    _links: Vec<ProgramLink>,
    costs: Costs,
    messages: messages::Messages,
    conns: HashMap<MapData, u64, [u8; size_of::<ConnState>()]>,
    finished: HashMap<MapData, u64, u64>,
    reader_polls: Array<MapData, u32>,
    counters: PerCpuArray<MapData, u64>,
    /// Optional programs that are missing, and why.
    pub degraded: Vec<(&'static ProgramSpec, String)>,
}

impl Kernel {
    /// Loads all programs and attaches them to `root`; the second value is what they emit, the third, which another thread
    /// may own, attaches probes to files. There is none without [`KernelConfig::certificates`], or where this kernel has no
    /// such probes.
    ///
    /// # Errors
    /// [`LoadError`] when the build has no programs, rights are missing, or the kernel refuses a required program.
    pub fn attach(
        config: &KernelConfig,
        root: &CgroupRoot,
    ) -> Result<(Self, Events, Option<Uprobes>), LoadError> {
        let mut ebpf = object(config)?;
        // All are loaded before the first is attached: the verifier takes its time, in which attached programs would see
        // halves of connections.
        let mut degraded: Vec<(&ProgramSpec, String)> = Vec::new();
        let wanted =
            |spec: &&ProgramSpec| config.certificates || !matches!(spec.hook, programs::Hook::Uprobe);
        for spec in PROGRAMS.iter().filter(wanted) {
            let program = ebpf.program_mut(spec.name).ok_or(LoadError::Missing(spec.name))?;
            tolerate(load(program, spec), spec, &mut degraded)?;
        }
        let mut costs = Costs::default();
        let mut links = Vec::new();
        let mut probes = false;
        for spec in PROGRAMS.iter().filter(wanted) {
            if degraded.iter().any(|(d, _)| d.name == spec.name) {
                continue;
            }
            let program = ebpf.program_mut(spec.name).ok_or(LoadError::Missing(spec.name))?;
            if let Some(descriptor) = program.fd().ok().and_then(|fd| fd.as_fd().try_clone_to_owned().ok()) {
                costs.add(spec.name, descriptor);
            }
            match tolerate(attach(program, spec, root), spec, &mut degraded)? {
                Some(Attached::Link(link)) => links.push(link),
                Some(Attached::Later) => probes = true,
                None => {}
            }
        }
        let map = |ebpf: &mut Ebpf, name| ebpf.take_map(name).ok_or(LoadError::Missing(name));
        let events = Events::new(RingBuf::try_from(map(&mut ebpf, "EVENTS")?).map_err(LoadError::map)?);
        let conns = HashMap::try_from(map(&mut ebpf, "CONNS")?).map_err(LoadError::map)?;
        let finished = HashMap::try_from(map(&mut ebpf, "FINISHED")?).map_err(LoadError::map)?;
        let reader_polls = Array::try_from(map(&mut ebpf, "READER_POLLS")?).map_err(LoadError::map)?;
        let counters = PerCpuArray::try_from(map(&mut ebpf, "COUNTERS")?).map_err(LoadError::map)?;
        let messages = messages::Messages::new(&mut ebpf);
        let uprobes = probes.then(|| Uprobes::new(ebpf));
        let kernel =
            Self { _links: links, costs, messages, conns, finished, reader_polls, counters, degraded };
        Ok((kernel, events, uprobes))
    }

    /// No payload of this connection is wanted any more, as of the event with the time `seen_until` (CLOCK_MONOTONIC,
    /// nanoseconds). Failing to say so only costs more payload, up to its bounds.
    pub fn finish(&mut self, conn: ConnId, seen_until: u64) {
        let _ = self.finished.insert(conn.0, seen_until, 0);
    }

    /// Whether the events are looked for every few milliseconds, and nobody needs to be woken unless the ring buffer fills
    /// up. Failing to say so costs wake-ups that nobody needs, or, at worst, delays events until the next look.
    pub fn reader_polls(&mut self, polls: bool) {
        let _ = self.reader_polls.set(0, u32::from(polls), 0);
    }

    /// The kernel side observes this connection.
    pub fn observes(&self, conn: ConnId) -> bool {
        self.conns.get(&conn.0, 0).is_ok()
    }

    /// One counter of the kernel side, summed over CPUs; zero when it cannot be read.
    pub fn counter(&self, counter: Counter) -> u64 {
        let values = self.counters.get(&(counter as u32), 0);
        values.map_or(0, |values| values.iter().copied().fold(0, u64::wrapping_add))
    }

    /// Every counter of the kernel side.
    pub fn counters(&self) -> Vec<(Counter, u64)> {
        Counter::ALL.iter().map(|counter| (*counter, self.counter(*counter))).collect()
    }

    /// What each program has cost the kernel so far; none while it does not count that (`kernel.bpf_stats_enabled`).
    pub fn costs(&self) -> Vec<ProgramCost> {
        self.costs.read()
    }

    /// Prints what the programs had to say since the last time.
    pub fn print_messages(&mut self) {
        self.messages.print();
    }
}

/// The object with its maps made, and nothing loaded yet.
fn object(config: &KernelConfig) -> Result<Ebpf, LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NotBuilt);
    }
    let c = &config.capture;
    let globals = [
        c.plaintext_segment,
        c.plaintext_total,
        c.clear_total,
        c.encrypted_records,
        c.raw_total,
        c.ring_data_max,
        u32::from(config.certificates),
    ];
    // A CPU that comes later than this one counted finds no scratch, which is counted.
    let cpus = aya::util::nr_cpus().ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    let (scratches, remembered) = if config.certificates { (cpus, REMEMBERED) } else { (1, 1) };
    EbpfLoader::new()
        .override_global("CONFIG", &globals, true)
        .map_max_entries("CONNS", config.max_connections)
        .map_max_entries("SOCKS", config.max_connections)
        .map_max_entries("FINISHED", config.max_connections)
        .map_max_entries("EVENTS", config.ring_bytes)
        .map_max_entries("SCRATCH", scratches)
        .map_max_entries("LAST_READ", remembered)
        .map_max_entries("GO_RANDOMS", remembered)
        .load(OBJECT)
        .map_err(LoadError::object)
}

/// `None`, and a note, where an optional program is missing.
fn tolerate<T>(
    result: Result<T, LoadError>,
    spec: &'static ProgramSpec,
    degraded: &mut Vec<(&'static ProgramSpec, String)>,
) -> Result<Option<T>, LoadError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if spec.requirement == Requirement::Optional => {
            degraded.push((spec, e.to_string()));
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn load(program: &mut Program, spec: &'static ProgramSpec) -> Result<(), LoadError> {
    match program {
        Program::CgroupSkb(p) => p.load(),
        Program::SockOps(p) => p.load(),
        Program::RawTracePoint(p) => p.load(),
        Program::UProbe(p) => p.load(),
        _ => return Err(LoadError::Missing(spec.name)),
    }
    .map_err(|e| LoadError::program("loading", spec.name, e))
}

/// Kept apart from the object, which the probes take with them.
#[expect(dead_code, reason = "held for what their end does")]
enum ProgramLink {
    Skb(CgroupSkbLink),
    SockOps(SockOpsLink),
    RawTracepoint(RawTracePointLink),
}

enum Attached {
    Link(ProgramLink),
    /// To files, while the agent runs.
    Later,
}

fn attach(
    program: &mut Program,
    spec: &'static ProgramSpec,
    root: &CgroupRoot,
) -> Result<Attached, LoadError> {
    // A link, not a plain attachment: it goes when its descriptor does. `Single` is flags 0, the only value every kernel
    // takes for a link, and a link is always one of many (kernel 5.7).
    let mode = CgroupAttachMode::Single;
    let link = match (program, spec.hook) {
        (Program::CgroupSkb(p), programs::Hook::Skb(kind)) => {
            p.attach(root, kind, mode).and_then(|id| p.take_link(id)).map(ProgramLink::Skb)
        }
        (Program::SockOps(p), programs::Hook::SockOps) => {
            p.attach(root, mode).and_then(|id| p.take_link(id)).map(ProgramLink::SockOps)
        }
        (Program::RawTracePoint(p), programs::Hook::RawTracepoint(name)) => {
            p.attach(name).and_then(|id| p.take_link(id)).map(ProgramLink::RawTracepoint)
        }
        (Program::UProbe(_), programs::Hook::Uprobe) => {
            return uprobes::supported().map(|()| Attached::Later);
        }
        _ => return Err(LoadError::Missing(spec.name)),
    };
    link.map(Attached::Link).map_err(|e| LoadError::program("attaching", spec.name, e))
}
