//! From the start of the program until everything is attached and it watches.

use std::time::Instant;

use super::Figure;
use crate::bench::beside;
use crate::bench::numbers::Numbers;
use crate::bench::row::Row;

pub(super) const FIGURE: Figure = Figure {
    name: "start to attached",
    run: |options| {
        let mut seconds = Numbers::default();
        for _ in 0..options.rounds {
            let start = Instant::now();
            let agent = beside::agent();
            seconds.0.push(start.elapsed().as_secs_f64());
            agent.stop();
        }
        Ok(vec![Row {
            what: "start to attached, in seconds".to_owned(),
            measured: seconds.text(2),
            budget: "<= 1",
            met: Some(seconds.median() <= 1.0),
            numbers: seconds.json(),
        }])
    },
};
