//! Many pods, and what controls them, come and go.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tlsight_tests::host;

use crate::agent::{agent, counter};
use crate::api;
use crate::hops::Table;
use crate::node::wait;
use crate::replaced::{add_node, now, remove_node};
use crate::restart::check_all;

const WAVES: usize = 5;
const DEPLOYMENTS: usize = 20;
const REPLICAS: usize = 10;
/// By which the agent's memory may have grown from the first wave to the last: it holds as much after each.
const GROWTH_KIB: u64 = 4 << 10;
const DEPLOYED: &str = "/apis/apps/v1/namespaces/annex/deployments";
const SOON: Duration = Duration::from_secs(120);

/// A Deployment whose pods are on the node that nobody runs: its controllers make ReplicaSet and pods, no kubelet starts them.
fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "annex"},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, "wave": "churn"}},
                "spec": {
                    "nodeName": "node-b", "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "it", "image": "local/peer:1"}],
                },
            },
        },
    })
}

fn pods() -> Vec<String> {
    let list = api::get("/api/v1/namespaces/annex/pods?labelSelector=wave%3Dchurn");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect()
}

fn wave(number: usize) {
    let name = |n: usize| format!("extra-{number}-{n}");
    let create =
        |n| api::Request { method: "POST", path: DEPLOYED.to_owned(), body: Some(deployment(&name(n))) };
    api::all(&(0..DEPLOYMENTS).map(create).collect::<Vec<_>>());
    wait("the wave's pods", SOON, || pods().len() == DEPLOYMENTS * REPLICAS);
    let status = |(n, pod): (usize, String)| {
        let ip = format!("10.98.1.{}", n + 2);
        let status = json!({"status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.99.0.3", "startTime": now(),
        }});
        let path = format!("/api/v1/namespaces/annex/pods/{pod}/status");
        api::Request { method: "PATCH", path, body: Some(status) }
    };
    api::all(&pods().into_iter().enumerate().map(status).collect::<Vec<_>>());
    let delete = |path: String| {
        let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground", "gracePeriodSeconds": 0});
        api::Request { method: "DELETE", path, body: Some(body) }
    };
    api::all(&(0..DEPLOYMENTS).map(|n| delete(format!("{DEPLOYED}/{}", name(n)))).collect::<Vec<_>>());
    wait("the wave to be gone", SOON, || {
        let sets = api::get("/apis/apps/v1/namespaces/annex/replicasets?labelSelector=wave%3Dchurn");
        pods().is_empty() && sets["items"].as_array().is_some_and(Vec::is_empty)
    });
}

fn count(path: &str) -> u64 {
    api::get(path)["items"].as_array().map_or(0, |items| items.len() as u64)
}

/// What the agent has of the cluster at its end is what the API has.
pub(crate) fn thousand() {
    let table = Table::new();
    add_node();
    let since = agent().mark();
    let mut memory = Vec::new();
    for number in 0..WAVES {
        let started = Instant::now();
        wave(number);
        memory.push(agent().memory());
        eprintln!("wave {number}: {:.1?}, {} KiB", started.elapsed(), memory[number]);
    }
    check_all(&table, since);
    assert!(memory[WAVES - 1] <= memory[0] + GROWTH_KIB, "resident memory after each wave, KiB: {memory:?}");
    remove_node();
    host::pause(Duration::from_secs(2));
    let sizes = [
        ("pods", count("/api/v1/pods")),
        ("services", count("/api/v1/services")),
        ("nodes", count("/api/v1/nodes")),
        ("controllers", count("/apis/apps/v1/replicasets") + count("/apis/batch/v1/jobs")),
    ];
    let said = agent().stop();
    let size = |name: &str| counter(&said, &format!("enrich.kubernetes.{name}"));
    for (name, expected) in sizes {
        // What is gone is kept in mind for connections that are older.
        let gone = if ["pods", "controllers"].contains(&name) { size(&format!("{name}_gone")) } else { 0 };
        assert_eq!(size(name) - gone, expected, "{name}, {gone} of them gone");
    }
    assert_eq!(counter(&said, "enrich.kubernetes.unreadable"), 0);
    assert_eq!(counter(&said, "enrich.kubernetes.gone_pods_dropped"), 0);
}
