//! Measures what tlsight costs against its budgets: `tlsight_tests::bench`. Run by `cargo xtask bench`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tlsight_tests::bench::{
    figures::FIGURES, loads::LOADS, machine, options::Options, peer, row::Row, turns,
};
use tlsight_tests::child::stop_all;
use tlsight_tests::{netns, tools};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("peer", words)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return peer::main(words);
    }
    let options = Options::parse(&words)?;
    netns::remove_stale();
    let machine = machine::describe();
    println!("{machine:#}");
    println!("rounds {}, seconds {}; median (lowest to highest)\n", options.rounds, options.seconds);
    println!("| what | measured | budget | |\n|---|---|---|---|");
    let mut rows: Vec<Value> = Vec::new();
    let mut failures = Vec::new();
    let mut take = |name: &str, measured: Result<Vec<Row>>| match measured {
        Ok(measured) => {
            for row in measured {
                println!("{}", row.text());
                rows.push(json!({
                    "what": row.what,
                    "measured": row.measured,
                    "budget": row.budget,
                    "met": row.met,
                    "numbers": row.numbers,
                }));
            }
        }
        // The others are worth having all the same.
        Err(error) => failures.push(format!("{name}: {error:#}")),
    };
    for load in LOADS.iter().filter(|load| options.wants(load.name)) {
        take(load.name, caught(|| turns::measure(load, &options)));
    }
    for figure in FIGURES.iter().filter(|figure| options.wants(figure.name)) {
        take(figure.name, caught(|| (figure.run)(&options)));
    }
    stop_all();
    let result = json!({
        "machine": machine,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": rows,
        "failures": failures,
    });
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{result:#}\n"))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    let _ = std::fs::remove_dir_all(tools::scratch());
    match failures.as_slice() {
        [] => Ok(()),
        failures => bail!("not measured: {}", failures.join("; ")),
    }
}

/// A program of the load that did not do as it should says so by panicking, as in tests.
fn caught(measure: impl FnOnce() -> Result<Vec<Row>>) -> Result<Vec<Row>> {
    catch_unwind(AssertUnwindSafe(measure)).unwrap_or_else(|_| bail!("see the panic above"))
}
