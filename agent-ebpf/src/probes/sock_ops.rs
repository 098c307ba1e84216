//! Life of a TCP socket: connect, established, listen, close. Kernel 4.17 and later.

use agent_common::{
    ConnState, Counter, DIR_SYNCED, SOCK_ACTIVE, SOCK_OWNER_WANTED, SockEntry, Task, Tuple, kind, phase,
    tcp_state,
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB, bpf_sock_ops,
    },
    helpers::bpf_get_socket_cookie,
    macros::sock_ops,
    programs::SockOpsContext,
};
use aya_log_ebpf::warn;

use crate::{
    emit,
    maps::{CALLERS, CONNS, FINISHED, LAST_LISTEN, SOCKS, count},
};

const AF_INET: u32 = 2;

#[sock_ops]
pub fn sock_ops(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => connect(&ctx),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => active_established(&ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => passive_established(&ctx),
        BPF_SOCK_OPS_TCP_LISTEN_CB => listen(&ctx),
        BPF_SOCK_OPS_STATE_CB => state(&ctx),
        _ => {}
    }
    0
}

#[inline(always)]
fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: a helper on the program's own context.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// The kernel's address of the socket: only a key, never followed.
#[inline(always)]
fn address(ops: *mut bpf_sock_ops) -> u64 {
    // SAFETY: `sk` is a field of the program's context (kernel 5.3).
    unsafe { (*ops).__bindgen_anon_2.sk as u64 }
}

/// Reads a field of the context where it is written: were the two families' reads left to the compiler, it would merge
/// them into one load from a chosen address, which the verifier forbids for a context.
macro_rules! field {
    ($ops:expr, $($field:tt)+) => {
        // SAFETY: a field of the program's context.
        unsafe { core::ptr::read_volatile(&raw const (*$ops).$($field)+) }
    };
}

#[inline(always)]
fn address_bytes(v6: bool, v4: u32, words: [u32; 4]) -> [u8; 16] {
    let words = if v6 { words } else { [0, 0, 0xffff_u32.to_be(), v4] };
    // SAFETY: same size, no padding, every bit pattern is valid.
    unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) }
}

#[inline(always)]
fn tuple(ctx: &SockOpsContext) -> Tuple {
    let ops = ctx.ops;
    let v6 = ctx.family() != AF_INET;
    let (local4, peer4) = (field!(ops, local_ip4), field!(ops, remote_ip4));
    let local6 = [
        field!(ops, local_ip6[0]),
        field!(ops, local_ip6[1]),
        field!(ops, local_ip6[2]),
        field!(ops, local_ip6[3]),
    ];
    let peer6 = [
        field!(ops, remote_ip6[0]),
        field!(ops, remote_ip6[1]),
        field!(ops, remote_ip6[2]),
        field!(ops, remote_ip6[3]),
    ];
    Tuple {
        local_addr: address_bytes(v6, local4, local6),
        peer_addr: address_bytes(v6, peer4, peer6),
        local_port: ctx.local_port() as u16,
        // In network order in the whole word.
        peer_port: u32::from_be(ctx.remote_port()) as u16,
    }
}

#[inline(always)]
fn insert(ctx: &SockOpsContext, cookie: u64, sk: u64, conn: &ConnState, flags: u32) -> bool {
    if CONNS.insert(cookie, conn, 0).is_err() {
        count(Counter::ConnectionTableFull);
        warn!(ctx, "connection table full; socket cookie {} is not observed", cookie);
        return false;
    }
    if SOCKS.insert(sk, SockEntry { cookie, flags, received: 0 }, 0).is_err() {
        count(Counter::ConnectionTableFull);
    }
    let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    true
}

/// The task noted by the tracepoint a moment ago, in the same system call.
#[inline(always)]
fn caller(sk: u64) -> Task {
    // SAFETY: copied at once; the entry was written by this very system call.
    let task = match unsafe { CALLERS.get(sk) } {
        Some(task) => *task,
        None => Task::default(),
    };
    let _ = CALLERS.remove(sk);
    task
}

#[inline(always)]
fn connect(ctx: &SockOpsContext) {
    let (cookie, sk) = (cookie(ctx), address(ctx.ops));
    if insert(ctx, cookie, sk, &ConnState { opened: emit::now(), ..ConnState::default() }, SOCK_ACTIVE) {
        emit::open(kind::CONNECT, cookie, 0, tuple(ctx), caller(sk), 0, 0);
    }
}

#[inline(always)]
fn active_established(ctx: &SockOpsContext) {
    let cookie = cookie(ctx);
    let Some(conn) = CONNS.get_ptr_mut(cookie) else { return };
    // SAFETY: fields of the program's context.
    let (snd_nxt, rcv_nxt) = unsafe { ((*ctx.ops).snd_nxt, (*ctx.ops).rcv_nxt) };
    // SAFETY: the entry lives until this program ends (RCU), and the socket is locked.
    let conn = unsafe { &mut *conn };
    // The SYN went through the egress program and left its number; data in it has moved snd_nxt on.
    let [egress, ingress] = &mut conn.dirs;
    if egress.flags & DIR_SYNCED == 0 {
        egress.start = snd_nxt;
        egress.next = snd_nxt;
        egress.flags |= DIR_SYNCED;
    }
    if ingress.flags & DIR_SYNCED == 0 {
        ingress.start = rcv_nxt;
        ingress.next = rcv_nxt;
        ingress.flags |= DIR_SYNCED;
    }
    emit::established(cookie, egress.start, ingress.start);
}

#[inline(always)]
fn passive_established(ctx: &SockOpsContext) {
    let (cookie, sk, tuple) = (cookie(ctx), address(ctx.ops), tuple(ctx));
    // SAFETY: fields of the program's context.
    let (snd_nxt, rcv_nxt) = unsafe { ((*ctx.ops).snd_nxt, (*ctx.ops).rcv_nxt) };
    let mut conn = ConnState { opened: emit::now(), ..ConnState::default() };
    conn.dirs[0].start = snd_nxt;
    conn.dirs[0].next = snd_nxt;
    conn.dirs[0].flags = DIR_SYNCED;
    conn.dirs[1].start = rcv_nxt;
    conn.dirs[1].next = rcv_nxt;
    conn.dirs[1].flags = DIR_SYNCED;
    let mut listener = 0;
    let mut first = None;
    if let Some(note) = LAST_LISTEN.get_ptr_mut(0) {
        // SAFETY: this CPU's slot, written in this softirq if it is about this connection, which the tuple tells.
        let note = unsafe { &mut *note };
        if note.tuple == tuple {
            listener = note.listener;
            note.listener = 0;
            note.tuple.peer_port = 0;
            if note.event.cap_len > 0 && note.event.seq == rcv_nxt {
                // No walk from here: user space sorts these bytes, and what follows is copied as it comes.
                conn.dirs[1].phase = phase::RAW;
                conn.dirs[1].used = note.event.cap_len;
                first = Some(note);
            }
        }
    }
    if !insert(ctx, cookie, sk, &conn, SOCK_OWNER_WANTED) {
        return;
    }
    emit::open(kind::ACCEPT, cookie, listener, tuple, Task::default(), snd_nxt, rcv_nxt);
    if let Some(note) = first {
        emit::data_from_note(cookie, note);
    }
}

#[inline(always)]
fn listen(ctx: &SockOpsContext) {
    emit::open(kind::LISTEN, cookie(ctx), 0, tuple(ctx), caller(address(ctx.ops)), 0, 0);
}

#[inline(always)]
fn state(ctx: &SockOpsContext) {
    // SAFETY: fields of the program's context.
    let (old, new) = unsafe { ((*ctx.ops).__bindgen_anon_1.args[0], (*ctx.ops).__bindgen_anon_1.args[1]) };
    let sk = address(ctx.ops);
    if new == u32::from(tcp_state::FIN_WAIT2) {
        if let Some(entry) = SOCKS.get_ptr_mut(sk) {
            // SAFETY: the entry lives until this program ends (RCU), and the socket is locked.
            unsafe { (*entry).received = (*ctx.ops).bytes_received as u32 };
        }
        return;
    }
    if new != u32::from(tcp_state::CLOSE) {
        return;
    }
    let cookie = cookie(ctx);
    let old = old as u8;
    emit::close(cookie, old, Some(payload_bytes(ctx, sk, old)));
    let _ = CONNS.remove(cookie);
    let _ = FINISHED.remove(cookie);
    let _ = SOCKS.remove(sk);
}

/// Payload bytes sent and received. The kernel's counts follow sequence numbers, in which SYN and FIN take one each.
#[inline(always)]
fn payload_bytes(ctx: &SockOpsContext, sk: u64, old: u8) -> (u64, u64) {
    // SAFETY: fields of the program's context.
    let (mut sent, mut received, snd_una, snd_nxt) = unsafe {
        ((*ctx.ops).bytes_acked, (*ctx.ops).bytes_received, (*ctx.ops).snd_una, (*ctx.ops).snd_nxt)
    };
    // SAFETY: copied at once.
    let entry = match unsafe { SOCKS.get(sk) } {
        Some(entry) => *entry,
        None => SockEntry::default(),
    };
    // Of an accepted connection the request socket saw the SYN's acknowledgement, not this one.
    if entry.flags & SOCK_ACTIVE != 0 {
        sent = sent.saturating_sub(1);
    }
    let fin_sent = old == tcp_state::FIN_WAIT1
        || old == tcp_state::FIN_WAIT2
        || old == tcp_state::CLOSING
        || old == tcp_state::LAST_ACK;
    if fin_sent && snd_una == snd_nxt {
        sent = sent.saturating_sub(1);
    }
    // A socket that nobody holds any more leaves FIN_WAIT2 at once, mostly before the peer's FIN.
    let fin_received = old == tcp_state::CLOSE_WAIT
        || old == tcp_state::CLOSING
        || old == tcp_state::LAST_ACK
        || (old == tcp_state::FIN_WAIT2 && entry.received != received as u32);
    if fin_received {
        received = received.saturating_sub(1);
    }
    (sent, received)
}
