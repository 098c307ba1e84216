//! Maps and configuration.

use agent_common::{
    CaptureConfig, CertificatesEvent, ConnState, Counter, DataEvent, GoRandom, Goroutine, LastRead,
    MAX_CERTIFICATES, SockEntry, Task, Tuple,
};
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};

/// Bounds of the capture, overwritten by the loader before the programs are loaded: constants to the verifier.
#[unsafe(no_mangle)]
static CONFIG: CaptureConfig = CaptureConfig::DEFAULT;

/// The bounds in force.
#[inline(always)]
pub fn config() -> CaptureConfig {
    // SAFETY: CONFIG is a static of this object; the read is volatile because the loader changes its bytes after the
    // compiler has seen their initial value.
    unsafe { core::ptr::read_volatile(&raw const CONFIG) }
}

/// Everything user space is told. Resized by the loader.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 * 1024 * 1024, 0);

/// 1 while user space looks into [`EVENTS`] on its own every few milliseconds and wants to be woken only when it fills up;
/// 0 while it waits to be woken.
#[map]
pub static READER_POLLS: Array<u32> = Array::with_max_entries(1, 0);

/// Connections by socket cookie. Resized by the loader.
#[map]
pub static CONNS: HashMap<u64, ConnState> = HashMap::with_max_entries(65_536, 0);

/// Connections of which user space wants no more payload, and the time of the last event it had seen when it said so. A map of its own, because an update from user space would replace
/// an entry of `CONNS` while a program on another CPU writes to it. Least recently used: entries of connections that
/// closed meanwhile need no owner. Resized by the loader.
#[map]
pub static FINISHED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(65_536, 0);

/// Connections by the kernel's address of their socket. Resized by the loader, like `CONNS`.
#[map]
pub static SOCKS: HashMap<u64, SockEntry> = HashMap::with_max_entries(65_536, 0);

/// Who called `connect` or `listen`, by socket address, for the moments between the tracepoint and sock_ops.
#[map]
pub static CALLERS: LruHashMap<u64, Task> = LruHashMap::with_max_entries(4_096, 0);

/// The last packet that a listener took on this CPU: the acceptance of a connection follows in the same softirq.
#[map]
pub static LAST_LISTEN: PerCpuArray<ListenPacket> = PerCpuArray::with_max_entries(1, 0);

/// The connection that a task read from last, by `pid_tgid`. Resized by the loader.
#[map]
pub static LAST_READ: LruHashMap<u64, LastRead> = LruHashMap::with_max_entries(16_384, 0);

/// When `LAST_READ` was last written, in jiffies.
#[map]
pub static LAST_READ_TIME: Array<u64> = Array::with_max_entries(1, 0);

/// `ClientHello.random` by goroutine. Resized by the loader.
#[map]
pub static GO_RANDOMS: LruHashMap<Goroutine, GoRandom> = LruHashMap::with_max_entries(16_384, 0);

/// Where an event with certificates is put together, one for each CPU; not a per-CPU map, whose values end at 32 KiB.
/// Resized by the loader.
#[map]
pub static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// Room for the payload of an event with certificates: any length is copied to any offset below the bound on both.
pub const SCRATCH_PAYLOAD: usize = 2 * MAX_CERTIFICATES as usize;

/// See [`SCRATCH`].
#[repr(C)]
pub struct Scratch {
    /// Programs that want it now.
    pub users: u64,
    /// What is emitted.
    pub event: CertificatesEvent,
    /// The payload behind it.
    pub payload: [u8; SCRATCH_PAYLOAD],
}

/// What was done, cut or lost, by [`Counter`].
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

/// Payload kept of a packet that both completes the handshake and carries data.
pub const STASH: usize = 4096;

/// See [`LAST_LISTEN`].
#[repr(C)]
pub struct ListenPacket {
    /// Cookie of the listener.
    pub listener: u64,
    /// Ends as the accepted socket will have them.
    pub tuple: Tuple,
    /// Zero.
    pub reserved: u32,
    /// What is emitted once the connection is there; `cap_len` 0: nothing.
    pub event: DataEvent,
    /// The payload behind it.
    pub payload: [u8; STASH],
}

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is this CPU's slot of a map of u64. An interrupt between load and store can lose one
        // count; an atomic would cost more than the exactness is worth.
        unsafe { *slot += 1 };
    }
}
