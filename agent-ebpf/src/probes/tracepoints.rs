//! Raw tracepoints: who calls, who reads, and the end of connections older than the programs. Only the values that the
//! tracepoint passes are used; no kernel structure is looked into.

use agent_common::{SOCK_EXISTING, SOCK_OWNER_WANTED, SockEntry, tcp_state};
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{
    emit::{self, current},
    last_read,
    maps::{CALLERS, CONNS, FINISHED, SOCKS, config},
};

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`, kernel 4.16.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn sock_set_state(ctx: RawTracePointContext) -> i32 {
    let (sk, old, new): (u64, u64, u64) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    let (old, new) = (old as u8, new as u8);
    match new {
        // connect() and listen() come here in the context of the caller, just before sock_ops does.
        tcp_state::SYN_SENT | tcp_state::LISTEN => {
            let _ = CALLERS.insert(sk, current(), 0);
        }
        tcp_state::CLOSE => {
            // SAFETY: copied at once.
            let Some(entry) = (unsafe { SOCKS.get(sk) }).copied() else { return 0 };
            // Newer connections were taken out by sock_ops, which knows their bytes.
            if entry.flags & SOCK_EXISTING != 0 {
                emit::close(entry.cookie, old, None);
            }
            let _ = CONNS.remove(entry.cookie);
            let _ = FINISHED.remove(entry.cookie);
            let _ = SOCKS.remove(sk);
        }
        _ => {}
    }
    0
}

/// `tcp_rcv_space_adjust(struct sock *sk)`, kernel 4.15: a task has read bytes from the socket. Who closes it says less: of a
/// socket that a child inherited between fork and exec, the child's exec may be the last close. `sock:sock_recv_length`
/// would tell the same of every protocol, but only from kernel 6.3 on, and not which bytes were only peeked at.
#[raw_tracepoint(tracepoint = "tcp_rcv_space_adjust")]
pub fn sock_read(ctx: RawTracePointContext) -> i32 {
    let notes = config().certificates != 0;
    let Some(entry) = SOCKS.get_ptr_mut(ctx.arg::<u64>(0)) else {
        if notes {
            last_read::forget();
        }
        return 0;
    };
    // SAFETY: the entry lives until this program ends (RCU); its flags are changed by readers only, which hold the lock of
    // the socket.
    let entry = unsafe { &mut *entry };
    report_owner(entry);
    if notes {
        last_read::note(entry);
    }
    0
}

#[inline(always)]
fn report_owner(entry: &mut SockEntry) {
    if entry.flags & SOCK_OWNER_WANTED == 0 {
        return;
    }
    entry.flags &= !SOCK_OWNER_WANTED;
    emit::owner(entry.cookie, current());
}
