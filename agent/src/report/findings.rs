//! What rules found wrong with the connections that were seen, and which findings stand.

use std::collections::BTreeMap;

use super::limits::{Cut, Limits};
use super::line::Line;
use super::tally::Tally;

/// Findings of one rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) connections: u64,
    /// Services whose connections they are.
    pub(super) services: Tally<String>,
    pub(super) last: i64,
}

/// A finding that stands, by its last news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) severity: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) count: u64,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// How much of a finding was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Counted {
    /// Nothing: there was no room.
    #[default]
    Nothing,
    /// The finding, but not its service.
    Finding,
    /// Both.
    Both,
}

/// All findings, by rule id.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) all: BTreeMap<String, Found>,
    /// By source, rule, and what they are about.
    pub(super) standing: BTreeMap<(u32, String, String), Standing>,
}

impl Findings {
    pub(super) fn add(
        &mut self,
        rule: &str,
        service: &str,
        last: i64,
        limits: &Limits,
        cut: &mut Cut,
    ) -> Counted {
        if self.all.len() >= limits.rules && !self.all.contains_key(rule) {
            cut.findings += 1;
            return Counted::Nothing;
        }
        let found = self.all.entry(rule.to_owned()).or_default();
        found.connections += 1;
        found.last = found.last.max(last);
        if found.services.add(&service.to_owned(), limits.names) {
            return Counted::Both;
        }
        cut.names += 1;
        Counted::Finding
    }

    /// Takes news of a finding; false where the line is none.
    pub(super) fn news(&mut self, source: u32, line: &Line, limits: &Limits, cut: &mut Cut) -> bool {
        let event = line.event.as_deref().unwrap_or_default();
        let (Some(rule), Some(about)) = (&line.finding.rule, &line.finding.about) else {
            return event == "certificate_replaced";
        };
        let key = (source, rule.clone(), about.clone());
        match event {
            "finding_cleared" => {
                self.standing.remove(&key);
            }
            "finding_raised" | "finding_updated" => {
                if self.standing.len() >= limits.findings && !self.standing.contains_key(&key) {
                    cut.findings += 1;
                    return true;
                }
                let (news, now) = (&line.finding, line.time.unwrap_or_default());
                let standing = Standing {
                    severity: news.severity.clone(),
                    summary: news.summary.clone(),
                    count: news.count.unwrap_or_default(),
                    first: news.first.unwrap_or(now),
                    last: news.last.unwrap_or(now),
                };
                self.standing.insert(key, standing);
            }
            _ => return false,
        }
        true
    }

    pub(super) fn remove(&mut self, rule: &str, service: &str, counted: Counted) {
        if counted == Counted::Nothing {
            return;
        }
        let Some(found) = self.all.get_mut(rule) else { return };
        found.connections -= 1;
        if counted == Counted::Both {
            found.services.remove(&service.to_owned());
        }
        if found.connections == 0 {
            self.all.remove(rule);
        }
    }
}
