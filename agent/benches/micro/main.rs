//! Operations that are counted in instructions: `micro NAME TIMES` does one of them so often and says nothing. Run under
//! callgrind by `cargo xtask bench micro`, twice with different `TIMES`: the difference is the operation without the start of
//! the program. A new area is one file and one line here.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is run by hand, and says what went wrong by panicking"
)]

mod agent;
mod recorded;
mod tls;

use std::process::ExitCode;

/// One operation: its name, what one time is, and what does it so often.
struct Operation {
    name: &'static str,
    unit: &'static str,
    run: fn(u32),
}

fn operations() -> impl Iterator<Item = &'static Operation> {
    [tls::OPERATIONS, agent::OPERATIONS].into_iter().flatten()
}

fn main() -> ExitCode {
    // `cargo bench` hands on `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [name, times] => {
            let operation = operations().find(|operation| operation.name == name);
            let (Some(operation), Ok(times)) = (operation, times.parse()) else {
                eprintln!("no operation {name}, or {times} is no number");
                return ExitCode::FAILURE;
            };
            (operation.run)(times);
        }
        _ => operations().for_each(|operation| println!("{}\t{}", operation.name, operation.unit)),
    }
    ExitCode::SUCCESS
}
