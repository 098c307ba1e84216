//! Which targets something is about. Matching allocates nothing and never fails.

mod labels;
mod network;
mod pattern;
mod port;

pub use self::labels::{LabelSelector, Requirement};
pub use self::network::Network;
pub use self::pattern::Pattern;
pub(crate) use self::pattern::{Named, host_matches};
pub use self::port::PortMatch;

use std::net::IpAddr;

use super::target::Target;
use crate::identity::Party;

/// Why a selector does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mismatch {
    /// Another namespace, or it is not known.
    Namespace,
    /// Another workload, or it is not known.
    Workload,
    /// The pod's labels, or they are not known.
    Labels,
    /// Another Service, or it is not known.
    Service,
    /// Another port.
    Port,
    /// It names a port by name, and the names of the server's ports are not known.
    PortName,
    /// Another process, or it is not known.
    Process,
    /// Another systemd unit, or it is not known.
    SystemdUnit,
    /// Another container, or it is not known.
    Container,
    /// Another address, or it is not known.
    Address,
    /// Another host.
    Host,
    /// It is about members of a mesh: pods on the pod network.
    NotInMesh,
    /// It is about other clients, or the client is not known.
    Client,
    /// It is about some processes of this host, and the client was one that was gone before it could be looked at.
    Untold,
}

impl Mismatch {
    /// In words, for explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mismatch::Namespace => "another namespace",
            Mismatch::Workload => "another workload",
            Mismatch::Labels => "the pod's labels do not match",
            Mismatch::Service => "another service",
            Mismatch::Port => "another port",
            Mismatch::PortName => "its port has a name, and the names of the server's ports are not known",
            Mismatch::Process => "another process",
            Mismatch::SystemdUnit => "another systemd unit",
            Mismatch::Container => "another container",
            Mismatch::Address => "another address",
            Mismatch::Host => "another host",
            Mismatch::NotInMesh => "the server is no pod on the pod network",
            Mismatch::Client => "other clients",
            Mismatch::Untold => "the client's process was gone before it could be looked at",
        }
    }
}

/// Which ends of connections: every list that is not empty has to have a member that matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartySelector {
    /// Kubernetes namespaces.
    pub namespaces: Vec<Pattern>,
    /// Kind of the workload.
    pub workload_kind: Option<String>,
    /// Name of the workload.
    pub workload_name: Option<Pattern>,
    /// Labels of the pod.
    pub labels: LabelSelector,
    /// Services in the namespaces above.
    pub services: Vec<Pattern>,
    /// Executables: a name (of the file, or that it was started by), or an absolute path.
    pub processes: Vec<Pattern>,
    /// systemd units.
    pub systemd_units: Vec<Pattern>,
    /// Containers: the name within the pod, or the beginning of the id.
    pub containers: Vec<Pattern>,
    /// Addresses.
    pub networks: Vec<Network>,
}

impl PartySelector {
    /// Whether it says nothing, and so matches everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many conditions it names: the more, the narrower it is.
    pub fn conditions(&self) -> u16 {
        let lists = [
            self.namespaces.len(),
            usize::from(self.workload_kind.is_some()),
            usize::from(self.workload_name.is_some()),
            self.services.len(),
            self.processes.len(),
            self.systemd_units.len(),
            self.containers.len(),
            self.networks.len(),
        ];
        let lists = lists.iter().filter(|n| **n > 0).count();
        u16::try_from(lists.saturating_add(self.labels.conditions())).unwrap_or(u16::MAX)
    }

    /// Whether it selects an end; `namespace` and `service` are what is known of it from elsewhere than the party. `is_here`:
    /// it is known to be on this host, so that it has a process of which nothing may be known.
    pub(crate) fn matches(
        &self,
        party: Option<&Party>,
        namespace: Option<&str>,
        service: Option<(&str, &str)>,
        address: Option<IpAddr>,
        is_here: bool,
    ) -> Result<(), Mismatch> {
        let process = party.and_then(|p| p.process.as_deref());
        let is_unread = is_here && process.is_none_or(|process| !process.was_read());
        let mut untold = false;
        let workload = party.and_then(|p| p.workload.as_deref());
        any(&self.namespaces, namespace).or_no(Mismatch::Namespace)?;
        if let Some(kind) = &self.workload_kind {
            workload.is_some_and(|w| w.kind.eq_ignore_ascii_case(kind)).or_no(Mismatch::Workload)?;
        }
        if let Some(name) = &self.workload_name {
            workload.is_some_and(|w| name.matches(&w.name)).or_no(Mismatch::Workload)?;
        }
        if !self.labels.is_empty() {
            workload.is_some_and(|w| self.labels.matches(&w.labels)).or_no(Mismatch::Labels)?;
        }
        any(&self.services, service.map(|(name, _)| name)).or_no(Mismatch::Service)?;
        if !self.processes.is_empty() {
            let named =
                self.processes.iter().map(|p| process.map_or(Named::Untold, |process| p.names(process)));
            match named.max().unwrap_or(Named::No) {
                Named::Yes => {}
                Named::Untold if is_unread => untold = true,
                Named::Untold | Named::No => return Err(Mismatch::Process),
            }
        }
        let unit = process.and_then(|p| p.systemd_unit.as_deref());
        if !any(&self.systemd_units, unit) {
            is_unread.or_no(Mismatch::SystemdUnit)?;
            untold = true;
        }
        if !self.containers.is_empty() {
            let name = workload.and_then(|w| w.container.as_deref());
            let id = party.and_then(|p| p.container.as_deref()).map(|c| c.id.as_str());
            let one = |p: &Pattern| {
                name.is_some_and(|name| p.matches(name)) || id.is_some_and(|id| p.names_container(id))
            };
            if !self.containers.iter().any(one) {
                (is_unread && name.is_none() && id.is_none()).or_no(Mismatch::Container)?;
                untold = true;
            }
        }
        if !self.networks.is_empty() {
            let one = |address| self.networks.iter().any(|network| network.contains(address));
            address.is_some_and(one).or_no(Mismatch::Address)?;
        }
        (!untold).or_no(Mismatch::Untold)
    }
}

fn any(patterns: &[Pattern], value: Option<&str>) -> bool {
    patterns.is_empty() || value.is_some_and(|value| patterns.iter().any(|p| p.matches(value)))
}

trait OrNo {
    fn or_no(self, mismatch: Mismatch) -> Result<(), Mismatch>;
}

impl OrNo for bool {
    fn or_no(self, mismatch: Mismatch) -> Result<(), Mismatch> {
        if self { Ok(()) } else { Err(mismatch) }
    }
}

/// Which connections: the server, the port, the host that was asked for, the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The server.
    pub server: PartySelector,
    /// Ports, one of which it has to be.
    pub ports: Vec<PortMatch>,
    /// Only servers that a mesh can protect: pods on the pod network, and Services.
    pub in_mesh: bool,
    /// A host, `*` at its beginning standing for any number of labels.
    pub host: Option<String>,
    /// The client.
    pub client: PartySelector,
}

impl Selector {
    /// Whether it selects a target.
    pub fn matches(&self, target: &Target<'_>) -> Result<(), Mismatch> {
        let service = target.service();
        self.server.matches(Some(target.server), target.namespace(), service, target.address, false)?;
        if self.in_mesh && target.in_mesh() != Some(true) {
            return Err(Mismatch::NotInMesh);
        }
        if let Some(host) = &self.host {
            let named = target.host.is_some_and(|name| host_matches(host, &[name]));
            let dialled = service.is_some_and(|(name, namespace)| {
                host_matches(host, &[name, ".", namespace, ".svc.", cluster_domain(host)])
            });
            (named || dialled).or_no(Mismatch::Host)?;
        }
        if !self.ports.is_empty() && !self.ports.iter().any(|port| port.matches(target)) {
            let unknown = |port: &PortMatch| matches!(port, PortMatch::Name(_)) && target.port_name.is_none();
            return Err(if self.ports.iter().any(unknown) { Mismatch::PortName } else { Mismatch::Port });
        }
        if !self.client.is_empty() {
            let namespace = target.client_namespace();
            self.client
                .matches(target.client, namespace, None, target.client_address, target.client_is_here)
                .map_err(|why| if why == Mismatch::Untold { why } else { Mismatch::Client })?;
        }
        Ok(())
    }
}

/// The cluster domain that a Service's host name in a document ends with; `cluster.local` where it has none.
fn cluster_domain(host: &str) -> &str {
    host.split_once(".svc.").map_or("cluster.local", |(_, domain)| domain)
}
