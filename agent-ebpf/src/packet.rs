//! IP and TCP headers of a packet in a cgroup_skb program, which starts at the network header.

use agent_common::Tuple;
use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};

const IPPROTO_TCP: u8 = 6;
const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_DSTOPTS: u8 = 60;
const TCP_SYN: u8 = 0x02;
/// Extension headers that are followed (RFC 8200 section 4.1 has three kinds that may precede TCP, one of them twice).
const MAX_EXTENSIONS: usize = 4;

/// What the walk needs of a TCP segment.
pub struct Segment {
    /// Offset of the payload in the packet.
    pub offset: u32,
    /// Payload length in bytes.
    pub len: u32,
    /// Sequence number of the first payload byte.
    pub seq: u32,
    /// The segment has SYN set.
    pub syn: bool,
    /// Source address, IPv4-mapped where IPv4.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

impl Segment {
    /// Ends as the receiver sees them.
    #[inline(always)]
    pub fn tuple_of_receiver(&self) -> Tuple {
        Tuple {
            local_addr: self.destination,
            peer_addr: self.source,
            local_port: self.destination_port,
            peer_port: self.source_port,
        }
    }

    /// Ends as the sender sees them.
    #[inline(always)]
    pub fn tuple_of_sender(&self) -> Tuple {
        Tuple {
            local_addr: self.source,
            peer_addr: self.destination,
            local_port: self.source_port,
            peer_port: self.destination_port,
        }
    }
}

/// Copies `N` bytes out of the packet.
#[inline(always)]
pub fn load<const N: usize>(skb: *mut __sk_buff, offset: u32) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    // SAFETY: the destination is N bytes on the stack; the helper checks the packet's bounds.
    let ret = unsafe { bpf_skb_load_bytes(skb.cast(), offset, bytes.as_mut_ptr().cast(), N as u32) };
    (ret == 0).then_some(bytes)
}

/// Reads the headers. `None`: not TCP, or not readable.
#[inline(always)]
pub fn parse(skb: *mut __sk_buff) -> Option<Segment> {
    let first = load::<1>(skb, 0)?[0];
    let mut source = [0u8; 16];
    let mut destination = [0u8; 16];
    let tcp = if first >> 4 == 4 {
        let ip = load::<20>(skb, 0)?;
        // A fragment other than the first has no TCP header (RFC 791 section 3.1).
        if ip[9] != IPPROTO_TCP || (u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff) != 0 {
            return None;
        }
        source[10] = 0xff;
        source[11] = 0xff;
        source[12] = ip[12];
        source[13] = ip[13];
        source[14] = ip[14];
        source[15] = ip[15];
        destination[10] = 0xff;
        destination[11] = 0xff;
        destination[12] = ip[16];
        destination[13] = ip[17];
        destination[14] = ip[18];
        destination[15] = ip[19];
        u32::from(first & 0x0f) * 4
    } else if first >> 4 == 6 {
        source = load::<16>(skb, 8)?;
        destination = load::<16>(skb, 24)?;
        let mut next = load::<1>(skb, 6)?[0];
        let mut offset = 40u32;
        for _ in 0..MAX_EXTENSIONS {
            if next == IPPROTO_TCP {
                break;
            }
            if next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS {
                return None;
            }
            let ext = load::<2>(skb, offset)?;
            next = ext[0];
            offset += (u32::from(ext[1]) + 1) * 8;
        }
        if next != IPPROTO_TCP {
            return None;
        }
        offset
    } else {
        return None;
    };
    let header = load::<14>(skb, tcp)?;
    let offset = tcp + u32::from(header[12] >> 4) * 4;
    // SAFETY: `len` is a field of the program's context.
    let total = unsafe { (*skb).len };
    let syn = header[13] & TCP_SYN != 0;
    let seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    Some(Segment {
        offset,
        len: total.saturating_sub(offset),
        // A SYN takes one number, data in it (RFC 7413) starts behind.
        seq: if syn { seq.wrapping_add(1) } else { seq },
        syn,

        source,
        destination,
        source_port: u16::from_be_bytes([header[0], header[1]]),
        destination_port: u16::from_be_bytes([header[2], header[3]]),
    })
}
