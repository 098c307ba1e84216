//! Pods: by UID, by address at a time, by container, by port of their node.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_core::identity::Workload;
use agent_core::time::Timestamp;
use smallvec::SmallVec;

use super::controllers::{Controllers, Top};
use super::intern::{Interner, Labels};
use super::{IndexCounters, PodAt};
use crate::enrich::PodUid;
use crate::enrich::kubernetes::delta::{OwnerRef, Pod};

/// Pods that are gone answer for connections from their time: this many, for this long.
pub(super) const MAX_GONE: usize = 1024;
const GONE_FOR: Duration = Duration::from_secs(600);
/// How far clocks of nodes may be apart. Matters only where nothing else has the address.
const SKEW: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Record {
    generation: u32,
    namespace: Arc<str>,
    name: Box<str>,
    alias: Option<PodUid>,
    labels: Arc<Labels>,
    owner: Option<Owner>,
    /// What controls it in the end, once known.
    top: Option<Top>,
    service_account: Option<Arc<str>>,
    node: Option<Arc<str>>,
    host_network: bool,
    ips: SmallVec<[IpAddr; 1]>,
    accepted: Timestamp,
    started: Option<Timestamp>,
    /// Its addresses were free again then, at the latest.
    until: Option<Timestamp>,
    containers: Box<[Contained]>,
    node_ports: Box<[u16]>,
    named_ports: Box<[(Arc<str>, u16)]>,
    /// Made when it is first asked for.
    workload: Option<Arc<Workload>>,
}

#[derive(Debug)]
struct Contained {
    id: Box<str>,
    runtime: Option<&'static str>,
    name: Arc<str>,
}

#[derive(Clone, Debug, PartialEq)]
struct Owner {
    kind: Arc<str>,
    name: Arc<str>,
    uid: Option<PodUid>,
}

#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: HashMap<PodUid, Record>,
    by_alias: HashMap<PodUid, PodUid>,
    by_ip: HashMap<IpAddr, SmallVec<[PodUid; 1]>>,
    by_container: HashMap<Box<str>, PodUid>,
    by_node_port: HashMap<(Arc<str>, u16), SmallVec<[PodUid; 1]>>,
    gone: VecDeque<(Timestamp, PodUid)>,
    generation: u32,
}

impl Pods {
    /// Takes a pod as it is now. `in_full`: its containers too.
    pub(super) fn apply(&mut self, pod: &Pod, in_full: bool, now: Timestamp, names: &mut Interner) {
        let before = self.take(pod.uid);
        let owner = pod.owner.as_ref().map(|owner: &OwnerRef| Owner {
            kind: names.string(&owner.kind),
            name: names.string(&owner.name),
            uid: owner.uid,
        });
        let mut started = pod.started;
        let (mut top, mut until) = (None, None);
        if let Some(before) = before {
            // Containers that were started again hide when the first one was.
            if before.ips.as_slice() == pod.ips {
                started = [before.started, started].into_iter().flatten().min();
            }
            top = before.top.filter(|_| before.owner == owner);
            until = before.until;
        }
        let containers = if in_full { pod.containers.as_slice() } else { &[] };
        let record = Record {
            generation: self.generation,
            namespace: names.string(&pod.namespace),
            name: Box::from(pod.name.as_str()),
            alias: pod.alias,
            labels: names.labels(&pod.labels),
            owner,
            top,
            service_account: pod.service_account.as_deref().map(|s| names.string(s)),
            node: pod.node.as_deref().map(|s| names.string(s)),
            host_network: pod.host_network,
            ips: SmallVec::from_slice(&pod.ips),
            accepted: pod.accepted.unwrap_or_default(),
            started,
            until: pod.is_over.then(|| until.unwrap_or(now)),
            containers: containers
                .iter()
                .map(|c| Contained {
                    id: Box::from(c.id.as_str()),
                    runtime: c.runtime,
                    name: names.string(&c.name),
                })
                .collect(),
            node_ports: Box::from(pod.node_ports.as_slice()),
            named_ports: pod.named_ports.iter().map(|(name, port)| (names.string(name), *port)).collect(),
            workload: None,
        };
        self.put(pod.uid, record);
    }

    /// A pod is gone; it answers for its time a while longer.
    pub(super) fn delete(&mut self, uid: PodUid, now: Timestamp) {
        let Some(record) = self.by_uid.get_mut(&uid) else { return };
        record.until.get_or_insert(now);
        self.gone.push_back((now, uid));
        // Nothing can be sent to its ports any more.
        let (node, ports) = (record.node.clone(), std::mem::take(&mut record.node_ports));
        for port in ports {
            if let Some(node) = &node {
                remove(&mut self.by_node_port, &(Arc::clone(node), port), &uid);
            }
        }
    }

    /// Lets go of pods that were gone for long enough, or are too many.
    pub(super) fn expire(&mut self, now: Timestamp, counters: &mut IndexCounters) {
        while let Some((at, uid)) = self.gone.front().copied() {
            let is_old = now.since(at) > GONE_FOR;
            if !is_old && self.gone.len() <= MAX_GONE {
                return;
            }
            self.gone.pop_front();
            // It may have come back, if only because a list was older than the watch before it.
            if self.by_uid.get(&uid).is_some_and(|record| record.until.is_some_and(|until| until <= at)) {
                counters.gone_pods_dropped += u64::from(!is_old);
                self.take(uid);
            }
        }
    }

    pub(super) fn listing(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// What the list did not name is gone.
    pub(super) fn listed(&mut self, now: Timestamp) {
        let old = |record: &Record| record.generation != self.generation && record.until.is_none();
        let unnamed: Vec<PodUid> =
            self.by_uid.iter().filter(|(_, record)| old(record)).map(|(uid, _)| *uid).collect();
        for uid in unnamed {
            self.delete(uid, now);
        }
        // Those that were over and are not named any more, neither: nobody said when they went.
        let generation = self.generation;
        let over: Vec<PodUid> = self
            .by_uid
            .iter()
            .filter(|(_, r)| r.generation != generation && r.until.is_some())
            .map(|(uid, _)| *uid)
            .collect();
        for uid in over {
            if !self.gone.iter().any(|(_, gone)| *gone == uid) {
                self.gone.push_back((now, uid));
            }
        }
    }

    fn put(&mut self, uid: PodUid, record: Record) {
        if let Some(alias) = record.alias {
            self.by_alias.insert(alias, uid);
        }
        // Pods on their node's network share its addresses.
        if !record.host_network {
            for ip in &record.ips {
                add(&mut self.by_ip, *ip, uid);
            }
        }
        for contained in &record.containers {
            self.by_container.insert(contained.id.clone(), uid);
        }
        if let Some(node) = &record.node
            && record.until.is_none()
        {
            for port in &record.node_ports {
                add(&mut self.by_node_port, (Arc::clone(node), *port), uid);
            }
        }
        self.by_uid.insert(uid, record);
    }

    fn take(&mut self, uid: PodUid) -> Option<Record> {
        let record = self.by_uid.remove(&uid)?;
        if let Some(alias) = record.alias
            && self.by_alias.get(&alias) == Some(&uid)
        {
            self.by_alias.remove(&alias);
        }
        for ip in &record.ips {
            remove(&mut self.by_ip, ip, &uid);
        }
        for Contained { id, .. } in &record.containers {
            if self.by_container.get(id) == Some(&uid) {
                self.by_container.remove(id);
            }
        }
        if let Some(node) = &record.node {
            for port in &record.node_ports {
                remove(&mut self.by_node_port, &(Arc::clone(node), *port), &uid);
            }
        }
        Some(record)
    }

    /// The pod that kubelet calls this.
    pub(super) fn uid(&self, name: PodUid) -> Option<PodUid> {
        if self.by_uid.contains_key(&name) { Some(name) } else { self.by_alias.get(&name).copied() }
    }

    pub(super) fn of_container(&self, id: &str) -> Option<PodUid> {
        self.by_container.get(id).copied()
    }

    pub(super) fn container(&self, uid: PodUid, id: &str) -> Option<(Arc<str>, Option<&'static str>)> {
        let known = self.by_uid.get(&uid)?.containers.iter().find(|known| *known.id == *id)?;
        Some((Arc::clone(&known.name), known.runtime))
    }

    /// Which pod had an address at a time.
    pub(super) fn at(&self, ip: IpAddr, time: Timestamp) -> PodAt {
        let uids = self.by_ip.get(&ip).map(SmallVec::as_slice).unwrap_or_default();
        let had = |record: &Record, skew: Duration| {
            record.accepted <= time + skew && record.until.is_none_or(|until| time < until)
        };
        let candidates = |skew| {
            uids.iter().filter_map(move |uid| {
                let record = self.by_uid.get(uid)?;
                had(record, skew).then_some((*uid, record))
            })
        };
        let mut found = candidates(Duration::ZERO);
        match (found.next(), found.next()) {
            (Some((uid, _)), None) => PodAt::One(uid),
            // Of several, the last one that something ran in: before that nothing of it could have a connection, and once
            // it did the others had lost the address.
            (Some(_), Some(_)) => candidates(Duration::ZERO)
                .filter_map(|(uid, record)| record.started.filter(|at| *at <= time).map(|at| (at, uid)))
                .max()
                .map_or(PodAt::Several, |(_, uid)| PodAt::One(uid)),
            (None, _) => {
                let mut found = candidates(SKEW);
                match (found.next(), found.next()) {
                    (Some((uid, _)), None) => PodAt::One(uid),
                    (Some(_), Some(_)) => PodAt::Several,
                    (None, _) => PodAt::None,
                }
            }
        }
    }

    /// The pod that a port of a node leads to, where a single one says so.
    pub(super) fn at_node_port(&self, node: &Arc<str>, port: u16) -> Option<PodUid> {
        match self.by_node_port.get(&(Arc::clone(node), port))?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    pub(super) fn node(&self, uid: PodUid) -> Option<&Arc<str>> {
        self.by_uid.get(&uid)?.node.as_ref()
    }

    pub(super) fn is_on_host_network(&self, uid: PodUid) -> Option<bool> {
        Some(self.by_uid.get(&uid)?.host_network)
    }

    /// The workload of a pod, and whether that is all there will be to know of it.
    pub(super) fn workload(
        &mut self,
        uid: PodUid,
        controllers: &Controllers,
    ) -> Option<(Arc<Workload>, bool)> {
        let record = self.by_uid.get_mut(&uid)?;
        if record.top.is_none() {
            let owner = record.owner.as_ref();
            let top = owner.and_then(|owner| controllers.top(&owner.kind, &owner.name, owner.uid));
            if top.is_some() {
                record.workload = None;
                record.top = top;
            }
        }
        let is_settled = record.top.is_some() || record.owner.is_none();
        if let Some(workload) = &record.workload {
            return Some((Arc::clone(workload), is_settled));
        }
        let (kind, name): (&str, &str) = match (&record.top, &record.owner) {
            (Some(top), _) => (&top.kind, &top.name),
            // What owns the owner is not known yet.
            (None, Some(owner)) => (&owner.kind, &owner.name),
            (None, None) => ("Pod", &record.name),
        };
        let workload = Arc::new(Workload {
            namespace: record.namespace.as_ref().to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            pod: Some(record.name.as_ref().to_owned()),
            container: None,
            labels: record
                .labels
                .iter()
                .map(|(k, v)| (k.as_ref().to_owned(), v.as_ref().to_owned()))
                .collect(),
            service_account: record.service_account.as_deref().map(str::to_owned),
            node: record.node.as_deref().map(str::to_owned),
            host_network: record.host_network,
            named_ports: record
                .named_ports
                .iter()
                .map(|(name, port)| (name.as_ref().to_owned(), *port))
                .collect(),
        });
        record.workload = Some(Arc::clone(&workload));
        Some((workload, is_settled))
    }

    pub(super) fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Pods that are held although they are gone.
    pub(super) fn gone(&self) -> usize {
        let is_held = |at: Timestamp, record: &Record| record.until.is_some_and(|until| until <= at);
        let held = self.gone.iter().filter(|(at, uid)| self.by_uid.get(uid).is_some_and(|r| is_held(*at, r)));
        held.map(|(_, uid)| uid).collect::<HashSet<_>>().len()
    }
}

pub(super) fn add<K: Eq + Hash, V: PartialEq, A: smallvec::Array<Item = V>>(
    map: &mut HashMap<K, SmallVec<A>>,
    key: K,
    value: V,
) {
    let values = map.entry(key).or_default();
    if !values.contains(&value) {
        values.push(value);
    }
}

pub(super) fn remove<K: Eq + Hash, V: PartialEq, A: smallvec::Array<Item = V>>(
    map: &mut HashMap<K, SmallVec<A>>,
    key: &K,
    value: &V,
) {
    if let Some(values) = map.get_mut(key) {
        values.retain(|v| v != value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}
