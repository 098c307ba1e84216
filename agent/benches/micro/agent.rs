//! What the running agent does with an observed connection end: from the events of the source to its metrics.

use std::hint::black_box;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_core::engine::EngineConfig;
use agent_core::event::Process;
use agent_core::identity::Sighting;
use agent_core::net::ConnId;
use agent_core::observation::{Observation, Phase, ProcessCertificates};
use agent_core::policy::settings::Settings;
use agent_core::time::Timestamp;
use tlsight::enrich::{self, Enricher};
use tlsight::export::prometheus;
use tlsight::export::silent::SilentSink;
use tlsight::filter::Filter;
use tlsight::judging::Judging;
use tlsight::pipeline::{Phases, Pipeline, Sink, View};

use crate::Operation;
use crate::recorded::{self, Connection};

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "engine",
        unit: "connection end, events to observations",
        run: |n| run(n, Parts::default()),
    },
    Operation {
        name: "engine-judge",
        unit: "connection end, with rules",
        run: |n| run(n, Parts { judging: true, ..Parts::default() }),
    },
    Operation {
        name: "engine-enrich",
        unit: "connection end, with who is at both ends",
        run: |n| run(n, Parts { enricher: true, ..Parts::default() }),
    },
    Operation {
        name: "engine-metrics",
        unit: "connection end, with metrics",
        run: |n| run(n, Parts { metrics: true, ..Parts::default() }),
    },
    Operation { name: "judge", unit: "sighting of a handshake put before the rules", run: judge },
    Operation { name: "metrics", unit: "sighting of a handshake counted", run: metrics },
    Operation {
        name: "agent",
        unit: "connection end, all of them",
        run: |n| run(n, Parts { judging: true, enricher: true, metrics: true }),
    },
];

#[derive(Clone, Copy, Default)]
struct Parts {
    judging: bool,
    enricher: bool,
    metrics: bool,
}

/// Keeps what it is given.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Sighting>>>);

impl Sink for Kept {
    fn name(&self) -> &str {
        "memory"
    }

    fn observation(&mut self, _: &Observation) -> io::Result<()> {
        Ok(())
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.0.lock().expect("one thread").push(sighting.clone());
        Ok(())
    }

    fn process_certificates(&mut self, _: &ProcessCertificates) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// First verdicts of handshakes of every stack.
fn sightings() -> Vec<Sighting> {
    let kept = Kept::default();
    let mut pipeline = Pipeline::new(EngineConfig::default(), view(), Box::new(kept.clone()))
        .with_enricher(Enricher::new(enrich::Options::default()).expect("an enricher"));
    replay(&mut pipeline, 28);
    let sightings = std::mem::take(&mut *kept.0.lock().expect("one thread"));
    sightings.into_iter().filter(|sighting| sighting.observation.phase == Phase::Verdict).collect()
}

/// Hands out so many of them, each of a connection of its own.
fn each_of_its_own(times: u32, mut take: impl FnMut(&Sighting)) {
    let mut sightings = sightings();
    for n in 0..times {
        let at = n as usize % sightings.len();
        sightings[at].observation.conn = ConnId(u64::from(n) + 1);
        take(&sightings[at]);
    }
}

fn judge(times: u32) {
    let mut judging = Judging::new(Settings::default()).expect("settings");
    each_of_its_own(times, |sighting| {
        let now = sighting.observation.time;
        black_box(judging.look(sighting, now).findings.len());
    });
}

fn metrics(times: u32) {
    let (mut metrics, _) = prometheus::metrics(prometheus::Options::default()).expect("metrics");
    each_of_its_own(times, |sighting| metrics.sighting(sighting).expect("nothing is written"));
}

fn view() -> View {
    View { filter: Filter::default(), phases: Phases::All, client_is_local: false, count: None }
}

/// Two ends of each of so many connections, of every stack in turn.
fn run(times: u32, parts: Parts) {
    let mut pipeline = Pipeline::new(EngineConfig::default(), view(), Box::new(SilentSink));
    if parts.enricher {
        let enricher = Enricher::new(enrich::Options::default()).expect("an enricher");
        pipeline = pipeline.with_enricher(enricher);
    }
    if parts.judging {
        pipeline = pipeline.with_judging(Judging::new(Settings::default()).expect("settings"));
    }
    if parts.metrics {
        let (metrics, _) = prometheus::metrics(prometheus::Options::default()).expect("metrics");
        pipeline = pipeline.with_recorder(Box::new(metrics));
    }
    replay(&mut pipeline, times);
    black_box(pipeline.counters());
}

fn replay(pipeline: &mut Pipeline, times: u32) {
    let stacks: Vec<Connection> = recorded::handshakes("stacks.pcapng");
    let process = Arc::new(Process { pid: std::process::id(), executable_name: "micro".to_owned() });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let mut now = Timestamp::from_secs(now.as_secs());
    for n in 0..u64::from(times).div_ceil(2) {
        let connection = &stacks[usize::try_from(n).expect("small") % stacks.len()];
        // Two thousand handshakes a second.
        now = now + Duration::from_micros(500);
        connection.replay(n, &process, |event| {
            pipeline.handle(event, now).expect("nothing is written");
            while let Some(control) = pipeline.poll_control() {
                black_box(control);
            }
        });
    }
}
