//! What the tests of the rules share: recorded handshakes go through the engine, and what it says before the judge.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Engine, EngineConfig, Output};
use crate::event::{CloseKind, Closed, Established, Event, Opened, Origin as Seen, Segment};
use crate::identity::{Party, Scope, Sighting, Workload};
use crate::net::{ConnId, Direction, Endpoint, FiveTuple, SeqNumber, Side};
use crate::observation::Observation;
use crate::policy::expectation::{AllowedClients, Expectation, Mode, Origin};
use crate::policy::finding::{Finding, RuleId, Value};
use crate::policy::judge::{self, Judge};
use crate::policy::ledger::{Change, Cleared};
use crate::policy::settings::Settings;
use crate::time::Timestamp;

/// 2026-06-01T00:00:00Z, the day of the tests.
pub(in crate::policy) const TODAY: i64 = 1_780_272_000;
pub(in crate::policy) const DAY: i64 = 86_400;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// A root of testdata/findings.
pub(in crate::policy) fn root(name: &str) -> Vec<u8> {
    std::fs::read(testdata().join("findings").join(format!("{name}.der"))).expect("root")
}

pub(in crate::policy) fn stream(name: &str) -> Vec<(Side, Vec<u8>)> {
    let path = ["findings", "streams"]
        .map(|folder| testdata().join(folder).join(format!("{name}.stream")))
        .into_iter()
        .find(|path| path.exists())
        .expect("a recorded stream of this name");
    let text = std::fs::read_to_string(path).expect("recorded stream");
    text.lines()
        .map(|line| {
            let (side, hex) = line.split_once(' ').expect("side and bytes");
            let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex");
            let side = if side == "C" { Side::Client } else { Side::Server };
            (side, (0..hex.len()).step_by(2).map(byte).collect())
        })
        .collect()
}

/// The observations that the engine makes of these bytes, at the server's end.
pub(in crate::policy) fn observe(chunks: &[(Side, Vec<u8>)], conn: u64, secs: i64) -> Vec<Observation> {
    let end = |last, port| Endpoint::new(std::net::IpAddr::from([192, 0, 2, last]), port);
    let conn = ConnId(conn);
    let mut now = Timestamp::from_secs(secs.try_into().expect("after 1970"));
    let mut engine = Engine::new(EngineConfig::default());
    let tuple = FiveTuple { local: end(2, 443), peer: end(1, 40_000) };
    let local_side = Some(Side::Server);
    engine.handle(Event::Opened(Opened { conn, tuple, local_side, origin: Seen::Fresh, process: None }), now);
    let mut seq = [1u32, 1];
    let (egress_start, ingress_start) = (SeqNumber(1), SeqNumber(1));
    engine.handle(Event::Established(Established { conn, egress_start, ingress_start }), now);
    for (side, bytes) in chunks {
        now = now + Duration::from_millis(1);
        let direction = if *side == Side::Server { Direction::Egress } else { Direction::Ingress };
        let next = &mut seq[direction.index()];
        let (at, wire_len) = (SeqNumber(*next), u32::try_from(bytes.len()).expect("a segment"));
        *next += wire_len;
        engine.handle(Event::Segment(Segment { conn, direction, seq: at, wire_len, payload: bytes }), now);
    }
    engine.handle(Event::Closed(Closed { conn, how: CloseKind::Finished, bytes: None }), now);
    let mut observations = Vec::new();
    while let Some(output) = engine.poll_output() {
        if let Output::Observation(observation) = output {
            observations.push(*observation);
        }
    }
    observations
}

pub(in crate::policy) fn expectation(mode: Mode) -> Expectation {
    Expectation {
        mode,
        allowed_clients: None,
        trust: None,
        origin: Arc::new(Origin {
            document: "policy.yaml".into(),
            kind: "TlsightPolicy",
            namespace: Some("shop".into()),
            name: "db".into(),
            field: "spec.mode".into(),
            line: Some(7),
        }),
    }
}

pub(in crate::policy) fn allowing(mode: Mode, allowed: AllowedClients) -> Expectation {
    Expectation { allowed_clients: Some(Arc::new(allowed)), ..expectation(mode) }
}

/// A judge with what surrounds a connection.
pub(in crate::policy) struct Court {
    pub(in crate::policy) judge: Judge,
    pub(in crate::policy) expectation: Option<Expectation>,
    pub(in crate::policy) scope: Option<Scope>,
    /// Changes each sighting before it is judged.
    pub(in crate::policy) change: fn(&mut Sighting),
    pub(in crate::policy) now: i64,
    conn: u64,
    pub(in crate::policy) changes: Vec<Change>,
    pub(in crate::policy) replaced: usize,
}

impl Court {
    /// With the root `ca` among the bundles.
    pub(in crate::policy) fn new() -> Self {
        Self::with(Settings::default(), &["ca", "rsa_ca"])
    }

    pub(in crate::policy) fn with(settings: Settings, roots: &[&str]) -> Self {
        let mut judge = Judge::new(settings).expect("settings");
        if !roots.is_empty() {
            judge.trust().set_bundle("own".into(), roots.iter().map(|name| root(name)));
        }
        Self {
            judge,
            expectation: None,
            scope: Some(Scope::Cluster),
            change: |_| {},
            now: TODAY,
            conn: 0,
            changes: Vec::new(),
            replaced: 0,
        }
    }

    pub(in crate::policy) fn expecting(mut self, expectation: Expectation) -> Self {
        self.expectation = Some(expectation);
        self
    }

    /// A recorded connection comes along now. Gives the rules that have something against it, by name.
    pub(in crate::policy) fn see(&mut self, name: &str) -> Vec<String> {
        self.see_bytes(&stream(name))
    }

    /// A connection of these bytes.
    pub(in crate::policy) fn see_bytes(&mut self, chunks: &[(Side, Vec<u8>)]) -> Vec<String> {
        self.conn += 1;
        let mut raised = std::collections::BTreeSet::new();
        for observation in observe(chunks, self.conn, self.now) {
            let now = observation.time;
            let mut sighting =
                Sighting { observation, local: party("db"), peer: party("cart"), scope: self.scope };
            (self.change)(&mut sighting);
            let rules = self.judge.judge(&sighting, self.expectation.as_ref(), now);
            raised.extend(rules.iter().map(ToString::to_string));
        }
        self.drain();
        raised.into_iter().collect()
    }

    /// Time goes on.
    pub(in crate::policy) fn wait(&mut self, secs: i64) {
        self.now += secs;
        self.judge.handle_timeout(Timestamp::from_secs(self.now.try_into().expect("after 1970")));
        self.drain();
    }

    /// A good connection after the others had time to settle.
    pub(in crate::policy) fn settle_and_see(&mut self, name: &str) -> Vec<String> {
        self.wait(600);
        self.see(name)
    }

    fn drain(&mut self) {
        while let Some(output) = self.judge.poll_output() {
            match output {
                judge::Output::Finding(change) => self.changes.push(change),
                judge::Output::CertificateReplaced(_) => self.replaced += 1,
            }
        }
    }

    /// The finding of this rule that stands; there must be exactly one.
    pub(in crate::policy) fn standing(&self, rule: &RuleId) -> &Finding {
        let mut all = self.judge.ledger().standing().filter(|standing| standing.finding.rule == *rule);
        let first = all.next().expect("a finding of the rule");
        assert!(all.next().is_none(), "one finding");
        &first.finding
    }

    pub(in crate::policy) fn stands(&self, rule: &RuleId) -> bool {
        self.judge.ledger().standing().any(|standing| standing.finding.rule == *rule)
    }

    /// How findings of this rule were cleared.
    pub(in crate::policy) fn cleared(&self, rule: &RuleId) -> Vec<Cleared> {
        let of_rule = |change: &Change| match change {
            Change::Cleared(standing, why) if standing.finding.rule == *rule => Some(*why),
            _ => None,
        };
        self.changes.iter().filter_map(of_rule).collect()
    }
}

pub(in crate::policy) fn workload(name: &str) -> Arc<Workload> {
    Arc::new(Workload {
        namespace: "shop".into(),
        kind: "Deployment".into(),
        name: name.into(),
        pod: Some(format!("{name}-0")),
        ..Workload::default()
    })
}

fn party(name: &str) -> Party {
    Party { workload: Some(workload(name)), ..Party::default() }
}

/// Text of a piece of evidence.
pub(in crate::policy) fn text(finding: &Finding, key: &str) -> Option<String> {
    finding.evidence.get(key).map(Value::to_string)
}

/// A plaintext HTTP exchange.
pub(in crate::policy) fn http() -> Vec<(Side, Vec<u8>)> {
    vec![
        (Side::Client, b"GET / HTTP/1.1\r\nHost: db\r\n\r\n".to_vec()),
        (Side::Server, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
    ]
}

/// A PostgreSQL client that asks for TLS and is refused, or does not ask.
pub(in crate::policy) fn postgresql(asks: bool) -> Vec<(Side, Vec<u8>)> {
    let mut startup = 41u32.to_be_bytes().to_vec();
    startup.extend([0, 3, 0, 0]);
    startup.extend(b"user\0app\0database\0orders\0options\0");
    let startup_len = u32::try_from(startup.len() + 1).expect("short");
    startup.push(0);
    startup[..4].copy_from_slice(&startup_len.to_be_bytes());
    let mut chunks = Vec::new();
    if asks {
        chunks.push((Side::Client, vec![0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]));
        chunks.push((Side::Server, b"N".to_vec()));
    }
    chunks.push((Side::Client, startup));
    chunks.push((Side::Server, vec![b'R', 0, 0, 0, 8, 0, 0, 0, 0]));
    chunks
}
