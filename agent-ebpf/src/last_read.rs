//! Which connection a task read from last, for as long as that may tell whose certificates it parses.
//!
//! The tracepoint that calls in here is passed by every read of every TCP socket of the host, so a connection past its
//! handshake must cost next to nothing: its entry in `SOCKS` counts reads from the moment on at which the capture of the
//! connection is over (until then a STARTTLS may come at any time), and after [`SOCK_READS_MAX`] of them nothing is
//! written any more. A young one costs a look at the clock and a map entry.

use agent_common::{LAST_READ_JIFFIES, LastRead, SOCK_READS_MAX, SOCK_READS_SHIFT, SockEntry};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_jiffies64};

use crate::{
    emit::now,
    maps::{CONNS, LAST_READ, LAST_READ_TIME},
};

/// The kernel's tick counter: one load, where `bpf_ktime_get_ns` reads a clock.
#[inline(always)]
pub fn jiffies() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_jiffies64() }
}

/// The running task has read from this connection.
#[inline(always)]
pub fn note(entry: &mut SockEntry) {
    if entry.flags >> SOCK_READS_SHIFT >= SOCK_READS_MAX {
        forget();
        return;
    }
    let over = match CONNS.get_ptr(entry.cookie) {
        // SAFETY: the entry lives until this program ends (RCU).
        Some(conn) => unsafe { (*conn).done != 0 },
        None => true,
    };
    if over {
        entry.flags += 1 << SOCK_READS_SHIFT;
    }
    let read = LastRead { cookie: entry.cookie, jiffies: jiffies(), time: now(), ..LastRead::default() };
    let task = bpf_get_current_pid_tgid();
    match LAST_READ.get_ptr_mut(task) {
        Some(last) => {
            // SAFETY: the entry lives until this program ends (RCU); only the task whose it is writes and reads it.
            let last = unsafe { &mut *last };
            if last.cookie != entry.cookie {
                leave(last);
            }
            last.cookie = read.cookie;
            last.jiffies = read.jiffies;
            last.time = read.time;
        }
        None => {
            let _ = LAST_READ.insert(task, read, 0);
        }
    }
    if let Some(time) = LAST_READ_TIME.get_ptr_mut(0) {
        // SAFETY: a map value of eight bytes, aligned. Written only when it changes: the CPUs share it.
        unsafe {
            if core::ptr::read_volatile(time) != read.jiffies {
                core::ptr::write_volatile(time, read.jiffies);
            }
        }
    }
}

/// Another connection is read from.
#[inline(always)]
fn leave(last: &mut LastRead) {
    if last.cookie != 0 {
        last.earlier = last.cookie;
        last.earlier_time = last.time;
    }
}

/// The running task has read from another socket, one that is not known or whose handshake is long over: what it read
/// before that tells nothing any more. Costs a look-up, and not even that where no task has read from a young connection
/// lately.
#[inline(always)]
pub fn forget() {
    let Some(time) = LAST_READ_TIME.get_ptr_mut(0) else { return };
    // SAFETY: a map value of eight bytes, aligned.
    if jiffies().wrapping_sub(unsafe { core::ptr::read_volatile(time) }) > LAST_READ_JIFFIES {
        return;
    }
    if let Some(last) = LAST_READ.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: as in `note`. Overwritten, not removed: the task may well read from a young one next.
        let last = unsafe { &mut *last };
        leave(last);
        last.cookie = 0;
    }
}

/// The connection that the running task read from just now, and the one before it; their cookies are 0 when that is not
/// known.
#[inline(always)]
pub fn get() -> LastRead {
    // SAFETY: copied at once.
    match unsafe { LAST_READ.get(bpf_get_current_pid_tgid()) }.copied() {
        Some(last) if jiffies().wrapping_sub(last.jiffies) <= LAST_READ_JIFFIES => last,
        _ => LastRead::default(),
    }
}
