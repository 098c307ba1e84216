//! Every capture in tests/captures gives exactly the lines in tests/golden. A new capture is a new case;
//! `TLSIGHT_BLESS=1` writes what there is now.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;

#[test]
fn captures_give_their_golden_lines() {
    let folder = common::tests().join("golden");
    let bless = std::env::var_os("TLSIGHT_BLESS").is_some_and(|v| v == "1");
    let mut wrong = Vec::new();
    for capture in common::captures() {
        let output =
            common::run(&["pcap", "-o", "json", "--no-system-roots", capture.to_str().expect("UTF-8 path")]);
        let name = capture.file_stem().expect("name").to_str().expect("UTF-8 name").to_owned();
        assert!(output.status.success(), "{name}: {}", common::text(&output.stderr));
        assert_eq!(common::text(&output.stderr), "", "{name}");
        let found = common::text(&output.stdout);
        let path = folder.join(format!("{name}.jsonl"));
        if bless {
            fs::write(&path, &found).expect("write golden file");
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        if found != golden {
            wrong.push(difference(&name, &golden, &found));
        }
    }
    assert!(wrong.is_empty(), "{}\nTLSIGHT_BLESS=1 accepts all of it", wrong.join("\n"));
}

#[test]
fn every_golden_file_has_its_capture() {
    let captures: BTreeSet<_> =
        common::captures().iter().filter_map(|c| c.file_stem().map(ToOwned::to_owned)).collect();
    let goldens: BTreeSet<_> = fs::read_dir(common::tests().join("golden"))
        .expect("tests/golden")
        .filter_map(|entry| entry.expect("entry").path().file_stem().map(ToOwned::to_owned))
        .collect();
    assert_eq!(goldens, captures);
}

/// The keys that differ, line by line.
fn difference(name: &str, golden: &str, found: &str) -> String {
    let mut text = format!("{name}:");
    let (mut golden, mut found) = (golden.lines(), found.lines());
    for number in 1.. {
        let (was, is) = match (golden.next(), found.next()) {
            (None, None) => break,
            (Some(was), Some(is)) if was == is => continue,
            (was, is) => (was.unwrap_or("{}"), is.unwrap_or("{}")),
        };
        let parse = |line| serde_json::from_str::<serde_json::Map<_, _>>(line).expect("JSON");
        let (was, is) = (parse(was), parse(is));
        for key in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
            if was.get(key) != is.get(key) {
                let show = |v: Option<&serde_json::Value>| v.map_or("absent".into(), ToString::to_string);
                text.push_str(&format!(
                    "\n  line {number}, {key}: {} -> {}",
                    show(was.get(key)),
                    show(is.get(key))
                ));
            }
        }
    }
    text
}
