//! The live matrix: servers and clients that nobody here wrote, on this host's own kernel, watched by one agent; each
//! case asserts the whole verdict at both ends of its connection.

mod alerts;
mod audit;
mod behind;
mod certificates;
mod cli;
mod crowd;
mod existing;
mod faults;
mod findings;
mod flood;
mod hello;
mod hostile;
mod limits;
mod matrix;
mod network;
mod otlp;
mod plaintext;
mod probe_life;
mod report;
mod resumption;
mod rights;
mod sandbox;
mod secrets;
mod service;
mod starttls;
mod support;
mod top;
mod translation;
mod unfinished;
mod unit;

use std::process::ExitCode;

fn main() -> ExitCode {
    let before = || {
        existing::before();
        support::map_libraries();
    };
    tlsight_tests::run::run(before, || {
        let mut trials = Vec::new();
        matrix::add(&mut trials);
        certificates::add(&mut trials);
        crowd::add(&mut trials);
        resumption::add(&mut trials);
        hello::add(&mut trials);
        alerts::add(&mut trials);
        plaintext::add(&mut trials);
        limits::add(&mut trials);
        starttls::add(&mut trials);
        network::add(&mut trials);
        translation::add(&mut trials);
        existing::add(&mut trials);
        probe_life::add(&mut trials);
        findings::add(&mut trials);
        report::add(&mut trials);
        rights::add(&mut trials);
        service::add(&mut trials);
        sandbox::add(&mut trials);
        secrets::add(&mut trials);
        hostile::add(&mut trials);
        otlp::add(&mut trials);
        top::add(&mut trials);
        unit::add(&mut trials);
        unfinished::add(&mut trials);
        cli::add(&mut trials);
        audit::add(&mut trials);
        flood::add(&mut trials);
        faults::add(&mut trials);
        behind::add(&mut trials);
        trials
    })
}
