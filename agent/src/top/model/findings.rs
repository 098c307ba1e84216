//! Findings that stand.

use agent_core::policy::finding::RuleId;
use hashlink::LinkedHashMap;

use super::limits::{Cut, Limits};
use crate::top::record::FindingRecord;
use crate::top::snapshot;

/// By rule and what they are about, the one seen last at the end.
#[derive(Debug, Default)]
pub(super) struct Findings {
    standing: LinkedHashMap<(RuleId, Box<str>), FindingRecord>,
}

impl Findings {
    pub(super) fn stand(&mut self, finding: FindingRecord, limits: &Limits, cut: &mut Cut) {
        let key = (finding.rule.clone(), finding.about.clone());
        if self.standing.remove(&key).is_none() && self.standing.len() >= limits.findings {
            self.standing.pop_front();
            cut.findings_forgotten += 1;
        }
        self.standing.insert(key, finding);
    }

    pub(super) fn clear(&mut self, rule: RuleId, about: Box<str>) {
        self.standing.remove(&(rule, about));
    }

    /// The worst first, and of those the one seen last; each with the name of what is called, where it is about that.
    pub(super) fn snapshot(&self) -> Vec<(Option<&str>, snapshot::Finding)> {
        let mut all: Vec<&FindingRecord> = self.standing.values().collect();
        all.sort_by(|a, b| {
            (b.severity, b.last, &a.rule, &a.about).cmp(&(a.severity, a.last, &b.rule, &b.about))
        });
        all.into_iter().map(|finding| (finding.target.as_deref(), of(finding))).collect()
    }
}

fn of(finding: &FindingRecord) -> snapshot::Finding {
    snapshot::Finding {
        rule: finding.rule.to_string(),
        severity: finding.severity,
        about: finding.about.to_string(),
        summary: finding.summary.to_string(),
        advice: finding.advice.to_string(),
        evidence: finding.evidence.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        count: finding.count,
        first: finding.first.0,
        last: finding.last.0,
    }
}
