//! From events to output: runs the engine, applies filters, hands observations to a sink. Synchronous, no clock: whoever
//! feeds it says what time it is.

mod settle;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use agent_core::engine::{Counters, Engine, EngineConfig, Output};
use agent_core::event::{Event, Origin};
use agent_core::identity::{Party, Sighting};
use agent_core::net::{ConnId, ConnMap, Side};
use agent_core::observation::{Observation, Phase, ProcessCertificates, Reason, Security};
use agent_core::policy::judge;
use agent_core::time::Timestamp;

use self::settle::{Settling, Uses, Waiting};
use crate::audit::AuditLog;
use crate::enrich::Enricher;
use crate::enrich::kubernetes::News;
use crate::exit::Failure;
use crate::export::outlet::Backlog;
use crate::filter::Filter;
use crate::judging::{Judged, JudgedProcess, Judging};

/// Sightings that are judged and handed on before events are read again. One takes a tenth of a millisecond, or some where
/// certificates are long.
const ROW: usize = 64;

/// Where observations go. Exporters implement this.
pub trait Sink {
    /// What it writes to, for messages: `standard output`.
    fn name(&self) -> &str;
    /// Takes one observation.
    fn observation(&mut self, observation: &Observation) -> io::Result<()>;
    /// Takes one observation with who is at both ends.
    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.observation(&sighting.observation)
    }
    /// Takes one observation with who is at both ends, what was expected, and what is wrong.
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        self.sighting(judged.sighting)
    }
    /// Takes news of findings as of `now`: raised, changed, cleared, or a certificate that took the place of another.
    /// Findings of connections that the view leaves out are told as well.
    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        let _ = (news, now);
        Ok(())
    }
    /// Takes certificates that belong to a process and to no single connection.
    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()>;
    /// Takes certificates of a process with what is wrong with them.
    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        self.process_certificates(judged.certificates)
    }
    /// Hands on what is buffered.
    fn flush(&mut self) -> io::Result<()>;
}

/// What the pipeline wants of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// No more payload of this connection is needed.
    CaptureDone(ConnId),
    /// A plaintext protocol that may still upgrade to TLS: payload is needed beyond the first bytes.
    CaptureMore(ConnId),
    /// A process parsed certificates of its peer in TLS 1.3, and none came: its TLS library is not one that is probed.
    CertificatesMissing(u32),
}

/// Which observations of a connection are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phases {
    /// All of them.
    All,
    /// The first verdict and those that differ from the one before; the end of a connection only when there was none.
    News,
    /// As `News`, but a connection that the source did not see begin waits until its bytes prove something, or it ends.
    ProvenNews,
}

/// How the pipeline shows what the engine finds.
#[derive(Clone, Debug)]
pub struct View {
    /// Which connections are shown.
    pub filter: Filter,
    /// Which observations of a connection.
    pub phases: Phases,
    /// Capture files: the client counts as the local end, whoever was taken for it at first.
    pub client_is_local: bool,
    /// Stop after this many connections.
    pub count: Option<u64>,
}

/// Engine, filters and sink.
pub struct Pipeline {
    engine: Engine,
    view: View,
    /// Absent where nobody can be asked who is at the ends, as of a capture file.
    enricher: Option<Enricher>,
    /// Absent where nobody wants to know what is wrong.
    judging: Option<Judging>,
    audit: Option<AuditLog>,
    sink: Box<dyn Sink>,
    /// What the sink wrote and nobody took yet, where that may wait.
    outlet: Option<Backlog>,
    /// Take every observation that the filter lets through, shown or not.
    recorders: Vec<Box<dyn Sink>>,
    /// Absent where everything is judged and handed on at once.
    settling: Option<Settling>,
    controls: VecDeque<Control>,
    /// Last verdict shown of each open connection.
    shown: ConnMap<Security>,
    max_shown: usize,
    connections: u64,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    pub fn new(config: EngineConfig, view: View, sink: Box<dyn Sink>) -> Self {
        let max_shown = config.max_connections;
        Self {
            engine: Engine::new(config),
            view,
            enricher: None,
            judging: None,
            audit: None,
            sink,
            outlet: None,
            recorders: Vec::new(),
            settling: None,
            controls: VecDeque::new(),
            shown: ConnMap::default(),
            max_shown,
            connections: 0,
        }
    }

    /// Lets observations say who is at both ends.
    #[must_use]
    pub fn with_enricher(self, enricher: Enricher) -> Self {
        Self { enricher: Some(enricher), ..self }
    }

    /// Judges every observation, those that the view leaves out too.
    #[must_use]
    pub fn with_judging(self, judging: Judging) -> Self {
        Self { judging: Some(judging), ..self }
    }

    /// Writes a line for each connection on which the client showed a certificate, those that the view leaves out too.
    /// What is wrong with it is known only [with judging](Self::with_judging).
    #[must_use]
    pub fn with_audit(self, audit: AuditLog) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// Lets observations wait this long before they are judged and handed on: of two of the same connection end that come
    /// within that time, the later one tells everything. Who is at both ends is looked up at once.
    #[must_use]
    pub fn settling(self, after: Duration) -> Self {
        Self { settling: Some(Settling::new(after)), ..self }
    }

    /// Opens the file of the audit log anew; false when there is none.
    pub fn reopen_audit(&mut self) -> bool {
        let Some(audit) = self.audit.as_mut().filter(|audit| audit.has_file()) else { return false };
        audit.reopen();
        true
    }

    /// Waits until everything in the audit log is written that can be.
    pub fn finish_audit(&mut self) -> Result<(), Failure> {
        match &mut self.audit {
            Some(audit) => audit.finish().map_err(|e| Failure::output(audit.name(), &e)),
            None => Ok(()),
        }
    }

    /// What somebody should know of rules that somebody else wrote; `None` when there is nothing (more).
    pub fn poll_message(&mut self) -> Option<String> {
        self.judging.as_mut().and_then(Judging::poll_message)
    }

    /// Policies, rules, and what they remember.
    pub fn judging(&self) -> Option<&Judging> {
        self.judging.as_ref()
    }

    /// Goes on by other policies, settings, roots and rules. What was seen is remembered.
    pub fn reload(&mut self, judging: Judging) {
        let files = judging.policy_files().clone();
        let api = self.enricher.as_ref().is_some_and(|enricher| enricher.set_policy_files(files));
        match &mut self.judging {
            Some(known) => known.follow(judging, api),
            None => self.judging = Some(judging),
        }
    }

    /// Hands every observation that the filter lets through to this one too, whichever of them are shown. It must not wait.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Box<dyn Sink>) -> Self {
        self.recorders.push(recorder);
        self
    }

    /// The sink writes to the outlet with this backlog.
    #[must_use]
    pub fn with_outlet(self, backlog: Backlog) -> Self {
        Self { outlet: Some(backlog), ..self }
    }

    /// What the sink wrote and nobody took yet.
    pub fn outlet(&self) -> Option<&Backlog> {
        self.outlet.as_ref()
    }

    /// What was counted while the output waited for whoever reads it.
    pub fn outlet_counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.outlet.as_ref().map(Backlog::named_counters).into_iter().flatten()
    }

    /// Takes one event, after whatever was due before it.
    pub fn handle(&mut self, event: Event<'_>, now: Timestamp) -> Result<(), Failure> {
        self.look_around(now)?;
        self.end_waits(now)?;
        if let Event::Opened(opened) = &event
            && opened.origin == Origin::BeforeStart
            && self.view.filter.no_existing
        {
            // The engine ignores (and counts) the events of a connection that it was not told of.
            self.controls.push_back(Control::CaptureDone(opened.conn));
            return Ok(());
        }
        if let Some(enricher) = &mut self.enricher {
            enricher.observe(&event, now);
        }
        let closed = if let Event::Closed(closed) = &event { Some(closed.conn) } else { None };
        self.engine.handle(event, now);
        self.drain(now)?;
        if let (Some(conn), Some(enricher)) = (closed, &mut self.enricher) {
            enricher.forget(conn);
        }
        Ok(())
    }

    /// Does what is due at `now`. What waited to be judged goes a few at a time, so that events are read in between: it is due
    /// again at once where that is not all.
    pub fn tick(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.look_around(now)?;
        if self.settling.as_ref().is_some_and(|settling| settling.is_due(now)) {
            self.settle(ROW, now)?;
        }
        self.end_waits(now)
    }

    /// Takes what others have found out meanwhile.
    fn look_around(&mut self, now: Timestamp) -> Result<(), Failure> {
        if let Some(enricher) = &mut self.enricher {
            enricher.poll(now);
            while let Some(news) = enricher.poll_news() {
                match (news, &mut self.judging) {
                    (News::Policies(policies), Some(judging)) => judging.set_policies(policies),
                    (News::Certificate(known), Some(judging)) => judging.known_newer(&known, now),
                    (_, None) => {}
                }
            }
        }
        if let Some(judging) = &mut self.judging
            && judging.poll_deadline().is_some_and(|due| due <= now)
        {
            judging.handle_timeout(now);
        }
        // A reload has news too.
        if self.is_done() {
            self.drop_findings();
            Ok(())
        } else {
            self.tell_findings(now)
        }
    }

    /// Lets the engine decide on what has waited long enough.
    fn end_waits(&mut self, now: Timestamp) -> Result<(), Failure> {
        if self.engine.poll_deadline().is_none_or(|due| due > now) {
            return Ok(());
        }
        self.engine.handle_timeout(now);
        self.drain(now)
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        let names = self.enricher.as_ref().and_then(Enricher::poll_deadline);
        let findings = self.judging.as_ref().and_then(Judging::poll_deadline);
        let settled = self.settling.as_ref().and_then(Settling::due);
        [self.engine.poll_deadline(), names, findings, settled].into_iter().flatten().min()
    }

    /// What the source should do next, `None` when there is nothing.
    pub fn poll_control(&mut self) -> Option<Control> {
        self.controls.pop_front()
    }

    /// The source ended: every open connection is shown for the last time.
    pub fn finish(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.engine.finish(now);
        self.drain(now)?;
        // Those that came while a row was under way are another.
        for _ in 0..2 {
            self.settle(usize::MAX, now)?;
        }
        self.flush()?;
        match &self.outlet {
            Some(backlog) => backlog.finish().map_err(|e| Failure::output(self.sink.name(), &e)),
            None => Ok(()),
        }
    }

    /// Hands on what the sink has buffered.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.hand_on(|sink| sink.flush())
    }

    /// To the recorders and to the sink.
    fn hand_on(&mut self, mut to: impl FnMut(&mut dyn Sink) -> io::Result<()>) -> Result<(), Failure> {
        for sink in self.recorders.iter_mut().chain([&mut self.sink]) {
            to(sink.as_mut()).map_err(|e| Failure::output(sink.name(), &e))?;
        }
        Ok(())
    }

    /// As many connections were shown as were asked for: the source should stop.
    pub fn is_done(&self) -> bool {
        self.view.count.is_some_and(|count| self.connections >= count)
    }

    /// Connections shown.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Connection ends that are open as far as the engine knows.
    pub fn tracked(&self) -> impl Iterator<Item = ConnId> {
        self.engine.tracked()
    }

    /// How many these are.
    pub fn open(&self) -> u64 {
        u64::try_from(self.engine.tracked_len()).unwrap_or(u64::MAX)
    }

    /// What the engine counted.
    pub fn counters(&self) -> &Counters {
        self.engine.counters()
    }

    /// What was counted while looking for who is at the ends.
    pub fn enrich_counters(&self) -> Vec<(&'static str, u64)> {
        self.enricher.as_ref().map(Enricher::named_counters).unwrap_or_default()
    }

    /// What was counted while writing the audit log.
    pub fn audit_counters(&self) -> Vec<(&'static str, u64)> {
        self.audit.as_ref().map(AuditLog::named_counters).unwrap_or_default()
    }

    /// What was counted while observations waited.
    pub fn settling_counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.settling.as_ref().map(Settling::named_counters).into_iter().flatten()
    }

    /// What was counted while judging.
    pub fn judging_counters(&self) -> Vec<(String, u64)> {
        self.judging.as_ref().map(Judging::named_counters).unwrap_or_default()
    }

    fn drain(&mut self, now: Timestamp) -> Result<(), Failure> {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Observation(observation) => {
                    self.control_missing(&observation);
                    self.show(*observation, now)?;
                }
                Output::ProcessCertificates(certificates) => self.show_process(&certificates, now)?,
                Output::CaptureDone(conn) => self.controls.push_back(Control::CaptureDone(conn)),
                Output::CaptureMore(conn) => self.controls.push_back(Control::CaptureMore(conn)),
            }
        }
        Ok(())
    }

    fn control_missing(&mut self, observation: &Observation) {
        if observation.phase == Phase::Final
            && observation.misses_peer_certificates()
            && let Some(process) = &observation.process
        {
            self.controls.push_back(Control::CertificatesMissing(process.pid));
        }
    }

    fn show(&mut self, mut observation: Observation, now: Timestamp) -> Result<(), Failure> {
        let before = match observation.phase {
            Phase::Verdict => self.shown.get(&observation.conn).copied(),
            Phase::Final => self.shown.remove(&observation.conn),
        };
        let was_done = self.is_done();
        let is_wanted = !was_done && self.view.filter.accepts(&observation);
        let is_shown = is_wanted && self.is_shown(&observation, before);
        let is_recorded = is_wanted && !self.recorders.is_empty();
        if is_shown {
            if observation.phase == Phase::Verdict && self.shown.len() < self.max_shown {
                self.shown.insert(observation.conn, observation.security);
            }
            if before.is_none() {
                self.connections += 1;
            }
        } else if self.judging.is_none() && !is_recorded {
            return Ok(());
        }
        if self.view.client_is_local && observation.local_side == Some(Side::Server) {
            turn(&mut observation);
        }
        let sighting = match &mut self.enricher {
            Some(enricher) => enricher.enrich(observation, now),
            None => Sighting { observation, local: Party::default(), peer: Party::default(), scope: None },
        };
        let uses = Uses { is_shown, is_recorded, is_too_late: was_done };
        let Some(settling) = &mut self.settling else { return self.tell(&sighting, uses, now) };
        if settling.add(Waiting { sighting, uses }, now) { self.settle(ROW, now) } else { Ok(()) }
    }

    /// Judges and hands on what waited, so many at most.
    fn settle(&mut self, most: usize, now: Timestamp) -> Result<(), Failure> {
        if let Some(settling) = &mut self.settling {
            settling.begin();
        }
        for _ in 0..most {
            let Some(Waiting { sighting, uses }) = self.settling.as_mut().and_then(Settling::pop) else {
                break;
            };
            self.tell(&sighting, uses, now)?;
        }
        Ok(())
    }

    /// Judges a sighting, and hands it on.
    fn tell(&mut self, sighting: &Sighting, uses: Uses, now: Timestamp) -> Result<(), Failure> {
        let judged = self.judging.as_mut().map(|judging| judging.look(sighting, now));
        if let (Some(judged), Some(audit)) = (&judged, self.audit.as_mut().filter(|_| !uses.is_too_late)) {
            audit.see(judged).map_err(|e| Failure::output(audit.name(), &e))?;
        }
        let recorders = uses.is_recorded.then_some(&mut self.recorders).into_iter().flatten();
        for sink in recorders.chain(uses.is_shown.then_some(&mut self.sink)) {
            let result = match &judged {
                Some(judged) => sink.judged(judged),
                None => sink.sighting(sighting),
            };
            result.map_err(|e| Failure::output(sink.name(), &e))?;
        }
        if uses.is_too_late {
            // Who asked for so many connections asked for the findings of these.
            self.drop_findings();
            return Ok(());
        }
        self.tell_findings(now)
    }

    fn show_process(&mut self, certificates: &ProcessCertificates, now: Timestamp) -> Result<(), Failure> {
        let party = match &mut self.enricher {
            Some(enricher) if self.judging.is_some() => enricher.party(&certificates.process, now),
            _ => Party::default(),
        };
        let judging = self.judging.as_mut();
        let judged = judging.map(|judging| judging.look_at_process(certificates, &party, now));
        for sink in self.recorders.iter_mut().chain([&mut self.sink]) {
            let result = match &judged {
                Some(judged) => sink.judged_process(judged),
                None => sink.process_certificates(certificates),
            };
            result.map_err(|e| Failure::output(sink.name(), &e))?;
        }
        self.tell_findings(now)
    }

    fn tell_findings(&mut self, now: Timestamp) -> Result<(), Failure> {
        while let Some(news) = self.judging.as_mut().and_then(Judging::poll_output) {
            // A recorder that does not know of a connection has no use for what is wrong with it.
            let recorders =
                if self.view.filter.accepts_news(&news) { self.recorders.as_mut_slice() } else { &mut [] };
            for sink in recorders.iter_mut().chain([&mut self.sink]) {
                sink.finding(&news, now).map_err(|e| Failure::output(sink.name(), &e))?;
            }
        }
        Ok(())
    }

    fn drop_findings(&mut self) {
        if let Some(judging) = &mut self.judging {
            while judging.poll_output().is_some() {}
        }
    }

    fn is_shown(&self, observation: &Observation, before: Option<Security>) -> bool {
        let news = before != Some(observation.security);
        match self.view.phases {
            Phases::All => true,
            Phases::News => news,
            Phases::ProvenNews => {
                let waits = observation.phase == Phase::Verdict
                    && observation.reason == Some(Reason::StartedBeforeAgent);
                news && !waits
            }
        }
    }
}

/// The same observation as seen from the other end.
fn turn(observation: &mut Observation) {
    std::mem::swap(&mut observation.tuple.local, &mut observation.tuple.peer);
    observation.local_side = observation.local_side.map(Side::peer);
    if let Some(bytes) = &mut observation.bytes {
        std::mem::swap(&mut bytes.egress, &mut bytes.ingress);
    }
}
