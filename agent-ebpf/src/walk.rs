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
    emit::{self, Data},
    maps::{config, count},
    packet::{Segment, load},
};

/// Steps (a header, or a piece of a body) one packet may take. The verifier walks them all.
const MAX_STEPS: u32 = 24;
const RECORD_HEADER: u32 = 5;
/// Longest record body: 2^14 + 2048 (RFC 5246 section 6.2.3).
const MAX_RECORD: u32 = 16_384 + 2_048;
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

/// The length field of a record header, if the bytes are one.
#[inline(always)]
fn record_length(h: [u8; 8]) -> Option<u32> {
    let len = u32::from(h[3]) << 8 | u32::from(h[4]);
    if h[0] < CHANGE_CIPHER_SPEC || h[0] > APPLICATION_DATA || h[1] != 3 || h[2] > 4 || len == 0 || len > MAX_RECORD {
        return None;
    }
    Some(len)
}

#[inline(always)]
fn header_at(skb: *mut __sk_buff, offset: u32) -> Option<[u8; 8]> {
    let h = load::<5>(skb, offset)?;
    Some([h[0], h[1], h[2], h[3], h[4], 0, 0, 0])
}

#[inline(always)]
fn min(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

/// Looks at one segment of a connection whose verdict is not known yet.
#[inline(always)]
pub fn segment(skb: *mut __sk_buff, conn: &mut ConnState, cookie: u64, direction: u32, seg: &Segment) {
    let dir = if direction == 0 { &mut conn.dirs[0] } else { &mut conn.dirs[1] };
    if seg.syn {
        dir.start = seg.seq;
        dir.next = seg.seq;
        dir.flags |= DIR_SYNCED;
    }
    if seg.len == 0 || dir.phase == phase::DONE {
        return;
    }
    if dir.flags & DIR_SYNCED == 0 {
        dir.start = seg.seq;
        dir.next = seg.seq;
        dir.flags |= DIR_SYNCED;
    }
    let mut data = Data { cookie, seq: seg.seq, wire_len: 0, cap_len: 0, direction };
    let mut offset = seg.offset;
    let mut len = seg.len;
    if dir.phase != phase::RAW {
        let ahead = seg.seq.wrapping_sub(dir.next) as i32;
        if ahead > 0 {
            count(Counter::OutOfOrder);
            dir.phase = phase::RAW;
            dir.used = 0;
        } else if ahead < 0 {
            let seen = ahead.unsigned_abs();
            if seen >= len {
                count(Counter::Retransmitted);
                return;
            }
            offset += seen;
            len -= seen;
            data.seq = dir.next;
        }
    }
    if dir.phase != phase::RAW {
        dir.next = data.seq.wrapping_add(len);
    }
    if dir.phase == phase::PLAIN {
        match header_at(skb, offset) {
            Some(h) if record_length(h).is_some() => {
                dir.phase = phase::TLS;
                dir.used = 0;
            }
            _ => plain(skb, dir, data, offset, len),
        }
    }
    if dir.phase == phase::TLS {
        // Where the records end being records, or one packet holds too many of them, the rest is copied as it is.
        if let Some(done) = records(skb, dir, &mut data, offset, len) {
            offset += done;
            len -= done;
            dir.phase = phase::RAW;
            dir.used = 0;
        }
    }
    if dir.phase == phase::RAW {
        raw(skb, dir, data, offset, len);
    }
    if conn.dirs[0].phase == phase::DONE && conn.dirs[1].phase == phase::DONE {
        conn.done = 1;
    }
}

#[inline(always)]
fn plain(skb: *mut __sk_buff, dir: &mut DirState, mut data: Data, offset: u32, len: u32) {
    let cfg = config();
    let left = cfg.plaintext_total.saturating_sub(dir.used);
    let cap = min(min(min(len, cfg.plaintext_segment), left), MAX_CHUNK);
    data.wire_len = len;
    data.cap_len = cap;
    if cap > 0 {
        dir.used += cap;
        emit::data_from_skb(skb, offset, &data);
    }
    if dir.used >= cfg.plaintext_total {
        count(Counter::PlaintextCut);
        dir.phase = phase::DONE;
    }
}

#[inline(always)]
fn raw(skb: *mut __sk_buff, dir: &mut DirState, mut data: Data, offset: u32, len: u32) {
    let total = config().raw_total;
    let mut done = 0u32;
    for _ in 0..16 {
        let left = min(len.saturating_sub(done), total.saturating_sub(dir.used));
        let cap = min(left, MAX_CHUNK);
        if cap == 0 {
            break;
        }
        // The last piece that is let through stands for the rest as well.
        let rest = len - done;
        data.wire_len = if left == cap { rest } else { cap };
        data.cap_len = cap;
        emit::data_from_skb(skb, offset + done, &data);
        data.seq = data.seq.wrapping_add(cap);
        dir.used += cap;
        done += cap;
    }
    if dir.used >= total {
        count(Counter::RawCut);
        dir.phase = phase::DONE;
    }
}

/// Walks records. `None`: the whole payload was consumed. `Some(n)`: from byte `n` on records cannot be told apart.
#[inline(always)]
fn records(skb: *mut __sk_buff, dir: &mut DirState, data: &mut Data, offset: u32, len: u32) -> Option<u32> {
    let cfg = config();
    let start = data.seq;
    let mut pos = 0u32;
    for _ in 0..MAX_STEPS {
        if pos >= len {
            return None;
        }
        let avail = len - pos;
        data.seq = start.wrapping_add(pos);
        if dir.rec_left > 0 {
            let mut take = min(dir.rec_left, avail);
            if dir.flags & DIR_COPY != 0 {
                take = min(take, MAX_CHUNK);
                data.wire_len = take;
                data.cap_len = take;
                emit::data_from_skb(skb, offset + pos, data);
                dir.used += take;
                if dir.used >= cfg.clear_total {
                    count(Counter::ClearCut);
                    dir.phase = phase::DONE;
                    return None;
                }
            }
            dir.rec_left -= take;
            pos += take;
            continue;
        }
        let mut header = dir.header;
        let mut have = dir.header_len;
        if have == 0 && avail >= RECORD_HEADER {
            header = header_at(skb, offset + pos)?;
            pos += RECORD_HEADER;
        } else {
            // A header over a segment boundary: byte by byte.
            for _ in 0..RECORD_HEADER {
                if have >= RECORD_HEADER || pos >= len {
                    break;
                }
                let b = load::<1>(skb, offset + pos)?[0];
                match have {
                    0 => header[0] = b,
                    1 => header[1] = b,
                    2 => header[2] = b,
                    3 => header[3] = b,
                    _ => header[4] = b,
                }
                have += 1;
                pos += 1;
            }
            dir.header = header;
            dir.header_len = have;
            if have < RECORD_HEADER {
                return None;
            }
        }
        data.seq = start.wrapping_add(pos).wrapping_sub(RECORD_HEADER);
        let Some(body) = record_length(header) else {
            // Bytes of the header that came in an earlier packet were not sent up yet.
            data.wire_len = RECORD_HEADER;
            data.cap_len = RECORD_HEADER;
            emit::record_header(data, header);
            data.seq = data.seq.wrapping_add(RECORD_HEADER);
            return Some(pos);
        };
        dir.header_len = 0;
        dir.rec_left = body;
        data.cap_len = RECORD_HEADER;
        if header[0] == APPLICATION_DATA {
            // The event stands for the whole record: its body never comes.
            data.wire_len = RECORD_HEADER + body;
            dir.flags &= !DIR_COPY;
            dir.encrypted += 1;
        } else {
            data.wire_len = RECORD_HEADER;
            dir.flags |= DIR_COPY;
        }
        emit::record_header(data, header);
        if u32::from(dir.encrypted) >= cfg.encrypted_records {
            count(Counter::EncryptedCut);
            dir.phase = phase::DONE;
            return None;
        }
    }
    if pos >= len {
        return None;
    }
    count(Counter::RecordsPerPacket);
    data.seq = start.wrapping_add(pos);
    Some(pos)
}
