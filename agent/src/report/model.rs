//! What a report is made of: counts of what was seen, so far. Takes lines, keeps a bounded amount, knows no clock.

use std::sync::Arc;

use super::algorithms::{self, Algorithms};
use super::certificates::{self, Certificates};
use super::connections::Connections;
use super::end::{ConnectionEnd, View};
use super::findings::{self, Findings};
use super::limits::{Cut, Limits};
use super::line::{Line, Phase, Shower};
use super::name::Name;
use super::protection::Counts;
use super::services::{self, Seen, Services};

/// Where everything about a connection was counted.
#[derive(Debug, Default)]
pub(super) struct Placement {
    service: services::Place,
    tls: algorithms::Counted,
    certificates: Vec<certificates::Counted>,
    findings: Vec<findings::Counted>,
}

/// The model.
#[derive(Debug)]
pub struct Model {
    pub(super) limits: Limits,
    pub(super) cut: Cut,
    connections: Connections<Placement>,
    pub(super) totals: Totals,
    pub(super) services: Services,
    pub(super) certificates: Certificates,
    pub(super) algorithms: Algorithms,
    pub(super) findings: Findings,
}

/// Sums over everything that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) counts: Counts,
    /// Connections inside a pod, which count nowhere else.
    pub(super) in_pod: u64,
    /// Connections of which it is not known who the client is, which count nowhere else.
    pub(super) without_role: u64,
    pub(super) seen: Seen,
}

/// What a line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// One of tlsight's.
    Counted,
    /// JSON, but none of tlsight's lines.
    NotOurs,
}

impl Model {
    /// A model that has seen nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            cut: Cut::default(),
            connections: Connections::new(),
            totals: Totals::default(),
            services: Services::default(),
            certificates: Certificates::default(),
            algorithms: Algorithms::default(),
            findings: Findings::default(),
        }
    }

    /// Takes one line of this source: connection numbers of different sources have nothing to do with each other.
    pub fn take(&mut self, source: u32, line: &Line) -> Taken {
        match line.phase {
            None if self.findings.news(source, line, &self.limits, &mut self.cut) => Taken::Counted,
            None => Taken::NotOurs,
            Some(Phase::Process) => self.process(line),
            Some(Phase::Verdict | Phase::Final) => {
                let (Some(number), Some(mut end)) = (line.connection, ConnectionEnd::of(source, line)) else {
                    return Taken::NotOurs;
                };
                self.certificates.share(&mut end.facts.certificates);
                self.connection(number, end);
                Taken::Counted
            }
        }
    }

    /// Lines that never came here were dropped.
    pub fn dropped(&mut self, lines: u64) {
        self.cut.lines_dropped = self.cut.lines_dropped.saturating_add(lines);
    }

    /// Connections of which more may be told; for tests of bounds.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.connections.len()
    }

    fn connection(&mut self, number: u64, end: ConnectionEnd) {
        self.totals.seen.extend(end.time, end.last);
        let taken = self.connections.take(number, end);
        if let Some(merged) = taken.merged {
            match merged.counted {
                Some((view, placement)) => self.remove(&view, &placement),
                None => self.totals.without_role -= 1,
            }
        }
        let Some(connection) = self.connections.get_mut(taken.id) else { return };
        let view = connection.view();
        let (is_new, before) =
            (!std::mem::replace(&mut connection.is_known, true), connection.counted.take());
        match (is_new, &before) {
            (true, _) => {}
            (false, Some((view, placement))) => self.remove(view, placement),
            (false, None) => self.totals.without_role -= 1,
        }
        match view {
            None => self.totals.without_role += 1,
            Some(view) => {
                let placement = self.add(&view);
                if let Some(connection) = self.connections.get_mut(taken.id) {
                    connection.counted = Some((view, placement));
                }
            }
        }
        self.cut.connections_forgotten += self.connections.tidy(taken.id, &self.limits);
    }

    fn add(&mut self, view: &View) -> Placement {
        let mut placement = Placement::default();
        if view.is_in_pod() {
            self.totals.in_pod += 1;
            return placement;
        }
        let (facts, limits, cut) = (&view.facts, &self.limits, &mut self.cut);
        *self.totals.counts.of(facts.protection) += 1;
        placement.service = self.services.add(view, limits, cut);
        if let Some(tls) = facts.tls.as_ref().filter(|_| facts.protection.is_tls()) {
            placement.tls = self.algorithms.add(tls, limits, cut);
        }
        for shown in &facts.certificates {
            let counted = self.certificates.add(shown, &place(view, shown.0), view.last, limits, cut);
            placement.certificates.push(counted);
        }
        for rule in &facts.findings {
            let counted = self.findings.add(rule, &view.service.to_string(), view.last, limits, cut);
            placement.findings.push(counted);
        }
        placement
    }

    fn remove(&mut self, view: &View, placement: &Placement) {
        if view.is_in_pod() {
            self.totals.in_pod -= 1;
            return;
        }
        let facts = &view.facts;
        *self.totals.counts.of(facts.protection) -= 1;
        self.services.remove(view, placement.service);
        if let Some(tls) = facts.tls.as_ref().filter(|_| facts.protection.is_tls()) {
            self.algorithms.remove(tls, placement.tls);
        }
        for (shown, counted) in facts.certificates.iter().zip(&placement.certificates) {
            self.certificates.remove(shown, &place(view, shown.0), *counted);
        }
        for (rule, counted) in facts.findings.iter().zip(&placement.findings) {
            self.findings.remove(rule, &view.service.to_string(), *counted);
        }
    }

    /// Certificates that a process parsed, and that no connection is known of.
    fn process(&mut self, line: &Line) -> Taken {
        let Some(time) = line.time else { return Taken::NotOurs };
        self.totals.seen.extend(time, time);
        let process = Name::of(&line.local).map_or_else(|| "a process".to_owned(), |name| name.to_string());
        for side in Shower::ALL {
            if let Some(certificate) = line.certificate(side) {
                let (shown, place) = ((side, Arc::new(certificate.clone())), format!("a peer of {process}"));
                self.certificates.add(&shown, &place, time, &self.limits, &mut self.cut);
            }
        }
        Taken::Counted
    }
}

/// Who showed a certificate.
fn place(view: &View, side: Shower) -> String {
    match side {
        Shower::Client => view.caller.to_string(),
        Shower::Server | Shower::Peer => view.service.to_string(),
    }
}
