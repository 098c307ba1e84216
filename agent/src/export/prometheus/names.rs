//! What the ends of a connection are called in labels: on Kubernetes namespace and name of the workload that owns the pod;
//! elsewhere the systemd unit or the name of the executable.

use agent_core::identity::{Party, Scope};
use agent_core::observation::Observation;
use agent_core::policy::about::{About, Actor, Target};

/// Namespace and name; empty where not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) namespace: &'a str,
    pub(super) workload: &'a str,
}

impl<'a> Named<'a> {
    const fn plain(workload: &'a str) -> Self {
        Self { namespace: "", workload }
    }

    /// The observed end.
    pub(super) fn local(party: &'a Party, observation: &'a Observation) -> Self {
        let named = Self::party(party);
        match &observation.process {
            Some(process) if named.workload.is_empty() => Self::plain(&process.executable_name),
            _ => named,
        }
    }

    /// One end as far as it was told who it is.
    pub(super) fn party(party: &'a Party) -> Self {
        if let Some(workload) = &party.workload {
            return Self { namespace: &workload.namespace, workload: &workload.name };
        }
        if let Some(service) = &party.service {
            return Self { namespace: &service.namespace, workload: &service.name };
        }
        if let Some(process) = &party.process {
            if let Some(unit) = &process.systemd_unit {
                return Self::plain(unit);
            }
            if let Some(path) = &process.executable_path {
                return Self::plain(file_name(path));
            }
        }
        // An end on another node that is no pod.
        Self::plain(party.node.as_deref().unwrap_or_default())
    }

    /// Who calls, in a finding.
    pub(super) fn actor(actor: &'a Actor) -> Self {
        match actor {
            Actor::Workload { namespace, name, .. } => Self { namespace, workload: name },
            Actor::Unit(unit) => Self::plain(unit),
            Actor::Executable(path) => Self::plain(file_name(path)),
            Actor::Node(name) => Self::plain(name),
            Actor::Unnamed(_) => Self::default(),
        }
    }
}

/// What is called, in a finding: by name, or by address where it has none.
pub(super) fn target<'a>(target: &'a Target, buffer: &'a mut String) -> Named<'a> {
    match target {
        Target::Service { namespace, name, .. } | Target::Workload { namespace, name, .. } => {
            Named { namespace, workload: name }
        }
        Target::Name { name, .. } => Named::plain(name),
        Target::Endpoint(endpoint) => {
            *buffer = endpoint.to_string();
            Named::plain(buffer)
        }
    }
}

/// Who is at both ends of what a finding is about: client, then server. A process that was shown a certificate is the end
/// that did not show it, and which one that is may not be known: it counts as the client, which it is nearly always.
pub(super) fn about<'a>(about: &'a About, buffer: &'a mut String) -> (Named<'a>, Named<'a>) {
    match about {
        About::Target(called) | About::ServerCertificate { target: called, .. } => {
            (Named::default(), target(called, buffer))
        }
        About::Hop { client, target: called } | About::Caller { client, target: called, .. } => {
            (Named::actor(client), target(called, buffer))
        }
        About::ClientCertificate { client, .. } | About::ProcessCertificate { process: client, .. } => {
            (Named::actor(client), Named::default())
        }
        About::Other(_) => (Named::default(), Named::default()),
    }
}

/// How far a connection goes: as told, or `loopback` where the addresses say so.
pub(super) fn scope(scope: Option<Scope>, observation: &Observation) -> &'static str {
    let (local, peer) = (observation.tuple.local.addr, observation.tuple.peer.addr);
    let on_host = local == peer || local.is_loopback() && peer.is_loopback();
    scope.or(on_host.then_some(Scope::Loopback)).map_or("", Scope::as_str)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
