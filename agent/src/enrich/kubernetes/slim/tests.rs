use serde_json::json;

use super::*;

const UID: &str = "8dbc5577-d0e2-4706-8787-57d52c03ddf2";
const OWNER: &str = "11111111-d0e2-4706-8787-57d52c03ddf2";
/// 2026-01-02T03:04:05Z
const TIME: u64 = 1_767_323_045;

fn object(kind: Kind, value: &serde_json::Value) -> Option<Object> {
    read(kind, value.to_string().as_bytes()).expect("an object")
}

fn uid(text: &str) -> PodUid {
    PodUid::parse(text).expect("a UID")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_pod_is_read_as_the_api_sends_it() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-6d4cf56db6-abcde", "namespace": "shop", "uid": UID, "resourceVersion": "17",
            "creationTimestamp": "2026-01-02T03:04:00Z",
            "labels": {"app": "web", "pod-template-hash": "6d4cf56db6"},
            "annotations": {"a": "b"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": UID},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4cf56db6", "uid": OWNER, "controller": true}
            ]
        },
        "spec": {
            "nodeName": "node-a", "serviceAccountName": "web", "volumes": [{"name": "x"}],
            "containers": [
                {"name": "web", "ports": [{"containerPort": 8080, "name": "http"}, {"containerPort": 8443, "hostPort": 443, "protocol": "TCP"},
                                          {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "name": "dns"}]},
                {"name": "sidecar"}
            ]
        },
        "status": {
            "phase": "Running", "podIP": "10.1.0.5", "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd00::5"}],
            "startTime": "2026-01-02T03:04:05Z",
            "initContainerStatuses": [{"name": "init", "containerID": "containerd://i",
                "state": {"terminated": {"startedAt": "2026-01-02T03:04:07Z", "exitCode": 0}}}],
            "containerStatuses": [
                {"name": "web", "containerID": "containerd://w", "ready": true,
                 "state": {"running": {"startedAt": "2026-01-02T03:04:09Z"}},
                 "lastState": {"terminated": {"startedAt": "2026-01-02T03:04:08Z"}}},
                {"name": "sidecar", "state": {"waiting": {"reason": "ContainerCreating"}}}
            ]
        }
    });
    let expected = Pod {
        uid: uid(UID),
        namespace: text("shop"),
        name: text("web-6d4cf56db6-abcde"),
        alias: None,
        labels: vec![(text("app"), text("web")), (text("pod-template-hash"), text("6d4cf56db6"))],
        owner: Some(OwnerRef {
            kind: text("ReplicaSet"),
            name: text("web-6d4cf56db6"),
            uid: Some(uid(OWNER)),
        }),
        service_account: Some(text("web")),
        node: Some(text("node-a")),
        host_network: false,
        ips: vec![ip("10.1.0.5"), ip("fd00::5")],
        accepted: Some(Timestamp::from_secs(TIME)),
        started: Some(Timestamp::from_secs(TIME + 2)),
        is_over: false,
        containers: vec![
            PodContainer { id: text("w"), runtime: Some("containerd"), name: text("web") },
            PodContainer { id: text("i"), runtime: Some("containerd"), name: text("init") },
        ],
        node_ports: vec![443],
        named_ports: vec![(text("http"), 8080)],
    };
    assert_eq!(object(Kind::Pod, &pod), Some(Object::Pod(Box::new(expected))));
}

#[test]
fn a_static_pod_is_known_by_its_hash_and_owned_by_nobody() {
    let pod = json!({
        "metadata": {
            "name": "etcd-node-a", "namespace": "kube-system", "uid": UID,
            "annotations": {"kubernetes.io/config.mirror": "2d08f3d1d1d8ba2cf0e5f4b3d6d1a7c9"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "node-a", "uid": OWNER, "controller": true}]
        },
        "spec": {"nodeName": "node-a", "hostNetwork": true,
                 "containers": [{"name": "etcd", "ports": [{"containerPort": 2381}]}]},
        "status": {"phase": "Failed"}
    });
    let expected = Pod {
        uid: uid(UID),
        namespace: text("kube-system"),
        name: text("etcd-node-a"),
        alias: PodUid::parse("2d08f3d1d1d8ba2cf0e5f4b3d6d1a7c9"),
        node: Some(text("node-a")),
        host_network: true,
        is_over: true,
        node_ports: vec![2381],
        ..Pod::default()
    };
    assert_eq!(object(Kind::Pod, &pod), Some(Object::Pod(Box::new(expected))));
}

#[test]
fn services_with_and_without_an_address() {
    let service = |spec: serde_json::Value, status: serde_json::Value| {
        object(
            Kind::Service,
            &json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec, "status": status}),
        )
    };
    let expected = |service: Service| {
        Some(Object::Service(Service { namespace: text("n"), name: text("s"), ..service }))
    };
    let balancer = service(
        json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd01::9"], "externalIPs": ["203.0.113.1"],
               "ports": [{"port": 80, "nodePort": 30080, "targetPort": "http"},
                         {"port": 8443, "targetPort": 8443}, {"port": 9090, "targetPort": 90},
                         {"port": 53, "nodePort": 30053, "protocol": "UDP"}]}),
        json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.2"}, {"hostname": "lb.example"}]}}),
    );
    let full = Service {
        cluster_ips: vec![ip("10.96.0.9"), ip("fd01::9")],
        balancer_ips: vec![ip("203.0.113.2")],
        external_ips: vec![ip("203.0.113.1")],
        ports: vec![80, 8443, 9090],
        node_ports: vec![30080],
        targets: vec![
            (80, TargetPort::Name(text("http"))),
            (30080, TargetPort::Name(text("http"))),
            (9090, TargetPort::Number(90)),
        ],
        ..Service::default()
    };
    assert_eq!(balancer, expected(full));
    let headless = service(json!({"clusterIP": "None", "ports": [{"port": 5432}]}), json!({}));
    let bare = Service { is_headless: true, ports: vec![5432], ..Service::default() };
    assert_eq!(headless, expected(bare));
    let alias = service(json!({"type": "ExternalName", "externalName": "example.com"}), json!({}));
    assert_eq!(alias, expected(Service::default()));
}

#[test]
fn nodes_and_slices_and_controllers() {
    let node = json!({
        "metadata": {"name": "node-a"},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64", "nonsense", "10.0.0.0/99"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.99.0.1"}, {"type": "Hostname", "address": "node-a"}]}
    });
    let expected = Node {
        name: text("node-a"),
        ips: vec![ip("10.99.0.1")],
        pod_ranges: vec![(ip("10.244.1.0"), 24), (ip("fd00:1::"), 64)],
    };
    assert_eq!(object(Kind::Node, &node), Some(Object::Node(expected)));

    let slice = json!({
        "metadata": {"name": "web-x1", "namespace": "n", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.6"], "conditions": {"ready": true}}, {"addresses": ["10.1.0.5"]}],
        "ports": [{"port": 8080}]
    });
    let expected = Slice {
        namespace: text("n"),
        name: text("web-x1"),
        service: Some(text("web")),
        addresses: vec![ip("10.1.0.5"), ip("10.1.0.6")],
    };
    assert_eq!(object(Kind::EndpointSlice, &slice), Some(Object::Slice(expected)));
    let empty = json!({"metadata": {"name": "web-x1", "namespace": "n"}, "endpoints": null});
    let expected = Slice { namespace: text("n"), name: text("web-x1"), ..Slice::default() };
    assert_eq!(object(Kind::EndpointSlice, &empty), Some(Object::Slice(expected)));

    let replica_set = json!({"metadata": {"name": "web-1", "uid": UID, "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": OWNER, "controller": true}]}});
    let owner = Some(OwnerRef { kind: text("Deployment"), name: text("web"), uid: Some(uid(OWNER)) });
    let expected = Controller { kind: Kind::ReplicaSet, uid: uid(UID), owner };
    assert_eq!(object(Kind::ReplicaSet, &replica_set), Some(Object::Controller(expected)));
    let job = json!({"metadata": {"name": "once", "uid": UID}});
    let expected = Controller { kind: Kind::Job, uid: uid(UID), owner: None };
    assert_eq!(object(Kind::Job, &job), Some(Object::Controller(expected)));
}

#[test]
fn objects_without_what_all_have_are_left_out() {
    for metadata in [json!({}), json!({"name": "x"}), json!({"name": "x", "namespace": "n", "uid": "short"})]
    {
        assert_eq!(object(Kind::Pod, &json!({"metadata": metadata})), None);
    }
    assert!(read(Kind::Pod, b"{}").is_err());
    assert!(read(Kind::Pod, b"").is_err());
}

#[test]
fn controllers_are_asked_for_by_their_metadata_only() {
    assert!(SlimReplicaSet::metadata_api() && SlimJob::metadata_api());
    assert_eq!(SlimReplicaSet::url_path(&(), None), "/apis/apps/v1/replicasets");
    assert_eq!(SlimJob::url_path(&(), None), "/apis/batch/v1/jobs");
    assert_eq!(SlimPod::url_path(&(), None), "/api/v1/pods");
    let version = SliceVersion("v1beta1");
    assert_eq!(SlimSlice::url_path(&version, None), "/apis/discovery.k8s.io/v1beta1/endpointslices");
}
