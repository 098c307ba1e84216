//! The only writer of the ring buffer.

use core::mem::size_of;

use agent_common::{
    ABI_VERSION, CLOSE_HAS_BYTES, CertificatesEvent, CloseEvent, Counter, Cursor, DataEvent,
    EstablishedEvent, EventHeader, MAX_CERTIFICATES, MAX_CHUNK, OpenEvent, OwnerEvent, Task, Tuple, kind,
};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_ringbuf_output,
        bpf_skb_load_bytes,
    },
    maps::ring_buf::RingBufEntry,
};

use crate::maps::{EVENTS, ListenPacket, READER_POLLS, STASH, Scratch, config, count};

/// CLOCK_MONOTONIC in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// The task that runs.
#[inline(always)]
pub fn current() -> Task {
    let id = bpf_get_current_pid_tgid();
    Task { pid: (id >> 32) as u32, tid: id as u32, comm: bpf_get_current_comm().unwrap_or_default() }
}

#[inline(always)]
fn header(kind: u16, len: usize, cookie: u64) -> EventHeader {
    EventHeader { kind, abi: ABI_VERSION, len: len as u32, time: now(), cookie }
}

/// How user space is told of what is submitted: waking it for each event of a busy host would cost more than handling them.
#[inline(always)]
fn wakeup() -> u64 {
    match READER_POLLS.get(0) {
        Some(1) if is_filling() => BPF_RB_FORCE_WAKEUP as u64,
        Some(1) => BPF_RB_NO_WAKEUP as u64,
        // The kernel wakes a reader that had seen everything before this.
        _ => 0,
    }
}

/// An eighth of the ring buffer waits to be read.
#[inline(always)]
fn is_filling() -> bool {
    EVENTS.query(BPF_RB_AVAIL_DATA as u64) > config().ring_data_max as u64 / 7
}

#[inline(always)]
fn put<T: 'static>(value: T) {
    match EVENTS.reserve::<T>(0) {
        Some(mut entry) => {
            entry.write(value);
            entry.submit(wakeup());
        }
        None => count(Counter::LifecycleLost),
    }
}

/// CONNECT, ACCEPT, LISTEN or SEEN.
#[inline(always)]
pub fn open(
    kind: u16,
    cookie: u64,
    listener: u64,
    tuple: Tuple,
    task: Task,
    egress_start: u32,
    ingress_start: u32,
) {
    put(OpenEvent {
        header: header(kind, size_of::<OpenEvent>(), cookie),
        listener,
        tuple,
        task,
        egress_start,
        ingress_start,
        reserved: 0,
    });
}

/// ESTABLISHED.
#[inline(always)]
pub fn established(cookie: u64, egress_start: u32, ingress_start: u32) {
    put(EstablishedEvent {
        header: header(kind::ESTABLISHED, size_of::<EstablishedEvent>(), cookie),
        egress_start,
        ingress_start,
    });
}

/// CLOSE; `bytes` is (sent, received) where known.
#[inline(always)]
pub fn close(cookie: u64, old_state: u8, bytes: Option<(u64, u64)>) {
    let (flags, (bytes_egress, bytes_ingress)) = match bytes {
        Some(b) => (CLOSE_HAS_BYTES, b),
        None => (0, (0, 0)),
    };
    put(CloseEvent {
        header: header(kind::CLOSE, size_of::<CloseEvent>(), cookie),
        bytes_egress,
        bytes_ingress,
        old_state,
        flags,
        reserved: [0; 6],
    });
}

/// OWNER.
#[inline(always)]
pub fn owner(cookie: u64, task: Task) {
    put(OwnerEvent { header: header(kind::OWNER, size_of::<OwnerEvent>(), cookie), task });
}

/// What a DATA event says besides its payload.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Data {
    /// Socket cookie.
    pub cookie: u64,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Bytes it stands for.
    pub wire_len: u32,
    /// EGRESS or INGRESS.
    pub direction: u32,
}

/// A ring buffer record with room for `N` payload bytes. Records have few fixed sizes because `bpf_ringbuf_reserve` wants a
/// constant, and writing straight into a reserved record needs no scratch buffer, which programs that interrupt each
/// other on one CPU would have to share.
#[repr(C)]
struct Record<const N: usize> {
    event: DataEvent,
    payload: [u8; N],
}

#[inline(always)]
fn reserve<const N: usize>(data: &Data, cap_len: u32) -> Option<RingBufEntry<Record<N>>> {
    let Some(mut entry) = EVENTS.reserve::<Record<N>>(0) else {
        count(Counter::DataLost);
        return None;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` points to the reserved, writable record; only its event part is written here.
    unsafe {
        (&raw mut (*record).event).write(DataEvent {
            header: header(kind::DATA, size_of::<DataEvent>() + cap_len as usize, data.cookie),
            seq: data.seq,
            wire_len: data.wire_len,
            cap_len,
            direction: data.direction,
        });
    }
    Some(entry)
}

#[inline(always)]
fn put_skb<const N: usize>(skb: *mut __sk_buff, offset: u32, data: &Data, cap_len: u32) {
    let Some(mut entry) = reserve::<N>(data, cap_len) else { return };
    let mut last = u64::from(cap_len).wrapping_sub(1);
    // SAFETY: hides from the compiler that the caller compared the length already and that `last` comes from it, so that
    // the comparison stays next to its use; no effect at run time. One comparison, of the length less one, because before
    // kernel 6.8 the verifier learns nothing from `len != 0` and takes the length for possibly zero.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) last) };
    if last >= N as u64 {
        entry.discard(0);
        return;
    }
    let len = last + 1;
    // SAFETY: `payload` is N bytes of the reserved record and 0 < len <= N; the helper checks offset and length against
    // the packet.
    let ret = unsafe {
        let record = entry.as_mut_ptr();
        bpf_skb_load_bytes(skb.cast(), offset, (&raw mut (*record).payload).cast(), len as u32)
    };
    if ret != 0 {
        entry.discard(0);
        count(Counter::Unreadable);
        return;
    }
    entry.submit(wakeup());
}

#[inline(always)]
fn room(lost: Counter) -> bool {
    let room = EVENTS.query(BPF_RB_AVAIL_DATA as u64) < config().ring_data_max as u64;
    if !room {
        count(lost);
    }
    room
}

/// DATA with `cursor.cap_len` (1 to [`MAX_CHUNK`]) bytes copied from `cursor.offset` of the packet.
#[inline(always)]
pub fn data_from_skb(skb: *mut __sk_buff, data: &Data, cursor: &Cursor) {
    if !room(Counter::DataLost) {
        return;
    }
    // SAFETY: a field of a map value; volatile so that the verifier sees it come from memory (see [`Cursor`]).
    let cap_len = unsafe { core::ptr::read_volatile(&raw const cursor.cap_len) };
    let offset = cursor.offset;
    if cap_len <= 64 {
        put_skb::<64>(skb, offset, data, cap_len);
    } else if cap_len <= 512 {
        put_skb::<512>(skb, offset, data, cap_len);
    } else if cap_len <= 1536 {
        put_skb::<1536>(skb, offset, data, cap_len);
    } else {
        put_skb::<{ MAX_CHUNK as usize }>(skb, offset, data, cap_len);
    }
}

/// Length of a record header.
pub const RECORD_HEADER: u32 = 5;

/// DATA whose payload is a record header that is already at hand, or nothing (`cap_len` 0).
#[inline(always)]
pub fn record_header(data: &Data, cap_len: u32, bytes: [u8; 8]) {
    if !room(Counter::DataLost) {
        return;
    }
    let Some(mut entry) = reserve::<8>(data, cap_len) else { return };
    // SAFETY: the payload part of the reserved record is eight bytes.
    unsafe { (&raw mut (*entry.as_mut_ptr()).payload).write(bytes) };
    entry.submit(wakeup());
}

/// DATA from the note of a packet that completed the handshake and carried payload. `note.event` has everything but its
/// header.
#[inline(always)]
pub fn data_from_note(cookie: u64, note: &mut ListenPacket) {
    let mut len = u64::from(note.event.cap_len);
    // SAFETY: keeps the comparison below next to its use, where the verifier wants to see it; no effect at run time.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) len) };
    if len == 0 || len > STASH as u64 || !room(Counter::DataLost) {
        return;
    }
    let len = size_of::<DataEvent>() as u64 + len;
    note.event.header = header(kind::DATA, len as usize, cookie);
    // SAFETY: event and payload lie one behind the other in a map value, and `len` ends within the payload.
    let ret = unsafe {
        bpf_ringbuf_output((&raw const EVENTS).cast_mut().cast(), (&raw mut note.event).cast(), len, wakeup())
    };
    if ret != 0 {
        count(Counter::DataLost);
    }
}

/// CERTIFICATES with the first `len` bytes of the scratch's payload (at most [`MAX_CERTIFICATES`]). `scratch.event` has
/// everything but its header; false when it was lost.
#[inline(always)]
pub fn certificates(scratch: &mut Scratch, cookie: u64, len: u32) -> bool {
    let mut len = u64::from(len);
    // SAFETY: keeps the comparison below next to its use, where the verifier wants to see it; no effect at run time.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) len) };
    if len > u64::from(MAX_CERTIFICATES) {
        return false;
    }
    // Half of the ring buffer: any program can come to a probe as often as it likes, and must not drown what the kernel
    // itself saw of other programs' connections.
    if EVENTS.query(BPF_RB_AVAIL_DATA as u64) >= config().ring_data_max as u64 / 2 {
        count(Counter::CertificatesLost);
        return false;
    }
    let len = size_of::<CertificatesEvent>() as u64 + len;
    scratch.event.header = header(kind::CERTIFICATES, len as usize, cookie);
    // SAFETY: event and payload lie one behind the other in a map value, and `len` ends within the payload.
    let ret = unsafe {
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            (&raw mut scratch.event).cast(),
            len,
            wakeup(),
        )
    };
    if ret != 0 {
        count(Counter::CertificatesLost);
    }
    ret == 0
}
