//! All series of one metric, bounded. The capture thread adds to them, a scrape copies them: the lock between the two is held
//! for as long as it takes to find a series, or to copy a list of pointers and numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use smallvec::SmallVec;

use super::descriptor::{self, Descriptor};
use super::earliest::Earliest;
use super::values::{OTHER_ID, Values, tidy};

/// The kept labels of a series with their values; empty ones are left out.
pub(super) type LabelSet = Arc<[(&'static str, Arc<str>)]>;

/// Numbers of the values of a series' kept labels.
pub(super) type Key = SmallVec<[u32; 10]>;

/// How often, at most, series are looked through for those that can go.
const SWEEP: Duration = Duration::from_secs(60);

/// The bounds of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Series, the one of what does not fit left out.
    pub(super) max_series: usize,
    /// Values of each label that takes them from outside.
    pub(super) max_values: usize,
    /// A series that nothing was added to for this long goes. `None`: it stays until it is taken out.
    pub(super) retention: Option<Duration>,
}

/// A number in an exposition.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A whole number.
    Integer(u64),
    /// Any number.
    Float(f64),
    /// A distribution.
    Histogram(Histogram),
}

/// What a series holds.
pub(super) trait Hold: Send {
    /// As of now; `None` when there is nothing to show.
    fn value(&self) -> Option<Value>;
}

impl Hold for u64 {
    fn value(&self) -> Option<Value> {
        Some(Value::Integer(*self))
    }
}

impl Hold for Earliest {
    fn value(&self) -> Option<Value> {
        // Exact up to the year 285,428,751.
        #[allow(clippy::cast_precision_loss)]
        self.get().map(|seconds| Value::Float(seconds as f64))
    }
}

impl Hold for Histogram {
    fn value(&self) -> Option<Value> {
        Some(Value::Histogram(self.clone()))
    }
}

/// One series as shown.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) labels: LabelSet,
    pub(super) value: Value,
}

/// One metric as shown.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) descriptor: &'static Descriptor,
    pub(super) samples: Vec<Sample>,
}

/// What a scrape asks of a metric.
pub(super) trait Collect: Send + Sync {
    /// All series, in no order, after those that are over have gone.
    fn collect(&self, now: Instant) -> Snapshot;
    /// Series kept, and samples that had to be put with others so far.
    fn size(&self) -> (usize, u64);
}

struct Series<V> {
    labels: LabelSet,
    touched: Instant,
    held: V,
}

struct State<V> {
    /// Of the kept labels, in their order.
    values: Vec<Values>,
    series: HashMap<Key, Series<V>>,
    limited: u64,
    swept: Option<Instant>,
    buffer: String,
}

/// All series of a metric.
pub(super) struct Family<V> {
    descriptor: &'static Descriptor,
    /// Where in the descriptor the kept labels are.
    kept: Vec<usize>,
    limits: Limits,
    make: Box<dyn Fn() -> V + Send + Sync>,
    state: Mutex<State<V>>,
}

impl<V: Hold> Family<V> {
    /// Keeps the labels of these names, which are the descriptor's.
    pub(super) fn new(
        descriptor: &'static Descriptor,
        kept: Option<&[String]>,
        limits: Limits,
        make: impl Fn() -> V + Send + Sync + 'static,
    ) -> Self {
        let is_kept = |name: &str| kept.is_none_or(|kept| kept.iter().any(|kept| kept == name));
        let labels = descriptor.labels.iter().enumerate().filter(|(_, label)| is_kept(label.name));
        let (kept, values) = labels
            .map(|(at, label)| match label.values {
                descriptor::Values::Closed | descriptor::Values::PerSeries => (at, Values::new(usize::MAX)),
                descriptor::Values::Capped => (at, Values::new(limits.max_values)),
            })
            .unzip();
        let state = State { values, series: HashMap::new(), limited: 0, swept: None, buffer: String::new() };
        Self { descriptor, kept, limits, make: Box::new(make), state: Mutex::new(state) }
    }

    /// Changes the series with these values, which come in the order of the descriptor's labels. Gives the key under which
    /// [`revise`](Self::revise) finds it again.
    pub(super) fn update(&self, values: &[&str], now: Instant, change: impl FnOnce(&mut V)) -> Key {
        let mut state = self.lock();
        let state = &mut *state;
        let mut buffer = std::mem::take(&mut state.buffer);
        let (key, is_known) = self.known(state, values, &mut buffer);
        if is_known && let Some(series) = state.series.get_mut(&key) {
            series.touched = now;
            change(&mut series.held);
            state.buffer = buffer;
            return key;
        }
        if !self.has_room(state) {
            self.sweep(state, now);
        }
        let (key, is_limited) = self.place(state, values, &mut buffer);
        state.limited += u64::from(is_limited);
        match state.series.get_mut(&key) {
            Some(series) => {
                series.touched = now;
                change(&mut series.held);
                // It was there: nothing was acquired for good.
                self.release(state, &key);
            }
            None => {
                let mut held = (self.make)();
                change(&mut held);
                let labels = self.labels(state, &key);
                state.series.insert(key.clone(), Series { labels, touched: now, held });
            }
        }
        state.buffer = buffer;
        key
    }

    /// Changes a series that is there; it goes when `change` says that nothing is left of it.
    pub(super) fn revise(&self, key: &Key, change: impl FnOnce(&mut V) -> bool) {
        let mut state = self.lock();
        let is_over = state.series.get_mut(key).is_some_and(|series| change(&mut series.held));
        if is_over {
            self.remove(&mut state, key);
        }
    }

    /// Counts a sample that no series could take.
    pub(super) fn limit(&self) {
        self.lock().limited += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of these values, and whether all of them are known.
    fn known(&self, state: &State<V>, values: &[&str], buffer: &mut String) -> (Key, bool) {
        let mut is_known = true;
        let ids = self.kept.iter().zip(&state.values).map(|(at, known)| {
            let text = values.get(*at).copied().unwrap_or_default();
            let id = known.find(tidy(text, buffer));
            id.unwrap_or_else(|| {
                is_known = false;
                OTHER_ID
            })
        });
        let key = ids.collect();
        (key, is_known)
    }

    fn has_room(&self, state: &State<V>) -> bool {
        // The series of what does not fit has a place of its own.
        let has_other = !self.kept.is_empty() && state.series.contains_key(&self.other());
        state.series.len() < self.limits.max_series.saturating_add(usize::from(has_other))
    }

    fn other(&self) -> Key {
        self.kept.iter().map(|_| OTHER_ID).collect()
    }

    /// The key of the series that takes these values, acquired, and whether they had to be put with others.
    fn place(&self, state: &mut State<V>, values: &[&str], buffer: &mut String) -> (Key, bool) {
        let mut is_limited = false;
        let mut key = Key::new();
        for (at, known) in self.kept.iter().zip(&mut state.values) {
            let text = tidy(values.get(*at).copied().unwrap_or_default(), buffer);
            if known.find(text).is_some() || known.has_room() {
                key.push(known.acquire(text));
            } else {
                is_limited = true;
                key.push(OTHER_ID);
            }
        }
        if state.series.contains_key(&key) || self.has_room(state) || self.kept.is_empty() {
            return (key, is_limited);
        }
        self.release(state, &key);
        (self.other(), true)
    }

    fn release(&self, state: &mut State<V>, key: &Key) {
        for (id, values) in key.iter().zip(&mut state.values) {
            values.release(*id);
        }
    }

    fn labels(&self, state: &State<V>, key: &Key) -> LabelSet {
        let names = self.kept.iter().filter_map(|at| self.descriptor.labels.get(*at));
        let texts = key.iter().zip(&state.values).map(|(id, values)| values.text(*id));
        let labels = names.zip(texts).map(|(label, text)| (label.name, text));
        labels.filter(|(_, text)| !text.is_empty()).collect()
    }

    fn remove(&self, state: &mut State<V>, key: &Key) {
        if state.series.remove(key).is_some() {
            self.release(state, key);
        }
    }

    /// Takes out what nothing was added to for long.
    fn sweep(&self, state: &mut State<V>, now: Instant) {
        let Some(retention) = self.limits.retention else { return };
        if state.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return;
        }
        state.swept = Some(now);
        let is_over = |series: &Series<V>| now.saturating_duration_since(series.touched) >= retention;
        let over: Vec<Key> =
            state.series.iter().filter(|(_, series)| is_over(series)).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.remove(state, &key);
        }
    }
}

impl<V: Hold> Collect for Family<V> {
    fn collect(&self, now: Instant) -> Snapshot {
        let mut state = self.lock();
        self.sweep(&mut state, now);
        let shown = |series: &Series<V>| {
            let value = series.held.value()?;
            Some(Sample { labels: Arc::clone(&series.labels), value })
        };
        Snapshot { descriptor: self.descriptor, samples: state.series.values().filter_map(shown).collect() }
    }

    fn size(&self) -> (usize, u64) {
        let state = self.lock();
        (state.series.len(), state.limited)
    }
}
