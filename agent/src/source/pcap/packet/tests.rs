use std::net::Ipv6Addr;

use etherparse::PacketBuilder;
use pcap_parser::Linktype;

use super::*;
use agent_core::time::Timestamp;

const PAYLOAD: &[u8] = b"hello";

fn expected(encapsulation: Encapsulation) -> TcpSegment<'static> {
    TcpSegment {
        source: Endpoint::new([10, 0, 0, 1].into(), 1000),
        destination: Endpoint::new([10, 0, 0, 2].into(), 80),
        encapsulation,
        seq: SeqNumber(101),
        ack: Some(SeqNumber(501)),
        syn: false,
        fin: false,
        rst: false,
        wire_len: 5,
        payload: PAYLOAD,
    }
}

/// IPv4 and TCP around `hello`.
fn ipv4() -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1000, 80, 101, 1024)
        .ack(501)
        .write(&mut packet, PAYLOAD)
        .unwrap();
    packet
}

/// IPv4 with that protocol number around `payload`.
fn ipv4_around(protocol: IpNumber, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).write(&mut packet, protocol, payload).unwrap();
    packet
}

fn udp_around(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(5555, port)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], kind.to_be_bytes().as_slice(), payload].concat()
}

fn read(link: i32, data: &[u8]) -> (Option<TcpSegment<'_>>, Counters) {
    let mut counters = Counters::default();
    let packet = Packet { time: Timestamp(0), link: Linktype(link), data };
    (dissect(&packet, &mut counters), counters)
}

#[track_caller]
fn assert_reads(link: i32, data: &[u8]) {
    let (segment, counters) = read(link, data);
    assert_eq!(segment, Some(expected(Encapsulation::default())));
    assert_eq!(counters, Counters { packets: 1, segments: 1, ..Counters::default() });
}

/// The tunnel number that a packet is read with; everything else must be as expected.
#[track_caller]
fn tunnel_of(data: &[u8]) -> Encapsulation {
    let (segment, _) = read(101, data);
    let encapsulation = segment.unwrap().encapsulation;
    assert_eq!(segment, Some(expected(encapsulation)));
    encapsulation
}

#[test]
fn reads_raw_ip_under_all_its_numbers() {
    for link in [101, 12, 14, 228] {
        assert_reads(link, &ipv4());
    }
}

#[test]
fn reads_ethernet_with_any_number_of_vlan_tags() {
    assert_reads(1, &ethernet(0x0800, &ipv4()));
    let tagged = [&[0, 5, 0x08, 0x00], ipv4().as_slice()].concat();
    assert_reads(1, &ethernet(0x8100, &tagged));
    let twice = [&[0, 6, 0x81, 0x00], tagged.as_slice()].concat();
    assert_reads(1, &ethernet(0x88a8, &twice));
}

#[test]
fn ethernet_padding_is_not_payload() {
    let mut frame = ethernet(0x0800, &ipv4());
    frame.extend([0; 20]);
    assert_reads(1, &frame);
}

#[test]
fn reads_linux_cooked_captures() {
    let mut v1 = vec![0; 14];
    v1.extend([0x08, 0x00]);
    v1.extend(ipv4());
    assert_reads(113, &v1);
    let mut v2 = vec![0x08, 0x00];
    v2.extend([0; 18]);
    v2.extend(ipv4());
    assert_reads(276, &v2);
}

#[test]
fn reads_bsd_loopback_in_both_byte_orders() {
    for header in [[2, 0, 0, 0], [0, 0, 0, 2]] {
        assert_reads(0, &[&header, ipv4().as_slice()].concat());
    }
    assert_reads(108, &[&[0, 0, 0, 2], ipv4().as_slice()].concat());
}

#[test]
fn reads_ppp_and_pppoe() {
    assert_reads(9, &[&[0xff, 0x03, 0x00, 0x21], ipv4().as_slice()].concat());
    assert_reads(9, &[&[0x21], ipv4().as_slice()].concat());
    assert_reads(1, &ethernet(0x8864, &[&[0x11, 0, 0, 1, 0, 0, 0x00, 0x21], ipv4().as_slice()].concat()));
}

#[test]
fn reads_mpls() {
    let labels = [&[0, 1, 0, 64, 0, 2, 1, 64], ipv4().as_slice()].concat();
    assert_reads(1, &ethernet(0x8847, &labels));
    let data = ethernet(0x8847, &[0; 80]);
    let (segment, counters) = read(1, &data);
    assert_eq!((segment, counters.malformed_headers), (None, 1));
}

#[test]
fn ip_in_ip_needs_no_number() {
    assert_eq!(tunnel_of(&ipv4_around(IpNumber::IPV4, &ipv4())), Encapsulation::default());
}

#[test]
fn gre_is_told_apart_by_its_key() {
    let plain = tunnel_of(&ipv4_around(IpNumber::GRE, &[&[0, 0, 0x08, 0], ipv4().as_slice()].concat()));
    let keyed = |key: u8| {
        let header = [0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, key, 0, 0, 0, 9];
        tunnel_of(&ipv4_around(IpNumber::GRE, &[header.as_slice(), &ethernet(0x0800, &ipv4())].concat()))
    };
    assert_eq!(keyed(1), keyed(1));
    assert_ne!(keyed(1), keyed(2));
    assert_ne!(keyed(1), plain);
}

#[test]
fn vxlan_and_geneve_are_told_apart_by_their_network_number() {
    let frame = ethernet(0x0800, &ipv4());
    let vxlan = |port, vni: u8| {
        tunnel_of(&udp_around(port, &[&[8, 0, 0, 0, 0, 0, vni, 0], frame.as_slice()].concat()))
    };
    assert_eq!(vxlan(4789, 1), vxlan(8472, 1));
    assert_ne!(vxlan(4789, 1), vxlan(4789, 2));
    let geneve = |vni: u8| {
        let header = [1, 0, 0x65, 0x58, 0, 0, vni, 0, 1, 2, 3, 4];
        tunnel_of(&udp_around(6081, &[header.as_slice(), &frame].concat()))
    };
    assert_ne!(geneve(1), geneve(2));
    assert_ne!(geneve(1), vxlan(4789, 1));
}

#[test]
fn ports_of_tunnels_carry_other_things_too() {
    let data = udp_around(4789, &[0; 40]);
    let (segment, counters) = read(101, &data);
    assert_eq!((segment, counters.not_tcp), (None, 1));
}

#[test]
fn reads_ipv6_with_extension_headers() {
    let mut tcp = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1000, 80, 7, 1024).syn().write(&mut tcp, b"").unwrap();
    // Hop-by-hop (to destination options), destination options (to an atomic fragment, RFC 6946), fragment (to TCP).
    let extensions = [60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 1];
    let mut packet = tcp[..40].to_vec();
    packet[6] = 0;
    let length = u16::try_from(tcp.len() - 40 + extensions.len()).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet.extend(extensions);
    packet.extend(&tcp[40..]);
    let (segment, counters) = read(229, &packet);
    let segment = segment.unwrap();
    assert_eq!(segment.source, Endpoint::new(Ipv6Addr::from([1; 16]).into(), 1000));
    assert!(segment.syn && segment.ack.is_none());
    assert_eq!(counters.segments, 1);
    packet[40 + 16 + 3] = 1;
    let (segment, counters) = read(229, &packet);
    assert_eq!((segment, counters.fragments), (None, 1));
}

#[test]
fn steps_over_an_authentication_header() {
    let tcp = &ipv4()[20..];
    let header = [6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let data = ipv4_around(IpNumber::AUTHENTICATION_HEADER, &[&header, tcp].concat());
    let (segment, _) = read(101, &data);
    assert_eq!(segment.unwrap().payload, PAYLOAD);
}

#[test]
fn fragments_are_counted() {
    let mut packet = ipv4();
    packet[6] = 0x20;
    let (segment, counters) = read(101, &packet);
    assert_eq!((segment, counters.fragments), (None, 1));
}

#[test]
fn length_zero_means_not_filled_in_yet() {
    let mut packet = ipv4();
    packet[2..4].copy_from_slice(&[0, 0]);
    assert_reads(101, &packet);
}

#[test]
fn payload_cut_by_the_snap_length_keeps_its_length_on_the_wire() {
    let packet = ipv4();
    let (segment, counters) = read(101, &packet[..packet.len() - 3]);
    let segment = segment.unwrap();
    assert_eq!((segment.payload, segment.wire_len, counters.cut_payloads), (b"he".as_slice(), 5, 1));
}

#[test]
fn every_cut_of_a_packet_is_counted_as_something() {
    let frame = ethernet(
        0x0800,
        &udp_around(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0], ethernet(0x0800, &ipv4()).as_slice()].concat()),
    );
    for length in 0..frame.len() {
        let (_, c) = read(1, &frame[..length]);
        assert_eq!(c.segments + c.not_tcp + c.cut_headers + c.malformed_headers, 1, "{length}: {c:?}");
        assert_eq!(c.malformed_headers, 0, "{length}: {c:?}");
    }
}

#[test]
fn tunnels_without_end_are_given_up() {
    let mut packet = ipv4();
    for _ in 0..40 {
        packet = ipv4_around(IpNumber::IPV4, &packet);
    }
    let (segment, counters) = read(101, &packet);
    assert_eq!((segment, counters.too_deep), (None, 1));
}

#[test]
fn unknown_link_type_is_remembered() {
    let data = ipv4();
    let (segment, counters) = read(147, &data);
    assert_eq!((segment, counters.unknown_link_type, counters.last_unknown_link_type), (None, 1, Some(147)));
    assert_eq!(counters.notes(), ["1 packets of a link type that is not supported (such as 147)"]);
}
