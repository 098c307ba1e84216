//! How far a connection goes.

use agent_core::identity::Scope;
use agent_core::net::FiveTuple;

/// What the scope is concluded from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Addresses and ports.
    pub(super) tuple: FiveTuple,
    /// The local end is in a pod that has a network of its own.
    pub(super) in_pod_network: bool,
    /// Where the other end was found.
    pub(super) other: Other,
    /// The address of the peer is a Service's, dialled through a loopback address.
    pub(super) is_local_node_port: bool,
}

/// Where the other end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// On this host, in the same pod.
    SamePod,
    /// On this host, in the same network namespace, and not in a pod as far as is known.
    SameNetwork,
    /// On this host.
    ThisHost,
    /// In the cluster.
    Cluster,
    /// Nowhere that is known, and everything that there is to know is known.
    Elsewhere,
    /// It is not known yet what the cluster consists of.
    Unknown,
}

/// The scope, where the facts allow one.
pub(super) fn scope(facts: Facts) -> Option<Scope> {
    let FiveTuple { local, peer } = facts.tuple;
    if facts.other == Other::SamePod {
        return Some(Scope::Pod);
    }
    // Packets from or to a loopback address do not leave the network namespace, nor do those to one's own address.
    let stays = local.addr.is_loopback() || peer.addr.is_loopback() || local.addr == peer.addr;
    let is_loopback = local.addr == peer.addr || (local.addr.is_loopback() && peer.addr.is_loopback());
    if stays && facts.in_pod_network {
        return Some(Scope::Pod);
    }
    // kube-proxy lets a node's own processes dial NodePorts at 127.0.0.1, and translates both addresses.
    if facts.is_local_node_port && facts.other != Other::SameNetwork {
        return match facts.other {
            Other::ThisHost => Some(Scope::Node),
            Other::Cluster => Some(Scope::Cluster),
            _ => None,
        };
    }
    match facts.other {
        _ if is_loopback => Some(Scope::Loopback),
        _ if stays => Some(Scope::Node),
        Other::SamePod => Some(Scope::Pod),
        Other::SameNetwork if facts.in_pod_network => Some(Scope::Pod),
        Other::SameNetwork | Other::ThisHost => Some(Scope::Node),
        Other::Cluster => Some(Scope::Cluster),
        Other::Elsewhere => Some(Scope::External),
        Other::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use agent_core::net::Endpoint;

    use super::*;

    fn facts(local: &str, peer: &str, other: Other) -> Facts {
        let at = |text: &str| {
            let address: std::net::SocketAddr = text.parse().expect("address and port");
            Endpoint::new(address.ip(), address.port())
        };
        Facts {
            tuple: FiveTuple { local: at(local), peer: at(peer) },
            in_pod_network: false,
            other,
            is_local_node_port: false,
        }
    }

    fn in_pod(facts: Facts) -> Facts {
        Facts { in_pod_network: true, ..facts }
    }

    #[test]
    fn hops_to_a_sidecar_stay_in_the_pod() {
        // Over loopback; by a redirect, seen from both ends; Istio's source address of what came in; the pod's own address.
        for (local, peer, other) in [
            ("127.0.0.1:40000", "127.0.0.1:8080", Other::Elsewhere),
            ("10.1.0.1:40000", "93.184.216.34:443", Other::SameNetwork),
            ("127.0.0.1:15001", "10.1.0.1:40000", Other::Unknown),
            ("127.0.0.6:40000", "10.1.0.1:8080", Other::Unknown),
            ("10.1.0.1:40000", "10.1.0.1:8080", Other::Unknown),
        ] {
            assert_eq!(scope(in_pod(facts(local, peer, other))), Some(Scope::Pod), "{local} {peer}");
        }
    }

    #[test]
    fn two_containers_of_a_pod_on_its_nodes_network_are_in_one_pod() {
        let seen = facts("127.0.0.1:40000", "127.0.0.1:8080", Other::SamePod);
        assert_eq!(scope(seen), Some(Scope::Pod));
    }

    #[test]
    fn loopback_is_loopback_outside_of_pods() {
        for (local, peer) in
            [("127.0.0.1:1", "127.0.0.1:2"), ("[::1]:1", "[::1]:2"), ("10.0.0.5:1", "10.0.0.5:2")]
        {
            for other in [Other::ThisHost, Other::SameNetwork, Other::Unknown, Other::Elsewhere] {
                assert_eq!(scope(facts(local, peer, other)), Some(Scope::Loopback), "{local} {other:?}");
            }
        }
    }

    #[test]
    fn a_redirect_outside_of_pods_stays_on_the_node() {
        assert_eq!(scope(facts("10.0.0.5:1", "93.184.216.34:443", Other::SameNetwork)), Some(Scope::Node));
        assert_eq!(scope(facts("127.0.0.1:3128", "10.0.0.5:1", Other::Elsewhere)), Some(Scope::Node));
    }

    #[test]
    fn others_are_where_they_were_found() {
        let to = |other| scope(facts("10.1.0.1:40000", "10.1.0.2:80", other));
        assert_eq!(to(Other::ThisHost), Some(Scope::Node));
        assert_eq!(to(Other::Cluster), Some(Scope::Cluster));
        assert_eq!(to(Other::Elsewhere), Some(Scope::External));
        assert_eq!(to(Other::Unknown), None);
    }

    #[test]
    fn a_node_port_dialled_on_loopback_may_lead_anywhere_in_the_cluster() {
        let dialled = |other| {
            scope(Facts { is_local_node_port: true, ..facts("127.0.0.1:40000", "127.0.0.1:30080", other) })
        };
        assert_eq!(dialled(Other::Cluster), Some(Scope::Cluster));
        assert_eq!(dialled(Other::ThisHost), Some(Scope::Node));
        assert_eq!(dialled(Other::Unknown), None);
    }
}
