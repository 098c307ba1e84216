//! What services and callers are called: by names that outlive a connection; by address only where there is none.

use agent_core::identity::{Party, Scope};
use agent_core::net::Endpoint;
use agent_core::observation::Observation;

/// Longest name that is kept, in characters: names come from the wire and from elsewhere.
const MAX: usize = 256;

/// The text, or as much of it as is kept, with a sign that it goes on.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The workload, unit or executable of an end, where known.
fn lasting(party: &Party) -> Option<String> {
    if let Some(workload) = &party.workload {
        return Some(format!("{} {}/{}", workload.kind, workload.namespace, workload.name));
    }
    let process = party.process.as_ref()?;
    // Sessions and the units of users hold whatever somebody runs by hand.
    let is_own = |unit: &&String| {
        unit.ends_with(".service") && !unit.starts_with("user@") && party.container.is_none()
    };
    if let Some(unit) = process.systemd_unit.as_ref().filter(is_own) {
        return Some(unit.clone());
    }
    let path = process.executable_path.as_ref()?;
    Some(match &party.container {
        // As container runtimes abbreviate them.
        Some(container) => {
            format!("{path} in container {}", container.id.get(..12).unwrap_or(&container.id))
        }
        None => path.clone(),
    })
}

/// Who an observed end is.
fn own(party: &Party, observation: &Observation) -> Option<String> {
    lasting(party).or_else(|| observation.process.as_ref().map(|process| process.executable_name.clone()))
}

/// A service as its own end names it, and at which port.
pub(super) fn observed_service(party: &Party, observation: &Observation, at: Endpoint) -> (String, u16) {
    (cut(&own(party, observation).unwrap_or_else(|| at.addr.to_string())), at.port)
}

/// A service as its client sees it: the Service it dialled, else who answers there, else the name it asked for.
pub(super) fn dialled_service(
    party: &Party,
    at: Endpoint,
    server_name: Option<&str>,
    scope: Option<Scope>,
) -> (String, u16) {
    if let Some(service) = &party.service {
        let port = party.dialled.map_or(at.port, |dialled| dialled.port);
        return (cut(&format!("Service {}/{}", service.namespace, service.name)), port);
    }
    let outside = || server_name.filter(|_| scope == Some(Scope::External)).map(str::to_ascii_lowercase);
    let node = || party.node.as_ref().map(|node| format!("node {node}"));
    let name = lasting(party).or_else(outside).or_else(node).unwrap_or_else(|| at.addr.to_string());
    (cut(&name), at.port)
}

/// Who calls, as its own end tells.
pub(super) fn observed_caller(party: &Party, observation: &Observation, at: Endpoint) -> String {
    cut(&own(party, observation).unwrap_or_else(|| at.addr.to_string()))
}

/// Who calls, as the server sees it.
pub(super) fn remote_caller(party: &Party, at: Endpoint) -> String {
    let node = || party.node.as_ref().map(|node| format!("node {node}"));
    cut(&lasting(party).or_else(node).unwrap_or_else(|| at.addr.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_core::identity::{ProcessDetails, ServiceRef, Workload};

    use super::*;

    fn at(text: &str, port: u16) -> Endpoint {
        Endpoint::new(text.parse().expect("an address"), port)
    }

    fn process(path: &str, unit: Option<&str>) -> Party {
        let details = ProcessDetails {
            executable_path: Some(path.to_owned()),
            systemd_unit: unit.map(str::to_owned),
            ..ProcessDetails::default()
        };
        Party { process: Some(Arc::new(details)), ..Party::default() }
    }

    #[test]
    fn the_most_lasting_name_counts() {
        assert_eq!(lasting(&Party::default()), None);
        let shell = process("/usr/bin/curl", Some("session-3.scope"));
        assert_eq!(lasting(&shell).as_deref(), Some("/usr/bin/curl"));
        let unit = process("/usr/sbin/nginx", Some("nginx.service"));
        assert_eq!(lasting(&unit).as_deref(), Some("nginx.service"));
        let workload = Workload {
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: "web".into(),
            ..Workload::default()
        };
        let pod = Party { workload: Some(Arc::new(workload)), ..unit };
        assert_eq!(lasting(&pod).as_deref(), Some("Deployment shop/web"));
    }

    #[test]
    fn a_name_asked_for_names_only_what_is_outside() {
        let (server, nobody) = (at("192.0.2.1", 443), Party::default());
        let named = |scope| dialled_service(&nobody, server, Some("API.example"), scope);
        assert_eq!(named(Some(Scope::External)), ("api.example".to_owned(), 443));
        assert_eq!(named(Some(Scope::Node)), ("192.0.2.1".to_owned(), 443));
        let service = ServiceRef { namespace: "shop".into(), name: "db".into() };
        let dialled = Party {
            service: Some(Arc::new(service)),
            dialled: Some(at("192.0.2.9", 5432)),
            ..Party::default()
        };
        assert_eq!(dialled_service(&dialled, server, None, None), ("Service shop/db".to_owned(), 5432));
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut(&"é".repeat(300)).chars().count(), MAX + 1);
    }
}
