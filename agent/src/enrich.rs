//! Who is at both ends of a connection: from an [`Observation`] to a [`Sighting`].
//!
//! Nothing here waits for long: procfs is read where no other process can make the reader wait (see [`process`]), the rest
//! comes from tables that threads of their own fill, one of which is waited for a moment ([`conntrack`]). What is not known when it is asked for is absent, and looked up again the
//! next time the same connection is shown.
//!
//! How the network namespace of an end is known: it is that of its owner, by the inode number of `/proc/PID/ns/net`. A
//! program that changes its namespace after it made a socket (some network daemons do), or hands a socket to a process in
//! another one, is taken for what it is now. Of an end without a known owner the namespace is not known; then ends on
//! loopback addresses are matched only where a single one fits.

pub mod cgroup;
pub(crate) mod conntrack;
mod counters;
mod ends;
pub mod kubernetes;
mod process;
mod scope;
#[cfg(test)]
mod tests;
mod uid;

/// Parsers that are nobody else's business.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// Bytes as files of `/proc/PID`.
    pub fn procfs(bytes: &[u8]) {
        super::process::fuzz(bytes);
    }

    /// Bytes as an answer of conntrack.
    pub fn conntrack(bytes: &[u8]) {
        super::conntrack::fuzz(bytes);
    }
}

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_core::event::{Event, Process};
use agent_core::identity::{Party, Scope, Sighting};
use agent_core::net::{ConnId, FiveTuple, Side};
use agent_core::observation::Observation;
use agent_core::time::Timestamp;

pub use counters::Counters;
pub use uid::PodUid;

use self::conntrack::{Asked, Conntrack, Flow, Outcome, Question};
use self::ends::{End, Ends, Parted, Translated};
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
    /// Absent where its thread could not be started, and in tests.
    conntrack: Option<Conntrack>,
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
            conntrack: Conntrack::start().ok(),
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
                self.take_translations();
                self.pair(opened.conn);
                // Its client's end came into view before it, if it is here and nothing is translated.
                if opened.local_side == Some(Side::Server) {
                    self.ask_for_translation(opened.conn);
                }
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
        if is_followed {
            self.ask_for_translation(conn);
            self.await_translation(conn);
        }
        let mut local = self.local(conn);
        let mut peer = self.peer(conn);
        self.name_service(conn, &mut local, &mut peer);
        self.name_addresses(conn, &mut local, &mut peer);
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
            process: Some(match owner {
                Some(owner) => Arc::clone(&owner.details),
                None => self.processes.unread(process),
            }),
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

    /// Asks what the addresses of an end were before they were translated, where that may say who is at the other end. A
    /// client knows what it dialled: it is asked about only where a Service stands for whoever answers.
    fn ask_for_translation(&mut self, conn: ConnId) {
        let (Some(end), Some(conntrack)) = (self.ends.get(conn), &mut self.conntrack) else { return };
        if end.pair.is_some() || end.parted.is_some() || !matches!(end.translated, Translated::NotAsked) {
            return;
        }
        let is_service = |cluster: &Cluster| cluster.is_service(end.tuple.peer);
        let side = match end.side {
            Some(Side::Server) => Side::Server,
            Some(Side::Client) if self.cluster.as_ref().is_some_and(is_service) => Side::Client,
            _ => return,
        };
        let owner = end.owner.as_ref().and_then(|owner| Some((owner.details.pid, owner.network?)));
        let flow = Flow { from: end.tuple.local, to: end.tuple.peer };
        match conntrack.ask(Question { conn, flow, side, owner }) {
            Asked::Yes => {
                self.counters.conntrack_asked += 1;
                if let Some(end) = self.ends.get_mut(conn) {
                    end.translated = Translated::Asked;
                }
            }
            // Asked again when it is shown next.
            Asked::Idle => self.counters.conntrack_idle += 1,
            Asked::Full => self.counters.conntrack_dropped += 1,
        }
    }

    fn take_translations(&mut self) {
        while let Some((conn, outcome)) = self.conntrack.as_mut().and_then(Conntrack::poll) {
            self.learn_translation(conn, outcome);
        }
    }

    /// Waits a moment for the answer about an end that is to be shown; for a client's, about servers' ends, of which one may
    /// be its other end.
    fn await_translation(&mut self, conn: ConnId) {
        self.take_translations();
        let until = self.conntrack.as_ref().and_then(Conntrack::patience);
        while let (Some(until), true) = (until, self.awaits(conn)) {
            let Some((conn, outcome)) = self.conntrack.as_mut().and_then(|c| c.wait(until)) else { break };
            self.learn_translation(conn, outcome);
        }
        self.counters.conntrack_late += u64::from(self.awaits(conn));
    }

    fn awaits(&self, conn: ConnId) -> bool {
        let (Some(end), Some(conntrack)) = (self.ends.get(conn), &self.conntrack) else { return false };
        match end.translated {
            Translated::Asked => true,
            Translated::NotAsked if end.side == Some(Side::Client) => {
                end.pair.is_none() && end.parted.is_none() && conntrack.pending() > 0
            }
            _ => false,
        }
    }

    fn learn_translation(&mut self, conn: ConnId, outcome: Outcome) {
        match outcome {
            Outcome::Translated(translation) => {
                self.counters.conntrack_translated += 1;
                self.ends.learn_translation(conn, translation);
                self.pair(conn);
                return;
            }
            Outcome::Plain => {}
            Outcome::NotFound => self.counters.conntrack_missed += 1,
            Outcome::Failed => self.counters.conntrack_failed += 1,
        }
        if let Some(end) = self.ends.get_mut(conn) {
            end.translated = Translated::No;
        }
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
        let unread = || end.process.as_ref().map(|process| self.processes.unread(process));
        let mut party = Party {
            process: owner.as_ref().map(|owner| Arc::clone(&owner.details)).or_else(unread),
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
        let (peer, dialled, opened) = (end.other_address(), end.side == Some(Side::Client), end.opened);
        let (tuple, is_translated) = (end.tuple, end.translation().is_some());
        let Some(cluster) = &mut self.cluster else { return Party::default() };
        if peer.addr.is_loopback() && !cluster.is_local_node_port(tuple) {
            return Party::default();
        }
        let remote = match &end.remote {
            Some(remote) => remote.clone(),
            None => {
                let mut remote = cluster.of_address(peer, dialled, opened, &mut self.counters);
                if dialled && is_translated {
                    remote.service = cluster.service(tuple.peer, true, &mut self.counters);
                }
                remote
            }
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

    /// What the other end sees: of the server, and of the client. From that end where it is here, else from the table of the
    /// one that translates.
    fn seen_by_other(&self, end: &End) -> Option<FiveTuple> {
        let other = end.pair.and_then(|(other, _)| self.ends.get(other)).map(|other| other.tuple);
        let other = other.or(end.parted.as_ref().map(|parted| parted.tuple));
        other.or_else(|| end.translation().map(|_| end.other_tuple()))
    }

    /// Names the Service in front of whoever was called, where it is known what the caller dialled.
    fn name_service(&mut self, conn: ConnId, local: &mut Party, peer: &mut Party) {
        let (Some(end), Some(cluster)) = (self.ends.get(conn), &self.cluster) else { return };
        let Some(other) = self.seen_by_other(end) else { return };
        match end.side {
            Some(Side::Client) => {
                peer.service = cluster.service(end.tuple.peer, true, &mut self.counters);
            }
            Some(Side::Server) => {
                let service = cluster.service(other.peer, true, &mut self.counters);
                // A sidecar that a redirect led to is not what the Service stands for.
                let is_answered_here = other.peer == end.tuple.local
                    || cluster.leads_to(other.peer, end.tuple.local)
                    || end.translation().is_some_and(|translation| !translation.is_redirected);
                local.service = service.filter(|_| is_answered_here);
            }
            None => {}
        }
    }

    /// Where either end is as it knows itself, what was dialled, and which port whoever was called listens on, where address
    /// translation hides it.
    fn name_addresses(&self, conn: ConnId, local: &mut Party, peer: &mut Party) {
        let Some(end) = self.ends.get(conn) else { return };
        let listens = |party: &Party, dialled: u16| {
            let cluster = self.cluster.as_ref()?;
            cluster.listen_port(party.service.as_deref()?, dialled, party.workload.as_deref())
        };
        let other = self.seen_by_other(end);
        (peer.address, peer.dialled) = (other.map(|other| other.local), None);
        peer.address = peer.address.filter(|address| *address != end.tuple.peer);
        match end.side {
            Some(Side::Client) => peer.listen_port = listens(peer, end.tuple.peer.port),
            Some(Side::Server) => {
                let (Some(dialled), seen) = (other.map(|other| other.peer), end.tuple.local) else { return };
                if dialled == seen {
                    return;
                }
                local.dialled = Some(dialled);
                // A sidecar stands at a port of its own in front of the one that was meant.
                let direct = (dialled.addr == seen.addr).then_some(dialled.port);
                local.listen_port = listens(local, dialled.port).or(direct).filter(|port| *port != seen.port);
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
        match cluster.has_address(end.other_address().addr, is_caller) {
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
