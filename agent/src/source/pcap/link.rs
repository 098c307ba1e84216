//! Link layers: from the first byte of a captured packet to the network layer.

use pcap_parser::Linktype;

/// What a header says about what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// An Ethernet frame.
    Ethernet(&'a [u8]),
    /// What an EtherType says.
    EtherType(u16, &'a [u8]),
    /// What a PPP protocol number says.
    Ppp(u16, &'a [u8]),
    /// IPv4 or IPv6, by its version nibble.
    Ip(&'a [u8]),
    /// An MPLS label stack.
    Mpls(&'a [u8]),
    /// Something else that is in order and not TCP.
    Other,
    /// The packet ends inside this header.
    Cut,
    /// The header cannot be.
    Malformed,
}

/// Ethernet frame as payload of a tunnel (RFC 7676: transparent Ethernet bridging).
pub(super) const ETHERTYPE_BRIDGED: u16 = 0x6558;

// Link types of the pcap formats that `pcap_parser::Linktype` has no name for.
const PPP: i32 = 9;
/// BSD's and OpenBSD's numbers for raw IP, which some programs write as they are.
const RAW_BSD: i32 = 12;
const RAW_OPENBSD: i32 = 14;
const PPP_HDLC: i32 = 50;

/// The first header of a packet; `None` for a link type that is not read.
pub(super) fn first_header(link: Linktype, data: &[u8]) -> Option<Next<'_>> {
    Some(match link {
        Linktype::ETHERNET => Next::Ethernet(data),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | Linktype(RAW_BSD | RAW_OPENBSD) => Next::Ip(data),
        Linktype::NULL => null(data, false),
        Linktype::LOOP => null(data, true),
        Linktype::LINUX_SLL => linux_cooked(data),
        Linktype::LINUX_SLL2 => linux_cooked_v2(data),
        Linktype(PPP | PPP_HDLC) => ppp(data),
        _ => return None,
    })
}

/// BSD loopback: the address family, in the byte order of the capturing host (NULL) or of the network (LOOP).
fn null(data: &[u8], network_order: bool) -> Next<'_> {
    let Some((family, rest)) = data.split_first_chunk::<4>() else { return Next::Cut };
    let big = u32::from_be_bytes(*family);
    // A family is a small number: only one byte order makes it one.
    let family = if network_order || big < 0x1_0000 { big } else { u32::from_le_bytes(*family) };
    match family {
        // AF_INET; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS.
        2 | 10 | 24 | 28 | 30 => Next::Ip(rest),
        _ => Next::Other,
    }
}

fn linux_cooked(data: &[u8]) -> Next<'_> {
    match data.split_first_chunk::<16>() {
        Some((header, rest)) => Next::EtherType(u16::from_be_bytes([header[14], header[15]]), rest),
        None => Next::Cut,
    }
}

fn linux_cooked_v2(data: &[u8]) -> Next<'_> {
    match data.split_first_chunk::<20>() {
        Some((header, rest)) => Next::EtherType(u16::from_be_bytes([header[0], header[1]]), rest),
        None => Next::Cut,
    }
}

pub(super) fn ethernet(data: &[u8]) -> Next<'_> {
    match data.split_first_chunk::<14>() {
        Some((header, rest)) => Next::EtherType(u16::from_be_bytes([header[12], header[13]]), rest),
        None => Next::Cut,
    }
}

/// What an EtherType announces.
pub(super) fn ether_type(kind: u16, data: &[u8]) -> Next<'_> {
    match kind {
        0x0800 | 0x86dd => Next::Ip(data),
        // 802.1Q, 802.1ad, and the numbers used before it for the outer tag.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => match data.split_first_chunk::<4>() {
            Some((tag, rest)) => Next::EtherType(u16::from_be_bytes([tag[2], tag[3]]), rest),
            None => Next::Cut,
        },
        0x8847 | 0x8848 => Next::Mpls(data),
        // PPPoE session stage (RFC 2516).
        0x8864 => match data.split_first_chunk::<8>() {
            Some((header, rest)) => Next::Ppp(u16::from_be_bytes([header[6], header[7]]), rest),
            None => Next::Cut,
        },
        ETHERTYPE_BRIDGED => Next::Ethernet(data),
        _ => Next::Other,
    }
}

fn ppp(data: &[u8]) -> Next<'_> {
    // HDLC-like framing (RFC 1662) puts address and control first; both may be compressed away.
    let data = match data {
        [0xff, 0x03, rest @ ..] => rest,
        _ => data,
    };
    match data {
        // Protocol field compression: an odd first byte is the whole number.
        [protocol, rest @ ..] if protocol & 1 == 1 => Next::Ppp(u16::from(*protocol), rest),
        [high, low, rest @ ..] => Next::Ppp(u16::from_be_bytes([*high, *low]), rest),
        _ => Next::Cut,
    }
}

pub(super) fn ppp_protocol(protocol: u16, data: &[u8]) -> Next<'_> {
    match protocol {
        0x0021 | 0x0057 => Next::Ip(data),
        0x0281 | 0x0283 => Next::Mpls(data),
        _ => Next::Other,
    }
}

/// MPLS labels down to the bottom of the stack (RFC 3032). What follows is not announced; IP is told by its first nibble,
/// an Ethernet frame by the control word that hides it from that guess (RFC 4385 section 3) is not looked into.
pub(super) fn mpls(mut data: &[u8]) -> Next<'_> {
    for _ in 0..16 {
        let Some((label, rest)) = data.split_first_chunk::<4>() else { return Next::Cut };
        data = rest;
        if label[2] & 1 == 1 {
            return match data.first().map(|b| b >> 4) {
                Some(4 | 6) => Next::Ip(data),
                Some(_) => Next::Other,
                None => Next::Cut,
            };
        }
    }
    Next::Malformed
}
