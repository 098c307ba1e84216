//! The agent's own health: what was lost, what bounds were reached, how full queues are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::{Class, classify};
use super::descriptor::{BaseUnit, Descriptor, Kind, Label};
use super::family::{Sample, Snapshot, Value};
use super::programs;
use crate::loader::ProgramCost;

const BUILD_INFO: Descriptor = Descriptor::own(
    Kind::Info,
    "tlsight_build_info",
    "The running agent; always 1.",
    &[
        Label::closed("version", "version of the agent"),
        Label::closed("rust_version", "version of the compiler that built it"),
    ],
);
pub(super) const BUILD: &[&Descriptor] = &[&BUILD_INFO];

const OPEN: Descriptor =
    Descriptor::own(Kind::Gauge, "tlsight_connections_open", "Connection ends that are followed now.", &[]);
const LOST: Descriptor = Descriptor::own(
    Kind::Counter,
    "tlsight_events_lost_total",
    "Events that were lost: what they would have told is not known.",
    &[Label::closed("place", "where: `kernel_ring_buffer` ...")],
);
const DROPPED: Descriptor = Descriptor::own(
    Kind::Counter,
    "tlsight_dropped_total",
    "How often a bound was reached, so that something was left out, cut or forgotten.",
    &[Label::closed("what", "the counter of the bound: `kernel.connection_table_full` ...")],
);
const EVENTS: Descriptor = Descriptor::own(
    Kind::Counter,
    "tlsight_agent_events_total",
    "Everything else that the agent counts.",
    &[Label::closed("name", "the counter: `kernel.probe_hits_openssl` ...")],
);
const STATE: Descriptor = Descriptor::own(
    Kind::Gauge,
    "tlsight_agent_state",
    "Sizes of what the agent keeps.",
    &[Label::closed("name", "what: `findings.standing` ...")],
);
const QUEUE_LENGTH: Descriptor = Descriptor::own(
    Kind::Gauge,
    "tlsight_queue_length",
    "What waits in a queue between two threads of the agent.",
    &[QUEUE],
);
const QUEUE_CAPACITY: Descriptor = Descriptor::own(
    Kind::Gauge,
    "tlsight_queue_capacity",
    "How much may wait in it; what comes on top is dropped and counted.",
    &[QUEUE],
);
const QUEUE: Label = Label::closed("queue", "which queue");
const PROBES: Descriptor = Descriptor::own(
    Kind::Gauge,
    "tlsight_probes_attached",
    "Places in the kernel and in TLS libraries where a program of the agent is attached now.",
    &[Label::closed("kind", "which kind of probe")],
);
const RELOAD: Descriptor = Descriptor::own(
    Kind::Gauge,
    "tlsight_config_last_reload_successful",
    "Whether the configuration was read without an error when it was last read: 1 or 0.",
    &[],
);
const RELOADED: Descriptor = Descriptor::own(
    Kind::Gauge,
    "tlsight_config_last_reload_success_timestamp_seconds",
    "When the configuration was last read without an error, Unix time.",
    &[],
)
.in_unit(BaseUnit::Seconds);

pub(super) const DESCRIPTORS: &[&Descriptor] =
    &[&OPEN, &LOST, &DROPPED, &EVENTS, &STATE, &QUEUE_LENGTH, &QUEUE_CAPACITY, &PROBES, &RELOAD, &RELOADED];

/// How the agent is, at the moment of a scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Connection ends that are followed now. Absent where nobody could say.
    pub connections_open: Option<u64>,
    /// Counters and sizes of all layers by their names, those of the engine with or without `engine.` in front.
    pub counters: Vec<(String, u64)>,
    /// Other sizes by name.
    pub gauges: Vec<(String, u64)>,
    /// Queues between threads.
    pub queues: Vec<Queue>,
    /// Probes that are attached now, by kind.
    pub probes: Vec<(String, u64)>,
    /// What BPF programs cost the kernel; none while it does not count.
    pub programs: Vec<ProgramCost>,
    /// How reading the configuration went the last time.
    pub reload: Option<Reload>,
}

/// A queue between two threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// What waits in it.
    pub length: u64,
    /// How much may.
    pub capacity: u64,
}

/// How reading the configuration went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reload {
    /// The last time.
    pub successful: bool,
    /// When it last went well, seconds, Unix time.
    pub success_timestamp: f64,
}

/// A metric without labels, or with one.
pub(super) fn single(descriptor: &'static Descriptor, value: Value) -> Snapshot {
    Snapshot { descriptor, samples: vec![Sample { labels: Arc::from([]), value }] }
}

fn number(n: u64) -> Sample {
    Sample { labels: Arc::from([]), value: Value::Integer(n) }
}

fn by_label(descriptor: &'static Descriptor, values: impl IntoIterator<Item = (String, u64)>) -> Snapshot {
    let name = descriptor.labels.first().map_or("", |label| label.name);
    let sample = |(text, n): (String, u64)| Sample {
        labels: Arc::from([(name, Arc::from(text))]),
        value: Value::Integer(n),
    };
    Snapshot { descriptor, samples: values.into_iter().map(sample).collect() }
}

/// Of the compiler, where the build script could ask it.
pub(super) const RUST_VERSION: &str = match option_env!("TLSIGHT_RUST_VERSION") {
    Some(version) => version,
    None => "",
};

pub(super) fn build() -> Snapshot {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("rust_version", RUST_VERSION)];
    let labels = labels.into_iter().filter(|(_, text)| !text.is_empty());
    let labels = labels.map(|(name, text)| (name, Arc::from(text))).collect();
    Snapshot { descriptor: &BUILD_INFO, samples: vec![Sample { labels, value: Value::Integer(1) }] }
}

/// Everything about the agent's health.
pub(super) fn collect(health: &Health) -> Vec<Snapshot> {
    let mut of: [BTreeMap<String, u64>; 4] = Default::default();
    let [lost, dropped, events, state] = &mut of;
    for (name, n) in &health.counters {
        let (class, name) = classify(name);
        let (map, key) = match class {
            Class::Lost(place) => (&mut *lost, place.to_owned()),
            Class::Dropped => (&mut *dropped, name),
            Class::Counter => (&mut *events, name),
            Class::Gauge => (&mut *state, name),
        };
        let sum = map.entry(key).or_default();
        *sum = sum.saturating_add(*n);
    }
    for (name, n) in &health.gauges {
        state.insert(name.clone(), *n);
    }
    let [lost, dropped, events, state] = of;
    let queues: BTreeMap<&str, &Queue> = health.queues.iter().map(|queue| (&*queue.name, queue)).collect();
    let of_queues = |size: fn(&Queue) -> u64| -> Vec<(String, u64)> {
        queues.iter().map(|(name, queue)| ((*name).to_owned(), size(queue))).collect()
    };
    let probes: BTreeMap<String, u64> = health.probes.iter().cloned().collect();
    let mut all = vec![
        Snapshot { descriptor: &OPEN, samples: health.connections_open.into_iter().map(number).collect() },
        by_label(&LOST, lost),
        by_label(&DROPPED, dropped),
        by_label(&EVENTS, events),
        by_label(&STATE, state),
        by_label(&QUEUE_LENGTH, of_queues(|queue| queue.length)),
        by_label(&QUEUE_CAPACITY, of_queues(|queue| queue.capacity)),
        by_label(&PROBES, probes),
    ];
    all.extend(programs::collect(&health.programs));
    if let Some(reload) = health.reload {
        all.push(single(&RELOAD, Value::Integer(reload.successful.into())));
        all.push(single(&RELOADED, Value::Float(reload.success_timestamp)));
    }
    all
}
