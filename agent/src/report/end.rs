//! What one line tells of a connection, reduced to what a report counts.

use std::net::SocketAddr;
use std::sync::Arc;

use agent_core::net::Side;

use super::line::{Certificate, Line, Phase, Shower};
use super::name::{Name, ServiceName};
use super::protection::Protection;

/// A certificate and whose it is.
pub(super) type Shown = (Shower, Arc<Certificate>);

/// One end of a connection, by its last line.
#[derive(Clone, Debug)]
pub(super) struct ConnectionEnd {
    /// Lines of one file, or one agent, have this in common.
    pub(super) source: u32,
    pub(super) role: Option<Side>,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) pid: Option<u32>,
    pub(super) peer_pid: Option<u32>,
    pub(super) is_final: bool,
    /// When it came into view, and when it was last heard of.
    pub(super) time: i64,
    pub(super) last: i64,
    pub(super) facts: Facts,
    local_name: Option<Name>,
    local_service: Option<Name>,
    peer_name: Option<Name>,
    peer_service: Option<Name>,
    peer_node: Option<Name>,
}

/// What both ends of a connection have in common.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) protection: Protection,
    pub(super) scope: Option<Box<str>>,
    pub(super) protocol: Option<Box<str>>,
    pub(super) server_name: Option<Box<str>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) certificates: Vec<Shown>,
    pub(super) findings: Vec<Arc<str>>,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Tls {
    /// As OpenTelemetry has it: `tls`, `ssl`.
    pub(super) protocol: Option<String>,
    /// `1.3`
    pub(super) version: Option<String>,
    pub(super) cipher: Option<String>,
    pub(super) group: Option<String>,
    pub(super) resumed: Option<bool>,
}

impl ConnectionEnd {
    /// Absent where a line lacks what every line of a connection has.
    pub(super) fn of(source: u32, line: &Line) -> Option<Self> {
        let time = line.time?;
        let protection = Protection::of(line.security.as_deref(), line.reason.as_deref());
        let tls = Tls {
            protocol: line.tls_name.clone(),
            version: line.tls_version.clone(),
            cipher: line.cipher.clone(),
            group: line.group.clone(),
            resumed: line.resumed,
        };
        let shown = |side| Some((side, Arc::new(line.certificate(side)?.clone())));
        Some(Self {
            source,
            role: line.role,
            local: Line::endpoint(&line.local)?,
            peer: line.peer()?,
            pid: line.local.pid,
            peer_pid: line.peer.pid,
            is_final: line.phase == Some(Phase::Final),
            time,
            last: time.saturating_add(line.duration.unwrap_or_default()),
            facts: Facts {
                protection,
                scope: line.scope.as_deref().map(Box::from),
                protocol: line.protocol.as_deref().map(Box::from),
                server_name: line.server_name.as_deref().map(Box::from),
                tls: (tls != Tls::default()).then(|| Arc::new(tls)),
                certificates: [Shower::Server, Shower::Client].into_iter().filter_map(shown).collect(),
                findings: line.findings.iter().map(|id| Arc::from(id.as_str())).collect(),
            },
            local_name: Name::of(&line.local),
            local_service: Name::service(&line.local),
            peer_name: Name::of(&line.peer),
            peer_service: Name::service(&line.peer),
            peer_node: Name::node(&line.peer),
        })
    }

    /// The client's address and port.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        match self.role? {
            Side::Client => Some(self.local),
            Side::Server => Some(self.peer),
        }
    }

    /// The other end of the same connection: the roles, the addresses and the time fit. Where the address of the server was
    /// translated, each says the other's process.
    pub(super) fn is_other_end(&self, other: &ConnectionEnd) -> bool {
        /// Both ends come into view within a round trip; other agents' clocks are not this one's.
        const APART: i64 = 5_000_000_000;
        let (client, server) = match (self.role, other.role) {
            (Some(Side::Client), Some(Side::Server)) => (self, other),
            (Some(Side::Server), Some(Side::Client)) => (other, self),
            _ => return false,
        };
        if client.local != server.peer || client.time.abs_diff(server.time) > APART.unsigned_abs() {
            return false;
        }
        if client.peer == server.local {
            // Every host has loopback addresses of its own.
            return !client.local.ip().is_loopback() || client.source == server.source;
        }
        let names =
            |one: &ConnectionEnd, two: &ConnectionEnd| one.peer_pid.is_some() && one.peer_pid == two.pid;
        client.source == server.source && (names(client, server) || names(server, client))
    }

    /// The peer is on the same host, and its end is yet to be told of.
    pub(super) fn awaits_peer(&self) -> bool {
        self.peer_pid.is_some()
    }
}

/// A connection as it counts: what its ends tell together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) service: ServiceName,
    /// The Service that was dialled to get there, and the address.
    pub(super) dialled: Option<Name>,
    pub(super) endpoint: SocketAddr,
    pub(super) caller: Name,
    /// The service is on this host.
    pub(super) is_here: bool,
    pub(super) time: i64,
    pub(super) last: i64,
    pub(super) facts: Facts,
}

impl View {
    /// What one or both ends tell; absent where it is not known who the client is.
    pub(super) fn of(ends: &[&ConnectionEnd]) -> Option<Self> {
        let with = |side| ends.iter().copied().find(|end| end.role == Some(side));
        let (client, server) = (with(Side::Client), with(Side::Server));
        let first = client.or(server)?;
        let mut facts = first.facts.clone();
        for end in [client, server].into_iter().flatten() {
            facts.add(&end.facts);
        }
        let (service, endpoint) = service(client, server)?;
        let dialled = client
            .and_then(|client| client.peer_service.clone())
            .or_else(|| server.and_then(|server| server.local_service.clone()))
            .filter(|dialled| *dialled != service.name);
        let caller = client
            .and_then(|client| client.local_name.clone())
            .or_else(|| {
                server.and_then(|server| server.peer_name.clone().or_else(|| server.peer_node.clone()))
            })
            .unwrap_or_else(|| Name::address(first.client().unwrap_or(first.local).ip()));
        let both = || [client, server].into_iter().flatten();
        Some(Self {
            service,
            dialled,
            endpoint,
            caller,
            is_here: server.is_some() || first.peer_pid.is_some(),
            time: both().map(|end| end.time).min()?,
            last: both().map(|end| end.last).max()?,
            facts,
        })
    }

    /// It stays inside a pod: what an application and its own sidecar do is theirs.
    pub(super) fn is_in_pod(&self) -> bool {
        self.facts.scope.as_deref() == Some("pod")
    }
}

/// Who answers, and at which address. The observed server itself knows best; a client knows which Service it dialled, at
/// the Service's port.
fn service(
    client: Option<&ConnectionEnd>,
    server: Option<&ConnectionEnd>,
) -> Option<(ServiceName, SocketAddr)> {
    if let Some(server) = server {
        let name = server.local_name.clone().or_else(|| client.and_then(|client| client.peer_name.clone()));
        let name = name.unwrap_or_else(|| Name::address(server.local.ip()));
        return Some((ServiceName { name, port: server.local.port() }, server.local));
    }
    let client = client?;
    let name = client.peer_service.clone().or_else(|| client.peer_name.clone());
    let name = name.unwrap_or_else(|| Name::address(client.peer.ip()));
    Some((ServiceName { name, port: client.peer.port() }, client.peer))
}

impl Facts {
    /// What the other end tells besides.
    fn add(&mut self, other: &Facts) {
        self.protection = self.protection.max(other.protection);
        fn fill<T: Clone>(mine: &mut Option<T>, other: &Option<T>) {
            if mine.is_none() {
                mine.clone_from(other);
            }
        }
        if other.scope.as_deref() == Some("pod") {
            self.scope.clone_from(&other.scope);
        }
        fill(&mut self.scope, &other.scope);
        fill(&mut self.protocol, &other.protocol);
        fill(&mut self.server_name, &other.server_name);
        fill(&mut self.tls, &other.tls);
        for (side, certificate) in &other.certificates {
            if self.certificates.iter().all(|(mine, _)| mine != side) {
                self.certificates.push((*side, Arc::clone(certificate)));
            }
        }
        for id in &other.findings {
            if !self.findings.contains(id) {
                self.findings.push(Arc::clone(id));
            }
        }
    }
}
