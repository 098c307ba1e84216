//! Questions to the kernel's table of connections, and its answers (`nf_conntrack_netlink`, nfnetlink_conntrack.h).

use std::io;
use std::net::IpAddr;

use agent_core::net::Endpoint;
use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};

/// `IPCTNL_MSG_CT_GET_STATS`: numbers about the whole table.
const GET_STATS: u8 = 5;
/// `CTA_STATS_GLOBAL_ENTRIES`: how many connections it has, a big-endian 32-bit number.
const GLOBAL_ENTRIES: u16 = 1;
/// `nlmsghdr`.
const HEADER: usize = 16;
/// `NLMSG_MIN_TYPE`: below it are messages of netlink itself, such as errors.
const OWN_TYPES: u16 = 16;
/// `NFNL_SUBSYS_CTNETLINK`, the upper byte of the type of everything that is said of connections.
const CONNTRACK: u16 = 1;
/// ENOENT: there is no such connection.
const NO_ENTRY: i32 = 2;

/// Where the packets of one direction come from and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::enrich) struct Flow {
    pub(in crate::enrich) from: Endpoint,
    pub(in crate::enrich) to: Endpoint,
}

impl Flow {
    pub(super) fn reverse(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

/// A connection of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Packets of the client, before anything is translated.
    pub(super) original: Flow,
    /// Packets of the server, before anything is translated back.
    pub(super) reply: Flow,
}

/// What the kernel said.
#[derive(Debug)]
pub(super) enum Answer {
    /// This connection.
    Entry(Entry),
    /// So many connections are in the table.
    Count(u32),
    /// There is no such connection.
    None,
    /// It refused, or said something that is not understood.
    Refused(io::Error),
}

/// Asks for the connection that has a direction like this, whichever of the two.
pub(super) fn get(flow: Flow, sequence: u32) -> Vec<u8> {
    let family = match flow.from.addr {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    };
    let tuple = vec![
        Tuple::Ip(vec![IPTuple::SourceAddress(flow.from.addr), IPTuple::DestinationAddress(flow.to.addr)]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(Protocol::Tcp),
            ProtoTuple::SourcePort(flow.from.port),
            ProtoTuple::DestinationPort(flow.to.port),
        ]),
    ];
    request(family, ConntrackMessage::Get(vec![ConntrackAttribute::CtaTupleOrig(tuple)]), sequence)
}

/// Asks how many connections there are.
pub(super) fn count(sequence: u32) -> Vec<u8> {
    let message = ConntrackMessage::Other { message_type: GET_STATS, attributes: Vec::new() };
    request(NetfilterProtoFamily::Unspec, message, sequence)
}

fn request(family: NetfilterProtoFamily, message: ConntrackMessage, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = sequence;
    let message = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads an answer; `None` where it belongs to another question.
pub(super) fn answer(bytes: &[u8], sequence: u32) -> Option<Answer> {
    let unreadable = |what: String| Answer::Refused(io::Error::new(io::ErrorKind::InvalidData, what));
    let Some(kind) = bytes.first_chunk::<HEADER>().map(|header| u16::from_ne_bytes([header[4], header[5]]))
    else {
        return Some(unreadable(format!("an answer of {} bytes", bytes.len())));
    };
    // Nothing else is asked for, and not everything else can be read without harm: of attributes of nftables the lengths are
    // taken at their word.
    if kind >= OWN_TYPES && kind >> 8 != CONNTRACK {
        return Some(unreadable(format!("an answer of type {kind}")));
    }
    let message = match NetlinkMessage::<NetfilterMessage>::deserialize(bytes) {
        Ok(message) => message,
        Err(e) => return Some(unreadable(e.to_string())),
    };
    if message.header.sequence_number != sequence {
        return None;
    }
    Some(match message.payload {
        NetlinkPayload::Error(e) => match e.code.map(|code| code.get()) {
            Some(code) if code == -NO_ENTRY => Answer::None,
            // Negative, and any number: the least of all has no opposite.
            Some(code) => Answer::Refused(io::Error::from_raw_os_error(code.saturating_neg())),
            None => unreadable("an acknowledgement, for which nobody asked".to_owned()),
        },
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::Conntrack(message),
            ..
        }) => match message {
            ConntrackMessage::New(attributes) => match entry(&attributes) {
                Some(entry) => Answer::Entry(entry),
                None => unreadable("a connection without both directions".to_owned()),
            },
            ConntrackMessage::Other { attributes, .. } => match attributes.iter().find_map(entries) {
                Some(entries) => Answer::Count(entries),
                None => unreadable("no number of connections".to_owned()),
            },
            _ => unreadable("an answer to nothing that was asked".to_owned()),
        },
        _ => unreadable("an answer to nothing that was asked".to_owned()),
    })
}

fn entry(attributes: &[ConntrackAttribute]) -> Option<Entry> {
    let original = attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleOrig(tuple) => flow(tuple),
        _ => None,
    });
    let reply = attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleReply(tuple) => flow(tuple),
        _ => None,
    });
    Some(Entry { original: original?, reply: reply? })
}

fn flow(tuple: &[Tuple]) -> Option<Flow> {
    let (mut from, mut to, mut ports, mut is_tcp) = (None, None, (None, None), false);
    for part in tuple {
        match part {
            Tuple::Ip(addresses) => {
                for address in addresses {
                    match address {
                        IPTuple::SourceAddress(ip) => from = Some(*ip),
                        IPTuple::DestinationAddress(ip) => to = Some(*ip),
                        _ => {}
                    }
                }
            }
            Tuple::Proto(numbers) => {
                for number in numbers {
                    match number {
                        ProtoTuple::Protocol(protocol) => is_tcp = *protocol == Protocol::Tcp,
                        ProtoTuple::SourcePort(port) => ports.0 = Some(*port),
                        ProtoTuple::DestinationPort(port) => ports.1 = Some(*port),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let flow = Flow { from: Endpoint::new(from?, ports.0?), to: Endpoint::new(to?, ports.1?) };
    is_tcp.then_some(flow)
}

fn entries(attribute: &DefaultNla) -> Option<u32> {
    if attribute.kind() != GLOBAL_ENTRIES || attribute.value_len() != 4 {
        return None;
    }
    let mut value = [0; 4];
    attribute.emit_value(&mut value);
    Some(u32::from_be_bytes(value))
}
