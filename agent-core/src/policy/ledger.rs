//! The book of findings: one entry for a rule and what it is about, however often it is seen. Entries clear when a good
//! sighting of the same subject came and nothing bad after it, when time alone makes them untrue, or by silence.

mod groups;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use self::groups::{Group, Groups};
use super::about::About;
use super::finding::{Finding, Judgement, RuleId};
use super::settings::LedgerSettings;
use crate::time::Timestamp;

/// A finding that stands, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The judgement as of the last sighting.
    pub finding: Finding,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// Connections on which it was seen.
    pub count: u64,
}

/// Why a finding was cleared. A closed set, usable as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cleared {
    /// The same subject was seen to be fine.
    Good,
    /// Time made it untrue: a certificate that was about to end has ended.
    Time,
    /// Nothing was seen of it for long.
    Silence,
    /// The rule was told to look at things in another way, or not at all.
    Settings,
    /// Too many stood, and most of them were of its kind: another one needed the room.
    Room,
}

impl Cleared {
    /// `good`, `time`, `silence`, `settings` or `room`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cleared::Good => "good",
            Cleared::Time => "time",
            Cleared::Silence => "silence",
            Cleared::Settings => "settings",
            Cleared::Room => "room",
        }
    }
}

/// News of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Raised(Box<Standing>),
    /// It was seen again, and what it says may have changed.
    Updated(Box<Standing>),
    /// It is over.
    Cleared(Box<Standing>, Cleared),
}

/// What happened in the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerCounters {
    /// Findings raised.
    pub raised: u64,
    /// Findings cleared.
    pub cleared: u64,
    /// Findings dropped because too many stood.
    pub refused: u64,
    /// Findings cleared to make room for others.
    pub displaced: u64,
}

#[derive(Debug)]
struct Entry {
    standing: Standing,
    /// It was seen again since this was last told.
    is_news: bool,
    told: Timestamp,
    is_good: bool,
    deadline: Timestamp,
}

/// All findings that stand.
#[derive(Debug)]
pub struct Ledger {
    settings: LedgerSettings,
    index: HashMap<RuleId, HashMap<About, u64>>,
    entries: BTreeMap<u64, Entry>,
    groups: Groups,
    next: u64,
    deadlines: BTreeSet<(Timestamp, u64)>,
    changes: VecDeque<Change>,
    counters: LedgerCounters,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(settings: LedgerSettings) -> Self {
        Self {
            settings,
            index: HashMap::new(),
            entries: BTreeMap::new(),
            groups: Groups::default(),
            next: 0,
            deadlines: BTreeSet::new(),
            changes: VecDeque::new(),
            counters: LedgerCounters::default(),
        }
    }

    /// Takes a judgement of something not judged before.
    pub fn take(&mut self, judgement: Judgement, rule: &RuleId, now: Timestamp) {
        match judgement {
            Judgement::Raised(finding) => self.raise(finding, true, now),
            Judgement::Good(about) => self.good(rule, &about, now),
            Judgement::NotApplicable => {}
        }
    }

    /// Takes a finding; `counts` is false when the same connection showed it before.
    pub fn raise(&mut self, finding: Finding, counts: bool, now: Timestamp) {
        if let Some(id) = self.find(&finding.rule, &finding.about) {
            let Some(entry) = self.entries.get_mut(&id) else { return };
            let got_other = entry.standing.finding.severity != finding.severity;
            entry.standing.finding = finding;
            entry.standing.last_seen = entry.standing.last_seen.max(now);
            entry.standing.count += u64::from(counts);
            entry.is_good = false;
            if got_other {
                entry.is_news = false;
                entry.told = now;
                self.changes.push_back(Change::Updated(Box::new(entry.standing.clone())));
            } else {
                entry.is_news = true;
            }
            self.advance(id);
            return;
        }
        self.insert(Standing { finding, first_seen: now, last_seen: now, count: 1 }, now);
    }

    /// The subject was seen to be fine.
    pub fn good(&mut self, rule: &RuleId, about: &About, now: Timestamp) {
        let Some(id) = self.find(rule, about) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.is_good = true;
        if good_at(entry, &self.settings) <= now {
            self.clear(id, Cleared::Good);
        } else {
            self.advance(id);
        }
    }

    /// Does what is due at `now`; to be called at or after [`poll_deadline`](Self::poll_deadline).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            let Some(entry) = self.entries.get_mut(&id) else {
                self.deadlines.remove(&(at, id));
                continue;
            };
            let turn = entry.standing.finding.turn.as_ref().map(|turn| turn.at);
            if turn.is_some_and(|turn| turn <= now) {
                self.turn(id, now);
            } else if entry.is_good && good_at(entry, &self.settings) <= now {
                self.clear(id, Cleared::Good);
            } else if silent_at(entry, &self.settings) <= now {
                self.clear(id, Cleared::Silence);
            } else {
                if entry.is_news && told_at(entry, &self.settings) <= now {
                    entry.is_news = false;
                    entry.told = now;
                    self.changes.push_back(Change::Updated(Box::new(entry.standing.clone())));
                }
                self.schedule(id);
            }
        }
    }

    /// Goes on by other settings. What a rule found that `changed` names is over: whether it is still true, the next sighting
    /// shows.
    pub fn set_settings(&mut self, settings: LedgerSettings, changed: impl Fn(&RuleId) -> bool) {
        self.settings = settings;
        let of = |(id, entry): (&u64, &Entry)| changed(&entry.standing.finding.rule).then_some(*id);
        for id in self.entries.iter().filter_map(of).collect::<Vec<_>>() {
            self.clear(id, Cleared::Settings);
        }
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.schedule(id);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next change, `None` when there is none.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Everything that stands, oldest first.
    pub fn standing(&self) -> impl Iterator<Item = &Standing> {
        self.entries.values().map(|entry| &entry.standing)
    }

    /// Findings that stand.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing stands.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What happened so far.
    pub fn counters(&self) -> LedgerCounters {
        self.counters
    }

    fn find(&self, rule: &RuleId, about: &About) -> Option<u64> {
        self.index.get(rule)?.get(about).copied()
    }

    fn insert(&mut self, standing: Standing, now: Timestamp) {
        let group = Group::of(&standing.finding);
        if self.entries.len() >= self.settings.max_findings && !self.make_room(&group) {
            self.counters.refused += 1;
            return;
        }
        self.groups.add(group);
        let id = self.next;
        self.next += 1;
        let finding = &standing.finding;
        self.index.entry(finding.rule.clone()).or_default().insert(finding.about.clone(), id);
        self.counters.raised += 1;
        self.changes.push_back(Change::Raised(Box::new(standing.clone())));
        let mut entry = Entry { standing, is_news: false, told: now, is_good: false, deadline: Timestamp(0) };
        entry.deadline = due(&entry, &self.settings);
        self.deadlines.insert((entry.deadline, id));
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: u64) -> Option<Standing> {
        let entry = self.entries.remove(&id)?;
        self.deadlines.remove(&(entry.deadline, id));
        let finding = &entry.standing.finding;
        self.groups.remove(&Group::of(finding));
        if let Some(of_rule) = self.index.get_mut(&finding.rule) {
            of_rule.remove(&finding.about);
            if of_rule.is_empty() {
                self.index.remove(&finding.rule);
            }
        }
        self.counters.cleared += 1;
        Some(entry.standing)
    }

    fn clear(&mut self, id: u64, why: Cleared) {
        if let Some(standing) = self.remove(id) {
            self.changes.push_back(Change::Cleared(Box::new(standing), why));
        }
    }

    /// Clears the finding of the largest group that was not seen for the longest time, where there is one larger than this.
    fn make_room(&mut self, group: &Group) -> bool {
        let Some(largest) = self.groups.gives_way_to(group) else { return false };
        let of_it = self.entries.iter().filter(|(_, entry)| Group::of(&entry.standing.finding) == *largest);
        let Some(id) = of_it.min_by_key(|(_, entry)| entry.standing.last_seen).map(|(id, _)| *id) else {
            return false;
        };
        self.counters.displaced += 1;
        self.clear(id, Cleared::Room);
        true
    }

    /// Time made the finding untrue, and perhaps another one true.
    fn turn(&mut self, id: u64, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(next) = entry.standing.finding.turn.take().and_then(|turn| turn.into) else {
            return self.clear(id, Cleared::Time);
        };
        if next.rule == entry.standing.finding.rule && next.about == entry.standing.finding.about {
            entry.standing.finding = next;
            entry.is_news = false;
            entry.told = now;
            self.changes.push_back(Change::Updated(Box::new(entry.standing.clone())));
            return self.schedule(id);
        }
        let last_seen = entry.standing.last_seen;
        self.clear(id, Cleared::Time);
        match self.find(&next.rule, &next.about) {
            Some(_) => {}
            None => self.insert(Standing { finding: next, first_seen: now, last_seen, count: 1 }, now),
        }
    }

    /// Sets the deadline anew, earlier or later.
    fn schedule(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.deadlines.remove(&(entry.deadline, id));
        entry.deadline = due(entry, &self.settings);
        self.deadlines.insert((entry.deadline, id));
    }

    /// Sets an earlier deadline. One that is later by now is found out when the old one comes: findings are seen far more
    /// often than they are due.
    fn advance(&mut self, id: u64) {
        if self.entries.get(&id).is_some_and(|entry| due(entry, &self.settings) < entry.deadline) {
            self.schedule(id);
        }
    }
}

fn due(entry: &Entry, settings: &LedgerSettings) -> Timestamp {
    let mut due = silent_at(entry, settings);
    if let Some(turn) = &entry.standing.finding.turn {
        due = due.min(turn.at);
    }
    if entry.is_good {
        due = due.min(good_at(entry, settings));
    }
    if entry.is_news {
        due = due.min(told_at(entry, settings));
    }
    due
}

fn silent_at(entry: &Entry, settings: &LedgerSettings) -> Timestamp {
    entry.standing.last_seen + Duration::from_secs(u64::from(settings.silence_hours) * 3600)
}

fn good_at(entry: &Entry, settings: &LedgerSettings) -> Timestamp {
    entry.standing.last_seen + Duration::from_secs(u64::from(settings.settle_minutes) * 60)
}

fn told_at(entry: &Entry, settings: &LedgerSettings) -> Timestamp {
    entry.told + Duration::from_secs(u64::from(settings.update_seconds))
}

#[cfg(test)]
mod tests;
