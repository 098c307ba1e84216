use std::sync::Arc;

use super::*;
use crate::policy::about::{About, Actor, Target};
use crate::policy::finding::{Evidence, Severity, Turn};

const RULE: RuleId = RuleId::WeakCipher;

fn about(name: &str) -> About {
    About::Other(name.into())
}

fn finding(name: &str) -> Finding {
    Finding {
        rule: RULE,
        severity: Severity::Warning,
        about: about(name),
        evidence: Evidence::default(),
        summary: name.to_owned(),
        advice: "do something".into(),
        turn: None,
    }
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn ledger() -> Ledger {
    Ledger::new(LedgerSettings { silence_hours: 1, settle_minutes: 5, update_seconds: 60, max_findings: 3 })
}

/// What changed, in one line each.
fn changes(ledger: &mut Ledger) -> Vec<String> {
    std::iter::from_fn(|| ledger.poll_change())
        .map(|change| match change {
            Change::Raised(s) => format!("raised {} {}", s.finding.rule, s.finding.summary),
            Change::Updated(s) => format!("updated {} {}", s.finding.summary, s.count),
            Change::Cleared(s, why) => format!("cleared {} {} {}", s.finding.summary, s.count, why.as_str()),
        })
        .collect()
}

/// Does all that is due until then, each at its time.
fn run(ledger: &mut Ledger, until: u64) -> Vec<(u64, String)> {
    let mut told = Vec::new();
    while let Some(due) = ledger.poll_deadline().filter(|due| *due <= at(until)) {
        ledger.handle_timeout(due);
        told.extend(changes(ledger).into_iter().map(|change| (due.as_nanos() / 1_000_000_000, change)));
    }
    told
}

#[test]
fn the_same_about_the_same_is_one_finding_that_counts() {
    let mut ledger = ledger();
    ledger.raise(finding("a"), true, at(100));
    ledger.raise(finding("a"), true, at(110));
    // The end of a connection that was seen before.
    ledger.raise(finding("a"), false, at(120));
    ledger.raise(finding("b"), true, at(130));
    assert_eq!(changes(&mut ledger), ["raised weak_cipher a", "raised weak_cipher b"]);
    let standing: Vec<_> = ledger.standing().map(|s| (s.first_seen, s.last_seen, s.count)).collect();
    assert_eq!(standing, [(at(100), at(120), 2), (at(130), at(130), 1)]);
    // Updates are told once in a while.
    assert_eq!(run(&mut ledger, 1000), [(160, "updated a 2".to_owned())]);
}

#[test]
fn a_change_of_severity_is_told_at_once() {
    let mut ledger = ledger();
    ledger.raise(finding("a"), true, at(100));
    let worse = Finding { severity: Severity::Critical, ..finding("a") };
    ledger.raise(worse, true, at(101));
    assert_eq!(changes(&mut ledger), ["raised weak_cipher a", "updated a 2"]);
}

#[test]
fn a_good_sighting_clears_only_when_nothing_bad_came_for_a_while() {
    let mut ledger = ledger();
    ledger.raise(finding("a"), true, at(100));
    ledger.good(&RULE, &about("a"), at(110));
    // Another replica.
    ledger.raise(finding("a"), true, at(120));
    ledger.good(&RULE, &about("a"), at(130));
    changes(&mut ledger);
    let told = run(&mut ledger, 1000);
    assert_eq!(told.last(), Some(&(420, "cleared a 2 good".to_owned())));
    assert!(ledger.is_empty());

    ledger.raise(finding("a"), true, at(1000));
    ledger.good(&RULE, &about("b"), at(2000));
    ledger.good(&RuleId::WeakProtocol, &about("a"), at(2000));
    assert_eq!(ledger.len(), 1);
    ledger.good(&RULE, &about("a"), at(2000));
    assert_eq!(changes(&mut ledger), ["raised weak_cipher a", "cleared a 1 good"]);
}

#[test]
fn silence_clears() {
    let mut ledger = ledger();
    ledger.raise(finding("a"), true, at(100));
    ledger.raise(finding("a"), true, at(2000));
    changes(&mut ledger);
    assert_eq!(
        run(&mut ledger, 10_000),
        [(160, "updated a 2".to_owned()), (5600, "cleared a 2 silence".to_owned())]
    );
    assert_eq!(ledger.poll_deadline(), None);
}

#[test]
fn time_turns_one_finding_into_another() {
    let mut ledger = ledger();
    let after = Finding { rule: RuleId::WeakProtocol, ..finding("after") };
    let turn = Some(Box::new(Turn { at: at(500), into: Some(after) }));
    ledger.raise(Finding { turn, ..finding("before") }, true, at(100));
    changes(&mut ledger);
    assert_eq!(
        run(&mut ledger, 10_000),
        [
            (500, "cleared before 1 time".to_owned()),
            (500, "raised weak_protocol after".to_owned()),
            // It was last seen when the first one was.
            (3700, "cleared after 1 silence".to_owned()),
        ]
    );
}

#[test]
fn what_is_too_many_is_counted_and_dropped() {
    let mut ledger = ledger();
    for name in ["a", "b", "c", "d", "e"] {
        ledger.raise(finding(name), true, at(100));
    }
    assert_eq!(ledger.len(), 3);
    assert_eq!(ledger.counters(), LedgerCounters { raised: 3, cleared: 0, refused: 2, displaced: 0 });
    ledger.good(&RULE, &about("a"), at(1000));
    ledger.raise(finding("d"), true, at(1000));
    assert_eq!(ledger.len(), 3);
}

/// A finding on the certificate that a server shows, asked for this name.
fn named(name: &str) -> Finding {
    let target = Target::Service { namespace: "shop".into(), name: "db".into(), port: 443 };
    let about = About::ServerCertificate { target: target.into(), server_name: Some(name.into()) };
    Finding { about, ..finding(name) }
}

#[test]
fn names_that_somebody_makes_up_displace_only_one_another() {
    let mut ledger = ledger();
    for (n, name) in ["x1", "x2", "x3", "x4"].into_iter().enumerate() {
        ledger.raise(named(name), true, at(100 + n as u64));
    }
    ledger.raise(named("x1"), true, at(110));
    assert_eq!(ledger.len(), 3);
    assert_eq!(ledger.counters(), LedgerCounters { raised: 3, cleared: 0, refused: 1, displaced: 0 });
    changes(&mut ledger);
    // Others find room until the flood has no more than they have.
    ledger.raise(finding("a"), true, at(120));
    assert_eq!(changes(&mut ledger), ["cleared x2 1 room", "raised weak_cipher a"]);
    ledger.raise(named("x5"), true, at(121));
    assert_eq!(changes(&mut ledger), Vec::<String>::new());
    ledger.raise(finding("b"), true, at(122));
    assert_eq!(changes(&mut ledger), ["cleared x3 1 room", "raised weak_cipher b"]);
    ledger.raise(finding("c"), true, at(123));
    assert_eq!(changes(&mut ledger), Vec::<String>::new());
    assert_eq!(ledger.counters(), LedgerCounters { raised: 5, cleared: 2, refused: 3, displaced: 2 });
    let standing: Vec<&str> = ledger.standing().map(|s| s.finding.summary.as_str()).collect();
    assert_eq!(standing, ["x1", "a", "b"]);
}

#[test]
fn a_crawler_displaces_only_what_is_said_of_itself() {
    let mut ledger = ledger();
    let crawler: std::sync::Arc<Actor> = Actor::Executable("/usr/bin/crawler".into()).into();
    for port in 1..=4 {
        let address = crate::net::Endpoint::new([192, 0, 2, 7].into(), port);
        let about = About::Hop { client: crawler.clone(), target: Target::Endpoint(address).into() };
        ledger.raise(Finding { about, ..finding(&port.to_string()) }, true, at(100 + u64::from(port)));
    }
    ledger.raise(finding("a"), true, at(200));
    let standing: Vec<&str> = ledger.standing().map(|s| s.finding.summary.as_str()).collect();
    assert_eq!(standing, ["2", "3", "a"]);
}

#[test]
fn rules_of_others_are_kept_the_same_way() {
    let mut ledger = ledger();
    let rule = RuleId::Own(Arc::from("no_telnet"));
    ledger.take(Judgement::Raised(Finding { rule: rule.clone(), ..finding("a") }), &rule, at(100));
    ledger.take(Judgement::NotApplicable, &rule, at(900));
    ledger.take(Judgement::Good(about("a")), &rule, at(900));
    assert_eq!(changes(&mut ledger), ["raised no_telnet a", "cleared a 1 good"]);
}

/// The same calls give the same changes, and no deadline ever stands still.
#[test]
fn is_deterministic_and_always_moves_on() {
    let play = || {
        let mut ledger = ledger();
        let mut seed = 7u64;
        let mut told = Vec::new();
        for step in 0..5000u64 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let now = step * 20;
            told.extend(run(&mut ledger, now));
            assert!(ledger.poll_deadline().is_none_or(|due| due > at(now)));
            let name = ["a", "b", "c", "d"][(seed >> 33) as usize % 4];
            match (seed >> 40) % 4 {
                0 => ledger.good(&RULE, &about(name), at(now)),
                1 => {
                    let into = (seed >> 50).is_multiple_of(2).then(|| finding(name));
                    let turn = Some(Box::new(Turn { at: at(now + (seed >> 45) % 900), into }));
                    ledger.raise(Finding { turn, ..finding(name) }, true, at(now));
                }
                _ if (seed >> 55).is_multiple_of(8) => ledger.raise(finding(name), true, at(now)),
                _ => {}
            }
        }
        told
    };
    let first = play();
    assert!(first.len() > 500, "{}", first.len());
    assert_eq!(first, play());
}
