//! All rounds of one load.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Result;
use serde_json::json;

use super::beside::{Beside, Running, total};
use super::loads::{Kind, Load};
use super::numbers::Numbers;
use super::options::Options;
use super::row::Row;

/// What came out beside one thing.
#[derive(Default)]
struct Samples {
    /// Work done in a second.
    rates: Numbers,
    /// Microseconds on a processor for each unit of work.
    cpu: Numbers,
    lost: f64,
}

/// Runs it in turns, and gives the rows that it is worth.
pub fn measure(load: &Load, options: &Options) -> Result<Vec<Row>> {
    let mut at_work = (load.start)()?;
    let beside: Vec<Beside> = [Beside::Nothing, Beside::Agent]
        .into_iter()
        .chain(load.compared.iter().copied().filter(|tool| tool.is_there()))
        .collect();
    at_work.run(options.seconds.min(0.5))?;
    let mut samples: BTreeMap<Beside, Samples> = BTreeMap::new();
    let mut random = Random::new();
    for _ in 0..options.rounds {
        for beside in random.order(&beside) {
            let running = Running::start(beside)?;
            let before = running.cpu();
            let done = at_work.run(options.seconds)?;
            let used = running.cpu() - before;
            let said = running.stop();
            let sample = samples.entry(beside).or_default();
            sample.rates.0.push(done.work / done.seconds);
            sample.cpu.0.push(used / done.work);
            sample.lost += total(&said, "tlsight_events_lost_total");
        }
    }
    Ok(rows(load, &samples))
}

fn rows(load: &Load, samples: &BTreeMap<Beside, Samples>) -> Vec<Row> {
    let nothing = &samples[&Beside::Nothing].rates;
    let mut rows = Vec::new();
    let numbers = |sample: &Samples| {
        json!({
            "per_second": sample.rates.json(),
            "ratio": sample.rates.by(nothing).json(),
            "cpu_microseconds_each": sample.cpu.json(),
            "lost": sample.lost,
        })
    };
    for (beside, sample) in samples.iter().filter(|(beside, _)| **beside != Beside::Nothing) {
        let ratio = sample.rates.by(nothing);
        let budget = load.budget.filter(|_| *beside == Beside::Agent);
        rows.push(Row {
            what: format!("{}, {}", load.name, beside.name()),
            measured: format!(
                "{} of {} {}",
                ratio.text(3),
                (nothing.median() / load.scale).round(),
                load.unit
            ),
            budget: budget.map_or("", |(text, _)| text),
            met: budget.map(|(_, least)| ratio.median() >= least),
            numbers: numbers(sample),
        });
    }
    let agent = &samples[&Beside::Agent];
    if load.kind == Kind::Handshakes {
        // Both ends are here: each is observed, and parsed, judged and counted on its own.
        let each = Numbers(agent.cpu.0.iter().map(|cpu| cpu / 2.0).collect());
        rows.push(Row {
            what: format!("{}: CPU of the agent for each handshake observed, in us", load.name),
            measured: each.text(1),
            budget: "<= 20",
            met: Some(each.median() <= 20.0),
            numbers: each.json(),
        });
    }
    rows.push(Row {
        what: format!("{}: events lost", load.name),
        measured: format!("{}", agent.lost),
        budget: "0",
        met: Some(agent.lost == 0.0),
        numbers: json!(agent.lost),
    });
    rows
}

/// xorshift: which order it is does not matter, that it is not always the same does.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Random(now.as_nanos() as u64 | 1)
    }

    fn order(&mut self, turns: &[Beside]) -> Vec<Beside> {
        let mut turns = turns.to_vec();
        for i in (1..turns.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            turns.swap(i, (self.0 % (i as u64 + 1)) as usize);
        }
        turns
    }
}
