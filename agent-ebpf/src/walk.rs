//! Which payload bytes leave the kernel.
//!
//! A direction starts in `PLAIN`: the first bytes of each segment, up to a bound. A segment that starts like a TLS record
//! moves it to `TLS`: records are walked, clear ones (handshake, alert, ChangeCipherSpec) are copied, of encrypted ones
//! only the five-byte header is. Where segments come out of order, record boundaries are lost and the direction falls
//! back to `RAW`: bytes as they come, up to a bound; user space puts them in order. When both directions are `DONE`, or
//! user space says so, a packet costs one look-up.

use agent_common::{ConnState, Counter, DIR_COPY, DIR_SYNCED, DirState, MAX_CHUNK, phase};
use aya_ebpf::bindings::__sk_buff;

use crate::{
    emit::{self, Data, RECORD_HEADER},
    maps::{config, count},
    packet::{Segment, load},
};

/// Steps (a header, or a piece of a body) one packet may take. The verifier walks them all.
const MAX_STEPS: u32 = 32;
/// Further steps, of [`MAX_CHUNK`] bytes, for the rest of a packet whose records were too many: more than the default bound
/// on such bytes, and than a packet holds.
const MAX_RAW_STEPS: u32 = 17;
/// Longest record body: 2^14 + 2048 (RFC 5246 section 6.2.3).
const MAX_RECORD: u32 = 16_384 + 2_048;
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

/// The length field of a record header, if the bytes are one.
#[inline(always)]
fn record_length(h: [u8; 8]) -> Option<u32> {
    let len = u32::from(h[3]) << 8 | u32::from(h[4]);
    if h[0] < CHANGE_CIPHER_SPEC
        || h[0] > APPLICATION_DATA
        || h[1] != 3
        || h[2] > 4
        || len == 0
        || len > MAX_RECORD
    {
        return None;
    }
    Some(len)
}

#[inline(always)]
fn header_at(skb: *mut __sk_buff, offset: u32) -> Option<[u8; 8]> {
    let h = load::<5>(skb, offset)?;
    Some([h[0], h[1], h[2], h[3], h[4], 0, 0, 0])
}

/// The start of a PROXY protocol header, version 1 (`PROXY `) or 2 (CR LF CR LF NUL ...).
#[inline(always)]
fn is_proxy_header(h: [u8; 8]) -> bool {
    (h[0] == b'P' && h[1] == b'R' && h[2] == b'O' && h[3] == b'X' && h[4] == b'Y')
        || (h[0] == b'\r' && h[1] == b'\n' && h[2] == b'\r' && h[3] == b'\n' && h[4] == 0)
}

#[inline(always)]
fn min(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

/// Looks at one segment of a connection whose verdict is not known yet.
#[inline(always)]
pub fn segment(skb: *mut __sk_buff, conn: &mut ConnState, cookie: u64, direction: u32, seg: &Segment) {
    let dir = if direction == 0 { &mut conn.dirs[0] } else { &mut conn.dirs[1] };
    if seg.syn || (seg.len > 0 && dir.flags & DIR_SYNCED == 0) {
        dir.start = seg.seq;
        dir.next = seg.seq;
        dir.flags |= DIR_SYNCED;
    }
    if seg.len == 0 || dir.phase == phase::DONE || !place(dir, seg) {
        return;
    }
    if dir.phase == phase::PLAIN
        && let Some(first) = header_at(skb, dir.cursor.offset)
    {
        if record_length(first).is_some() {
            dir.phase = phase::TLS;
            dir.used = 0;
        } else if is_proxy_header(first) {
            // A ClientHello may follow in the same segment, where no record boundary is known.
            dir.phase = phase::RAW;
            dir.used = 0;
        }
    }
    let mut steps = 0;
    while step(skb, dir, cookie, direction) != 0 {
        steps += 1;
        if steps == MAX_STEPS {
            give_up_records(dir, cookie, direction);
        } else if steps == MAX_STEPS + MAX_RAW_STEPS {
            break;
        }
    }
    if conn.dirs[0].phase == phase::DONE && conn.dirs[1].phase == phase::DONE {
        conn.done = 1;
    }
}

/// Too many records in one packet: from here on bytes are copied as they come.
#[inline(always)]
fn give_up_records(dir: &mut DirState, cookie: u64, direction: u32) {
    if dir.phase != phase::TLS {
        return;
    }
    count(Counter::RecordsPerPacket);
    let have = dir.header_len;
    if have > 0 {
        // The part of a header that was taken but not sent up.
        let data = Data { cookie, seq: dir.cursor.seq.wrapping_sub(have), wire_len: have, direction };
        emit::record_header(&data, have, dir.header);
        dir.header_len = 0;
    }
    dir.phase = phase::RAW;
    dir.used = 0;
}

/// Sets the cursor to the part of the segment that was not seen before; false: all of it was.
#[inline(always)]
fn place(dir: &mut DirState, seg: &Segment) -> bool {
    dir.cursor.offset = seg.offset;
    dir.cursor.len = seg.len;
    dir.cursor.seq = seg.seq;
    if dir.phase == phase::RAW {
        return true;
    }
    let ahead = seg.seq.wrapping_sub(dir.next) as i32;
    if ahead > 0 {
        count(Counter::OutOfOrder);
        dir.phase = phase::RAW;
        dir.used = 0;
        return true;
    }
    let seen = ahead.unsigned_abs();
    if seen >= seg.len {
        count(Counter::Retransmitted);
        return false;
    }
    dir.cursor.offset += seen;
    dir.cursor.len -= seen;
    dir.cursor.seq = dir.next;
    dir.next = seg.seq.wrapping_add(seg.len);
    true
}

/// One step of the walk; 0 when the packet is through. A subprogram of its own, so that the loop around it is small.
#[inline(never)]
fn step(skb: *mut __sk_buff, dir: &mut DirState, cookie: u64, direction: u32) -> u32 {
    // SAFETY: fields of a map value; volatile so that the verifier sees them come from memory.
    let (len, seq) = unsafe {
        (
            core::ptr::read_volatile(&raw const dir.cursor.len),
            core::ptr::read_volatile(&raw const dir.cursor.seq),
        )
    };
    if len == 0 {
        return 0;
    }
    let mut data = Data { cookie, seq, wire_len: len, direction };
    if dir.phase == phase::TLS {
        if dir.rec_left == 0 {
            return header(skb, dir, data);
        }
        let mut take = min(dir.rec_left, len);
        if dir.flags & DIR_COPY == 0 {
            dir.rec_left -= take;
            return advance(dir, take);
        }
        take = min(take, MAX_CHUNK);
        dir.rec_left -= take;
        data.wire_len = take;
        return copy(skb, dir, &data, take);
    }
    let cfg = config();
    if dir.phase == phase::RAW {
        let take = min(min(len, MAX_CHUNK), cfg.raw_total.saturating_sub(dir.used));
        if dir.used + take < cfg.raw_total {
            data.wire_len = take;
        }
        return copy(skb, dir, &data, take);
    }
    // PLAIN: one piece stands for the whole segment.
    let left = cfg.plaintext_total.saturating_sub(dir.used);
    let take = min(min(min(len, cfg.plaintext_segment), left), MAX_CHUNK);
    copy(skb, dir, &data, take);
    0
}

#[inline(always)]
fn advance(dir: &mut DirState, n: u32) -> u32 {
    dir.cursor.offset += n;
    dir.cursor.len -= n;
    dir.cursor.seq = dir.cursor.seq.wrapping_add(n);
    u32::from(dir.phase != phase::DONE)
}

/// Copies `take` bytes and moves on; ends the direction at the bound of its phase.
#[inline(always)]
fn copy(skb: *mut __sk_buff, dir: &mut DirState, data: &Data, take: u32) -> u32 {
    let cfg = config();
    dir.cursor.cap_len = take;
    if take > 0 {
        emit::data_from_skb(skb, data, &dir.cursor);
    }
    dir.used += take;
    let (bound, counter) = match dir.phase {
        phase::TLS => (cfg.clear_total, Counter::ClearCut),
        phase::RAW => (cfg.raw_total, Counter::RawCut),
        _ => (cfg.plaintext_total, Counter::PlaintextCut),
    };
    if dir.used >= bound {
        count(counter);
        dir.phase = phase::DONE;
    }
    advance(dir, take)
}

/// A record header, or a byte of one that lies across a segment boundary.
#[inline(always)]
fn header(skb: *mut __sk_buff, dir: &mut DirState, mut data: Data) -> u32 {
    let offset = dir.cursor.offset;
    let mut bytes = dir.header;
    let mut taken = RECORD_HEADER;
    let have = dir.header_len;
    if have == 0 && data.wire_len >= RECORD_HEADER {
        let Some(h) = header_at(skb, offset) else {
            count(Counter::Unreadable);
            return 0;
        };
        bytes = h;
    } else {
        let Some([b]) = load::<1>(skb, offset) else {
            count(Counter::Unreadable);
            return 0;
        };
        match have {
            0 => bytes[0] = b,
            1 => bytes[1] = b,
            2 => bytes[2] = b,
            3 => bytes[3] = b,
            _ => bytes[4] = b,
        }
        dir.header = bytes;
        dir.header_len = have + 1;
        taken = 1;
        if have + 1 < RECORD_HEADER {
            return advance(dir, 1);
        }
        data.seq = data.seq.wrapping_sub(RECORD_HEADER - 1);
    }
    dir.header_len = 0;
    data.wire_len = RECORD_HEADER;
    match record_length(bytes) {
        None => {
            // Not records any more: these five bytes go up as they are, and so does what follows.
            dir.phase = phase::RAW;
            dir.used = 0;
        }
        Some(body) if bytes[0] == APPLICATION_DATA => {
            // The event stands for the whole record: its body never comes.
            data.wire_len += body;
            dir.rec_left = body;
            dir.flags &= !DIR_COPY;
            dir.encrypted += 1;
        }
        Some(body) => {
            dir.rec_left = body;
            dir.flags |= DIR_COPY;
        }
    }
    emit::record_header(&data, RECORD_HEADER, bytes);
    if u32::from(dir.encrypted) >= config().encrypted_records {
        count(Counter::EncryptedCut);
        dir.phase = phase::DONE;
    }
    advance(dir, taken)
}
