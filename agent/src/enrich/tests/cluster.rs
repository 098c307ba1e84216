//! Names from a cluster, without its API server: a node with its pods, and others elsewhere.

use agent_core::identity::{Container, ProcessDetails};

use super::*;
use crate::enrich::kubernetes::delta::{
    Controller, Delta, Kind, Node, Object, OwnerRef, Pod, PodContainer, Service, Slice, TargetPort,
};
use crate::enrich::kubernetes::index::Index;
use crate::enrich::process::Owner;

pub(super) const WEB: u128 = 1;
pub(super) const CLIENT: u128 = 2;
pub(super) const HOST: u128 = 3;
const AWAY: u128 = 4;

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().expect("an address")
}

fn pod(uid: u128, name: &str, node: &str, address: &str) -> Pod {
    Pod {
        uid: PodUid(uid),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        node: Some(node.to_owned()),
        ips: vec![ip(address)],
        accepted: Some(Timestamp::from_secs(1000)),
        started: Some(Timestamp::from_secs(1005)),
        containers: vec![PodContainer {
            id: format!("c{uid}"),
            runtime: Some("containerd"),
            name: "app".into(),
        }],
        ..Pod::default()
    }
}

fn apply(index: &mut Index, object: Object) {
    index.apply(&Delta::Applied(object), Timestamp::from_secs(2000));
}

fn index() -> Index {
    let mut index = Index::new(Some("node-a".to_owned()));
    for (name, address, range) in [("node-a", "10.99.0.1", "10.1.0.0"), ("node-b", "10.99.0.2", "10.1.1.0")] {
        let node = Node { name: name.into(), ips: vec![ip(address)], pod_ranges: vec![(ip(range), 24)] };
        apply(&mut index, Object::Node(node));
    }
    let owner = |kind: &str, name: &str, uid| OwnerRef {
        kind: kind.into(),
        name: name.into(),
        uid: Some(PodUid(uid)),
    };
    let of_web = Some(owner("ReplicaSet", "web-1", 50));
    let set =
        Controller { kind: Kind::ReplicaSet, uid: PodUid(50), owner: Some(owner("Deployment", "web", 51)) };
    apply(&mut index, Object::Controller(set));
    let http = || vec![("http".to_owned(), 8080)];
    for pod in [
        Pod { owner: of_web.clone(), named_ports: http(), ..pod(WEB, "web-1-a", "node-a", "10.1.0.2") },
        pod(CLIENT, "client", "node-a", "10.1.0.3"),
        Pod { host_network: true, node_ports: vec![9100], ..pod(HOST, "exporter", "node-a", "10.99.0.1") },
        Pod { owner: of_web, named_ports: http(), ..pod(AWAY, "web-1-b", "node-b", "10.1.1.2") },
    ] {
        apply(&mut index, Object::Pod(Box::new(pod)));
    }
    let web = Service {
        namespace: "shop".into(),
        name: "web".into(),
        cluster_ips: vec![ip("10.96.0.1")],
        ports: vec![80],
        node_ports: vec![30080],
        targets: [80, 30080].map(|port| (port, TargetPort::Name("http".into()))).into(),
        ..Service::default()
    };
    apply(&mut index, Object::Service(web));
    let slice = Slice {
        namespace: "shop".into(),
        name: "web-x".into(),
        service: Some("web".into()),
        addresses: vec![ip("10.1.0.2"), ip("10.1.1.2")],
    };
    apply(&mut index, Object::Slice(slice));
    for kind in Kind::ALL {
        // A list that names nothing would say that all is gone.
        if !matches!(kind, Kind::ReplicaSet | Kind::Job) {
            index.apply(&Delta::Listed(kind), Timestamp::from_secs(2000));
        }
    }
    index
}

pub(super) fn in_cluster() -> Enricher {
    Enricher { cluster: Some(Cluster::of(index(), "node-a")), ..enricher(Options::default()) }
}

/// An end that a process of a pod owns, which has this network namespace.
pub(super) fn open_in(
    enricher: &mut Enricher,
    conn: u64,
    ends: FiveTuple,
    side: Side,
    pod: u128,
    network: u64,
) {
    open(enricher, conn, ends, side, None);
    let owner = Owner {
        details: Arc::new(ProcessDetails {
            pid: u32::try_from(pod).expect("small"),
            ..ProcessDetails::default()
        }),
        container: Some(Arc::new(Container { id: format!("c{pod}"), runtime: None })),
        pod: Some(PodUid(pod)),
        pod_container: None,
        network: Some(NetworkNamespace(network)),
    };
    enricher.ends.get_mut(ConnId(conn)).expect("an end").owner = Some(Arc::new(owner));
    enricher.pair(ConnId(conn));
}

pub(super) fn see(enricher: &mut Enricher, conn: u64) -> Sighting {
    let tuple = enricher.ends.get(ConnId(conn)).expect("an end").tuple;
    enricher.enrich(observation(conn, tuple, None), now())
}

/// Kind, name, pod, container; Service; node.
pub(super) type Who =
    (Option<(String, String, Option<String>, Option<String>)>, Option<String>, Option<String>);

pub(super) fn who(party: &Party) -> Who {
    (
        party
            .workload
            .as_deref()
            .map(|w| (w.kind.clone(), w.name.clone(), w.pod.clone(), w.container.clone())),
        party.service.as_deref().map(|s| s.name.clone()),
        party.node.as_deref().map(str::to_owned),
    )
}

pub(super) fn named(kind: &str, name: &str, pod: Option<&str>, container: Option<&str>) -> Who {
    let workload = (kind.to_owned(), name.to_owned(), pod.map(str::to_owned), container.map(str::to_owned));
    (Some(workload), None, None)
}

pub(super) fn through(who: Who, service: &str) -> Who {
    (who.0, Some(service.to_owned()), who.2)
}

const NOBODY: Who = (None, None, None);

#[test]
fn a_service_is_named_by_what_was_dialled_and_by_who_answered() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.96.0.1:80"), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 2, tuple("10.1.0.2:8080", "10.1.0.3:40000"), Side::Server, WEB, 2);
    let client = named("Pod", "client", Some("client"), Some("app"));
    let web = named("Deployment", "web", Some("web-1-a"), Some("app"));
    let dialling = see(&mut enricher, 1);
    assert_eq!((who(&dialling.local), who(&dialling.peer)), (client.clone(), through(web.clone(), "web")));
    assert_eq!(dialling.scope, Some(Scope::Node));
    assert_eq!(dialling.local.container.and_then(|c| c.runtime), Some("containerd"));
    let answering = see(&mut enricher, 2);
    assert_eq!((who(&answering.local), who(&answering.peer)), (through(web, "web"), client));
    assert_eq!(answering.scope, Some(Scope::Node));
}

#[test]
fn a_service_that_is_answered_elsewhere_is_named_by_its_workload() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.96.0.1:80"), Side::Client, CLIENT, 3);
    let sighting = see(&mut enricher, 1);
    assert_eq!(who(&sighting.peer), through(named("Deployment", "web", None, None), "web"));
    assert_eq!(sighting.scope, Some(Scope::Cluster));
    assert_eq!(enricher.counters().workloads_behind_services, 1);
}

/// The port that a party listens on, and the one that was dialled, where they are not those seen.
fn ports(party: &Party) -> (Option<u16>, Option<u16>) {
    (party.listen_port, party.dialled.map(|dialled| dialled.port))
}

#[test]
fn ports_that_address_translation_hides_are_told() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.96.0.1:80"), Side::Client, CLIENT, 3);
    assert_eq!(ports(&see(&mut enricher, 1).peer), (Some(8080), None), "whoever answers");
    open_in(&mut enricher, 2, tuple("10.1.0.2:8080", "10.1.0.3:40000"), Side::Server, WEB, 2);
    assert_eq!(ports(&see(&mut enricher, 1).peer), (Some(8080), None));
    assert_eq!(ports(&see(&mut enricher, 2).local), (None, Some(80)));
    // To port 8080 of the pod, redirected to its sidecar.
    open_in(&mut enricher, 3, tuple("10.1.0.3:40001", "10.1.0.2:8080"), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 4, tuple("10.1.0.2:15006", "10.1.0.3:40001"), Side::Server, WEB, 2);
    assert_eq!(ports(&see(&mut enricher, 3).peer), (None, None));
    assert_eq!(ports(&see(&mut enricher, 4).local), (Some(8080), Some(8080)));
    // The same through the Service.
    open_in(&mut enricher, 5, tuple("10.1.0.3:40002", "10.96.0.1:80"), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 6, tuple("10.1.0.2:15006", "10.1.0.3:40002"), Side::Server, WEB, 2);
    assert_eq!(ports(&see(&mut enricher, 6).local), (Some(8080), Some(80)));
    let named = &see(&mut enricher, 6).local.workload.expect("a workload").named_ports;
    assert_eq!(named.get("http"), Some(&8080));
}

#[test]
fn peers_are_named_by_address() {
    let node = |name: &str| -> Who { (None, None, Some(name.to_owned())) };
    let web = || named("Deployment", "web", None, None);
    for (peer, expected, scope) in [
        ("10.1.1.2:8080", named("Deployment", "web", Some("web-1-b"), None), Some(Scope::Cluster)),
        ("10.99.0.2:10250", node("node-b"), Some(Scope::Cluster)),
        ("10.99.0.1:22", node("node-a"), Some(Scope::Node)),
        (
            "10.99.0.2:30080",
            (web().0, Some("web".to_owned()), Some("node-b".to_owned())),
            Some(Scope::Cluster),
        ),
        ("10.1.1.77:80", NOBODY, Some(Scope::Cluster)),
        ("93.184.216.34:443", NOBODY, Some(Scope::External)),
    ] {
        let mut enricher = in_cluster();
        open_in(&mut enricher, 1, tuple("10.1.0.3:40000", peer), Side::Client, CLIENT, 3);
        let sighting = see(&mut enricher, 1);
        assert_eq!((who(&sighting.peer), sighting.scope), (expected, scope), "{peer}");
    }
}

#[test]
fn a_caller_with_a_private_address_is_outside_only_where_pods_addresses_are_known() {
    let scope_of = |peer: &str, side| {
        let mut enricher = in_cluster();
        let bare = Node { name: "node-c".into(), ips: vec![ip("10.99.0.3")], ..Node::default() };
        enricher.cluster.as_mut().expect("a cluster").apply(&Delta::Applied(Object::Node(bare)));
        open_in(&mut enricher, 1, tuple("10.1.0.2:8080", peer), side, WEB, 2);
        see(&mut enricher, 1).scope
    };
    assert_eq!(scope_of("172.16.0.1:40000", Side::Server), None, "a bridge of a node, perhaps");
    assert_eq!(scope_of("172.16.0.1:5432", Side::Client), Some(Scope::External));
    assert_eq!(scope_of("93.184.216.34:40000", Side::Server), Some(Scope::External));
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.2:8080", "172.16.0.1:40000"), Side::Server, WEB, 2);
    assert_eq!(see(&mut enricher, 1).scope, Some(Scope::External));
}

#[test]
fn a_caller_among_pods_that_is_none_of_them_may_stand_for_anybody() {
    let mut enricher = in_cluster();
    // As kube-proxy translates callers of NodePorts.
    open_in(&mut enricher, 1, tuple("10.1.0.2:8080", "10.1.1.77:40000"), Side::Server, WEB, 2);
    assert_eq!(see(&mut enricher, 1).scope, None);
    open_in(&mut enricher, 2, tuple("10.1.0.2:8080", "10.1.1.2:40000"), Side::Server, WEB, 2);
    assert_eq!(see(&mut enricher, 2).scope, Some(Scope::Cluster), "a pod that is known");
}

#[test]
fn a_port_of_this_node_may_lead_to_another() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.99.0.1:30080"), Side::Client, CLIENT, 3);
    assert_eq!(see(&mut enricher, 1).scope, Some(Scope::Cluster));
}

#[test]
fn a_pod_on_its_nodes_network_is_named_by_its_port_as_a_server_only() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.99.0.1:9100"), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 2, tuple("10.1.0.3:8080", "10.99.0.1:9100"), Side::Server, CLIENT, 3);
    let node = Some("node-a".to_owned());
    let exporter = (named("Pod", "exporter", Some("exporter"), None).0, None, node.clone());
    assert_eq!(who(&see(&mut enricher, 1).peer), exporter);
    assert_eq!(who(&see(&mut enricher, 2).peer), (None, None, node));
}

#[test]
fn a_pod_on_its_nodes_network_is_named_by_its_process() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.99.0.1:40000", "93.184.216.34:443"), Side::Client, HOST, 1);
    open(&mut enricher, 2, tuple("10.99.0.1:40001", "93.184.216.34:443"), Side::Client, None);
    let node = Some("node-a".to_owned());
    let exporter = (named("Pod", "exporter", Some("exporter"), Some("app")).0, None, node.clone());
    assert_eq!(who(&see(&mut enricher, 1).local), exporter);
    assert_eq!(who(&see(&mut enricher, 2).local), (None, None, node), "any process of the node");
}

#[test]
fn a_redirect_into_a_sidecar_stays_in_the_pod() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.2:40000", "93.184.216.34:443"), Side::Client, WEB, 2);
    open_in(&mut enricher, 2, tuple("127.0.0.1:15001", "10.1.0.2:40000"), Side::Server, WEB, 2);
    open_in(&mut enricher, 3, tuple("10.1.0.2:40001", "93.184.216.34:443"), Side::Client, WEB, 2);
    let web = named("Deployment", "web", Some("web-1-a"), Some("app"));
    for conn in [1, 2] {
        let sighting = see(&mut enricher, conn);
        assert_eq!((who(&sighting.peer), sighting.scope), (web.clone(), Some(Scope::Pod)), "{conn}");
    }
    assert_eq!(see(&mut enricher, 3).scope, Some(Scope::External), "what the sidecar sends on");
}

#[test]
fn a_service_dialled_through_a_sidecar_is_the_applications_and_not_the_sidecars() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.96.0.1:80"), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 2, tuple("127.0.0.1:15001", "10.1.0.3:40000"), Side::Server, CLIENT, 3);
    let client = named("Pod", "client", Some("client"), Some("app"));
    let (application, sidecar) = (see(&mut enricher, 1), see(&mut enricher, 2));
    assert_eq!(
        (who(&application.peer), application.scope),
        (through(client.clone(), "web"), Some(Scope::Pod))
    );
    assert_eq!((who(&sidecar.local), sidecar.scope), (client, Some(Scope::Pod)));
}

#[test]
fn what_came_in_through_a_sidecar_reaches_the_application_within_the_pod() {
    let mut enricher = in_cluster();
    // From another pod to port 8080, redirected to the sidecar's 15006; from there to the application.
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.1.0.2:8080"), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 2, tuple("10.1.0.2:15006", "10.1.0.3:40000"), Side::Server, WEB, 2);
    open_in(&mut enricher, 3, tuple("127.0.0.6:40001", "10.1.0.2:8080"), Side::Client, WEB, 2);
    open_in(&mut enricher, 4, tuple("10.1.0.2:8080", "127.0.0.6:40001"), Side::Server, WEB, 2);
    let scopes: Vec<_> = (1..=4).map(|conn| see(&mut enricher, conn).scope).collect();
    assert_eq!(scopes, [Scope::Node, Scope::Node, Scope::Pod, Scope::Pod].map(Some));
    let web = named("Deployment", "web", Some("web-1-a"), Some("app"));
    assert_eq!(who(&see(&mut enricher, 1).peer), web);
}

#[test]
fn loopback_within_a_pod_is_the_pods() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("127.0.0.1:40000", "127.0.0.1:9000"), Side::Client, WEB, 2);
    assert_eq!(see(&mut enricher, 1).scope, Some(Scope::Pod));
    open_in(&mut enricher, 2, tuple("127.0.0.1:40000", "127.0.0.1:9000"), Side::Client, HOST, 1);
    assert_eq!(see(&mut enricher, 2).scope, Some(Scope::Loopback));
}

#[test]
fn before_the_cluster_is_known_nothing_is_outside_of_it() {
    let cluster = Cluster::of(Index::new(Some("node-a".to_owned())), "node-a");
    let mut enricher = Enricher { cluster: Some(cluster), ..enricher(Options::default()) };
    open(&mut enricher, 1, tuple("10.1.0.3:40000", "93.184.216.34:443"), Side::Client, None);
    assert_eq!(see(&mut enricher, 1).scope, None);
}

#[test]
fn a_connection_keeps_its_names_when_the_pods_are_gone() {
    let mut enricher = in_cluster();
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.1.1.2:8080"), Side::Client, CLIENT, 3);
    let before = see(&mut enricher, 1);
    // Another index altogether: what is named was kept with the connection.
    enricher.cluster = Some(Cluster::of(Index::new(Some("node-a".to_owned())), "node-a"));
    let after = see(&mut enricher, 1);
    assert_eq!((who(&after.local), who(&after.peer)), (who(&before.local), who(&before.peer)));
}

#[test]
fn nothing_is_asked_of_a_cluster_outside_of_one() {
    assert_eq!(enricher(Options::default()).poll_deadline(), None);
    assert_eq!(Kubernetes::find(None, None), None);
}
