//! All rules, and which of them applies. The order is told in docs/policy.md.

use std::collections::HashMap;

use super::expectation::Expectation;
use super::rule::{Effect, Rule};
use super::selector::Mismatch;
use super::target::Target;
use crate::identity::ProcessDetails;
use crate::net::Side;

/// Levels at which documents may exclude one another.
const LEVELS: usize = 3;

/// Every rule of some documents, ready to be asked. Asking allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    /// Those for servers and those for clients, each in order of precedence.
    rules: Vec<Rule>,
    /// For each rule, the rank of its document by age: of documents that exclude one another, the lowest counts.
    ages: Vec<u32>,
    index: Index,
}

/// Which rules may be about a target, by what most rules name. Values are places in [`PolicySet::rules`], ascending.
#[derive(Clone, Debug, Default)]
struct Index {
    everywhere: Vec<u32>,
    namespaces: HashMap<String, Bucket>,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    any: Vec<u32>,
    /// By a label that the pod must have, and its value.
    labelled: HashMap<String, HashMap<String, Vec<u32>>>,
}

impl PolicySet {
    /// Makes a set of rules, in any order.
    pub(crate) fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by(|a, b| b.side.cmp(&a.side).then_with(|| a.by_precedence(b)));
        let mut oldest_first: Vec<usize> = (0..rules.len()).collect();
        oldest_first.sort_by(|a, b| match (rules.get(*a), rules.get(*b)) {
            (Some(a), Some(b)) => a.by_age(b),
            _ => a.cmp(b),
        });
        let mut ages = vec![0; rules.len()];
        let (mut rank, mut document) = (0, None);
        for i in oldest_first {
            let this = rules.get(i).map(|rule| (rule.order.0, rule.order.1));
            if this != document {
                (rank, document) = (rank + 1, this);
            }
            if let Some(age) = ages.get_mut(i) {
                *age = rank;
            }
        }
        let mut index = Index::default();
        for (i, rule) in (0_u32..).zip(&rules) {
            index.add(i, rule);
        }
        Self { rules, ages, index }
    }

    /// Every rule: those for servers and those for clients, each in order of precedence.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether nothing is expected of anything.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is expected of connections to a target: what its server must demand and what its client must do, the stricter
    /// of the two where both are told. `None`: no document says anything.
    pub fn decide(&self, target: &Target<'_>) -> Option<&Expectation> {
        if self.is_empty() {
            return None;
        }
        stricter(self.decide_side(target, Side::Server), self.decide_side(target, Side::Client))
    }

    /// Whether an exception may apply of which nobody can tell whether it does, because the client's process was gone before
    /// it could be looked at. What [`decide`](Self::decide) says is then stricter than what may be true.
    pub fn is_in_doubt(&self, target: &Target<'_>) -> bool {
        let process = target.client.and_then(|client| client.process.as_deref());
        if !target.client_is_here || process.is_some_and(ProcessDetails::was_read) {
            return false;
        }
        let Some((winner, expected)) = self.winner(target, Side::Server) else { return false };
        self.candidates(target).any(|(i, rule)| {
            let other = rule.effect.expectation();
            let says_other = other.mode < expected.mode || other.allowed_clients != expected.allowed_clients;
            rule.exception && (0, i) < winner && says_other && rule.matches(target) == Err(Mismatch::Untold)
        })
    }

    /// What is expected of one of the ends.
    pub fn decide_side(&self, target: &Target<'_>, side: Side) -> Option<&Expectation> {
        self.winner(target, side).map(|(_, expectation)| expectation)
    }

    /// The same, and the place of the rule that says so.
    fn winner(&self, target: &Target<'_>, side: Side) -> Option<((u8, usize), &Expectation)> {
        let oldest = self.oldest(target, side);
        let mut after = None;
        let mut fallback = None;
        loop {
            let Some((at, rule)) = self.next_best(target, side, &oldest, after) else {
                return fallback;
            };
            match &rule.effect {
                Effect::Expect(expectation) => return Some((at, expectation)),
                Effect::Inherit(otherwise) => fallback = fallback.or(Some((at, otherwise))),
            }
            after = Some(at);
        }
    }

    /// For each level, the age of the oldest document that matches, where only that one counts.
    pub(crate) fn oldest(&self, target: &Target<'_>, side: Side) -> [u32; LEVELS] {
        let mut oldest = [u32::MAX; LEVELS];
        for (i, rule) in self.candidates(target) {
            if rule.side != side || !rule.exclusive || rule.port {
                continue;
            }
            let age = self.ages.get(i).copied().unwrap_or(u32::MAX);
            if let Some(best) = oldest.get_mut(rule.level as usize)
                && age < *best
                && rule.matches(target).is_ok()
            {
                *best = age;
            }
        }
        oldest
    }

    /// Whether the document that excludes that of a rule is known to be older, and not only first by its name.
    pub(crate) fn is_younger(&self, rule: &Rule, oldest: &[u32; LEVELS]) -> bool {
        let winner = self.rules.iter().zip(&self.ages).find(|(other, age)| {
            other.exclusive && other.level == rule.level && Some(*age) == oldest.get(rule.level as usize)
        });
        winner.is_none_or(|(winner, _)| winner.created != rule.created)
    }

    /// Whether another document excludes that of a rule.
    pub(crate) fn is_excluded(&self, i: usize, rule: &Rule, oldest: &[u32; LEVELS]) -> bool {
        rule.exclusive && self.ages.get(i) != oldest.get(rule.level as usize)
    }

    /// The best rule that matches, of those that come after one.
    fn next_best(
        &self,
        target: &Target<'_>,
        side: Side,
        oldest: &[u32; LEVELS],
        after: Option<(u8, usize)>,
    ) -> Option<((u8, usize), &Rule)> {
        let mut best: Option<((u8, usize), &Rule)> = None;
        for (i, rule) in self.candidates(target) {
            if rule.side != side || self.is_excluded(i, rule, oldest) {
                continue;
            }
            // Without a way to be nearer than others, the place alone tells who wins.
            if rule.lookup.is_none() && (after >= Some((0, i)) || best.is_some_and(|(b, _)| b <= (0, i))) {
                continue;
            }
            let Ok(distance) = rule.matches(target) else { continue };
            let at = (distance, i);
            if after < Some(at) && best.is_none_or(|(b, _)| at < b) {
                best = Some((at, rule));
            }
        }
        best
    }

    fn candidates<'s>(&'s self, target: &Target<'_>) -> impl Iterator<Item = (usize, &'s Rule)> {
        let bucket = target.namespace().and_then(|namespace| self.index.namespaces.get(namespace));
        let labels = target.server.workload.as_deref().map(|workload| &workload.labels);
        let labelled = bucket.zip(labels).into_iter().flat_map(|(bucket, labels)| {
            labels.iter().filter_map(|(key, value)| bucket.labelled.get(key)?.get(value)).flatten()
        });
        let any = bucket.map(|bucket| bucket.any.as_slice()).unwrap_or_default();
        let places = self.index.everywhere.iter().chain(any).chain(labelled);
        places.filter_map(|i| {
            let i = usize::try_from(*i).ok()?;
            Some((i, self.rules.get(i)?))
        })
    }
}

/// The stricter of what both ends must do; the server's where they are the same.
pub(crate) fn stricter<'a>(
    server: Option<&'a Expectation>,
    client: Option<&'a Expectation>,
) -> Option<&'a Expectation> {
    match (server, client) {
        (Some(server), Some(client)) if client.mode > server.mode => Some(client),
        (server, client) => server.or(client),
    }
}

impl Index {
    fn add(&mut self, i: u32, rule: &Rule) {
        let server = &rule.selector.server;
        let exact: Option<Vec<&str>> = server.namespaces.iter().map(|pattern| pattern.exact()).collect();
        let Some(mut namespaces) = exact.filter(|namespaces| !namespaces.is_empty()) else {
            self.everywhere.push(i);
            return;
        };
        namespaces.sort_unstable();
        namespaces.dedup();
        for namespace in namespaces {
            let bucket = self.namespaces.entry(namespace.to_owned()).or_default();
            match server.labels.equal.first() {
                None => bucket.any.push(i),
                Some((key, value)) => {
                    let values = bucket.labelled.entry(key.clone()).or_default();
                    values.entry(value.clone()).or_default().push(i);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
