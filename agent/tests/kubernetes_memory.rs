//! What a large cluster costs in memory, counted by the allocator: a file of its own, because nothing else may allocate
//! meanwhile.

#![allow(clippy::expect_used, reason = "a helper of a test may fail it")]

use agent_core::time::Timestamp;
use peak_alloc::PeakAlloc;
use serde_json::json;
use tlsight::enrich::PodUid;
use tlsight::enrich::kubernetes::delta::{Delta, Kind};
use tlsight::enrich::kubernetes::index::{Index, PodAt};
use tlsight::enrich::kubernetes::read;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const PODS: usize = 5000;
const SERVICES: usize = 1000;
const NODES: usize = 100;
const BUDGET: usize = 20 * 1024 * 1024;

fn uid(kind: usize, n: usize) -> String {
    format!("{kind:08x}-0000-4000-8000-{n:012x}")
}

fn address(n: usize) -> String {
    format!("10.{}.{}.{}", 1 + n / 65_536, n / 256 % 256, n % 256)
}

/// A pod of five that a Deployment has, about as large as the API sends them.
fn pod(n: usize) -> serde_json::Value {
    let app = n / 5;
    let container = |name: &str, id: usize| {
        json!({"name": name, "containerID": format!("containerd://{:064x}", n * 2 + id), "ready": true, "restartCount": 0,
               "image": "registry.example/team/app:1.2.3", "imageID": format!("registry.example/team/app@sha256:{:064x}", app),
               "state": {"running": {"startedAt": "2026-01-02T03:04:09Z"}}, "lastState": {}})
    };
    let spec = |name: &str| {
        json!({"name": name, "image": "registry.example/team/app:1.2.3",
               "env": (0..20).map(|v| json!({"name": format!("VARIABLE_{v}"), "value": "some value of some length"})).collect::<Vec<_>>(),
               "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
               "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
               "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}]})
    };
    json!({
        "metadata": {
            "name": format!("app-{app}-6d4cf56db6-{n:05x}"), "generateName": format!("app-{app}-6d4cf56db6-"),
            "namespace": format!("team-{}", app / 20), "uid": uid(1, n), "resourceVersion": n.to_string(),
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"app.kubernetes.io/name": format!("app-{app}"), "app.kubernetes.io/instance": format!("app-{app}-prod"),
                       "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/managed-by": "Helm",
                       "team": format!("team-{}", app / 20), "version": "1.2.3", "pod-template-hash": format!("{app:010x}")},
            "annotations": {"checksum/config": format!("{:064x}", app), "prometheus.io/scrape": "true"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("app-{app}-6d4cf56db6"),
                                 "uid": uid(2, app), "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1":
                (0..30).map(|f| (format!("f:field{f}"), json!({"f:inner": {}}))).collect::<serde_json::Map<_, _>>()}]
        },
        "spec": {"nodeName": format!("node-{}", n % NODES), "serviceAccountName": format!("app-{app}"),
                 "containers": [spec("app"), spec("istio-proxy")], "volumes": [{"name": "config", "configMap": {"name": "config"}}]},
        "status": {"phase": "Running", "podIP": address(n), "podIPs": [{"ip": address(n)}], "startTime": "2026-01-02T03:04:06Z",
                   "hostIP": "192.0.2.1", "containerStatuses": [container("app", 0), container("istio-proxy", 1)],
                   "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:10Z"}]}
    })
}

fn service(n: usize) -> serde_json::Value {
    json!({
        "metadata": {"name": format!("app-{n}"), "namespace": format!("team-{}", n / 20), "uid": uid(3, n)},
        "spec": {"clusterIP": format!("10.96.{}.{}", n / 256, n % 256), "clusterIPs": [format!("10.96.{}.{}", n / 256, n % 256)],
                 "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}], "selector": {"app": format!("app-{n}")}}
    })
}

fn slice(n: usize) -> serde_json::Value {
    json!({
        "metadata": {"name": format!("app-{n}-abcde"), "namespace": format!("team-{}", n / 20),
                     "labels": {"kubernetes.io/service-name": format!("app-{n}")}},
        "endpoints": (n * 5..n * 5 + 5).map(|p| json!({"addresses": [address(p)], "conditions": {"ready": true}})).collect::<Vec<_>>()
    })
}

fn replica_set(n: usize) -> serde_json::Value {
    let app = n % SERVICES;
    json!({"metadata": {"name": format!("app-{app}-{n}"), "uid": uid(2, n), "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("app-{app}"), "uid": uid(4, app), "controller": true}]}})
}

fn node(n: usize) -> serde_json::Value {
    json!({"metadata": {"name": format!("node-{n}")}, "spec": {"podCIDR": format!("10.1.{n}.0/24")},
           "status": {"addresses": [{"type": "InternalIP", "address": format!("192.0.2.{n}")}]}})
}

fn list(index: &mut Index, kind: Kind, objects: impl Iterator<Item = serde_json::Value>) {
    let now = Timestamp::from_secs(1_800_000_000);
    index.apply(&Delta::Listing(kind), now);
    for object in objects {
        let object =
            read(kind, object.to_string().as_bytes()).expect("an object").expect("a complete object");
        index.apply(&Delta::Applied(object), now);
    }
    index.apply(&Delta::Listed(kind), now);
}

fn fill(index: &mut Index) {
    list(index, Kind::Node, (0..NODES).map(node));
    // Deployments keep ReplicaSets of the past.
    list(index, Kind::ReplicaSet, (0..5 * SERVICES).map(replica_set));
    list(index, Kind::Service, (0..SERVICES).map(service));
    list(index, Kind::Pod, (0..PODS).map(pod));
    list(index, Kind::EndpointSlice, (0..SERVICES).map(slice));
}

#[test]
fn five_thousand_pods_and_a_thousand_services_stay_below_the_budget() {
    let before = ALLOCATOR.current_usage();
    let mut index = Index::new(Some("node-0".to_owned()));
    fill(&mut index);
    let filled = ALLOCATOR.current_usage() - before;
    // Everybody talked to everybody: nothing is left to be made on demand.
    for n in 0..PODS {
        let ip = address(n).parse().expect("an address");
        let PodAt::One(pod) = index.pod_at(ip, Timestamp::from_secs(1_800_000_000)) else {
            panic!("no pod at {ip}")
        };
        assert_eq!(Some(pod), PodUid::parse(&uid(1, n)));
        let (workload, is_settled) = index.workload(pod).expect("a workload");
        assert_eq!(
            (workload.kind.as_str(), workload.name.as_str()),
            ("Deployment", format!("app-{}", n / 5).as_str())
        );
        assert!(is_settled);
    }
    let asked = ALLOCATOR.current_usage() - before;
    // Listed again, as after a long time without the API.
    fill(&mut index);
    let again = ALLOCATOR.current_usage() - before;
    let peak = ALLOCATOR.peak_usage() - before;
    let mib = |bytes: usize| bytes as f64 / 1_048_576.0;
    println!(
        "filled {:.1} MiB, all asked for {:.1} MiB, listed again {:.1} MiB, peak {:.1} MiB",
        mib(filled),
        mib(asked),
        mib(again),
        mib(peak)
    );
    assert!(peak < BUDGET, "{:.1} MiB", mib(peak));
}
