//! Packets of every socket, at the cgroup v2 root. Sent packets are seen before segmentation, received ones after
//! coalescing; a connection with both ends on this host is seen once at each end.

use agent_common::{
    ConnState, Counter, EGRESS, INGRESS, SOCK_EXISTING, SOCK_OWNER_WANTED, SockEntry, Task, kind, tcp_state,
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, bpf_sock},
    helpers::{bpf_get_socket_cookie, bpf_skb_load_bytes},
    macros::cgroup_skb,
    programs::SkBuffContext,
};

use crate::{
    emit,
    maps::{CONNS, FINISHED, LAST_LISTEN, SOCKS, STASH, count},
    packet::{self, Segment},
    walk,
};

/// The packet goes on, whatever was seen.
const ALLOW: i32 = 1;

#[cgroup_skb]
pub fn skb_egress(ctx: SkBuffContext) -> i32 {
    try_skb(&ctx, EGRESS);
    ALLOW
}

#[cgroup_skb]
pub fn skb_ingress(ctx: SkBuffContext) -> i32 {
    try_skb(&ctx, INGRESS);
    ALLOW
}

#[inline(always)]
fn try_skb(ctx: &SkBuffContext, direction: u32) {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: a helper on the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    let Some(conn) = CONNS.get_ptr_mut(cookie) else {
        unknown_socket(skb, cookie, direction);
        return;
    };
    // SAFETY: the entry is in the map, or was until this program ends (RCU). A direction's state is written by packets of
    // that direction only, which the socket's lock puts in a row. An entry that a close takes out and an open puts in
    // again within this run would get its new state disturbed; nothing but that connection's verdict depends on it.
    let conn = unsafe { &mut *conn };
    if conn.done != 0 {
        return;
    }
    // SAFETY: copied at once.
    if let Some(seen_until) = unsafe { FINISHED.get(cookie) }.copied()
        && seen_until >= conn.opened
    {
        conn.done = 1;
        return;
    }
    match packet::parse(skb) {
        Some(seg) => walk::segment(skb, conn, cookie, direction, &seg),
        None => count(Counter::Unreadable),
    }
}

/// A packet of a socket that is not in the table: not TCP, a listener, or a connection older than the programs.
#[inline(always)]
fn unknown_socket(skb: *mut __sk_buff, cookie: u64, direction: u32) {
    // SAFETY: `sk` is a field of the program's context; the verifier has its null checked before use.
    let sk = unsafe { (*skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: not null; the helper gives the full socket or null.
    let full: *mut bpf_sock = unsafe { aya_ebpf::helpers::bpf_sk_fullsock(sk) };
    if full.is_null() {
        return;
    }
    // SAFETY: not null, fields of the stable `bpf_sock`.
    let (protocol, state) = unsafe { ((*full).protocol, (*full).state) };
    if protocol != 6 {
        return;
    }
    if state == u32::from(tcp_state::LISTEN) {
        if direction == INGRESS {
            listener_packet(skb, cookie);
        }
        return;
    }
    let open = state == u32::from(tcp_state::ESTABLISHED)
        || state == u32::from(tcp_state::CLOSE_WAIT)
        || state == u32::from(tcp_state::FIN_WAIT1)
        || state == u32::from(tcp_state::FIN_WAIT2);
    if !open {
        return;
    }
    let Some(seg) = packet::parse(skb) else { return };
    if seg.len == 0 {
        return;
    }
    let conn = ConnState { opened: emit::now(), ..ConnState::default() };
    if CONNS.insert(cookie, conn, 0).is_err() {
        count(Counter::ConnectionTableFull);
        return;
    }
    let entry = SockEntry { cookie, flags: SOCK_EXISTING | SOCK_OWNER_WANTED, received: 0 };
    if SOCKS.insert(full as u64, entry, 0).is_err() {
        count(Counter::ConnectionTableFull);
    }
    let tuple = if direction == EGRESS { seg.tuple_of_sender() } else { seg.tuple_of_receiver() };
    emit::open(kind::SEEN, cookie, 0, tuple, Task::default(), 0, 0);
    if let Some(conn) = CONNS.get_ptr_mut(cookie) {
        // SAFETY: as in `try_skb`.
        walk::segment(skb, unsafe { &mut *conn }, cookie, direction, &seg);
    }
}

/// A packet that a listener takes: the last of the three-way handshake, perhaps with payload (its bare ACK was lost, or
/// the listener defers accepting), or a SYN with data (RFC 7413). The connection it makes comes to sock_ops within the
/// same softirq on the same CPU, and there this note tells its listener and those first bytes.
#[inline(always)]
fn listener_packet(skb: *mut __sk_buff, listener: u64) {
    let Some(seg) = packet::parse(skb) else { return };
    let Some(note) = LAST_LISTEN.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's slot; received packets are handled with softirqs off, so nothing else writes it meanwhile.
    let note = unsafe { &mut *note };
    note.listener = listener;
    note.tuple = seg.tuple_of_receiver();
    note.event.seq = seg.seq;
    note.event.wire_len = seg.len;
    note.event.cap_len = 0;
    note.event.direction = INGRESS;
    if seg.len > 0 {
        stash(skb, &seg, &mut note.event.cap_len, &mut note.payload);
    }
}

#[inline(always)]
fn stash(skb: *mut __sk_buff, seg: &Segment, cap_len: &mut u32, payload: &mut [u8; STASH]) {
    let wanted = if seg.len > STASH as u32 { STASH as u64 } else { u64::from(seg.len) };
    let mut last = wanted.wrapping_sub(1);
    // SAFETY: keeps the compiler from merging the two bounds checks, and see `put_skb` for the one; no effect at run time.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) last) };
    if last >= STASH as u64 {
        return;
    }
    let len = last + 1;
    // SAFETY: `payload` is STASH bytes of a map value and 0 < len <= STASH.
    let ret = unsafe { bpf_skb_load_bytes(skb.cast(), seg.offset, payload.as_mut_ptr().cast(), len as u32) };
    if ret == 0 {
        *cap_len = len as u32;
    }
}
