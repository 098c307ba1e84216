//! Any bytes as JSON lines for `tlsight report`, and as the answer of a running agent; the documents made of them.
#![no_main]

use agent_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;
use tlsight::report::document::Report;
use tlsight::report::limits::Limits;
use tlsight::report::line::Line;
use tlsight::report::model::Model;
use tlsight::report::summary::Options;
use tlsight::report::{cbom, markdown, text};
use tlsight::top::snapshot::Snapshot;

fn shown(report: &Report) {
    let _ = (markdown::markdown(report), text::text(report), cbom::cbom(report));
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = serde_json::from_slice::<Report>(bytes) {
        shown(&report);
    }
    let _ = serde_json::from_slice::<Snapshot>(bytes);
    let mut model = Model::new(Limits::default());
    for line in bytes.split(|b| *b == b'\n').filter_map(|line| Line::parse(line).ok()) {
        model.take(0, &line);
    }
    shown(&model.report(Options { now: Timestamp(1_700_000_000_000_000_000), min_connections: 1 }));
});
