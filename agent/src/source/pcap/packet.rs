//! From a captured packet to a TCP segment.

use std::net::IpAddr;

use agent_core::net::{Endpoint, SeqNumber};
use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, TcpHeaderSlice, ip_number,
};

use super::counters::Counters;
use super::file::Packet;
use super::link::{self, Next};
use super::tunnel::{self, Encapsulation};

/// Most headers looked into before TCP; real packets have fewer than ten, tunnels included.
const MAX_HEADERS: usize = 32;

/// One TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSegment<'a> {
    /// Who sent it.
    pub source: Endpoint,
    /// Who it was sent to.
    pub destination: Endpoint,
    /// The tunnels around it.
    pub encapsulation: Encapsulation,
    /// Sequence number.
    pub seq: SeqNumber,
    /// Acknowledgment number, when the segment has one.
    pub ack: Option<SeqNumber>,
    /// SYN flag.
    pub syn: bool,
    /// FIN flag.
    pub fin: bool,
    /// RST flag.
    pub rst: bool,
    /// Payload length on the wire.
    pub wire_len: u32,
    /// The payload that was captured.
    pub payload: &'a [u8],
}

/// What there is below the network layer's header.
struct Transport<'a> {
    protocol: IpNumber,
    source: IpAddr,
    destination: IpAddr,
    payload: &'a [u8],
    /// Bytes of the payload that were on the wire and not captured.
    missing: u32,
}

/// Why a packet gives no segment.
enum Nothing {
    NotTcp,
    Fragment,
    Malformed,
    Cut,
}

/// The TCP segment in a packet; what is in the way is counted.
pub fn dissect<'a>(packet: &Packet<'a>, counters: &mut Counters) -> Option<TcpSegment<'a>> {
    counters.packets += 1;
    let Some(mut next) = link::first_header(packet.link, packet.data) else {
        counters.unknown_link_type += 1;
        counters.last_unknown_link_type = Some(packet.link.0);
        return None;
    };
    let mut encapsulation = Encapsulation::default();
    for _ in 0..MAX_HEADERS {
        next = match next {
            Next::Ethernet(data) => link::ethernet(data),
            Next::EtherType(kind, data) => link::ether_type(kind, data),
            Next::Ppp(protocol, data) => link::ppp_protocol(protocol, data),
            Next::Mpls(data) => link::mpls(data),
            Next::Ip(data) => {
                let found = match ip(data) {
                    Ok(transport) => match transport.protocol {
                        ip_number::TCP => return finish(tcp(&transport, encapsulation), counters),
                        ip_number::IPV4 | ip_number::IPV6 => (Next::Ip(transport.payload), encapsulation),
                        ip_number::GRE => tunnel::gre(transport.payload, encapsulation),
                        ip_number::UDP => tunnel::udp(transport.payload, encapsulation),
                        ip_number::MPLS_IN_IP => (Next::Mpls(transport.payload), encapsulation),
                        _ => return finish(Err(Nothing::NotTcp), counters),
                    },
                    Err(nothing) => return finish(Err(nothing), counters),
                };
                encapsulation = found.1;
                found.0
            }
            Next::Other => return finish(Err(Nothing::NotTcp), counters),
            Next::Cut => return finish(Err(Nothing::Cut), counters),
            Next::Malformed => return finish(Err(Nothing::Malformed), counters),
        };
    }
    counters.too_deep += 1;
    None
}

fn finish<'a>(result: Result<TcpSegment<'a>, Nothing>, counters: &mut Counters) -> Option<TcpSegment<'a>> {
    match result {
        Ok(segment) => {
            counters.segments += 1;
            counters.cut_payloads += u64::from((segment.payload.len() as u64) < u64::from(segment.wire_len));
            return Some(segment);
        }
        Err(Nothing::NotTcp) => counters.not_tcp += 1,
        Err(Nothing::Fragment) => counters.fragments += 1,
        Err(Nothing::Malformed) => counters.malformed_headers += 1,
        Err(Nothing::Cut) => counters.cut_headers += 1,
    }
    None
}

fn ip(data: &[u8]) -> Result<Transport<'_>, Nothing> {
    match data.first().map(|b| b >> 4) {
        Some(4) => ipv4(data),
        Some(6) => ipv6(data),
        Some(_) => Err(Nothing::Malformed),
        None => Err(Nothing::Cut),
    }
}

fn ipv4(data: &[u8]) -> Result<Transport<'_>, Nothing> {
    use etherparse::err::ipv4::HeaderSliceError;
    let header = Ipv4HeaderSlice::from_slice(data).map_err(|e| match e {
        HeaderSliceError::Len(_) => Nothing::Cut,
        HeaderSliceError::Content(_) => Nothing::Malformed,
    })?;
    if header.is_fragmenting_payload() {
        return Err(Nothing::Fragment);
    }
    let header_len = header.slice().len();
    let captured = data.get(header_len..).unwrap_or_default();
    let (payload, missing) = match usize::from(header.total_len()) {
        // Segmentation offload: the kernel hands over packets whose length it has not filled in yet.
        0 => (captured, 0),
        total => trim(captured, total.checked_sub(header_len).ok_or(Nothing::Malformed)?),
    };
    authenticated(Transport {
        protocol: header.protocol(),
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        payload,
        missing,
    })
}

fn ipv6(data: &[u8]) -> Result<Transport<'_>, Nothing> {
    use etherparse::err::ipv6::HeaderSliceError;
    let header = Ipv6HeaderSlice::from_slice(data).map_err(|e| match e {
        HeaderSliceError::Len(_) => Nothing::Cut,
        HeaderSliceError::Content(_) => Nothing::Malformed,
    })?;
    let captured = data.get(header.slice().len()..).unwrap_or_default();
    let (mut payload, missing) = match usize::from(header.payload_length()) {
        // Segmentation offload, or a jumbogram (RFC 2675): the capture tells how long it is.
        0 => (captured, 0),
        length => trim(captured, length),
    };
    let mut protocol = header.next_header();
    for _ in 0..MAX_HEADERS {
        let length = match protocol {
            ip_number::IPV6_HEADER_HOP_BY_HOP
            | ip_number::IPV6_ROUTE_HEADER
            | ip_number::IPV6_DESTINATION_OPTIONS
            | ip_number::MOBILITY_HEADER
            | ip_number::HIP
            | ip_number::SHIM6 => {
                let header = Ipv6RawExtHeaderSlice::from_slice(payload).map_err(|_| Nothing::Cut)?;
                protocol = header.next_header();
                header.slice().len()
            }
            ip_number::IPV6_FRAGMENTATION_HEADER => {
                let header = Ipv6FragmentHeaderSlice::from_slice(payload).map_err(|_| Nothing::Cut)?;
                if header.is_fragmenting_payload() {
                    return Err(Nothing::Fragment);
                }
                protocol = header.next_header();
                header.slice().len()
            }
            _ => {
                return authenticated(Transport {
                    protocol,
                    source: header.source_addr().into(),
                    destination: header.destination_addr().into(),
                    payload,
                    missing,
                });
            }
        };
        payload = payload.get(length..).unwrap_or_default();
    }
    Err(Nothing::Malformed)
}

/// Steps over an IPsec authentication header (RFC 4302); encrypted payloads (ESP) end the search by their number.
fn authenticated(mut transport: Transport<'_>) -> Result<Transport<'_>, Nothing> {
    use etherparse::err::ip_auth::HeaderSliceError;
    if transport.protocol != ip_number::AUTHENTICATION_HEADER {
        return Ok(transport);
    }
    let header = IpAuthHeaderSlice::from_slice(transport.payload).map_err(|e| match e {
        HeaderSliceError::Len(_) => Nothing::Cut,
        HeaderSliceError::Content(_) => Nothing::Malformed,
    })?;
    transport.protocol = header.next_header();
    transport.payload = transport.payload.get(header.slice().len()..).unwrap_or_default();
    Ok(transport)
}

/// Cuts link-layer padding off, or tells how much was not captured.
fn trim(captured: &[u8], length: usize) -> (&[u8], u32) {
    match captured.get(..length) {
        Some(exact) => (exact, 0),
        None => (captured, u32::try_from(length - captured.len()).unwrap_or(u32::MAX)),
    }
}

fn tcp<'a>(transport: &Transport<'a>, encapsulation: Encapsulation) -> Result<TcpSegment<'a>, Nothing> {
    use etherparse::err::tcp::HeaderSliceError;
    let header = TcpHeaderSlice::from_slice(transport.payload).map_err(|e| match e {
        HeaderSliceError::Len(_) if transport.missing > 0 => Nothing::Cut,
        HeaderSliceError::Len(_) | HeaderSliceError::Content(_) => Nothing::Malformed,
    })?;
    let payload = transport.payload.get(header.slice().len()..).unwrap_or_default();
    let captured = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    Ok(TcpSegment {
        source: Endpoint::new(transport.source, header.source_port()),
        destination: Endpoint::new(transport.destination, header.destination_port()),
        encapsulation,
        seq: SeqNumber(header.sequence_number()),
        ack: header.ack().then(|| SeqNumber(header.acknowledgment_number())),
        syn: header.syn(),
        fin: header.fin(),
        rst: header.rst(),
        wire_len: captured.saturating_add(transport.missing),
        payload,
    })
}

#[cfg(test)]
mod tests;
