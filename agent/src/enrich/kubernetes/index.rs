//! What the Kubernetes API said, arranged by what connections show: addresses, ports, control groups. No I/O and no
//! clock: changes come in as [`Delta`]s.

mod controllers;
mod intern;
mod nodes;
mod pods;
mod services;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use agent_core::identity::{ServiceRef, Workload};
use agent_core::net::Endpoint;
use agent_core::time::Timestamp;

use self::controllers::Controllers;
use self::intern::Interner;
use self::nodes::Nodes;
use self::pods::Pods;
use self::services::{MAX_BACKENDS, Services};
use super::delta::{Delta, Kind, Object, TargetPort};
use crate::enrich::PodUid;

/// What the index dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexCounters {
    /// Pods that were gone and had to be forgotten early, because too many were gone at once.
    pub gone_pods_dropped: u64,
    /// Services whose endpoints were too many to find out whether one workload is behind them all.
    pub backends_not_compared: u64,
}

/// Which pod had an address at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodAt {
    /// This one.
    One(PodUid),
    /// One of several; nothing tells which.
    Several,
    /// None that is known.
    None,
}

/// The index.
#[derive(Debug, Default)]
pub struct Index {
    /// The node the agent runs on: its pods are kept in full.
    node: Option<String>,
    pods: Pods,
    services: Services,
    nodes: Nodes,
    controllers: Controllers,
    names: Interner,
    listed: HashSet<Kind>,
    counters: IndexCounters,
}

impl Index {
    /// An empty index of an agent on this node; with no node, containers of all pods are kept.
    pub fn new(node: Option<String>) -> Self {
        Self { node, ..Self::default() }
    }

    /// Takes a change.
    pub fn apply(&mut self, delta: &Delta, now: Timestamp) {
        match delta {
            Delta::Listing(kind) => self.listing(*kind),
            Delta::Listed(kind) => {
                self.complete(*kind, now);
                self.listed.insert(*kind);
            }
            Delta::Applied(Object::Pod(pod)) => {
                let in_full = self.node.is_none() || pod.node == self.node;
                self.pods.apply(pod, in_full, now, &mut self.names);
            }
            Delta::Applied(Object::Service(service)) => self.services.apply(service),
            Delta::Applied(Object::Node(node)) => self.nodes.apply(node, &mut self.names),
            Delta::Applied(Object::Slice(slice)) => self.services.apply_slice(slice),
            Delta::Applied(Object::Controller(controller)) => {
                self.controllers.apply(controller, &mut self.names);
            }
            Delta::Deleted(Object::Pod(pod)) => self.pods.delete(pod.uid, now),
            Delta::Deleted(Object::Service(service)) => {
                self.services.remove(&service.namespace, &service.name);
            }
            Delta::Deleted(Object::Node(node)) => self.nodes.remove(&node.name),
            Delta::Deleted(Object::Slice(slice)) => {
                self.services.remove_slice(&slice.namespace, &slice.name);
            }
            Delta::Deleted(Object::Controller(controller)) => self.controllers.delete(controller.uid, now),
        }
        self.pods.expire(now, &mut self.counters);
        self.controllers.expire(now);
        self.names.sweep();
    }

    fn listing(&mut self, kind: Kind) {
        match kind {
            Kind::Pod => self.pods.listing(),
            Kind::Service => self.services.listing(),
            Kind::Node => self.nodes.listing(),
            Kind::EndpointSlice => self.services.listing_slices(),
            Kind::ReplicaSet | Kind::Job => self.controllers.listing(kind),
        }
    }

    fn complete(&mut self, kind: Kind, now: Timestamp) {
        match kind {
            Kind::Pod => self.pods.listed(now),
            Kind::Service => self.services.listed(),
            Kind::Node => self.nodes.listed(),
            Kind::EndpointSlice => self.services.listed_slices(),
            Kind::ReplicaSet | Kind::Job => self.controllers.listed(kind, now),
        }
    }

    /// Whether everything that addresses belong to was listed once: what is not found then is not of this cluster.
    pub fn is_complete(&self) -> bool {
        [Kind::Pod, Kind::Service, Kind::Node].iter().all(|kind| self.listed.contains(kind))
    }

    /// The pod that kubelet calls this in the names of control groups.
    pub fn pod(&self, name: PodUid) -> Option<PodUid> {
        self.pods.uid(name)
    }

    /// The pod of a container on this node.
    pub fn pod_of_container(&self, id: &str) -> Option<PodUid> {
        self.pods.of_container(id)
    }

    /// Name and runtime of a container on this node.
    pub fn container(&self, pod: PodUid, id: &str) -> Option<(Arc<str>, Option<&'static str>)> {
        self.pods.container(pod, id)
    }

    /// The pod that had an address at a time; pods on their node's network have none of their own.
    pub fn pod_at(&self, ip: IpAddr, time: Timestamp) -> PodAt {
        self.pods.at(ip, time)
    }

    /// The pod that a port of a node leads to: one on the node's network that declares it, or one with that `hostPort`.
    pub fn pod_at_node_port(&self, node: &Arc<str>, port: u16) -> Option<PodUid> {
        self.pods.at_node_port(node, port)
    }

    /// The workload of a pod, and whether nothing more can be learnt of it.
    pub fn workload(&mut self, pod: PodUid) -> Option<(Arc<Workload>, bool)> {
        self.pods.workload(pod, &self.controllers)
    }

    /// The node of a pod.
    pub fn node_of(&self, pod: PodUid) -> Option<&Arc<str>> {
        self.pods.node(pod)
    }

    /// Whether a pod uses its node's network.
    pub fn is_on_host_network(&self, pod: PodUid) -> Option<bool> {
        self.pods.is_on_host_network(pod)
    }

    /// The Service that was dialled by this address and port.
    pub fn service_at(&self, dialled: Endpoint) -> Option<&Arc<ServiceRef>> {
        self.services.at(dialled)
    }

    /// The Service behind a port of every node.
    pub fn service_at_node_port(&self, port: u16) -> Option<&Arc<ServiceRef>> {
        self.services.at_node_port(port)
    }

    /// The headless Service whose name leads to this address.
    pub fn headless_service_at(&self, ip: IpAddr) -> Option<&Arc<ServiceRef>> {
        self.services.headless_at(ip)
    }

    /// The node that an address belongs to.
    pub fn node_at(&self, ip: IpAddr) -> Option<&Arc<str>> {
        self.nodes.at(ip)
    }

    /// The name of a node as the API has it.
    pub fn node_named(&self, name: &str) -> Option<&Arc<str>> {
        self.nodes.name(name)
    }

    /// Whether an address can be a pod's as far as its node tells, and is no pod's that is known.
    pub fn is_pod_address(&self, ip: IpAddr) -> bool {
        self.nodes.is_pod_address(ip)
    }

    /// Whether an address can only be one of this cluster.
    pub fn is_of_cluster(&self, ip: IpAddr) -> bool {
        self.services.has(ip) || self.nodes.at(ip).is_some() || self.nodes.is_pod_address(ip)
    }

    /// Whether every node says which addresses are its pods'.
    pub fn has_pod_ranges(&self) -> bool {
        self.nodes.all_have_ranges()
    }

    /// The workload behind a Service at a time, where it is one and the same whichever endpoint answered: with what its
    /// pods have in common, the name of the pod only where there is a single one.
    pub fn workload_behind(
        &mut self,
        service: &ServiceRef,
        time: Timestamp,
    ) -> Option<(Arc<Workload>, bool)> {
        let mut addresses: Vec<IpAddr> = self.services.backends(service).take(MAX_BACKENDS + 1).collect();
        if addresses.len() > MAX_BACKENDS {
            self.counters.backends_not_compared += 1;
            return None;
        }
        addresses.sort_unstable();
        addresses.dedup();
        let mut found: Option<(Arc<Workload>, bool)> = None;
        for ip in &addresses {
            // An endpoint that is no pod, or on a node's network, may be anybody.
            let PodAt::One(pod) = self.pods.at(*ip, time) else { return None };
            let (workload, is_settled) = self.workload(pod)?;
            found = Some(match found {
                None => (workload, is_settled),
                Some((first, settled)) => (common(&first, &workload)?, settled && is_settled),
            });
        }
        found
    }

    /// Whether a connection to `dialled` may be answered at `answered`.
    pub fn leads_to(&self, dialled: Endpoint, answered: Endpoint) -> bool {
        let service = self.services.at(dialled).or_else(|| self.services.at_node_port(dialled.port));
        service.is_some_and(|service| self.services.is_backend(service, answered.addr))
    }

    /// The port that a workload behind a Service listens on, where it is another than the one dialled. A name that pods do
    /// not have, or that is not known, says nothing.
    pub fn listen_port(
        &self,
        service: &ServiceRef,
        dialled: u16,
        workload: Option<&Workload>,
    ) -> Option<u16> {
        match self.services.target(service, dialled)? {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => workload?.named_ports.get(name).copied(),
        }
    }

    /// What was dropped.
    pub fn counters(&self) -> &IndexCounters {
        &self.counters
    }

    /// Pods, Services, nodes and controllers held; of those, pods and controllers that are gone.
    pub fn sizes(&self) -> [(&'static str, usize); 6] {
        [
            ("enrich.kubernetes.pods", self.pods.len()),
            ("enrich.kubernetes.services", self.services.len()),
            ("enrich.kubernetes.nodes", self.nodes.len()),
            ("enrich.kubernetes.controllers", self.controllers.len()),
            ("enrich.kubernetes.pods_gone", self.pods.gone()),
            ("enrich.kubernetes.controllers_gone", self.controllers.gone()),
        ]
    }
}

/// What two pods of one workload have in common; `None` when they are of two.
fn common(a: &Arc<Workload>, b: &Workload) -> Option<Arc<Workload>> {
    if (&a.namespace, &a.kind, &a.name) != (&b.namespace, &b.kind, &b.name) {
        return None;
    }
    let mut labels = a.labels.clone();
    labels.retain(|key, value| b.labels.get(key) == Some(value));
    Some(Arc::new(Workload {
        namespace: a.namespace.clone(),
        kind: a.kind.clone(),
        name: a.name.clone(),
        pod: a.pod.clone().filter(|_| a.pod == b.pod),
        container: None,
        labels,
        service_account: a.service_account.clone().filter(|_| a.service_account == b.service_account),
        node: a.node.clone().filter(|_| a.node == b.node),
        host_network: a.host_network,
        named_ports: if a.named_ports == b.named_ports { a.named_ports.clone() } else { Default::default() },
    }))
}
