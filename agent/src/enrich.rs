//! Who is at both ends of a connection: from an [`Observation`] to a [`Sighting`].
//!
//! Nothing here waits: procfs is read where no other process can make the reader wait (see [`process`]), the rest comes
//! from tables that threads of their own fill. What is not known when it is asked for is absent, and looked up again the
//! next time the same connection is shown.
//!
//! How the network namespace of an end is known: it is that of its owner, by the inode number of `/proc/PID/ns/net`. A
//! program that changes its namespace after it made a socket (some network daemons do), or hands a socket to a process in
//! another one, is taken for what it is now. Of an end without a known owner the namespace is not known; then ends on
//! loopback addresses are matched only where a single one fits.

pub mod cgroup;
mod counters;
mod ends;
pub mod kubernetes;
mod process;
mod scope;
#[cfg(test)]
mod tests;
mod uid;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_core::event::{Event, Process};
use agent_core::identity::{Party, Scope, Sighting};
use agent_core::net::{ConnId, Side};
use agent_core::observation::Observation;
use agent_core::time::Timestamp;

pub use counters::Counters;
pub use uid::PodUid;

use self::ends::{End, Ends, Parted};
use self::kubernetes::Cluster;
use self::process::{NetworkNamespace, Processes};
use self::scope::{Facts, Other};

/// Changes of the cluster taken with an event, so that none of them waits long.
const CHANGES_PER_EVENT: usize = 16;
/// Changes taken when nothing else is to be done, and how often.
const CHANGES_PER_POLL: usize = 1024;
const POLL: Duration = Duration::from_millis(250);

/// What identities are looked for, and how many are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connection ends followed from when they come into view; of more, less is known.
    pub max_connections: usize,
    /// Processes kept; one that fell out is read again.
    pub max_processes: usize,
    /// Read command lines too. Off by default: they may hold secrets that somebody put there.
    pub command_args: bool,
    /// Kubernetes, if there is one.
    pub kubernetes: Option<Kubernetes>,
    /// Policies and issued certificates are wanted from there too: with these files, which rank among what it says.
    pub policies: Option<kubernetes::PolicyFiles>,
}

/// Where names of pods and Services come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// The API server.
    pub source: kubernetes::Source,
    /// The node that the agent runs on, as the API calls it.
    pub node: Option<String>,
}

impl Kubernetes {
    /// The API server of that file, else the one of the pod that the agent is in, else none. The node is the one named,
    /// else the host's own name, as kubelet has it.
    pub fn find(kubeconfig: Option<PathBuf>, node: Option<String>) -> Option<Self> {
        let source = kubernetes::Source::find(kubeconfig.as_deref())?;
        let host = || rustix::system::uname().nodename().to_str().ok().map(str::to_lowercase);
        Some(Self { source, node: node.or_else(host) })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 131_072,
            max_processes: 4096,
            command_args: false,
            kubernetes: None,
            policies: None,
        }
    }
}

/// Finds out who is at the ends of connections.
pub struct Enricher {
    ends: Ends,
    processes: Processes,
    cluster: Option<Cluster>,
    /// When changes of the cluster are taken next, whatever else happens.
    due: Option<Timestamp>,
    /// The network namespace of the host itself.
    host_network: Option<NetworkNamespace>,
    counters: Counters,
}

impl Enricher {
    /// An enricher that knows nobody.
    ///
    /// # Errors
    /// When the thread that follows the Kubernetes API cannot be started. An API server that does not answer is no error.
    pub fn new(options: Options) -> std::io::Result<Self> {
        let policies = options.policies;
        let cluster = options.kubernetes.map(|k| Cluster::start(k.source, k.node, policies)).transpose()?;
        Ok(Self {
            ends: Ends::new(options.max_connections),
            processes: Processes::new(options.max_processes, options.command_args),
            due: cluster.as_ref().map(|_| Timestamp(0)),
            cluster,
            host_network: process::host_network(),
            counters: Counters::default(),
        })
    }

    /// Takes note of an event, before the engine does: who owns an end is best asked while it is young.
    pub fn observe(&mut self, event: &Event<'_>, now: Timestamp) {
        match event {
            Event::Opened(opened) => {
                let mut end = End::new(opened.tuple, opened.local_side, now);
                if let Some(process) = &opened.process {
                    end.owner = self.processes.get(process, now, &mut self.counters);
                    end.process = Some(Arc::clone(process));
                }
                self.ends.insert(opened.conn, end, &mut self.counters);
                self.pair(opened.conn);
                self.take_changes(CHANGES_PER_EVENT, now);
            }
            Event::Owner { conn, process } => self.owner(*conn, process, now),
            _ => {}
        }
    }

    /// When [`poll`](Self::poll) has something to do next.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        self.due
    }

    /// Does what is due at `now`.
    pub fn poll(&mut self, now: Timestamp) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + POLL);
            self.take_changes(CHANGES_PER_POLL, now);
        }
    }

    /// News of policies and issued certificates from the Kubernetes API, `None` when there are none. To be asked for after
    /// [`poll`](Self::poll).
    pub fn poll_news(&mut self) -> Option<kubernetes::News> {
        self.cluster.as_mut()?.poll_news()
    }

    /// Forgets a connection end; nothing is asked of it any more.
    pub fn forget(&mut self, conn: ConnId) {
        let Some((other, _)) = self.ends.get(conn).and_then(|end| end.pair) else {
            self.ends.remove(conn);
            return;
        };
        let party = self.local(conn);
        let Some(end) = self.ends.remove(conn) else { return };
        let pod = end.pod();
        if let Some(other) = self.ends.get_mut(other) {
            other.pair = None;
            other.parted = Some(Parted { tuple: end.tuple, party, pod, network: end.network() });
        }
    }

    /// Says who is at both ends.
    pub fn enrich(&mut self, observation: Observation, now: Timestamp) -> Sighting {
        let conn = observation.conn;
        let is_followed = self.ends.get(conn).is_some();
        if !is_followed {
            // Not seen to open, or refused: known for as long as this takes.
            let end = End::new(observation.tuple, observation.local_side, observation.time);
            self.ends.insert_for_a_moment(conn, end);
        }
        if let Some(process) = &observation.process {
            self.owner(conn, process, now);
        }
        if let Some(side) = observation.local_side {
            self.ends.learn_side(conn, side);
        }
        self.pair(conn);
        let mut local = self.local(conn);
        let mut peer = self.peer(conn);
        self.name_service(conn, &mut local, &mut peer);
        self.name_ports(conn, &mut local, &mut peer);
        let scope = self.scope(conn, &peer);
        if !is_followed {
            self.ends.remove(conn);
        }
        Sighting { observation, local, peer, scope }
    }

    /// Says who a process is, of which no connection is known.
    pub fn party(&mut self, process: &Process, now: Timestamp) -> Party {
        let owner = self.processes.get(process, now, &mut self.counters);
        let named = self.cluster.as_mut().and_then(|cluster| {
            // Addresses say nothing here; its control group may.
            cluster.of_process(owner.as_deref(), IpAddr::V4(Ipv4Addr::LOCALHOST), now, &mut self.counters)
        });
        let container = owner.as_ref().and_then(|owner| owner.container.clone());
        let (named, contained) = named.map_or((None, None), |(named, container)| (Some(named), container));
        Party {
            process: owner.map(|owner| Arc::clone(&owner.details)),
            container: contained.or(container),
            workload: named.map(|named| named.workload),
            ..Party::default()
        }
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// These are the policy files from now on; the API is asked what it says beside them, and [news](Self::poll_news) of policies
    /// follow. False where it has nothing to say, or has not said it yet: the files alone count.
    pub fn set_policy_files(&self, files: kubernetes::PolicyFiles) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.set_policy_files(files))
    }

    /// Every counter with its name, and sizes of what is kept of the cluster.
    pub fn named_counters(&self) -> Vec<(&'static str, u64)> {
        let mut out = self.counters.named();
        out.extend(self.cluster.iter().flat_map(Cluster::named_counters));
        out
    }

    /// What went wrong last with the Kubernetes API, if anything did.
    pub fn kubernetes_error(&self) -> Option<String> {
        self.cluster.as_ref()?.last_error()
    }

    fn take_changes(&mut self, max: usize, now: Timestamp) {
        if let Some(cluster) = &mut self.cluster {
            cluster.take(max, now);
        }
    }

    fn owner(&mut self, conn: ConnId, process: &Arc<Process>, now: Timestamp) {
        let Some(end) = self.ends.get(conn) else { return };
        if end.owner.is_some() && end.process.as_ref() == Some(process) {
            return;
        }
        let owner = self.processes.get(process, now, &mut self.counters);
        let Some(end) = self.ends.get_mut(conn) else { return };
        // A process that was read and is gone by now says more than none.
        if owner.is_some() || end.process.as_ref() != Some(process) {
            end.process = Some(Arc::clone(process));
            end.owner = owner;
            end.named = None;
        }
        self.pair(conn);
    }

    fn pair(&mut self, conn: ConnId) {
        let cluster = self.cluster.as_ref();
        let leads_to = |dialled, answered| cluster.is_some_and(|c| c.leads_to(dialled, answered));
        self.ends.pair(conn, leads_to, &mut self.counters);
    }

    /// The local end of a connection.
    fn local(&mut self, conn: ConnId) -> Party {
        let Some(end) = self.ends.get_mut(conn) else { return Party::default() };
        if let Some(owner) = &end.owner {
            end.owner = Some(self.processes.refresh(owner, &mut self.counters));
        }
        let owner = end.owner.clone();
        let mut party = Party {
            process: owner.as_ref().map(|owner| Arc::clone(&owner.details)),
            container: owner.as_ref().and_then(|owner| owner.container.clone()),
            ..Party::default()
        };
        let Some(cluster) = &mut self.cluster else { return party };
        if end.named.as_ref().is_none_or(|(named, _)| !named.is_settled) {
            let (local, opened) = (end.tuple.local.addr, end.opened);
            let named = cluster.of_process(owner.as_deref(), local, opened, &mut self.counters);
            // What was known once is not forgotten because the pod is.
            if named.is_some() {
                end.named = named;
            }
        }
        if let Some((named, container)) = &end.named {
            party.workload = Some(Arc::clone(&named.workload));
            party.container = container.clone().or(party.container);
        }
        if party.workload.as_ref().is_none_or(|workload| workload.host_network) {
            party.node = cluster.own_node();
        }
        party
    }

    /// The other end.
    fn peer(&mut self, conn: ConnId) -> Party {
        let Some(end) = self.ends.get(conn) else { return Party::default() };
        if let Some((other, _)) = end.pair {
            return self.local(other);
        }
        if let Some(parted) = &end.parted {
            return parted.party.clone();
        }
        let (peer, dialled, opened) = (end.tuple.peer, end.side == Some(Side::Client), end.opened);
        let Some(cluster) = &mut self.cluster else { return Party::default() };
        if peer.addr.is_loopback() && !cluster.is_local_node_port(end.tuple) {
            return Party::default();
        }
        let remote = match &end.remote {
            Some(remote) => remote.clone(),
            None => cluster.of_address(peer, dialled, opened, &mut self.counters),
        };
        let party = Party {
            workload: remote.named.as_ref().map(|named| Arc::clone(&named.workload)),
            service: remote.service.clone(),
            node: remote.node.clone(),
            ..Party::default()
        };
        if remote.named.as_ref().is_some_and(|named| named.is_settled)
            && let Some(end) = self.ends.get_mut(conn)
        {
            end.remote = Some(remote);
        }
        party
    }

    /// Names the Service in front of whoever was called, where the caller's end is here too.
    fn name_service(&mut self, conn: ConnId, local: &mut Party, peer: &mut Party) {
        let (Some(end), Some(cluster)) = (self.ends.get(conn), &self.cluster) else { return };
        let other = end.pair.and_then(|(other, _)| self.ends.get(other)).map(|other| other.tuple);
        let Some(other) = other.or(end.parted.as_ref().map(|parted| parted.tuple)) else { return };
        match end.side {
            Some(Side::Client) => {
                peer.service = cluster.service(end.tuple.peer, true, &mut self.counters);
            }
            Some(Side::Server) => {
                let service = cluster.service(other.peer, true, &mut self.counters);
                // A sidecar that a redirect led to is not what the Service stands for.
                let is_answered_here =
                    other.peer == end.tuple.local || cluster.leads_to(other.peer, end.tuple.local);
                local.service = service.filter(|_| is_answered_here);
            }
            None => {}
        }
    }

    /// Which port whoever was called listens on, and which one was dialled, where address translation hides it.
    fn name_ports(&self, conn: ConnId, local: &mut Party, peer: &mut Party) {
        let (Some(end), Some(cluster)) = (self.ends.get(conn), &self.cluster) else { return };
        let listens = |party: &Party, dialled: u16| {
            cluster.listen_port(party.service.as_deref()?, dialled, party.workload.as_deref())
        };
        match end.side {
            Some(Side::Client) => {
                (peer.listen_port, peer.dialled_port) = (listens(peer, end.tuple.peer.port), None);
            }
            Some(Side::Server) => {
                let other = end.pair.and_then(|(other, _)| self.ends.get(other)).map(|other| other.tuple);
                let Some(other) = other.or(end.parted.as_ref().map(|parted| parted.tuple)) else { return };
                let (dialled, seen) = (other.peer.port, end.tuple.local);
                if other.peer == seen {
                    return;
                }
                local.dialled_port = (dialled != seen.port).then_some(dialled);
                // A sidecar stands at a port of its own in front of the one that was meant.
                let direct = (other.peer.addr == seen.addr).then_some(dialled);
                local.listen_port = listens(local, dialled).or(direct).filter(|port| *port != seen.port);
            }
            None => {}
        }
    }

    fn scope(&self, conn: ConnId, peer: &Party) -> Option<Scope> {
        let end = self.ends.get(conn)?;
        let other = match (end.pair.and_then(|(other, _)| self.ends.get(other)), &end.parted) {
            (Some(other), _) => Some((other.pod(), other.network())),
            (None, Some(parted)) => Some((parted.pod, parted.network)),
            (None, None) => None,
        };
        let other = match other {
            Some((pod, _)) if pod.is_some() && pod == end.pod() => Other::SamePod,
            Some((_, network)) if network.is_some() && network == end.network() => Other::SameNetwork,
            Some(_) => Other::ThisHost,
            None => self.elsewhere(end, peer),
        };
        let facts = Facts {
            tuple: end.tuple,
            in_pod_network: self.is_in_pod_network(end),
            other,
            is_local_node_port: self.cluster.as_ref().is_some_and(|c| c.is_local_node_port(end.tuple)),
        };
        scope::scope(facts)
    }

    /// Where a peer is that has no end here.
    fn elsewhere(&self, end: &End, peer: &Party) -> Other {
        let Some(cluster) = &self.cluster else { return Other::Elsewhere };
        let of_pod = peer.workload.as_ref().and_then(|workload| workload.node.as_ref());
        // A Service that was dialled at a node's port may be answered at any other.
        if of_pod.is_some() || peer.service.is_some() {
            let is_here = peer.workload.as_ref().is_some_and(|workload| cluster.is_here(workload));
            return if is_here { Other::ThisHost } else { Other::Cluster };
        }
        if let Some(node) = &peer.node {
            return if cluster.own_node().as_ref() == Some(node) { Other::ThisHost } else { Other::Cluster };
        }
        if peer.workload.is_some() {
            return Other::Cluster;
        }
        let is_caller = end.side != Some(Side::Client);
        match cluster.has_address(end.tuple.peer.addr, is_caller) {
            Some(true) => Other::Cluster,
            Some(false) => Other::Elsewhere,
            None => Other::Unknown,
        }
    }

    fn is_in_pod_network(&self, end: &End) -> bool {
        let Some(pod) = end.pod() else { return false };
        let on_host = self.cluster.as_ref().and_then(|cluster| cluster.is_on_host_network(pod));
        match on_host {
            Some(on_host) => !on_host,
            None => end.network().is_some() && end.network() != self.host_network,
        }
    }
}
