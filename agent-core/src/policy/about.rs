//! What a finding is about. Names that outlive a connection: what was called, who called, which certificate was shown
//! where. Addresses stand in only where nothing has a better name.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::finding::truncate;
use crate::identity::{Party, Scope, Sighting};
use crate::net::{Endpoint, Side};
use crate::x509::CertificateSummary;

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A Kubernetes Service, at the port that was seen.
    Service {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Port.
        port: u16,
    },
    /// A Kubernetes workload.
    Workload {
        /// Namespace.
        namespace: String,
        /// `Deployment`, `StatefulSet` ...
        kind: String,
        /// Name.
        name: String,
        /// Port.
        port: u16,
    },
    /// A server outside, by the name it was asked for.
    Name {
        /// SNI.
        name: String,
        /// Port.
        port: u16,
    },
    /// An address.
    Endpoint(Endpoint),
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Actor {
    /// A Kubernetes workload.
    Workload {
        /// Namespace.
        namespace: String,
        /// `Deployment`, `StatefulSet` ...
        kind: String,
        /// Name.
        name: String,
    },
    /// A systemd unit of this host.
    Unit(String),
    /// An executable of this host: its path, or its name where that is all that is known.
    Executable(String),
    /// A Kubernetes node.
    Node(Arc<str>),
    /// Somebody without a name, that far away. Addresses are in the evidence: as subjects they would be without number.
    Unnamed(Option<Scope>),
}

/// What a finding is about: its subject, and with the rule the key under which it is one finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum About {
    /// Something that is called.
    Target(Arc<Target>),
    /// Somebody who calls something.
    Hop {
        /// Who.
        client: Arc<Actor>,
        /// What.
        target: Arc<Target>,
    },
    /// Somebody who calls something, by the certificate with which they do.
    Caller {
        /// Who.
        client: Arc<Actor>,
        /// What.
        target: Arc<Target>,
        /// The identity in the certificate.
        identity: Arc<str>,
    },
    /// The certificate that is shown there.
    ServerCertificate {
        /// Where.
        target: Arc<Target>,
        /// The name it was asked for, where that is not the target's name.
        server_name: Option<Arc<str>>,
    },
    /// The certificate that somebody shows.
    ClientCertificate {
        /// Who.
        client: Arc<Actor>,
        /// The identity in it: SPIFFE id, else the first alternative name, else the subject.
        identity: Arc<str>,
    },
    /// A certificate that a process was shown, on which of its connections is not known.
    ProcessCertificate {
        /// The process.
        process: Arc<Actor>,
        /// The identity in it.
        identity: Arc<str>,
    },
    /// What a rule of somebody else says.
    Other(Arc<str>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Service { namespace, name, port } => write!(f, "Service {namespace}/{name}:{port}"),
            Target::Workload { namespace, kind, name, port } => write!(f, "{kind} {namespace}/{name}:{port}"),
            Target::Name { name, port } => write!(f, "{name}:{port}"),
            Target::Endpoint(endpoint) => endpoint.fmt(f),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Workload { namespace, kind, name } => write!(f, "{kind} {namespace}/{name}"),
            Actor::Unit(unit) => f.write_str(unit),
            Actor::Executable(path) => f.write_str(path),
            Actor::Node(name) => write!(f, "node {name}"),
            Actor::Unnamed(Some(Scope::Loopback)) => f.write_str("a client on this host"),
            Actor::Unnamed(Some(Scope::Pod)) => f.write_str("a client in the same pod"),
            Actor::Unnamed(Some(Scope::Node)) => f.write_str("a client on this node"),
            Actor::Unnamed(Some(Scope::Cluster)) => f.write_str("a client in this cluster"),
            Actor::Unnamed(Some(Scope::External)) => f.write_str("a client outside"),
            Actor::Unnamed(None) => f.write_str("a client"),
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            About::Target(target) => target.fmt(f),
            About::Hop { client, target } => write!(f, "{client} -> {target}"),
            About::Caller { client, target, identity } => write!(f, "{client} -> {target} as {identity}"),
            About::ServerCertificate { target, server_name: None } => write!(f, "certificate of {target}"),
            About::ServerCertificate { target, server_name: Some(name) } => {
                write!(f, "certificate of {target} for {name}")
            }
            About::ClientCertificate { client, identity } => write!(f, "certificate {identity} of {client}"),
            About::ProcessCertificate { process, identity } => {
                write!(f, "certificate {identity} that {process} was shown")
            }
            About::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for About {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Both ends of a sighting, by name.
#[derive(Clone, Debug)]
pub struct Subjects {
    /// Who calls.
    pub client: Arc<Actor>,
    /// What the same client goes by when it is gone before more than its name can be found out; absent where that is what
    /// it goes by now.
    pub client_when_gone: Option<Arc<Actor>>,
    /// What is called.
    pub target: Arc<Target>,
    /// The server's address as seen from the observed end.
    pub server: Endpoint,
    /// The client's address.
    pub client_address: IpAddr,
    /// How far it goes: as told, or `loopback` where the addresses say so.
    pub scope: Option<Scope>,
}

impl Subjects {
    /// Absent where it is not known which end is the client.
    pub fn of(sighting: &Sighting) -> Option<Self> {
        let o = &sighting.observation;
        let (client, server, server_party, client_party) = match o.local_side? {
            Side::Client => (o.tuple.local, o.tuple.peer, &sighting.peer, &sighting.local),
            Side::Server => (o.tuple.peer, o.tuple.local, &sighting.local, &sighting.peer),
        };
        let on_host = client.addr == server.addr || client.addr.is_loopback() && server.addr.is_loopback();
        let scope = sighting.scope.or(on_host.then_some(Scope::Loopback));
        let server_name = o.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        let client_address = client.addr;
        let client = actor(client_party, scope);
        Some(Self {
            client_when_gone: when_gone(client_party).filter(|name| *name != client).map(Arc::new),
            client: Arc::new(client),
            target: Arc::new(target(server_party, server, server_name, scope)),
            server,
            client_address,
            scope,
        })
    }

    /// The hop.
    pub fn hop(&self) -> About {
        About::Hop { client: Arc::clone(&self.client), target: Arc::clone(&self.target) }
    }

    /// The client with this certificate, and what it calls.
    pub fn caller(&self, leaf: &CertificateSummary) -> About {
        let (client, target) = (Arc::clone(&self.client), Arc::clone(&self.target));
        About::Caller { client, target, identity: identity(leaf).into() }
    }

    /// The same subject as it is called where its client was gone before more than its name could be found out.
    pub fn when_gone(&self, about: &About) -> Option<About> {
        let client = Arc::clone(self.client_when_gone.as_ref()?);
        match about.clone() {
            About::Hop { target, .. } => Some(About::Hop { client, target }),
            About::Caller { target, identity, .. } => Some(About::Caller { client, target, identity }),
            About::ClientCertificate { identity, .. } => Some(About::ClientCertificate { client, identity }),
            About::Target(_)
            | About::ServerCertificate { .. }
            | About::ProcessCertificate { .. }
            | About::Other(_) => None,
        }
    }

    /// The certificate that this side shows.
    pub fn certificate(&self, side: Side, leaf: &CertificateSummary, server_name: Option<&str>) -> About {
        match side {
            Side::Server => {
                let is_target = matches!(&*self.target, Target::Name { .. });
                let server_name =
                    server_name.filter(|_| !is_target).map(|name| short(name.to_owned()).into());
                About::ServerCertificate { target: Arc::clone(&self.target), server_name }
            }
            Side::Client => {
                About::ClientCertificate { client: Arc::clone(&self.client), identity: identity(leaf).into() }
            }
        }
    }
}

/// The name in a certificate that says most about whose it is.
pub(super) fn identity(leaf: &CertificateSummary) -> String {
    if let Some(id) = leaf.spiffe_id() {
        return short(id.to_owned());
    }
    if let Some(san) = leaf.sans.first() {
        return short(san.to_string());
    }
    match leaf.subject.as_deref() {
        Some(subject) if !subject.is_empty() => short(subject.to_owned()),
        _ => leaf.sha256_hex(),
    }
}

/// A name as a subject. They come from the wire, and are kept by the thousand: of one that is longer than any name of a host
/// may be, what it begins with stands, and a hash that tells it from the next.
pub(super) fn short(mut name: String) -> String {
    const MOST: usize = 256;
    const HEAD: usize = 200;
    if name.len() > MOST {
        let hash = Sha256::digest(name.as_bytes());
        truncate(&mut name, HEAD);
        name.push('…');
        for octet in hash.iter().take(8) {
            // Writing to a string does not fail.
            let _ = write!(name, "{octet:02X}");
        }
    }
    name
}

fn target(party: &Party, endpoint: Endpoint, server_name: Option<&str>, scope: Option<Scope>) -> Target {
    if let Some(service) = &party.service {
        let port = party.dialled.map_or(endpoint.port, |dialled| dialled.port);
        return Target::Service { namespace: service.namespace.clone(), name: service.name.clone(), port };
    }
    if let Some(workload) = &party.workload {
        let port = party.listen_port.unwrap_or(endpoint.port);
        let (namespace, kind, name) =
            (workload.namespace.clone(), workload.kind.clone(), workload.name.clone());
        return Target::Workload { namespace, kind, name, port };
    }
    match server_name {
        // Names outside have many addresses. One of a host's own servers is told from the next by its address.
        Some(name) if scope == Some(Scope::External) && party.process.is_none() => {
            Target::Name { name: short(name.to_ascii_lowercase()), port: endpoint.port }
        }
        _ => Target::Endpoint(endpoint),
    }
}

pub(super) fn actor(party: &Party, scope: Option<Scope>) -> Actor {
    if let Some(workload) = &party.workload {
        return Actor::Workload {
            namespace: workload.namespace.clone(),
            kind: workload.kind.clone(),
            name: workload.name.clone(),
        };
    }
    if let Some(process) = &party.process {
        // Sessions and the units of users hold whatever somebody runs by hand.
        let is_own = |unit: &&String| {
            unit.ends_with(".service") && !unit.starts_with("user@") && party.container.is_none()
        };
        if let Some(unit) = process.systemd_unit.as_ref().filter(is_own) {
            return Actor::Unit(unit.clone());
        }
        if let Some(executable) = process.executable() {
            return Actor::Executable(executable.to_owned());
        }
    }
    match &party.node {
        Some(node) => Actor::Node(Arc::clone(node)),
        None => Actor::Unnamed(scope),
    }
}

/// What [`actor`] makes of a client whose process was gone before it could be read: all that the kernel told was its name.
fn when_gone(party: &Party) -> Option<Actor> {
    let name = party.process.as_ref()?.name.as_ref()?;
    Some(Actor::Executable(name.clone()))
}
