use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use agent_core::event::{CloseKind, Closed, Established, Opened, Segment};
use agent_core::net::{Direction, Endpoint, FiveTuple, SeqNumber};
use agent_core::policy::settings::Settings;

use super::*;
use crate::export::sample;

const WAIT: Duration = Duration::from_millis(100);

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it is told.
struct Notes(Log);

impl Sink for Notes {
    fn name(&self) -> &str {
        "notes"
    }
    fn observation(&mut self, o: &Observation) -> io::Result<()> {
        self.0.lock().unwrap().push(format!("{} {} {:?}", o.conn.0, o.security.as_str(), o.phase));
        Ok(())
    }
    fn finding(&mut self, _: &judge::Output, _: Timestamp) -> io::Result<()> {
        self.0.lock().unwrap().push("finding".to_owned());
        Ok(())
    }
    fn process_certificates(&mut self, _: &ProcessCertificates) -> io::Result<()> {
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pipeline() -> (Pipeline, Log) {
    let log = Log::default();
    let filter =
        Filter { ports: Vec::new(), processes: Vec::new(), security: Vec::new(), no_existing: false };
    let view = View { filter, phases: Phases::All, client_is_local: false, count: None };
    let pipeline = Pipeline::new(EngineConfig::default(), view, Box::new(Notes(Arc::clone(&log))))
        .with_judging(Judging::new(Settings::default()).unwrap())
        .settling(WAIT);
    (pipeline, log)
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// A connection that asks for something in plaintext and stays open.
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
    for event in [Event::Opened(opened), Event::Established(established), Event::Segment(segment)] {
        pipeline.handle(event, at).unwrap();
    }
}

fn close(pipeline: &mut Pipeline, n: u64, at: Timestamp) {
    let closed = Closed { conn: ConnId(n), how: CloseKind::Finished, bytes: None };
    pipeline.handle(Event::Closed(closed), at).unwrap();
}

fn counted(pipeline: &Pipeline) -> Vec<u64> {
    pipeline.settling_counters().map(|(_, n)| n).collect()
}

#[test]
fn a_verdict_that_the_end_follows_at_once_is_not_told_of_its_own() {
    let (mut pipeline, log) = pipeline();
    request(&mut pipeline, 1, sample::TIME);
    close(&mut pipeline, 1, sample::TIME + WAIT / 2);
    assert_eq!(taken(&log), [""; 0]);
    assert_eq!(pipeline.poll_deadline(), Some(sample::TIME + WAIT));
    pipeline.tick(sample::TIME + WAIT).unwrap();
    assert_eq!(taken(&log), ["1 plaintext Final", "finding"]);
    assert_eq!(counted(&pipeline), [1, 0]);
}

#[test]
fn what_comes_later_than_that_is_told_of_its_own() {
    let (mut pipeline, log) = pipeline();
    request(&mut pipeline, 1, sample::TIME);
    request(&mut pipeline, 2, sample::TIME + WAIT / 2);
    pipeline.tick(sample::TIME + WAIT).unwrap();
    close(&mut pipeline, 1, sample::TIME + WAIT);
    assert_eq!(taken(&log), ["1 plaintext Verdict", "finding", "2 plaintext Verdict"]);
    pipeline.tick(sample::TIME + WAIT * 2).unwrap();
    assert_eq!(taken(&log), ["1 plaintext Final"]);
    assert_eq!(counted(&pipeline), [0, 0]);
}

#[test]
fn nothing_waits_longer_because_the_time_of_day_is_set_back() {
    let (mut pipeline, log) = pipeline();
    request(&mut pipeline, 1, sample::TIME);
    let hour = Duration::from_secs(3600);
    pipeline.tick(Timestamp(sample::TIME.as_nanos() - u64::try_from(hour.as_nanos()).unwrap())).unwrap();
    assert_eq!(taken(&log), ["1 plaintext Verdict", "finding"]);
}

#[test]
fn only_so_many_wait_and_none_is_lost() {
    let (mut pipeline, log) = pipeline();
    for n in 0..1023 {
        request(&mut pipeline, n, sample::TIME);
    }
    assert_eq!((taken(&log).len(), counted(&pipeline)), (0, vec![0, 0]));
    request(&mut pipeline, 1023, sample::TIME);
    let mut told = taken(&log);
    told.retain(|line| line != "finding");
    assert_eq!((told.len(), counted(&pipeline)), (ROW, vec![0, 1]));
    pipeline.finish(sample::TIME).unwrap();
    told.extend(taken(&log).into_iter().filter(|line| line != "finding"));
    let (verdicts, ends): (Vec<_>, Vec<_>) = told.into_iter().partition(|line| line.ends_with("Verdict"));
    let in_order = |count, phase| (0..count).map(|n| format!("{n} plaintext {phase}")).collect::<Vec<_>>();
    assert!(verdicts == in_order(verdicts.len(), "Verdict"), "{verdicts:?}");
    assert!(ends == in_order(1024, "Final"), "{ends:?}");
}

#[test]
fn many_that_wait_go_a_few_at_a_time() {
    let (mut pipeline, log) = pipeline();
    let count = |log: &Log| taken(log).iter().filter(|line| *line != "finding").count();
    for n in 0..150 {
        request(&mut pipeline, n, sample::TIME);
    }
    let due = sample::TIME + WAIT;
    pipeline.tick(due).unwrap();
    // It is due again at once, and events are read in between: those wait for their own time.
    assert_eq!((count(&log), pipeline.poll_deadline()), (ROW, Some(due)));
    request(&mut pipeline, 200, due);
    close(&mut pipeline, 149, due);
    for left in [ROW, 150 - 2 * ROW - 1, 0] {
        pipeline.tick(due).unwrap();
        assert_eq!(count(&log), left);
    }
    assert_eq!(pipeline.poll_deadline(), Some(due + WAIT));
    pipeline.tick(due + WAIT).unwrap();
    let told = taken(&log);
    assert!(told.contains(&"149 plaintext Final".to_owned()), "{told:?}");
    assert!(told.contains(&"200 plaintext Verdict".to_owned()), "{told:?}");
}

#[test]
fn at_the_end_nothing_waits_any_more() {
    let (mut pipeline, log) = pipeline();
    request(&mut pipeline, 1, sample::TIME);
    pipeline.finish(sample::TIME).unwrap();
    assert_eq!(taken(&log), ["1 plaintext Final", "finding"]);
}
