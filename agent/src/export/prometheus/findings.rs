//! Findings that stand, and news of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use agent_core::policy::about::About;
use agent_core::policy::finding::{Finding, RuleId};
use agent_core::policy::judge;
use agent_core::policy::ledger::Change;

use super::descriptor::{Descriptor, Kind, Label};
use super::family::{Family, Key};
use super::labels;
use super::names;
use super::registry::{Group, Registry};

/// A finding is about what was called, which is not always a process on this host.
const SERVER_WORKLOAD: Label = Label::capped(
    "server_workload",
    "name of the Service that is called, or of the object that owns the server's pod; elsewhere the name that clients ask for, \
     else address and port",
);

const STANDING: Descriptor = Descriptor::seen(
    Kind::Gauge,
    "tlsight_findings",
    "Findings that stand now.",
    &[
        labels::RULE,
        labels::SEVERITY,
        labels::SERVER_NAMESPACE,
        SERVER_WORKLOAD,
        labels::CLIENT_NAMESPACE,
        labels::CLIENT_WORKLOAD,
    ],
);

const RAISED: Descriptor = Descriptor::seen(
    Kind::Counter,
    "tlsight_findings_raised_total",
    "Findings that were raised, with the severity they were raised with.",
    &[labels::RULE, labels::SEVERITY],
);

const CLEARED: Descriptor = Descriptor::seen(
    Kind::Counter,
    "tlsight_findings_cleared_total",
    "Findings that were cleared, with the severity they had last.",
    &[labels::RULE, labels::SEVERITY],
);

pub(super) const DESCRIPTORS: &[&Descriptor] = &[&STANDING, &RAISED, &CLEARED];

struct Findings {
    standing: Arc<Family<u64>>,
    raised: Arc<Family<u64>>,
    cleared: Arc<Family<u64>>,
    /// The series under which each finding stands.
    places: HashMap<(RuleId, About), Key>,
    max: usize,
    buffer: String,
}

pub(super) fn group(registry: &mut Registry) -> Box<dyn Group> {
    Box::new(Findings {
        standing: registry.standing(&STANDING),
        raised: registry.counter(&RAISED),
        cleared: registry.counter(&CLEARED),
        places: HashMap::new(),
        max: registry.options.max_findings,
        buffer: String::new(),
    })
}

impl Group for Findings {
    fn finding(&mut self, news: &judge::Output, now: Instant) {
        let judge::Output::Finding(change) = news else { return };
        match change {
            Change::Raised(standing) => {
                count(&self.raised, &standing.finding, now);
                self.stand(&standing.finding, now);
            }
            // Its severity may be another than before.
            Change::Updated(standing) => self.stand(&standing.finding, now),
            Change::Cleared(standing, _) => {
                count(&self.cleared, &standing.finding, now);
                self.clear(&standing.finding);
            }
        }
    }
}

impl Findings {
    fn stand(&mut self, finding: &Finding, now: Instant) {
        self.clear(finding);
        if self.places.len() >= self.max {
            return self.standing.limit();
        }
        let (client, server) = names::about(&finding.about, &mut self.buffer);
        let values = [
            finding.rule.as_str(),
            finding.severity.as_str(),
            server.namespace,
            server.workload,
            client.namespace,
            client.workload,
        ];
        let key = self.standing.update(&values, now, |n| *n += 1);
        self.places.insert((finding.rule.clone(), finding.about.clone()), key);
    }

    fn clear(&mut self, finding: &Finding) {
        let Some(key) = self.places.remove(&(finding.rule.clone(), finding.about.clone())) else { return };
        self.standing.revise(&key, |n| {
            *n = n.saturating_sub(1);
            *n == 0
        });
    }
}

fn count(family: &Family<u64>, finding: &Finding, now: Instant) {
    family.update(&[finding.rule.as_str(), finding.severity.as_str()], now, |n| *n += 1);
}
