//! Maps and configuration.

use agent_common::{CaptureConfig, ConnState, Counter, DataEvent, SockEntry, Task, Tuple};
use aya_ebpf::{
    macros::map,
    maps::{HashMap, LruHashMap, PerCpuArray, RingBuf},
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

/// What was cut or lost, by [`Counter`].
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
