use super::*;
use crate::enrich::kubernetes::delta::{Controller, Node, OwnerRef, Pod, PodContainer, Service, Slice};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn at(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().expect("address and port");
    Endpoint::new(address.ip(), address.port())
}

const fn t(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn pod(uid: u128, name: &str, address: &str, started: u64) -> Pod {
    Pod {
        uid: PodUid(uid),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        labels: vec![("app".to_owned(), "web".to_owned())],
        node: Some("node-a".to_owned()),
        ips: vec![ip(address)],
        accepted: Some(t(started - 5)),
        started: Some(t(started)),
        ..Pod::default()
    }
}

fn owned(pod: Pod, kind: &str, name: &str, uid: u128) -> Pod {
    let owner = OwnerRef { kind: kind.to_owned(), name: name.to_owned(), uid: Some(PodUid(uid)) };
    Pod { owner: Some(owner), ..pod }
}

fn applied(pod: &Pod) -> Delta {
    Delta::Applied(Object::Pod(Box::new(pod.clone())))
}

fn deleted(pod: &Pod) -> Delta {
    Delta::Deleted(Object::Pod(Box::new(pod.clone())))
}

fn controller(kind: Kind, uid: u128, owner: Option<(&str, &str)>) -> Delta {
    let owner =
        owner.map(|(kind, name)| OwnerRef { kind: kind.to_owned(), name: name.to_owned(), uid: None });
    Delta::Applied(Object::Controller(Controller { kind, uid: PodUid(uid), owner }))
}

fn service(name: &str, address: &str, ports: &[u16]) -> Service {
    Service {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        cluster_ips: vec![ip(address)],
        ports: ports.to_vec(),
        ..Service::default()
    }
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> Delta {
    Delta::Applied(Object::Slice(Slice {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        service: Some(service.to_owned()),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
    }))
}

fn index(deltas: impl IntoIterator<Item = Delta>) -> Index {
    let mut index = Index::new(Some("node-a".to_owned()));
    for delta in deltas {
        index.apply(&delta, t(1000));
    }
    index
}

fn name_at(index: &mut Index, address: &str, time: u64) -> Option<String> {
    match index.pod_at(ip(address), t(time)) {
        PodAt::One(uid) => index.workload(uid).and_then(|(workload, _)| workload.pod.clone()),
        PodAt::Several => Some("several".to_owned()),
        PodAt::None => None,
    }
}

fn kind_and_name(index: &mut Index, uid: u128) -> (String, String, bool) {
    let (workload, is_settled) = index.workload(PodUid(uid)).expect("a workload");
    (workload.kind.clone(), workload.name.clone(), is_settled)
}

fn named(kind: &str, name: &str, is_settled: bool) -> (String, String, bool) {
    (kind.to_owned(), name.to_owned(), is_settled)
}

#[test]
fn owners_of_owners_are_found_in_whatever_order_they_come() {
    let web = owned(pod(1, "web-1-a", "10.1.0.1", 100), "ReplicaSet", "web-1", 50);
    let mut index = index([applied(&web)]);
    assert_eq!(kind_and_name(&mut index, 1), named("ReplicaSet", "web-1", false));
    index.apply(&controller(Kind::ReplicaSet, 50, Some(("Deployment", "web"))), t(1000));
    assert_eq!(kind_and_name(&mut index, 1), named("Deployment", "web", true));
    // The ReplicaSet goes before its pods do, and they report once more.
    let gone = Controller { kind: Kind::ReplicaSet, uid: PodUid(50), owner: None };
    index.apply(&Delta::Deleted(Object::Controller(gone)), t(1001));
    index.apply(&applied(&web), t(1002));
    assert_eq!(kind_and_name(&mut index, 1), named("Deployment", "web", true));
}

#[test]
fn each_kind_of_owner_has_its_own_end() {
    let base = |uid| pod(uid, "p", "10.1.0.1", 100);
    let mut index = index([
        controller(Kind::ReplicaSet, 50, None),
        controller(Kind::Job, 51, Some(("CronJob", "nightly"))),
        controller(Kind::Job, 52, None),
        applied(&owned(base(1), "ReplicaSet", "bare", 50)),
        applied(&owned(base(2), "Job", "nightly-1", 51)),
        applied(&owned(base(3), "Job", "once", 52)),
        applied(&owned(base(4), "StatefulSet", "db", 53)),
        applied(&owned(base(5), "DaemonSet", "log", 54)),
        applied(&owned(base(6), "Rollout", "own", 55)),
        applied(&base(7)),
    ]);
    for (uid, kind, name) in [
        (1, "ReplicaSet", "bare"),
        (2, "CronJob", "nightly"),
        (3, "Job", "once"),
        (4, "StatefulSet", "db"),
        (5, "DaemonSet", "log"),
        (6, "Rollout", "own"),
        (7, "Pod", "p"),
    ] {
        assert_eq!(kind_and_name(&mut index, uid), named(kind, name, true));
    }
}

#[test]
fn a_pod_with_the_address_of_another_answers_for_its_own_time_only() {
    let (old, new) = (pod(1, "old", "10.1.0.1", 100), pod(2, "new", "10.1.0.1", 200));
    let mut index = index([applied(&old)]);
    index.apply(&deleted(&old), t(190));
    index.apply(&applied(&new), t(201));
    for (time, name) in
        [(90, None), (100, Some("old")), (189, Some("old")), (200, Some("new")), (900, Some("new"))]
    {
        assert_eq!(name_at(&mut index, "10.1.0.1", time).as_deref(), name, "{time}");
    }
}

#[test]
fn a_pod_whose_end_was_not_told_yet_gives_way_to_the_one_that_runs() {
    let (old, new) = (pod(1, "old", "10.1.0.1", 100), pod(2, "new", "10.1.0.1", 200));
    let mut index = index([applied(&old), applied(&new)]);
    assert_eq!(name_at(&mut index, "10.1.0.1", 198).as_deref(), Some("old"));
    assert_eq!(name_at(&mut index, "10.1.0.1", 200).as_deref(), Some("new"));
}

#[test]
fn two_pods_of_which_nothing_tells_who_had_the_address_are_not_guessed() {
    let begun = |uid, name| Pod { started: None, ..pod(uid, name, "10.1.0.1", 100) };
    let mut index = index([applied(&begun(1, "a")), applied(&begun(2, "b"))]);
    assert_eq!(name_at(&mut index, "10.1.0.1", 150).as_deref(), Some("several"));
}

#[test]
fn a_container_started_again_does_not_make_the_pod_younger() {
    let first = pod(1, "a", "10.1.0.1", 100);
    let again = Pod { started: Some(t(500)), ..first.clone() };
    let other = pod(2, "b", "10.1.0.1", 90);
    let mut index = index([applied(&other), applied(&first), applied(&again)]);
    assert_eq!(name_at(&mut index, "10.1.0.1", 300).as_deref(), Some("a"));
}

#[test]
fn a_pod_that_is_over_has_no_address() {
    let job = pod(1, "job", "10.1.0.1", 100);
    let mut index = index([applied(&job)]);
    index.apply(&applied(&Pod { is_over: true, ..job.clone() }), t(300));
    index.apply(&applied(&Pod { is_over: true, ..job }), t(400));
    assert_eq!(name_at(&mut index, "10.1.0.1", 299).as_deref(), Some("job"));
    assert_eq!(name_at(&mut index, "10.1.0.1", 300), None);
}

#[test]
fn pods_on_their_nodes_network_have_no_address_of_their_own() {
    let host = |uid, name: &str, ports: &[u16]| Pod {
        host_network: true,
        node_ports: ports.to_vec(),
        ..pod(uid, name, "10.99.0.1", 100)
    };
    let mut index = index([
        Delta::Applied(Object::Node(Node {
            name: "node-a".into(),
            ips: vec![ip("10.99.0.1")],
            ..Node::default()
        })),
        applied(&host(1, "exporter", &[9100])),
        applied(&host(2, "a", &[8080])),
        applied(&host(3, "b", &[8080])),
    ]);
    assert_eq!(name_at(&mut index, "10.99.0.1", 500), None);
    let node = index.node_at(ip("10.99.0.1")).cloned().expect("a node");
    assert_eq!(index.pod_at_node_port(&node, 9100), Some(PodUid(1)));
    assert_eq!(index.pod_at_node_port(&node, 8080), None, "two declare it");
    index.apply(&deleted(&host(3, "b", &[8080])), t(1001));
    assert_eq!(index.pod_at_node_port(&node, 8080), Some(PodUid(2)));
    assert_eq!(index.is_on_host_network(PodUid(1)), Some(true));
}

#[test]
fn containers_are_kept_of_this_node_only() {
    let with = |uid, node: &str, id: &str| Pod {
        node: Some(node.to_owned()),
        containers: vec![PodContainer { id: id.into(), runtime: Some("cri-o"), name: "web".into() }],
        alias: Some(PodUid(uid + 1000)),
        ..pod(uid, "p", "10.1.0.1", 100)
    };
    let mut index = index([applied(&with(1, "node-a", "x")), applied(&with(2, "node-b", "y"))]);
    assert_eq!(index.pod_of_container("x"), Some(PodUid(1)));
    assert_eq!(index.container(PodUid(1), "x"), Some((Arc::from("web"), Some("cri-o"))));
    assert_eq!(index.pod_of_container("y"), None);
    assert_eq!(index.pod(PodUid(1001)), Some(PodUid(1)));
    assert_eq!(index.pod(PodUid(2)), Some(PodUid(2)));
    assert_eq!(index.pod(PodUid(3)), None);
    index.apply(&applied(&with(1, "node-a", "z")), t(1001));
    assert_eq!(index.pod_of_container("x"), None);
    assert_eq!(index.pod_of_container("z"), Some(PodUid(1)));
}

#[test]
fn services_are_found_by_what_is_dialled() {
    let mut index = index([
        Delta::Applied(Object::Service(service("web", "10.96.0.1", &[80, 443]))),
        Delta::Applied(Object::Service(Service {
            external_ips: vec![ip("203.0.113.1")],
            node_ports: vec![30080],
            ..service("mail", "10.96.0.2", &[25])
        })),
        Delta::Applied(Object::Service(Service {
            external_ips: vec![ip("203.0.113.1")],
            ..service("dns", "10.96.0.3", &[53])
        })),
    ]);
    let name =
        |index: &Index, dialled: &str| index.service_at(at(dialled)).map(|service| service.name.clone());
    for (dialled, expected) in [
        ("10.96.0.1:80", Some("web")),
        ("10.96.0.1:8080", Some("web")),
        ("203.0.113.1:25", Some("mail")),
        ("203.0.113.1:53", Some("dns")),
        ("203.0.113.1:80", None),
        ("10.96.0.9:80", None),
    ] {
        assert_eq!(name(&index, dialled).as_deref(), expected, "{dialled}");
    }
    assert_eq!(index.service_at_node_port(30080).map(|s| s.name.as_str()), Some("mail"));
    index.apply(&Delta::Deleted(Object::Service(service("mail", "10.96.0.2", &[25]))), t(1001));
    assert_eq!(name(&index, "203.0.113.1:25"), None);
    assert_eq!(index.service_at_node_port(30080), None);
}

#[test]
fn nobody_takes_the_address_of_another_service_by_an_external_ip() {
    let web = || {
        Delta::Applied(Object::Service(Service {
            balancer_ips: vec![ip("203.0.113.1")],
            ..service("web", "10.96.0.1", &[80])
        }))
    };
    let claim = || {
        Delta::Applied(Object::Service(Service {
            external_ips: vec![ip("10.96.0.1"), ip("203.0.113.1")],
            ..service("claim", "10.96.0.7", &[80, 81])
        }))
    };
    let name =
        |index: &Index, dialled: &str| index.service_at(at(dialled)).map(|service| service.name.clone());
    for order in [[web(), claim()], [claim(), web()]] {
        let mut index = index(order);
        for (dialled, expected) in [
            ("10.96.0.1:80", Some("web")),
            // That is where the cluster leads it.
            ("10.96.0.1:81", Some("claim")),
            ("10.96.0.1:82", Some("web")),
            ("203.0.113.1:80", Some("web")),
            ("203.0.113.1:81", Some("claim")),
            ("203.0.113.1:82", None),
        ] {
            assert_eq!(name(&index, dialled).as_deref(), expected, "{dialled}");
        }
        index.apply(&Delta::Deleted(Object::Service(service("web", "10.96.0.1", &[80]))), t(1001));
        assert_eq!(name(&index, "10.96.0.1:80").as_deref(), Some("claim"));
        assert_eq!(name(&index, "10.96.0.1:82"), None);
        index.apply(&web(), t(1002));
        assert_eq!(name(&index, "10.96.0.1:80").as_deref(), Some("web"));
    }
}

#[test]
fn behind_a_service_is_its_one_workload() {
    let web = |uid, name: &str, address: &str| owned(pod(uid, name, address, 100), "StatefulSet", "web", 9);
    let mut index = index([
        Delta::Applied(Object::Service(service("web", "10.96.0.1", &[80]))),
        applied(&web(1, "web-0", "10.1.0.1")),
        applied(&Pod {
            labels: vec![("app".into(), "web".into()), ("pod".into(), "1".into())],
            ..web(2, "web-1", "10.1.0.2")
        }),
        applied(&owned(pod(3, "other-0", "10.1.0.3", 100), "StatefulSet", "other", 10)),
        slice("web-a", "web", &["10.1.0.1"]),
    ]);
    let reference = index.service_at(at("10.96.0.1:80")).cloned().expect("the Service");
    let behind = |index: &mut Index| {
        index
            .workload_behind(&reference, t(500))
            .map(|(w, _)| (w.name.clone(), w.pod.clone(), w.labels.len()))
    };
    assert_eq!(behind(&mut index), Some(("web".to_owned(), Some("web-0".to_owned()), 1)));
    assert!(index.leads_to(at("10.96.0.1:80"), at("10.1.0.1:8080")));
    assert!(!index.leads_to(at("10.96.0.1:80"), at("10.1.0.2:8080")));
    index.apply(&slice("web-b", "web", &["10.1.0.2"]), t(1000));
    assert_eq!(behind(&mut index), Some(("web".to_owned(), None, 1)));
    index.apply(&slice("web-b", "web", &["10.1.0.2", "10.1.0.3"]), t(1000));
    assert_eq!(behind(&mut index), None);
    index.apply(&slice("web-b", "web", &["10.1.0.2", "192.0.2.1"]), t(1000));
    assert_eq!(behind(&mut index), None, "an endpoint outside of the cluster");
}

#[test]
fn a_service_with_too_many_endpoints_is_not_compared_and_counted() {
    let addresses: Vec<String> =
        (0..=MAX_BACKENDS).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut index = index([
        Delta::Applied(Object::Service(service("web", "10.96.0.1", &[80]))),
        slice("a", "web", &addresses),
    ]);
    let reference = index.service_at(at("10.96.0.1:80")).cloned().expect("the Service");
    assert_eq!(index.workload_behind(&reference, t(500)), None);
    assert_eq!(index.counters().backends_not_compared, 1);
}

#[test]
fn a_headless_service_is_found_by_its_endpoints() {
    let headless =
        Service { cluster_ips: Vec::new(), is_headless: true, ..service("db", "10.96.0.1", &[5432]) };
    let mut index = index([
        Delta::Applied(Object::Service(headless.clone())),
        Delta::Applied(Object::Service(service("web", "10.96.0.1", &[80]))),
        slice("db-a", "db", &["10.1.0.1"]),
        slice("web-a", "web", &["10.1.0.1", "10.1.0.2"]),
    ]);
    let name = |index: &Index, address: &str| index.headless_service_at(ip(address)).map(|s| s.name.clone());
    assert_eq!(name(&index, "10.1.0.1").as_deref(), Some("db"));
    assert_eq!(name(&index, "10.1.0.2"), None);
    // An endpoint moves between slices: the new one names it before the old one lets go.
    index.apply(&slice("db-b", "db", &["10.1.0.1"]), t(1000));
    index.apply(&slice("db-a", "db", &[]), t(1000));
    assert_eq!(name(&index, "10.1.0.1").as_deref(), Some("db"));
    index.apply(&slice("db-b", "db", &[]), t(1000));
    assert_eq!(name(&index, "10.1.0.1"), None);
}

#[test]
fn what_a_list_does_not_name_is_gone() {
    let node = |name: &str, address: &str| {
        Delta::Applied(Object::Node(Node { name: name.into(), ips: vec![ip(address)], ..Node::default() }))
    };
    let mut index = Index::new(None);
    let lists = [
        (Kind::Pod, applied(&pod(1, "a", "10.1.0.1", 100)), applied(&pod(2, "b", "10.1.0.2", 100))),
        (
            Kind::Service,
            Delta::Applied(Object::Service(service("a", "10.96.0.1", &[80]))),
            Delta::Applied(Object::Service(service("b", "10.96.0.2", &[80]))),
        ),
        (Kind::Node, node("a", "10.99.0.1"), node("b", "10.99.0.2")),
        (Kind::EndpointSlice, slice("a", "a", &["10.1.0.1"]), slice("b", "b", &["10.1.0.2"])),
        (
            Kind::ReplicaSet,
            controller(Kind::ReplicaSet, 50, Some(("Deployment", "a"))),
            controller(Kind::ReplicaSet, 51, Some(("Deployment", "b"))),
        ),
    ];
    assert!(!index.is_complete());
    // Lists of several kinds are read at the same time.
    for round in 0..2 {
        for (kind, _, _) in &lists {
            index.apply(&Delta::Listing(*kind), t(1000));
        }
        for (_, always, once) in &lists {
            index.apply(always, t(1000));
            if round == 0 {
                index.apply(once, t(1000));
            }
        }
        for (kind, _, _) in &lists {
            index.apply(&Delta::Listed(*kind), t(1000 + round));
        }
        assert!(index.is_complete());
    }
    assert_eq!(name_at(&mut index, "10.1.0.1", 2000).as_deref(), Some("a"));
    assert_eq!(name_at(&mut index, "10.1.0.2", 2000), None);
    assert_eq!(name_at(&mut index, "10.1.0.2", 900).as_deref(), Some("b"), "it was there before");
    assert!(index.service_at(at("10.96.0.1:80")).is_some());
    assert!(index.service_at(at("10.96.0.2:80")).is_none());
    assert!(index.node_at(ip("10.99.0.1")).is_some());
    assert!(index.node_at(ip("10.99.0.2")).is_none());
    assert!(index.is_of_cluster(ip("10.96.0.1")) && !index.is_of_cluster(ip("10.96.0.2")));
}

#[test]
fn pods_that_are_gone_are_forgotten_after_a_while() {
    let a = pod(1, "a", "10.1.0.1", 100);
    let mut index = index([applied(&a)]);
    index.apply(&deleted(&a), t(1000));
    index.apply(&Delta::Listing(Kind::Job), t(1600));
    assert_eq!(name_at(&mut index, "10.1.0.1", 500).as_deref(), Some("a"));
    index.apply(&Delta::Listing(Kind::Job), t(1601));
    assert_eq!(name_at(&mut index, "10.1.0.1", 500), None);
    assert_eq!(index.counters().gone_pods_dropped, 0);
}

#[test]
fn too_many_pods_that_are_gone_are_forgotten_early_and_counted() {
    let mut index = index([]);
    for uid in 0..=pods::MAX_GONE as u128 {
        let p = pod(uid + 1, "p", "10.1.0.1", 100);
        index.apply(&applied(&p), t(1000));
        index.apply(&deleted(&p), t(1000));
    }
    assert_eq!(index.counters().gone_pods_dropped, 1);
    assert_eq!(index.sizes()[0].1, pods::MAX_GONE);
}

#[test]
fn names_stay_right_and_nothing_grows_while_a_thousand_pods_come_and_go() {
    let mut index = index([]);
    let mut live: Vec<Pod> = Vec::new();
    let mut sizes = Vec::new();
    for round in 0..4u64 {
        for n in 0..1000u64 {
            let now = 10_000 + round * 10_000 + n * 5;
            // Addresses are given again as soon as they are free: a hundred for all.
            let address = format!("10.1.0.{}", n % 100);
            if live.len() >= 100 {
                let old = live.remove(0);
                index.apply(&deleted(&old), t(now));
            }
            let uid = u128::from(round * 1000 + n + 1);
            let name = format!("web-{round}-{n}");
            let set = format!("web-{round}");
            index.apply(
                &controller(Kind::ReplicaSet, u128::from(1_000_000 + round), Some(("Deployment", "web"))),
                t(now),
            );
            let new =
                owned(pod(uid, &name, &address, now + 1), "ReplicaSet", &set, u128::from(1_000_000 + round));
            index.apply(&applied(&new), t(now));
            live.push(new);
            assert_eq!(name_at(&mut index, &address, now + 1), Some(name), "{now}");
            assert_eq!(kind_and_name(&mut index, uid), named("Deployment", "web", true));
        }
        sizes.push((index.sizes()[0].1, index.names.len()));
    }
    // Those that are there, and those that went within ten minutes.
    assert!(sizes.iter().all(|(pods, _)| *pods <= 100 + 121), "{sizes:?}");
    assert!(sizes.iter().all(|(_, names)| *names <= 2048), "{sizes:?}");
}
