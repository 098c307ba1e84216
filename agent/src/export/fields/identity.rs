//! Who is at both ends.

use std::io;

use agent_core::identity::{Party, Sighting, Workload};
use agent_core::net::Endpoint;

use super::Fields;

/// Appends what is known of both ends to an object.
pub(super) fn identity(object: &mut impl Fields, sighting: &Sighting) -> io::Result<()> {
    local(object, &sighting.local)?;
    peer(object, &sighting.peer)
}

fn local(object: &mut impl Fields, party: &Party) -> io::Result<()> {
    if let Some(process) = &party.process {
        object.optional("process.executable.path", process.executable_path.as_deref())?;
        object.optional("tlsight.process.executable.usual_path", process.usual_path.as_deref())?;
        object.list("process.command_args", process.command_args.iter())?;
        object.optional("tlsight.systemd.unit", process.systemd_unit.as_deref())?;
    }
    if let Some(container) = &party.container {
        object.text("container.id", &container.id)?;
        object.optional("container.runtime.name", container.runtime)?;
    }
    let workload = party.workload.as_deref();
    let node = workload.and_then(|workload| workload.node.as_deref()).or(party.node.as_deref());
    object.optional("k8s.node.name", node)?;
    let service = party.service.as_deref();
    let namespace = workload.map(|w| &w.namespace).or(service.map(|service| &service.namespace));
    object.optional("k8s.namespace.name", namespace.map(String::as_str))?;
    if let Some(workload) = workload {
        object.optional("k8s.pod.name", workload.pod.as_deref())?;
        object.optional("k8s.container.name", workload.container.as_deref())?;
        // A pod that nothing owns has its name already.
        if let Some(key) = workload_key(workload) {
            object.text(key, &workload.name)?;
        }
        object.text("tlsight.k8s.workload.kind", &workload.kind)?;
        object.text("tlsight.k8s.workload.name", &workload.name)?;
    }
    object.optional("tlsight.k8s.service.name", service.map(|service| service.name.as_str()))?;
    endpoint(object, ["tlsight.dialled.address", "tlsight.dialled.port"], party.dialled)
}

fn endpoint(object: &mut impl Fields, keys: [&'static str; 2], endpoint: Option<Endpoint>) -> io::Result<()> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    let [address, port] = keys;
    object.address(address, endpoint.addr)?;
    object.number(port, u64::from(endpoint.port))
}

/// The key that OpenTelemetry has for names of this kind.
fn workload_key(workload: &Workload) -> Option<&'static str> {
    Some(match workload.kind.as_str() {
        "Deployment" => "k8s.deployment.name",
        "StatefulSet" => "k8s.statefulset.name",
        "DaemonSet" => "k8s.daemonset.name",
        "ReplicaSet" => "k8s.replicaset.name",
        "CronJob" => "k8s.cronjob.name",
        "Job" => "k8s.job.name",
        _ => return None,
    })
}

fn peer(object: &mut impl Fields, party: &Party) -> io::Result<()> {
    endpoint(object, ["tlsight.peer.address", "tlsight.peer.port"], party.address)?;
    if let Some(process) = &party.process {
        object.number("tlsight.peer.process.pid", u64::from(process.pid))?;
        object.optional("tlsight.peer.process.executable.name", process.name.as_deref())?;
        object.optional("tlsight.peer.process.executable.path", process.executable_path.as_deref())?;
        object.optional("tlsight.peer.process.executable.usual_path", process.usual_path.as_deref())?;
        object.optional("tlsight.peer.systemd.unit", process.systemd_unit.as_deref())?;
    }
    object.optional("tlsight.peer.container.id", party.container.as_deref().map(|c| c.id.as_str()))?;
    let (workload, service) = (party.workload.as_deref(), party.service.as_deref());
    let node = workload.and_then(|workload| workload.node.as_deref()).or(party.node.as_deref());
    object.optional("tlsight.peer.k8s.node.name", node)?;
    let namespace = workload.map(|w| &w.namespace).or(service.map(|service| &service.namespace));
    object.optional("tlsight.peer.k8s.namespace.name", namespace.map(String::as_str))?;
    if let Some(workload) = workload {
        object.optional("tlsight.peer.k8s.pod.name", workload.pod.as_deref())?;
        object.optional("tlsight.peer.k8s.container.name", workload.container.as_deref())?;
        object.text("tlsight.peer.k8s.workload.kind", &workload.kind)?;
        object.text("tlsight.peer.k8s.workload.name", &workload.name)?;
    }
    object.optional("tlsight.peer.k8s.service.name", service.map(|service| service.name.as_str()))
}

#[cfg(test)]
pub(in crate::export) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use agent_core::identity::{Container, ProcessDetails, Scope, ServiceRef};
    use agent_core::net::Side;

    use super::*;
    use crate::export::json::{write_observation, write_sighting};
    use crate::export::sample;

    fn workload(kind: &str) -> Workload {
        Workload {
            namespace: "shop".to_owned(),
            kind: kind.to_owned(),
            name: "web".to_owned(),
            pod: Some("web-0".to_owned()),
            container: Some("app".to_owned()),
            node: Some("node-a".to_owned()),
            ..Workload::default()
        }
    }

    fn at(port: u16) -> Endpoint {
        Endpoint::new(std::net::IpAddr::from([10, 1, 0, 9]), port)
    }

    fn everybody(kind: &str) -> Sighting {
        let party = Party {
            process: Some(Arc::new(ProcessDetails {
                pid: 42,
                name: Some("nginx".to_owned()),
                executable_path: Some("/usr/sbin/nginx".to_owned()),
                usual_path: Some("/usr/sbin/nginx".to_owned()),
                command_args: vec!["nginx".to_owned(), "-g".to_owned()],
                start_ticks: 7,
                systemd_unit: Some("nginx.service".to_owned()),
            })),
            container: Some(Arc::new(Container { id: "ab".repeat(32), runtime: Some("containerd") })),
            workload: Some(Arc::new(workload(kind))),
            service: Some(Arc::new(ServiceRef { namespace: "shop".to_owned(), name: "front".to_owned() })),
            dialled: Some(at(443)),
            address: Some(at(40_000)),
            ..Party::default()
        };
        Sighting {
            observation: sample::plaintext(),
            local: party.clone(),
            peer: party,
            scope: Some(Scope::Cluster),
        }
    }

    fn render(sighting: &Sighting) -> serde_json::Value {
        let mut out = Vec::new();
        write_sighting(&mut out, sighting).expect("an object");
        serde_json::from_slice(&out).expect("JSON")
    }

    /// What is there beyond the observation itself.
    fn added(sighting: &Sighting) -> serde_json::Value {
        let mut bare = Vec::new();
        write_observation(&mut bare, &sighting.observation).expect("an object");
        let bare: serde_json::Value = serde_json::from_slice(&bare).expect("JSON");
        let mut all = render(sighting);
        let keys: Vec<String> = bare.as_object().expect("an object").keys().cloned().collect();
        for key in keys {
            all.as_object_mut().expect("an object").remove(&key);
        }
        all
    }

    #[test]
    fn both_ends_have_their_names() {
        let expected = serde_json::json!({
            "tlsight.scope": "cluster",
            "process.executable.path": "/usr/sbin/nginx",
            "tlsight.process.executable.usual_path": "/usr/sbin/nginx",
            "process.command_args": ["nginx", "-g"],
            "tlsight.systemd.unit": "nginx.service",
            "container.id": "ab".repeat(32),
            "container.runtime.name": "containerd",
            "k8s.node.name": "node-a",
            "k8s.namespace.name": "shop",
            "k8s.pod.name": "web-0",
            "k8s.container.name": "app",
            "k8s.deployment.name": "web",
            "tlsight.k8s.workload.kind": "Deployment",
            "tlsight.k8s.workload.name": "web",
            "tlsight.k8s.service.name": "front",
            "tlsight.dialled.address": "10.1.0.9",
            "tlsight.dialled.port": 443,
            "tlsight.peer.address": "10.1.0.9",
            "tlsight.peer.port": 40000,
            "tlsight.peer.process.pid": 42,
            "tlsight.peer.process.executable.name": "nginx",
            "tlsight.peer.process.executable.path": "/usr/sbin/nginx",
            "tlsight.peer.process.executable.usual_path": "/usr/sbin/nginx",
            "tlsight.peer.systemd.unit": "nginx.service",
            "tlsight.peer.container.id": "ab".repeat(32),
            "tlsight.peer.k8s.node.name": "node-a",
            "tlsight.peer.k8s.namespace.name": "shop",
            "tlsight.peer.k8s.pod.name": "web-0",
            "tlsight.peer.k8s.container.name": "app",
            "tlsight.peer.k8s.workload.kind": "Deployment",
            "tlsight.peer.k8s.workload.name": "web",
            "tlsight.peer.k8s.service.name": "front",
        });
        assert_eq!(added(&everybody("Deployment")), expected);
    }

    #[test]
    fn strangers_have_none() {
        let nobody = Sighting {
            observation: sample::plaintext(),
            local: Party::default(),
            peer: Party::default(),
            scope: None,
        };
        assert_eq!(added(&nobody), serde_json::json!({}));
    }

    #[test]
    fn a_service_and_a_node_are_named_without_a_workload() {
        let Sighting { observation, peer, .. } = everybody("Pod");
        let peer =
            Party { workload: None, process: None, container: None, node: Some("node-b".into()), ..peer };
        let sighting = Sighting { observation, local: Party::default(), peer, scope: None };
        let expected = serde_json::json!({
            "tlsight.peer.address": "10.1.0.9",
            "tlsight.peer.port": 40000,
            "tlsight.peer.k8s.node.name": "node-b",
            "tlsight.peer.k8s.namespace.name": "shop",
            "tlsight.peer.k8s.service.name": "front",
        });
        assert_eq!(added(&sighting), expected);
    }

    #[test]
    fn a_client_behind_address_translation_has_its_own_address() {
        let mut sighting = everybody("Pod");
        let client = |sighting: &Sighting| {
            let line = render(sighting);
            ["client.address", "client.port", "network.peer.address", "network.peer.port"]
                .map(|key| line[key].clone())
        };
        // Seen from the client, the other address is the server's.
        assert_eq!(client(&sighting)[..2], [serde_json::json!("10.0.0.1"), serde_json::json!(40000)]);
        sighting.observation.local_side = Some(Side::Server);
        let expected = serde_json::json!(["10.1.0.9", 40000, "10.0.0.2", 80]);
        assert_eq!(serde_json::json!(client(&sighting)), expected);
    }

    /// Every key that can be there beyond the observation's.
    pub(in crate::export) fn every_key() -> BTreeSet<String> {
        ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "CronJob", "Job"]
            .into_iter()
            .flat_map(|kind| added(&everybody(kind)).as_object().expect("an object").clone())
            .map(|(key, _)| key)
            .collect()
    }

    #[test]
    fn kinds_without_a_name_of_their_own_are_workloads_all_the_same() {
        for kind in ["Pod", "Rollout"] {
            let value = added(&everybody(kind));
            assert_eq!(value["tlsight.k8s.workload.kind"], kind);
            assert!(value.get("k8s.deployment.name").is_none());
        }
    }
}
