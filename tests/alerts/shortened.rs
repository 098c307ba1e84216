//! The alerts of this repository with shorter times. Nothing else about them changes: a window of ten minutes or an hour
//! becomes 15 seconds, and what waits before it fires, or goes on firing, does so for a second.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tlsight_tests::tools::repository;

/// In place of every window.
const WINDOW: &str = "[15s]";
/// In place of `for` and `keep_firing_for`.
const WAIT: &str = "1s";

fn written() -> Value {
    let file = repository().join("dashboards/prometheus/alerts.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(file).expect("read")).expect("YAML")
}

fn rules(all: &mut Value) -> impl Iterator<Item = &mut Value> {
    let groups = all["groups"].as_array_mut().expect("groups").iter_mut();
    groups.flat_map(|group| group["rules"].as_array_mut().expect("rules"))
}

/// Names and severities of all alerts.
pub(crate) fn alerts() -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    rules(&mut written()).map(|rule| (text(&rule["alert"]), text(&rule["labels"]["severity"]))).collect()
}

/// What Prometheus is given. JSON is YAML.
pub(crate) fn file() -> String {
    let mut all = written();
    for rule in rules(&mut all) {
        let expr = rule["expr"].as_str().expect("text");
        let mut short = String::new();
        let mut rest = expr;
        while let Some((before, window)) = rest.split_once('[') {
            let (range, after) = window.split_once(']').expect("closed");
            // Sets of characters in a pattern are in brackets too.
            let is_range = range.ends_with(['m', 'h']) && range.starts_with(|c: char| c.is_ascii_digit());
            short += before;
            short += &if is_range { WINDOW.to_owned() } else { format!("[{range}]") };
            rest = after;
        }
        short += rest;
        rule["expr"] = json!(short);
        for wait in ["for", "keep_firing_for"] {
            if rule.get(wait).is_some() {
                rule[wait] = json!(WAIT);
            }
        }
    }
    all.to_string()
}
