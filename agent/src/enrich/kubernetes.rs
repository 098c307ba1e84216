//! Names from the Kubernetes API.
//!
//! A thread of its own follows the API ([`watch`]) and sends what changed ([`delta`]) to the index ([`index`]), which
//! belongs to whoever looks names up: a look-up waits for nobody.
//!
//! What cannot be told apart: an address that is not of a node, a Service, a known pod or a node's `podCIDR` counts as
//! outside of the cluster, which is wrong for a pod that was made a moment ago where addresses of pods are not taken from
//! those ranges.

mod check;
pub mod delta;
pub mod index;
mod policies;
mod slim;
mod watch;

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_core::identity::{Container, ServiceRef, Workload};
use agent_core::net::{Endpoint, FiveTuple};
use agent_core::time::Timestamp;

use self::index::{Index, PodAt};
use self::policies::Feed;
use self::watch::Watch;
use super::process::Owner;
use super::{Counters, PodUid};
use crate::export::text::visible;

pub use check::{Api, Permission, check};
pub use policies::{News, PolicyFiles};
pub use slim::read;
pub use watch::Source;

/// A line on standard error, for the person at the terminal. It may quote what somebody wrote into the API.
fn note(text: &str) {
    // Nobody is left to tell when standard error is gone too.
    let _ = writeln!(io::stderr(), "tlsight: {}", visible(text));
}

/// The index, kept up to date.
#[derive(Debug)]
pub(super) struct Cluster {
    index: Index,
    /// Absent in tests.
    watch: Option<Watch>,
    /// Absent where nobody wants policies.
    feed: Option<Feed>,
    /// The node the agent runs on.
    node: Option<String>,
    taken: u64,
}

/// A workload, and whether nothing more can be learnt of it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) workload: Arc<Workload>,
    pub(super) pod: Option<PodUid>,
    pub(super) is_settled: bool,
}

/// What an address of a peer says.
#[derive(Clone, Debug, Default)]
pub(super) struct Remote {
    pub(super) named: Option<Named>,
    pub(super) service: Option<Arc<ServiceRef>>,
    pub(super) node: Option<Arc<str>>,
}

impl Cluster {
    /// Starts to follow the API.
    pub(super) fn start(
        source: Source,
        node: Option<String>,
        files: Option<PolicyFiles>,
    ) -> std::io::Result<Self> {
        let (follower, feed) = files.map(policies::follower).unzip();
        let watch = Some(Watch::start(source, follower)?);
        Ok(Self { index: Index::new(node.clone()), watch, feed, node, taken: 0 })
    }

    #[cfg(test)]
    pub(super) fn of(index: Index, node: &str) -> Self {
        Self { index, watch: None, feed: None, node: Some(node.to_owned()), taken: 0 }
    }

    #[cfg(test)]
    pub(super) fn apply(&mut self, delta: &delta::Delta) {
        self.index.apply(delta, Timestamp::from_secs(2000));
    }

    /// Takes at most so many changes.
    pub(super) fn take(&mut self, max: usize, now: Timestamp) {
        let Some(watch) = &mut self.watch else { return };
        for _ in 0..max {
            let Ok(delta) = watch.deltas.try_recv() else { return };
            self.taken += 1;
            self.index.apply(&delta, now);
        }
    }

    /// The next news of policies.
    pub(super) fn poll_news(&mut self) -> Option<News> {
        self.feed.as_mut()?.poll()
    }

    /// These are the policy files from now on. False where the API has no say in policies, or has not had it yet.
    pub(super) fn set_policy_files(&self, files: PolicyFiles) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.set_files(files))
    }

    /// What went wrong last with the API, if anything did.
    pub(super) fn last_error(&self) -> Option<String> {
        self.watch.as_ref()?.stats.last_error()
    }

    /// Counters that are kept here, by name.
    pub(super) fn named_counters(&self) -> Vec<(&'static str, u64)> {
        let mut out = vec![("enrich.kubernetes.changes", self.taken)];
        if let Some(watch) = &self.watch {
            let stats = &watch.stats;
            let mut push = |name, n: &AtomicU64| out.push((name, n.load(Ordering::Relaxed)));
            push("enrich.kubernetes.errors", &stats.errors);
            push("enrich.kubernetes.forbidden", &stats.forbidden);
            push("enrich.kubernetes.lists", &stats.lists);
            push("enrich.kubernetes.unreadable", &stats.unreadable);
            if self.feed.is_some() {
                push("policy.kubernetes.resources", &stats.policies.resources);
                push("policy.kubernetes.invalid", &stats.policies.invalid);
                push("policy.kubernetes.left_out", &stats.policies.left_out);
                push("policy.kubernetes.sets", &stats.policies.sets);
            }
        }
        let dropped = self.index.counters();
        out.push(("enrich.kubernetes.gone_pods_dropped", dropped.gone_pods_dropped));
        out.push(("enrich.kubernetes.backends_not_compared", dropped.backends_not_compared));
        for (name, size) in self.index.sizes() {
            out.push((name, size as u64));
        }
        out
    }

    /// This node's name as the API has it.
    pub(super) fn own_node(&self) -> Option<Arc<str>> {
        self.index.node_named(self.node.as_deref()?).cloned()
    }

    /// Whether a workload is on this node.
    pub(super) fn is_here(&self, workload: &Workload) -> bool {
        self.node.is_some() && workload.node == self.node
    }

    /// The workload of a process of this host, and its container with what the API knows of it. By control group; by
    /// address only where that says nothing.
    pub(super) fn of_process(
        &mut self,
        owner: Option<&Owner>,
        local: IpAddr,
        time: Timestamp,
        counters: &mut Counters,
    ) -> Option<(Named, Option<Arc<Container>>)> {
        let by_group = owner.and_then(|owner| {
            let by_name = owner.pod.and_then(|name| self.index.pod(name));
            by_name.or_else(|| self.index.pod_of_container(&owner.container.as_ref()?.id))
        });
        let is_in_group = owner.is_some_and(|owner| owner.pod.is_some() || owner.container.is_some());
        let pod = match by_group {
            Some(pod) => {
                counters.pods_by_group_found += 1;
                pod
            }
            None if is_in_group => {
                counters.pods_by_group_missed += 1;
                return None;
            }
            None if local.is_loopback() || self.index.node_at(local).is_some() => return None,
            None => self.at(local, time, counters)?,
        };
        let mut named = self.named(pod)?;
        let container = owner.and_then(|owner| owner.container.as_ref());
        let nested_in = owner.and_then(|owner| owner.pod_container.as_deref());
        let Some(id) = nested_in.or(container.map(|c| c.id.as_str())) else { return Some((named, None)) };
        let Some((name, runtime)) = self.index.container(pod, id) else {
            // kubelet reports containers a moment after they start; the pod's own sandbox it never does.
            named.is_settled = false;
            return Some((named, None));
        };
        let workload =
            Workload { container: Some(name.as_ref().to_owned()), ..Workload::clone(&named.workload) };
        named.workload = Arc::new(workload);
        let better = container
            .filter(|c| c.runtime.is_none() && runtime.is_some() && nested_in.is_none())
            .map(|c| Arc::new(Container { id: c.id.clone(), runtime }));
        Some((named, better))
    }

    fn at(&mut self, ip: IpAddr, time: Timestamp, counters: &mut Counters) -> Option<PodUid> {
        match self.index.pod_at(ip, time) {
            PodAt::One(pod) => {
                counters.pods_by_address_found += 1;
                Some(pod)
            }
            PodAt::Several => {
                counters.pods_by_address_ambiguous += 1;
                None
            }
            PodAt::None => {
                counters.pods_by_address_missed += 1;
                None
            }
        }
    }

    fn named(&mut self, pod: PodUid) -> Option<Named> {
        let (workload, is_settled) = self.index.workload(pod)?;
        Some(Named { workload, pod: Some(pod), is_settled })
    }

    /// Whether a pod uses its node's network.
    pub(super) fn is_on_host_network(&self, pod: PodUid) -> Option<bool> {
        self.index.is_on_host_network(self.index.pod(pod)?)
    }

    /// What is known of a peer by its address. `dialled`: the local end called it there.
    pub(super) fn of_address(
        &mut self,
        peer: Endpoint,
        dialled: bool,
        time: Timestamp,
        counters: &mut Counters,
    ) -> Remote {
        let mut remote = Remote { service: self.service(peer, dialled, counters), ..Remote::default() };
        remote.node = self.index.node_at(peer.addr).cloned();
        let pod = match &remote.node {
            // Addresses of nodes are shared by all that runs there; a port that was dialled may tell.
            Some(node) if dialled && remote.service.is_none() => self.index.pod_at_node_port(node, peer.port),
            Some(_) => None,
            None => self.at(peer.addr, time, counters),
        };
        remote.named = match (pod, &remote.service) {
            (Some(pod), _) => self.named(pod),
            (None, Some(service)) => {
                let service = Arc::clone(service);
                let behind = self.index.workload_behind(&service, time);
                counters.workloads_behind_services += u64::from(behind.is_some());
                behind.map(|(workload, is_settled)| Named { workload, pod: None, is_settled })
            }
            (None, None) => None,
        };
        remote
    }

    /// The Service that was dialled.
    pub(super) fn service(
        &self,
        peer: Endpoint,
        dialled: bool,
        counters: &mut Counters,
    ) -> Option<Arc<ServiceRef>> {
        if !dialled {
            return None;
        }
        let is_node = || peer.addr.is_loopback() || self.index.node_at(peer.addr).is_some();
        let found = self
            .index
            .service_at(peer)
            .or_else(|| self.index.service_at_node_port(peer.port).filter(|_| is_node()))
            .or_else(|| self.index.headless_service_at(peer.addr))
            .cloned();
        match found {
            Some(_) => counters.services_found += 1,
            None => counters.services_missed += 1,
        }
        found
    }

    /// Whether a Service was dialled that stands for whoever answers.
    pub(super) fn is_service(&self, dialled: Endpoint) -> bool {
        let is_node = || dialled.addr.is_loopback() || self.index.node_at(dialled.addr).is_some();
        self.index.service_at(dialled).is_some()
            || (self.index.service_at_node_port(dialled.port).is_some() && is_node())
    }

    /// The port that a workload behind a Service listens on, where it is another than the one dialled.
    pub(super) fn listen_port(
        &self,
        service: &ServiceRef,
        dialled: u16,
        workload: Option<&Workload>,
    ) -> Option<u16> {
        self.index.listen_port(service, dialled, workload)
    }

    /// Whether a loopback address was dialled at a port that every node has for a Service.
    pub(super) fn is_local_node_port(&self, tuple: FiveTuple) -> bool {
        tuple.peer.addr.is_loopback() && self.index.service_at_node_port(tuple.peer.port).is_some()
    }

    /// Whether a connection to `dialled` may be answered at `answered`.
    pub(super) fn leads_to(&self, dialled: Endpoint, answered: Endpoint) -> bool {
        self.index.leads_to(dialled, answered)
    }

    /// Whether an address is of this cluster; `None` where that is not known: while what belongs to it is still being
    /// listed, and of a caller that may be a bridge of a node, which stands for whoever is behind it: one among a node's
    /// pods that is none of them, or, where nodes do not say which addresses are their pods', any private one.
    pub(super) fn has_address(&self, ip: IpAddr, is_caller: bool) -> Option<bool> {
        if is_caller && self.index.is_pod_address(ip) {
            return None;
        }
        if self.index.is_of_cluster(ip) {
            return Some(true);
        }
        let is_known = !is_caller || !is_private(ip) || self.index.has_pod_ranges();
        (is_known && self.index.is_complete()).then_some(false)
    }
}

/// Addresses that mean something within a network only (RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 section 2.5.6).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let is_shared = matches!(ip.octets(), [100, 64..=127, _, _]);
            ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}
