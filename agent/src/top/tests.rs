//! Screens from real bytes: captures through the pipeline, drawn and held against tests/screens. `TLSIGHT_BLESS=1` writes
//! them as they are now.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use agent_core::engine::EngineConfig;
use agent_core::identity::Sighting;
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::policy::documents::{Documents, Limits as DocumentLimits, PolicySettings};
use agent_core::policy::judge;
use agent_core::policy::settings::Settings;
use agent_core::time::Timestamp;
use jiff::tz::TimeZone;

use super::app::App;
use super::model::Model;
use super::model::limits::Limits;
use super::record::{ConnectionRecord, Record};
use super::snapshot::Snapshot;
use super::state::Key;
use crate::filter::Filter;
use crate::judging::{Judged, JudgedProcess, Judging};
use crate::pipeline::{Phases, Pipeline, Sink, View};
use crate::source::pcap::flow::FlowLimits;
use crate::source::pcap::run::CaptureReader;

const POLICY: &str = "\
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata: {name: strict-where-it-can-be}
spec:
  selector: {ports: [28444]}
  expect: strict
---
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata: {name: tls-where-it-must-be}
spec:
  selector: {ports: [28443, 28080]}
  expect: tls
";

/// A model, and the time of what it was told last.
struct Fed {
    model: Model,
    now: Timestamp,
}

struct ModelSink(Arc<Mutex<Fed>>);

impl ModelSink {
    fn take(&self, record: Record, at: Timestamp) -> io::Result<()> {
        let mut fed = self.0.lock().expect("a model");
        fed.now = fed.now.max(at);
        let now = fed.now;
        fed.model.take(record, now);
        Ok(())
    }
}

impl Sink for ModelSink {
    fn name(&self) -> &str {
        "a model"
    }

    fn observation(&mut self, _: &Observation) -> io::Result<()> {
        unreachable!("everything is judged")
    }

    fn sighting(&mut self, _: &Sighting) -> io::Result<()> {
        unreachable!("everything is judged")
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let record = ConnectionRecord::judged(judged);
        let at = record.last;
        self.take(Record::Connection(Box::new(record)), at)
    }

    fn process_certificates(&mut self, _: &ProcessCertificates) -> io::Result<()> {
        unreachable!("everything is judged")
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        let at = judged.certificates.time;
        Record::judged_process(judged).map_or(Ok(()), |record| self.take(record, at))
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        self.take(Record::news(news), now)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).with_file_name("tests").join(name)
}

/// What a capture comes to, a second after its last packet.
pub(super) fn snapshot_of(capture: &str, limits: Limits) -> Snapshot {
    let mut documents = Documents::new(PolicySettings::default(), DocumentLimits::default());
    documents.add_text("policy.yaml", POLICY);
    let loaded = documents.finish();
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let mut judging = Judging::new(Settings::default()).expect("settings");
    judging.set_policies(Arc::new(loaded.set));
    let fed = Arc::new(Mutex::new(Fed { model: Model::new(limits, Timestamp(0)), now: Timestamp(0) }));
    let view = View { filter: Filter::default(), phases: Phases::All, client_is_local: true, count: None };
    let config = EngineConfig { seen_at_local_end: false, ..EngineConfig::default() };
    let sink = Box::new(ModelSink(Arc::clone(&fed)));
    let mut pipeline = Pipeline::new(config, view, sink).with_judging(judging);
    let file = File::open(folder("captures").join(capture)).expect("a capture");
    CaptureReader::new(FlowLimits::default()).run(file, &mut pipeline, &mut |_| {}).expect("read");
    let fed = fed.lock().expect("a model");
    let mut snapshot = fed.model.snapshot(Timestamp(fed.now.0 + 1_000_000_000), &[]);
    snapshot.since = snapshot.connections.iter().map(|connection| connection.time).min().unwrap_or_default();
    snapshot.program = "that of this build".to_owned();
    snapshot
}

pub(super) fn app_of(snapshot: Snapshot) -> App {
    let mut app = App::new("a capture file", TimeZone::UTC, false);
    app.update(snapshot);
    app
}

fn press(app: &mut App, size: (u16, u16), keys: &[&str]) -> String {
    for key in keys {
        app.text(size.0, size.1);
        assert!(app.key(key.parse::<Key>().expect("a key")), "{key} ended it");
    }
    app.text(size.0, size.1)
}

#[test]
fn captures_give_their_screens() {
    let bless = std::env::var_os("TLSIGHT_BLESS").is_some_and(|v| v == "1");
    let screens = folder("screens");
    if bless {
        fs::create_dir_all(&screens).expect("a folder");
    }
    let mut wrong = Vec::new();
    for (capture, views) in [
        (
            "nginx-curl.pcapng",
            [
                ("services", &["1"][..]),
                ("service", &["1", "enter"]),
                ("certificates", &["2"]),
                ("certificate", &["2", "enter"]),
                ("findings", &["3"]),
                ("finding", &["3", "enter"]),
                ("connections", &["4"]),
                ("connection", &["4", "down", "enter"]),
                ("rates", &["5"]),
                ("help", &["?"]),
            ]
            .as_slice(),
        ),
        ("stacks.pcapng", &[("services", &["1"]), ("certificates", &["2"]), ("connections", &["4"])]),
        ("upgrades.pcapng", &[("services", &["1"]), ("findings", &["3"])]),
    ] {
        let snapshot = snapshot_of(capture, Limits::default());
        let stem = capture.split('.').next().unwrap_or_default();
        for (view, keys) in views {
            for size in [(80, 24), (200, 50)] {
                let found = press(&mut app_of(snapshot.clone()), size, keys);
                assert_eq!(found.lines().count(), usize::from(size.1));
                let path = screens.join(format!("{stem}-{view}-{}x{}.txt", size.0, size.1));
                if bless {
                    fs::write(&path, &found).expect("write a screen");
                }
                if found != fs::read_to_string(&path).unwrap_or_default() {
                    wrong.push(format!("{}\n{found}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nTLSIGHT_BLESS=1 accepts all of it", wrong.join("\n"));
}

#[test]
fn no_size_of_the_screen_and_no_key_is_too_much() {
    let snapshot = snapshot_of("nginx-curl.pcapng", Limits::default());
    let keys =
        ["1", "enter", "end", "esc", "2", "enter", "esc", "3", "enter", "esc", "4", "end", "enter", "5", "?"];
    for width in [0, 1, 2, 3, 5, 10, 19, 40, 79, 81, 300] {
        for height in [0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 100] {
            let mut app = app_of(snapshot.clone());
            for key in keys {
                let text = press(&mut app, (width, height), &[key]);
                assert_eq!(text.lines().count(), usize::from(height), "{width}x{height}");
            }
        }
    }
    let mut nothing = App::new("nobody", TimeZone::UTC, true);
    for size in [(0, 0), (1, 1), (80, 24)] {
        for key in ["enter", "end", "s", "r", "c", "2", "/", "x", "enter", "p"] {
            press(&mut nothing, size, &[key]);
        }
    }
    nothing.no_news("cannot ask the agent: nobody answers there");
    assert!(nothing.text(80, 24).contains("nobody answers there"));
}

#[test]
fn a_small_screen_still_shows_what_is_selected() {
    let mut app = app_of(snapshot_of("nginx-curl.pcapng", Limits::default()));
    let text = press(&mut app, (30, 6), &["down", "down"]);
    assert!(text.lines().any(|line| line.starts_with('>')), "{text}");
}

#[test]
fn filter_sort_and_pause_change_what_is_listed() {
    let snapshot = snapshot_of("nginx-curl.pcapng", Limits::default());
    let mut app = app_of(snapshot.clone());
    let text = press(&mut app, (80, 24), &["/", "2", "8", "0", "8", "0", "enter"]);
    assert!(text.contains("28080") && !text.contains("28443"), "{text}");
    let text = press(&mut app, (80, 24), &["esc", "s", "s"]);
    assert!(text.contains("28443"), "{text}");
    press(&mut app, (80, 24), &["p"]);
    app.update(Snapshot { now: snapshot.now, ..Snapshot::default() });
    let text = app.text(80, 24);
    assert!(text.contains("[PAUSED]") && text.contains("28443"), "{text}");
    let text = press(&mut app, (80, 24), &["p"]);
    assert!(text.contains("no connection was seen yet"), "{text}");
}

#[test]
fn what_was_lost_stands_in_the_header() {
    let mut snapshot = snapshot_of("nginx-curl.pcapng", Limits::default());
    assert!(!app_of(snapshot.clone()).text(80, 24).contains("LOST"));
    snapshot.limits.records_dropped = 7;
    snapshot.losses.push(super::snapshot::Loss { name: "kernel.data_lost".to_owned(), count: 3 });
    let text = app_of(snapshot).text(80, 24);
    assert!(text.contains("LOST: 7 sightings (this view did not keep up); 3 kernel.data_lost"), "{text}");
}

#[test]
fn names_from_the_wire_cannot_move_the_cursor() {
    let mut snapshot = snapshot_of("nginx-curl.pcapng", Limits::default());
    for connection in &mut snapshot.connections {
        connection.caller = "\u{1b}[2J\u{202e}evil".to_owned();
        connection.server_name = Some("a\nb\u{9b}c".to_owned());
    }
    for service in &mut snapshot.services {
        service.name = "漢字\u{1b}]0;title\u{7}".to_owned();
    }
    for key in ["1", "4"] {
        let mut app = app_of(snapshot.clone());
        for keys in [&[key][..], &["enter"]] {
            let text = press(&mut app, (200, 50), keys);
            assert!(!text.chars().any(|c| c != '\n' && crate::export::text::is_unsafe(c)), "{text:?}");
        }
    }
}

#[test]
fn a_snapshot_survives_the_way_through_json() {
    let snapshot = snapshot_of("stacks.pcapng", Limits::default());
    let json = serde_json::to_string(&snapshot).expect("JSON");
    assert_eq!(serde_json::from_str::<Snapshot>(&json).expect("a snapshot"), snapshot);
    // What an older agent does not say is not there.
    assert_eq!(serde_json::from_str::<Snapshot>("{}").expect("a snapshot"), Snapshot::default());
}
