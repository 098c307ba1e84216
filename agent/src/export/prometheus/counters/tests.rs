//! No counter of any layer is forgotten.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use agent_core::policy::settings::Settings;

use super::*;
use crate::judging::Judging;

/// Layers whose counters are named where they are read, as `("layer.name", number)` or `push("layer.name", number)`.
const LAYERS: &[&str] = &[
    "audit", "endpoint", "enrich", "findings", "kernel", "otlp", "policy", "probe", "rego", "reload", "trust",
];

/// Every counter that is named in a tuple or a call somewhere in the agent's sources.
fn named_in_sources() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path: PathBuf = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                // What stands here itself proves nothing.
                if name != "prometheus" && name != "tests" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && !name.contains("tests") {
                let text = fs::read_to_string(&path).expect("a source");
                names.extend(text.split("(\"").skip(1).filter_map(counter));
            }
        }
    }
    names
}

/// The counter's name that a string literal is, if it is one.
fn counter(literal: &str) -> Option<String> {
    let (name, rest) = literal.split_once('"')?;
    let is_named = rest.starts_with(',') || rest.starts_with(".to_owned(), ");
    let (layer, short) = name.split_once('.')?;
    let is_short =
        !short.is_empty() && short.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.');
    (is_named && LAYERS.contains(&layer) && is_short).then(|| name.to_owned())
}

#[test]
fn every_counter_of_every_layer_has_a_class() {
    let kernel = agent_common::Counter::ALL.iter().map(|counter| format!("kernel.{}", counter.name()));
    let engine = agent_core::engine::Counters::default().named();
    let engine = engine.into_iter().map(|(name, _)| name.to_owned());
    let ends = crate::enrich::Counters::default().named().into_iter().map(|(name, _)| name.to_owned());
    let judging = Judging::new(Settings::default()).expect("defaults").named_counters();
    let judging = judging.into_iter().map(|(name, _)| name);
    let probes = crate::discovery::counter_names().into_iter();
    let walked: BTreeSet<String> = kernel.chain(engine).chain(ends).chain(judging).chain(probes).collect();
    assert!(walked.len() > 120, "{}", walked.len());
    let in_sources = named_in_sources();
    assert!(in_sources.len() > 50, "{in_sources:?}");
    let all: BTreeSet<String> = walked.union(&in_sources).cloned().collect();
    let unknown: Vec<&String> = all.iter().filter(|name| known(name).is_none()).collect();
    assert!(unknown.is_empty(), "say in counters.rs what these are: {unknown:?}");
}

#[test]
fn every_name_is_there_once() {
    let mut names = BTreeSet::new();
    for (name, class) in all() {
        assert_eq!(classify(&name), (class, name.clone()));
        assert!(names.insert(name.clone()), "{name}");
    }
}

#[test]
fn names_of_the_engine_may_say_so() {
    for (name, expected) in [
        ("opened", "engine.opened"),
        ("engine.opened", "engine.opened"),
        ("tls.records", "engine.tls.records"),
        ("engine.tls.records", "engine.tls.records"),
        ("audit.connections", "audit.connections"),
    ] {
        assert_eq!(classify(name), (Counter, expected.to_owned()));
    }
}
