//! What controls what controls pods: a ReplicaSet's Deployment, a Job's CronJob.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use agent_core::time::Timestamp;

use super::intern::Interner;
use crate::enrich::PodUid;
use crate::enrich::kubernetes::delta::{Controller, Kind};

/// Controllers that are gone are kept for pods that outlive them: this many, for this long.
const MAX_GONE: usize = 1024;
const GONE_FOR: Duration = Duration::from_secs(600);

/// The end of a chain of owners.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Top {
    pub(super) kind: Arc<str>,
    pub(super) name: Arc<str>,
}

#[derive(Debug)]
struct Record {
    kind: Kind,
    generation: u32,
    is_gone: bool,
    owner: Option<Top>,
}

#[derive(Debug, Default)]
pub(super) struct Controllers {
    by_uid: HashMap<PodUid, Record>,
    gone: VecDeque<(Timestamp, PodUid)>,
    generations: HashMap<Kind, u32>,
}

impl Controllers {
    pub(super) fn apply(&mut self, controller: &Controller, names: &mut Interner) {
        let owner = controller
            .owner
            .as_ref()
            .map(|owner| Top { kind: names.string(&owner.kind), name: names.string(&owner.name) });
        let generation = self.generation(controller.kind);
        let record = Record { kind: controller.kind, generation, is_gone: false, owner };
        self.by_uid.insert(controller.uid, record);
    }

    pub(super) fn delete(&mut self, uid: PodUid, now: Timestamp) {
        if let Some(record) = self.by_uid.get_mut(&uid)
            && !record.is_gone
        {
            record.is_gone = true;
            self.gone.push_back((now, uid));
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((at, uid)) = self.gone.front().copied() {
            if now.since(at) <= GONE_FOR && self.gone.len() <= MAX_GONE {
                return;
            }
            self.gone.pop_front();
            if self.by_uid.get(&uid).is_some_and(|record| record.is_gone) {
                self.by_uid.remove(&uid);
            }
        }
    }

    fn generation(&self, kind: Kind) -> u32 {
        self.generations.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn listing(&mut self, kind: Kind) {
        let generation = self.generations.entry(kind).or_default();
        *generation = generation.wrapping_add(1);
    }

    pub(super) fn listed(&mut self, kind: Kind, now: Timestamp) {
        let generation = self.generation(kind);
        let old = |record: &Record| record.kind == kind && record.generation != generation && !record.is_gone;
        let unnamed: Vec<PodUid> =
            self.by_uid.iter().filter(|(_, record)| old(record)).map(|(uid, _)| *uid).collect();
        for uid in unnamed {
            self.delete(uid, now);
        }
    }

    /// What controls a pod in the end, given what controls it directly. `None`: not known yet.
    pub(super) fn top(&self, kind: &Arc<str>, name: &Arc<str>, uid: Option<PodUid>) -> Option<Top> {
        let direct = || Top { kind: Arc::clone(kind), name: Arc::clone(name) };
        if !matches!(kind.as_ref(), "ReplicaSet" | "Job") {
            return Some(direct());
        }
        let record = self.by_uid.get(&uid?)?;
        Some(record.owner.clone().unwrap_or_else(direct))
    }

    pub(super) fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Controllers that are held although they are gone.
    pub(super) fn gone(&self) -> usize {
        self.by_uid.values().filter(|record| record.is_gone).count()
    }
}
