//! From what the BPF programs emit to the core's events.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use agent_common::read::KernelEvent;
use agent_common::{
    CERTIFICATES_CUT, CERTIFICATES_HAVE_EXTENSIONS, CERTIFICATES_HAVE_RANDOM, CLOSE_HAS_BYTES,
    CertificatesEvent, CloseEvent, INGRESS, OpenEvent, Tuple, kind, library, peer, tcp_state,
};
use agent_core::event::{
    Bytes, CloseKind, Closed, EarlierRead, Established, Event, Opened, Origin, PeerCertificates, Process,
    Segment, TlsLibrary,
};
use agent_core::net::{ConnId, Direction, Endpoint, FiveTuple, SeqNumber, Side};
use quick_cache::unsync::Cache;

use super::process::Processes;

/// Listeners whose process is kept; of others, the first reader of a connection tells.
const LISTENERS: usize = 16_384;

/// What decoding needs to remember.
pub(super) struct Decoder {
    processes: Processes,
    listeners: Cache<u64, Arc<Process>>,
    /// Connections that were listed at start: their first packet is no news.
    listed: HashMap<u64, ()>,
    /// What `sock_diag` said of connections whose first packet is on its way through the ring buffer.
    announced: HashMap<u64, (Option<Side>, Option<Arc<Process>>)>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            processes: Processes::new(),
            listeners: Cache::new(LISTENERS),
            listed: HashMap::new(),
            announced: HashMap::new(),
        }
    }

    /// A listener, and who owns it.
    pub(super) fn listener(&mut self, cookie: u64, process: Arc<Process>) {
        self.listeners.insert(cookie, process);
    }

    /// A connection that the kernel side observes already was listed too: made since the programs were attached, which the
    /// ring buffer tells better, or older and sending, of which it knows the ends only.
    pub(super) fn announce(&mut self, conn: ConnId, local_side: Option<Side>, process: Option<Arc<Process>>) {
        self.announced.insert(conn.0, (local_side, process));
    }

    /// Every announced connection has been told of by now.
    pub(super) fn forget_announced(&mut self) {
        self.announced = HashMap::new();
    }

    /// A connection was listed at start.
    pub(super) fn listed(&mut self, conn: ConnId) {
        self.listed.insert(conn.0, ());
    }

    /// Connections listed at start that are not known to be over.
    pub(super) fn still_listed(&self) -> impl Iterator<Item = ConnId> {
        self.listed.keys().map(|cookie| ConnId(*cookie))
    }

    /// A listed connection is over.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.listed.remove(&conn.0);
    }

    /// Hands the events that a kernel event means to `emit`.
    ///
    /// # Errors
    /// What `emit` returns.
    pub(super) fn decode<E>(
        &mut self,
        event: KernelEvent<'_>,
        mut emit: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match event {
            KernelEvent::Open(e) => self.open(&e, emit),
            KernelEvent::Established(e) => emit(Event::Established(Established {
                conn: ConnId(e.header.cookie),
                egress_start: SeqNumber(e.egress_start),
                ingress_start: SeqNumber(e.ingress_start),
            })),
            KernelEvent::Data(e, payload) => emit(Event::Segment(Segment {
                conn: ConnId(e.header.cookie),
                direction: if e.direction == INGRESS { Direction::Ingress } else { Direction::Egress },
                seq: SeqNumber(e.seq),
                wire_len: e.wire_len,
                payload,
            })),
            KernelEvent::Close(e) => {
                self.listed.remove(&e.header.cookie);
                emit(Event::Closed(closed(&e)))
            }
            KernelEvent::Owner(e) => match self.processes.of_task(&e.task) {
                Some(process) => emit(Event::Owner { conn: ConnId(e.header.cookie), process }),
                None => Ok(()),
            },
            KernelEvent::Certificates(e, entries) => match self.certificates(&e, entries) {
                Some(certificates) => emit(Event::PeerCertificates(certificates)),
                None => Ok(()),
            },
        }
    }

    /// `None` for a library that this agent does not know, or a process that has no name.
    fn certificates<'a>(&mut self, e: &CertificatesEvent, entries: &'a [u8]) -> Option<PeerCertificates<'a>> {
        let library = match e.library {
            library::OPENSSL => TlsLibrary::OpenSsl,
            library::GNUTLS => TlsLibrary::GnuTls,
            library::GO => TlsLibrary::Go,
            _ => return None,
        };
        Some(PeerCertificates {
            process: self.processes.of_task(&e.task)?,
            library,
            peer: match e.peer {
                peer::SERVER => Some(Side::Server),
                peer::CLIENT => Some(Side::Client),
                _ => None,
            },
            last_read: (e.header.cookie != 0).then_some(ConnId(e.header.cookie)),
            read_before: (e.earlier != 0).then(|| EarlierRead {
                conn: ConnId(e.earlier),
                ago: Duration::from_nanos(e.header.time.saturating_sub(e.earlier_time)),
            }),
            client_random: (e.flags & CERTIFICATES_HAVE_RANDOM != 0).then_some(e.client_random),
            list_len: (e.list_len != 0).then_some(e.list_len),
            entries,
            has_extensions: e.flags & CERTIFICATES_HAVE_EXTENSIONS != 0,
            is_cut: e.flags & CERTIFICATES_CUT != 0,
        })
    }

    fn open<E>(&mut self, e: &OpenEvent, mut emit: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let cookie = e.header.cookie;
        let caller = self.processes.of_task(&e.task);
        let (local_side, origin, process) = match e.header.kind {
            kind::LISTEN => {
                if let Some(process) = caller {
                    self.listeners.insert(cookie, process);
                }
                return Ok(());
            }
            kind::CONNECT => (Some(Side::Client), Origin::Fresh, caller),
            kind::ACCEPT => (Some(Side::Server), Origin::Fresh, self.listeners.get(&e.listener).cloned()),
            _ if self.listed.contains_key(&cookie) => return Ok(()),
            _ => {
                let (local_side, process) = self.announced.remove(&cookie).unwrap_or_default();
                (local_side, Origin::BeforeStart, process)
            }
        };
        let conn = ConnId(cookie);
        emit(Event::Opened(Opened { conn, tuple: tuple(&e.tuple), local_side, origin, process }))?;
        if e.header.kind != kind::ACCEPT {
            return Ok(());
        }
        emit(Event::Established(Established {
            conn,
            egress_start: SeqNumber(e.egress_start),
            ingress_start: SeqNumber(e.ingress_start),
        }))
    }
}

fn tuple(t: &Tuple) -> FiveTuple {
    let end = |addr: [u8; 16], port| Endpoint::new(IpAddr::V6(Ipv6Addr::from(addr)), port);
    FiveTuple { local: end(t.local_addr, t.local_port), peer: end(t.peer_addr, t.peer_port) }
}

fn closed(e: &CloseEvent) -> Closed {
    let how = match e.old_state {
        tcp_state::SYN_SENT | tcp_state::SYN_RECV => CloseKind::NeverEstablished,
        // Each side's FIN came and was acknowledged, or is out of our hands.
        tcp_state::FIN_WAIT2 | tcp_state::LAST_ACK | tcp_state::CLOSING | tcp_state::TIME_WAIT => {
            CloseKind::Finished
        }
        // Straight from an open state: RST, or a time-out.
        tcp_state::ESTABLISHED | tcp_state::FIN_WAIT1 | tcp_state::CLOSE_WAIT => CloseKind::Reset,
        _ => CloseKind::Unknown,
    };
    let bytes = (e.flags & CLOSE_HAS_BYTES != 0)
        .then_some(Bytes { egress: e.bytes_egress, ingress: e.bytes_ingress });
    Closed { conn: ConnId(e.header.cookie), how, bytes }
}
