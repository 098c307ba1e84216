//! What an expectation is asked for: the server end of a connection, how it was reached, and by whom.

use std::net::IpAddr;

use crate::identity::{Party, Scope, Sighting};
use crate::net::Side;

/// The server end of a connection, and what is known of the way to it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Who serves.
    pub server: &'a Party,
    /// Its address.
    pub address: Option<IpAddr>,
    /// The port that it listens on: the container's, where address translation is known to have led there.
    pub port: u16,
    /// The name of that port in the pod, where known.
    pub port_name: Option<&'a str>,
    /// The port that the client dialled, where it is known to be another (a Service's).
    pub dialled_port: Option<u16>,
    /// The name that the client asked for: SNI, or the host of a request.
    pub host: Option<&'a str>,
    /// Who calls.
    pub client: Option<&'a Party>,
    /// From where.
    pub client_address: Option<IpAddr>,
    /// The client is known to be on this host.
    pub client_is_here: bool,
}

impl<'a> Target<'a> {
    /// A server at a port, of which nothing else is known.
    pub fn new(server: &'a Party, port: u16) -> Self {
        Self {
            server,
            address: None,
            port,
            port_name: None,
            dialled_port: None,
            host: None,
            client: None,
            client_address: None,
            client_is_here: false,
        }
    }

    /// The server end of a sighting; `None` while it is not known which end that is.
    pub fn of(sighting: &'a Sighting) -> Option<Self> {
        let observation = &sighting.observation;
        let tuple = observation.tuple;
        let (server, client) = match observation.local_side? {
            Side::Server => ((&sighting.local, tuple.local), (&sighting.peer, tuple.peer)),
            Side::Client => ((&sighting.peer, tuple.peer), (&sighting.local, tuple.local)),
        };
        let is_near = matches!(sighting.scope, Some(Scope::Loopback | Scope::Pod | Scope::Node));
        let name = observation.tls.as_deref().and_then(|tls| tls.server_name.as_deref());
        let (host, told) = name.map_or((None, None), dialled);
        let seen = server.1.port;
        let port = server.0.listen_port.unwrap_or(seen);
        let dialled = server.0.dialled.map(|dialled| dialled.port);
        let dialled_port = told.or(dialled).or((port != seen).then_some(seen));
        let ports = server.0.workload.as_deref().map(|workload| &workload.named_ports);
        let named = ports.and_then(|ports| ports.iter().find(|(_, number)| **number == port));
        Some(Self {
            address: Some(server.1.addr),
            port_name: named.map(|(name, _)| name.as_str()),
            host,
            dialled_port,
            client: Some(client.0),
            client_address: Some(client.1.addr),
            client_is_here: is_near || observation.local_side == Some(Side::Client),
            ..Self::new(server.0, port)
        })
    }

    /// The Kubernetes namespace of the server.
    pub fn namespace(&self) -> Option<&'a str> {
        let (workload, service) = (&self.server.workload, &self.server.service);
        workload
            .as_deref()
            .map(|w| w.namespace.as_str())
            .or_else(|| service.as_deref().map(|s| s.namespace.as_str()))
            .or_else(|| self.host_service().map(|(_, namespace)| namespace))
    }

    /// The Service that stands in front of the server, as name and namespace.
    pub fn service(&self) -> Option<(&'a str, &'a str)> {
        let service = self.server.service.as_deref();
        service.map(|s| (s.name.as_str(), s.namespace.as_str())).or_else(|| self.host_service())
    }

    /// Name and namespace, where the host that was asked for is a Service's: `web.shop.svc`, with or without what follows.
    fn host_service(&self) -> Option<(&'a str, &'a str)> {
        let mut parts = self.host?.splitn(4, '.');
        let (name, namespace, svc) = (parts.next()?, parts.next()?, parts.next()?);
        (svc == "svc" && !name.is_empty() && !namespace.is_empty()).then_some((name, namespace))
    }

    /// The namespace of the client.
    pub fn client_namespace(&self) -> Option<&'a str> {
        self.client?.workload.as_deref().map(|w| w.namespace.as_str())
    }

    /// Whether the client is one that a mesh can protect; `None` where nothing is known of it, nor of any cluster.
    pub(crate) fn client_in_mesh(&self) -> Option<bool> {
        let client = self.client?;
        match client.workload.as_deref() {
            Some(workload) => Some(!workload.host_network),
            // Where the server is known to be a pod, a client that is none is no part of the cluster, or a node of it.
            None => (client.node.is_some() || self.server.workload.is_some()).then_some(false),
        }
    }

    /// Whether the server is one that a mesh can protect: in the cluster, on the pod network.
    pub(crate) fn in_mesh(&self) -> Option<bool> {
        match self.server.workload.as_deref() {
            Some(workload) => Some(!workload.host_network),
            None => self.service().map(|_| true),
        }
    }
}

/// The host in a server name, and the port that was dialled where it tells: Istio's sidecars send
/// `outbound_.PORT_.SUBSET_.HOST`.
fn dialled(server_name: &str) -> (Option<&str>, Option<u16>) {
    let mut parts = server_name.strip_prefix("outbound_.").into_iter().flat_map(|rest| rest.splitn(3, "_."));
    match (parts.next(), parts.next(), parts.next()) {
        (Some(port), Some(_), Some(host)) => (Some(host), port.parse().ok()),
        _ => (Some(server_name), None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::Workload;
    use crate::net::{Endpoint, FiveTuple};
    use crate::policy::rules::testing::{TODAY, http, observe};

    #[test]
    fn server_name_of_a_sidecar_tells_host_and_port() {
        assert_eq!(
            dialled("outbound_.8000_._.web.shop.svc.cluster.local"),
            (Some("web.shop.svc.cluster.local"), Some(8000))
        );
        assert_eq!(dialled("outbound_.8000_.v1_.web"), (Some("web"), Some(8000)));
        assert_eq!(dialled("outbound_.8000"), (Some("outbound_.8000"), None));
        assert_eq!(dialled("example.com"), (Some("example.com"), None));
    }

    /// What is asked for of a connection to this party, whose end was seen at port 80.
    fn asked(server: Party, local_side: Side) -> (u16, Option<u16>, Option<String>) {
        let end = |port| Endpoint::new(IpAddr::from([10, 0, 0, 1]), port);
        let (near, far) = (Party::default(), server);
        let (local, peer, tuple) = match local_side {
            Side::Client => (near, far, FiveTuple { local: end(40_000), peer: end(80) }),
            Side::Server => (far, near, FiveTuple { local: end(80), peer: end(40_000) }),
        };
        let mut observation = observe(&http(), 1, TODAY).pop().expect("an observation");
        (observation.tuple, observation.local_side) = (tuple, Some(local_side));
        let sighting = Sighting { observation, local, peer, scope: None };
        let target = Target::of(&sighting).expect("a target");
        (target.port, target.dialled_port, target.port_name.map(str::to_owned))
    }

    #[test]
    fn behind_a_service_the_port_is_the_containers_and_has_its_name() {
        let workload = Workload {
            named_ports: [("http".to_owned(), 8080), ("metrics".to_owned(), 80)].into(),
            ..Workload::default()
        };
        let server = Party { workload: Some(Arc::new(workload)), ..Party::default() };
        for side in [Side::Client, Side::Server] {
            assert_eq!(asked(server.clone(), side), (80, None, Some("metrics".to_owned())));
        }
        let called = Party { listen_port: Some(8080), ..server.clone() };
        assert_eq!(asked(called, Side::Client), (8080, Some(80), Some("http".to_owned())));
        let answered = Party { dialled: Some(Endpoint::new(IpAddr::from([10, 0, 0, 9]), 443)), ..server };
        assert_eq!(asked(answered, Side::Server), (80, Some(443), Some("metrics".to_owned())));
    }

    #[test]
    fn namespace_comes_from_the_workload_then_the_service_then_the_host() {
        let nobody = Party::default();
        let target = |host| Target { host: Some(host), ..Target::new(&nobody, 80) };
        assert_eq!(target("web.shop.svc.cluster.local").namespace(), Some("shop"));
        assert_eq!(target("web.shop.svc").service(), Some(("web", "shop")));
        assert_eq!(target("www.example.com").namespace(), None);
        assert_eq!(target("web.shop").namespace(), None);
    }
}
