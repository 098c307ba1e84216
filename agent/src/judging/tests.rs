use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use agent_core::engine::EngineConfig;
use agent_core::event::{CloseKind, Closed, Established, Event, Opened, Origin, Segment};
use agent_core::identity::{Party, ProcessDetails};
use agent_core::net::{ConnId, Direction, Endpoint, FiveTuple, SeqNumber, Side};
use agent_core::observation::{Observation, Phase, ProcessCertificates, Security};
use agent_core::policy::about::About;
use agent_core::policy::documents::Documents;
use agent_core::policy::expectation::Mode;
use agent_core::policy::finding::Finding;
use agent_core::policy::ledger::{Change, Cleared};

use super::*;
use crate::export::sample;
use crate::filter::Filter;
use crate::pipeline::{Phases, Pipeline, Sink, View};

/// A policy for everything at port 80.
fn policy(expect: &str) -> Arc<PolicySet> {
    let mut documents = Documents::default();
    documents.add_text(
        "policy.yaml",
        &format!(
            "apiVersion: tlsight.dev/v1alpha1\nkind: TlsightPolicy\nmetadata: {{name: all}}\n\
             spec:\n  selector: {{ports: [80]}}\n  expect: {expect}\n"
        ),
    );
    let loaded = documents.finish();
    assert_eq!(loaded.problems, []);
    Arc::new(loaded.set)
}

fn judging(expect: &str) -> Judging {
    let mut judging = Judging::new(Settings::default()).unwrap();
    judging.set_policies(policy(expect));
    judging
}

fn sighting() -> Sighting {
    Sighting {
        observation: sample::plaintext(),
        local: Party::default(),
        peer: Party::default(),
        scope: None,
    }
}

#[test]
fn plaintext_is_a_finding_where_policy_is_strict_and_none_where_it_allows_it() {
    let sighting = sighting();
    let mut strict = judging("strict");
    let judged = strict.look(&sighting, sample::TIME);
    assert_eq!(judged.expectation.map(|e| e.mode), Some(Mode::Strict));
    assert_eq!(judged.findings, [RuleId::PlaintextTraffic]);
    assert_eq!(judged.worst(), Some(Severity::Critical));
    let mut permissive = judging("permissive");
    let judged = permissive.look(&sighting, sample::TIME);
    assert_eq!(
        judged.expectation.map(|e| e.origin.to_string()).as_deref(),
        Some("TlsightPolicy all spec.expect (policy.yaml:6)")
    );
    assert_eq!((judged.findings, judged.worst()), ([].as_slice(), None));
    assert!(permissive.poll_output().is_none());
}

#[test]
fn policies_that_come_later_clear_what_they_allow() {
    let sighting = sighting();
    let mut judging = judging("tls");
    judging.look(&sighting, sample::TIME);
    assert!(matches!(judging.poll_output(), Some(Output::Finding(Change::Raised(_)))));
    judging.set_policies(policy("permissive"));
    let later = Sighting { observation: Observation { conn: ConnId(8), ..sample::plaintext() }, ..sighting };
    judging.look(&later, sample::TIME + Duration::from_secs(1));
    assert!(judging.poll_output().is_none(), "several replicas answer in turns");
    let due = judging.poll_deadline().unwrap();
    judging.handle_timeout(due);
    let news = judging.poll_output();
    assert!(matches!(news, Some(Output::Finding(Change::Cleared(_, Cleared::Good)))), "{news:?}");
}

/// A rule that has something against everything on port 80, and the connections of which it said so.
#[derive(Default)]
struct NoPort80(Vec<ConnId>);

impl OwnRules for NoPort80 {
    fn judge(&mut self, judged: &Judged<'_>, _: Timestamp) -> Vec<Opinion> {
        assert_eq!(judged.expectation.map(|e| e.mode), Some(Mode::Permissive));
        let rule = RuleId::Own("no_port_80".into());
        let finding = Finding {
            rule: rule.clone(),
            severity: Severity::Warning,
            about: About::Other("10.0.0.2:80".into()),
            evidence: Default::default(),
            summary: "port 80".to_owned(),
            advice: "do not".into(),
            turn: None,
        };
        let conn = judged.sighting.observation.conn;
        if self.0.contains(&conn) {
            return vec![Opinion::Changed(rule, Judgement::Raised(finding))];
        }
        self.0.push(conn);
        vec![Opinion::New(rule, Judgement::Raised(finding))]
    }
}

#[test]
fn rules_of_somebody_else_are_asked_too() {
    let sighting = sighting();
    let mut judging = judging("permissive");
    judging.add_rules(Box::new(NoPort80::default()));
    let judged = judging.look(&sighting, sample::TIME);
    assert_eq!(judged.findings, [RuleId::Own("no_port_80".into())]);
    assert_eq!(judged.worst(), Some(Severity::Warning));
    assert!(matches!(judging.poll_output(), Some(Output::Finding(Change::Raised(_)))));
    let mut count = |conn, phase| {
        let observation = Observation { conn: ConnId(conn), phase, ..sample::plaintext() };
        judging.look(&Sighting { observation, ..self::sighting() }, sample::TIME);
        judging.judge().ledger().standing().map(|standing| standing.count).collect::<Vec<_>>()
    };
    assert_eq!(count(7, Phase::Final), [1], "the same connection");
    assert_eq!(count(8, Phase::Final), [2]);
}

#[test]
fn without_a_client_nothing_is_judged() {
    let mut sighting = sighting();
    sighting.observation.local_side = None;
    let mut judging = judging("strict");
    let judged = judging.look(&sighting, sample::TIME);
    assert!(!judged.is_judged() && judged.expectation.is_none() && judged.findings.is_empty());
}

type Log = Arc<Mutex<Vec<String>>>;

/// Notes what it was given.
struct Notes(Log);

impl Sink for Notes {
    fn name(&self) -> &str {
        "notes"
    }
    fn observation(&mut self, _: &Observation) -> io::Result<()> {
        panic!("judged lines are wanted")
    }
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let o = &judged.sighting.observation;
        let (conn, findings) = (o.conn.0, judged.findings);
        self.0.lock().unwrap().push(format!("{conn} {} {findings:?}", o.security.as_str()));
        Ok(())
    }
    fn finding(&mut self, news: &Output, _: Timestamp) -> io::Result<()> {
        let text = match news {
            Output::Finding(Change::Raised(standing)) => format!("raised {}", standing.finding.rule),
            Output::Finding(Change::Updated(standing)) => format!("updated {}", standing.finding.rule),
            Output::Finding(Change::Cleared(standing, why)) => {
                format!("cleared {} {}", standing.finding.rule, why.as_str())
            }
            Output::CertificateReplaced(_) => "replaced".to_owned(),
        };
        self.0.lock().unwrap().push(text);
        Ok(())
    }
    fn process_certificates(&mut self, _: &ProcessCertificates) -> io::Result<()> {
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pipeline(view: View) -> (Pipeline, Log) {
    let log = Log::default();
    let sink = Box::new(Notes(Arc::clone(&log)));
    (Pipeline::new(EngineConfig::default(), view, sink).with_judging(judging("tls")), log)
}

const ALL: View = View { filter: NONE, phases: Phases::All, client_is_local: false, count: None };
const NONE: Filter =
    Filter { ports: Vec::new(), processes: Vec::new(), security: Vec::new(), no_existing: false };

/// A plaintext request.
fn request(pipeline: &mut Pipeline, n: u64, at: Timestamp) {
    let conn = ConnId(n);
    let end = |last, port| Endpoint::new(IpAddr::from([192, 0, 2, last]), port);
    let tuple = FiveTuple { local: end(1, 40_000), peer: end(2, 80) };
    let (local_side, origin) = (Some(Side::Client), Origin::Fresh);
    let opened = Opened { conn, tuple, local_side, origin, process: None };
    let established = Established { conn, egress_start: SeqNumber(1), ingress_start: SeqNumber(1) };
    let payload = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let wire_len = u32::try_from(payload.len()).unwrap();
    let segment = Segment { conn, direction: Direction::Egress, seq: SeqNumber(1), wire_len, payload };
    let closed = Closed { conn, how: CloseKind::Finished, bytes: None };
    for event in [
        Event::Opened(opened),
        Event::Established(established),
        Event::Segment(segment),
        Event::Closed(closed),
    ] {
        pipeline.handle(event, at).unwrap();
    }
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

#[test]
fn a_finding_is_told_after_the_connection_that_raised_it_and_clears_by_silence() {
    let (mut pipeline, log) = pipeline(ALL);
    request(&mut pipeline, 1, sample::TIME);
    assert_eq!(
        taken(&log),
        ["1 plaintext [PlaintextTraffic]", "raised plaintext_traffic", "1 plaintext [PlaintextTraffic]",]
    );
    let mut last = sample::TIME;
    while let Some(due) = pipeline.poll_deadline() {
        assert!(due > last, "time goes on");
        pipeline.tick(due).unwrap();
        last = due;
    }
    assert_eq!(taken(&log).last().map(String::as_str), Some("cleared plaintext_traffic silence"));
    assert!(pipeline.judging().unwrap().judge().ledger().is_empty());
}

#[test]
fn what_is_not_shown_is_judged_all_the_same() {
    let filter = Filter { security: vec![Security::Mtls], ..NONE };
    let (mut pipeline, log) = pipeline(View { filter, ..ALL });
    request(&mut pipeline, 1, sample::TIME);
    assert_eq!(taken(&log), ["raised plaintext_traffic"]);
    let counters = pipeline.judging_counters();
    assert!(counters.contains(&("findings.sightings".to_owned(), 2)), "{counters:?}");
    assert!(counters.contains(&("policy.connections_expected".to_owned(), 2)), "{counters:?}");
}

#[test]
fn after_the_last_connection_asked_for_no_more_is_told() {
    let (mut pipeline, log) = pipeline(View { count: Some(1), phases: Phases::News, ..ALL });
    request(&mut pipeline, 1, sample::TIME);
    let first = ["1 plaintext [PlaintextTraffic]", "raised plaintext_traffic"];
    assert_eq!(taken(&log), first);
    let later = sample::TIME + Duration::from_secs(120);
    request(&mut pipeline, 2, later);
    pipeline.finish(later).unwrap();
    assert_eq!(taken(&log), [""; 0]);
}

#[test]
fn where_an_exception_may_apply_nothing_is_said_for_or_against_the_connection() {
    let mut documents = Documents::default();
    documents.add_text(
        "policy.yaml",
        "apiVersion: tlsight.dev/v1alpha1\nkind: TlsightPolicy\nmetadata: {name: all}\n\
         spec:\n  expect: strict\n  exceptions:\n  - from: {processes: [/usr/bin/curl]}\n",
    );
    let mut judging = Judging::new(Settings::default()).unwrap();
    judging.set_policies(Arc::new(documents.finish().set));
    let process = |path: Option<&str>| ProcessDetails {
        name: Some("wget".to_owned()),
        executable_path: path.map(str::to_owned),
        ..ProcessDetails::default()
    };
    let mut look = |path: Option<&str>| {
        let client = Party { process: Some(Arc::new(process(path))), ..Party::default() };
        let mut sighting = sighting();
        sighting.observation.local_side = Some(Side::Client);
        sighting.local = client;
        let judged = judging.look(&sighting, sample::TIME);
        (judged.expectation.map(|e| e.mode), judged.findings.to_vec())
    };
    assert_eq!(look(None), (None, vec![]));
    assert_eq!(look(Some("/usr/bin/wget")), (Some(Mode::Strict), vec![RuleId::PlaintextTraffic]));
    assert_eq!(look(Some("/usr/bin/curl")), (Some(Mode::Permissive), vec![]));
    let counted = judging.named_counters();
    assert!(counted.contains(&("policy.connections_in_doubt".to_owned(), 1)), "{counted:?}");
}
