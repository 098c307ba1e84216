//! Who makes room when the ledger is full: of one rule, the findings that differ by nothing but a name that somebody made
//! up (an SNI, the subject of a client's certificate) are a group, and the largest group gives way. Whoever makes up names
//! by the thousand displaces only findings of the same kind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::policy::about::{About, Actor, Target};
use crate::policy::finding::{Finding, RuleId};

/// What the subjects of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Anchor {
    /// What is called.
    Target(Arc<Target>),
    /// Who calls, or shows a certificate, or was shown one.
    Actor(Arc<Actor>),
    /// Servers outside, by the names that they were asked for.
    Names,
    /// What a rule of somebody else says.
    Text(Arc<str>),
}

/// A group: a rule, and what its findings are about, without the names that anybody can make up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group(RuleId, Anchor);

impl Group {
    pub(super) fn of(finding: &Finding) -> Self {
        let nameless = |target: &Target| matches!(target, Target::Endpoint(_));
        let named = |target: &Target| matches!(target, Target::Name { .. });
        let anchor = match &finding.about {
            About::ServerCertificate { target, .. } if named(target) => Anchor::Names,
            // Addresses without any other name are as many, for who calls them all.
            About::Hop { client, target } | About::Caller { client, target, .. }
                if named(target) || nameless(target) && !matches!(**client, Actor::Unnamed(_)) =>
            {
                Anchor::Actor(Arc::clone(client))
            }
            About::Target(target) if named(target) => Anchor::Names,
            About::Target(target)
            | About::Hop { target, .. }
            | About::Caller { target, .. }
            | About::ServerCertificate { target, .. } => Anchor::Target(Arc::clone(target)),
            About::ClientCertificate { client, .. } => Anchor::Actor(Arc::clone(client)),
            About::ProcessCertificate { process, .. } => Anchor::Actor(Arc::clone(process)),
            About::Other(text) => Anchor::Text(Arc::clone(text)),
        };
        Self(finding.rule.clone(), anchor)
    }
}

/// How many findings each group has.
#[derive(Debug, Default)]
pub(super) struct Groups {
    sizes: HashMap<Group, usize>,
    /// How many groups have that many: the last key is the size of the largest.
    groups_of: BTreeMap<usize, usize>,
}

impl Groups {
    pub(super) fn add(&mut self, group: Group) {
        let size = self.sizes.entry(group).or_default();
        let before = *size;
        *size += 1;
        self.count(before, before + 1);
    }

    pub(super) fn remove(&mut self, group: &Group) {
        let Some(size) = self.sizes.get_mut(group) else { return };
        let before = *size;
        *size = before.saturating_sub(1);
        if *size == 0 {
            self.sizes.remove(group);
        }
        self.count(before, before.saturating_sub(1));
    }

    /// The group that gives way to one more of `group`: the largest, unless that is as good as `group` itself. Looks at all
    /// groups only where there is such a one.
    pub(super) fn gives_way_to(&self, group: &Group) -> Option<&Group> {
        let largest = *self.groups_of.last_key_value()?.0;
        let own = self.sizes.get(group).copied().unwrap_or(0);
        // With one more the two would merely change places, again and again.
        if largest <= own.saturating_add(1) {
            return None;
        }
        self.sizes.iter().find(|(_, size)| **size == largest).map(|(group, _)| group)
    }

    fn count(&mut self, before: usize, after: usize) {
        if let Some(groups) = self.groups_of.get_mut(&before) {
            *groups -= 1;
            if *groups == 0 {
                self.groups_of.remove(&before);
            }
        }
        if after > 0 {
            *self.groups_of.entry(after).or_default() += 1;
        }
    }
}
