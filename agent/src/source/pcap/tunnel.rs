//! Tunnels: GRE, VXLAN and GENEVE.

use super::link::{ETHERTYPE_BRIDGED, Next};

/// UDP ports of VXLAN: IANA's, and the one Linux used before there was one.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
const GENEVE_PORT: u16 = 6081;

/// Tells apart equal addresses in different tunnels. Both directions of a tunnel have the same number, whatever the
/// outer addresses: it is made of the tunnels' kinds and of the network numbers that they carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Encapsulation(pub u64);

#[derive(Clone, Copy)]
enum Kind {
    Gre = 1,
    Vxlan = 2,
    Geneve = 3,
}

impl Encapsulation {
    fn inside(self, kind: Kind, id: u32) -> Self {
        // FNV-1a over the bytes: only equality matters.
        let mut hash = self.0 ^ 0xcbf2_9ce4_8422_2325;
        for byte in id.to_be_bytes().into_iter().chain([kind as u8]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(hash)
    }
}

/// GRE (RFC 2784) with key and sequence number (RFC 2890). The enhanced GRE of PPTP is version 1.
pub(super) fn gre(data: &[u8], outer: Encapsulation) -> (Next<'_>, Encapsulation) {
    let Some((header, mut rest)) = data.split_first_chunk::<4>() else { return (Next::Cut, outer) };
    let flags = u16::from_be_bytes([header[0], header[1]]);
    let protocol = u16::from_be_bytes([header[2], header[3]]);
    if flags & 0x0007 != 0 {
        return (Next::Other, outer);
    }
    // The source routing of RFC 1701.
    if flags & 0x4000 != 0 {
        return (Next::Malformed, outer);
    }
    let mut key = 0;
    for (bit, is_key) in [(0x8000, false), (0x2000, true), (0x1000, false)] {
        if flags & bit != 0 {
            let Some((field, after)) = rest.split_first_chunk::<4>() else { return (Next::Cut, outer) };
            if is_key {
                key = u32::from_be_bytes(*field);
            }
            rest = after;
        }
    }
    (Next::EtherType(protocol, rest), outer.inside(Kind::Gre, key))
}

/// The tunnels over UDP, by destination port.
pub(super) fn udp(data: &[u8], outer: Encapsulation) -> (Next<'_>, Encapsulation) {
    let Some((header, rest)) = data.split_first_chunk::<8>() else { return (Next::Other, outer) };
    let port = u16::from_be_bytes([header[2], header[3]]);
    if VXLAN_PORTS.contains(&port) {
        return vxlan(rest, outer);
    }
    if port == GENEVE_PORT {
        return geneve(rest, outer);
    }
    (Next::Other, outer)
}

/// VXLAN (RFC 7348 section 5). Without its I flag it is something else on the same port.
fn vxlan(data: &[u8], outer: Encapsulation) -> (Next<'_>, Encapsulation) {
    match data.split_first_chunk::<8>() {
        Some((h, rest)) if h[0] & 0x08 != 0 => {
            (Next::Ethernet(rest), outer.inside(Kind::Vxlan, u32::from_be_bytes([0, h[4], h[5], h[6]])))
        }
        Some(_) => (Next::Other, outer),
        None => (Next::Cut, outer),
    }
}

/// GENEVE (RFC 8926 section 3.4).
fn geneve(data: &[u8], outer: Encapsulation) -> (Next<'_>, Encapsulation) {
    let Some((h, rest)) = data.split_first_chunk::<8>() else { return (Next::Cut, outer) };
    if h[0] >> 6 != 0 {
        return (Next::Other, outer);
    }
    let Some((_, rest)) = rest.split_at_checked(usize::from(h[0] & 0x3f) * 4) else {
        return (Next::Cut, outer);
    };
    let inner = outer.inside(Kind::Geneve, u32::from_be_bytes([0, h[4], h[5], h[6]]));
    match u16::from_be_bytes([h[2], h[3]]) {
        ETHERTYPE_BRIDGED => (Next::Ethernet(rest), inner),
        protocol => (Next::EtherType(protocol, rest), inner),
    }
}
