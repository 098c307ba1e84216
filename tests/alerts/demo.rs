//! What `cargo xtask demo` starts: every panel of every dashboard shows something there, and nothing of it is left behind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;
use tlsight_tests::agent::binary;
use tlsight_tests::child::{Child, command};
use tlsight_tests::host::pause;
use tlsight_tests::run::case;
use tlsight_tests::tools::{repository, tools, venv};

use crate::http::query;

/// Envoy and a debug build of the agent on a busy machine.
const STARTED_WITHIN: Duration = Duration::from_secs(120);
/// Everything that is on a panel has happened by then: renewals, a client that changes its version.
const SHOWN_WITHIN: Duration = Duration::from_secs(180);
const ENDED_WITHIN: Duration = Duration::from_secs(90);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("demo::every_panel_shows_data_and_nothing_is_left_behind", panels));
    trials.push(case("demo::ends_by_itself_after_its_duration", duration));
    trials.push(case("demo::leaves_no_process_when_it_is_killed", killed));
}

/// Two that start at once would find the same ports free.
static ONE: Mutex<()> = Mutex::new(());

/// A running demo.
struct Demo {
    _alone: MutexGuard<'static, ()>,
    child: Child,
    prometheus: SocketAddr,
    directory: PathBuf,
}

impl Demo {
    /// As `cargo xtask demo` becomes it.
    fn start(arguments: &[&str]) -> Self {
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut python = command(venv("python3"), ["-B"]);
        python
            .arg(repository().join("xtask/src/demo/main.py"))
            .arg("--tlsight")
            .arg(binary())
            .arg("--tools")
            .arg(tools());
        python.arg("--rules").arg(repository().join("dashboards/prometheus")).args(arguments);
        let child = Child::spawn(python);
        let place = |what: &str| {
            let line = child.wait_for_line(what, STARTED_WITHIN);
            line.split_whitespace().last().expect("a place").to_owned()
        };
        let prometheus = place("Prometheus  ").trim_start_matches("http://").parse().expect("an address");
        let directory = PathBuf::from(place("Logs  ")).parent().expect("a directory").to_owned();
        Self { _alone: alone, child, prometheus, directory }
    }

    /// Command lines of processes that it started.
    fn processes(&self) -> Vec<String> {
        let all = std::fs::read_dir("/proc").expect("/proc").flatten();
        let line = |entry: std::fs::DirEntry| {
            let bytes = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            line.contains(&*self.directory.to_string_lossy()).then_some(line)
        };
        all.filter_map(line).collect()
    }

    fn assert_gone(&self) {
        let deadline = Instant::now() + ENDED_WITHIN;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still there: {left:#?}");
            pause(Duration::from_millis(100));
        }
    }
}

/// Every query of every dashboard as Grafana sends it with all agents chosen and a scrape every 5 seconds.
fn queries() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(repository().join("dashboards")).expect("dashboards").flatten() {
        if entry.path().extension().is_none_or(|e| e != "json") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("read");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = target["expr"].as_str().expect("a query");
                let query =
                    query.replace("$__rate_interval", "20s").replace("$job", ".+").replace("$instance", ".+");
                all.push((format!("{}: {}", dashboard["title"], panel["title"]), query));
            }
        }
    }
    assert!(all.len() > 80, "{} queries", all.len());
    all
}

/// What is 0 by itself in a world where all is well with the agent, or where nothing is that old.
fn may_be_zero(query: &str) -> bool {
    let fine = ["events_lost", "dropped_total", "series_limited", "reload_successful", "queue_length", "up{"];
    fine.iter().any(|name| query.contains(name))
        || query.contains("time() <= 0")
        || query.contains(">= 90 * 86400")
}

fn panels() {
    let demo = Demo::start(&[]);
    let mut left = queries();
    let deadline = Instant::now() + SHOWN_WITHIN;
    loop {
        left.retain(|(_, text)| {
            let values = query(demo.prometheus, text);
            let shows = |value: &f64| value.is_finite() && (*value != 0.0 || may_be_zero(text));
            !values.iter().any(|(_, value)| shows(value))
        });
        if left.is_empty() {
            break;
        }
        assert!(demo.child.is_running(), "the demo ended:\n{}", demo.child.text());
        assert!(Instant::now() < deadline, "panels without data: {left:#?}\n{}", demo.child.text());
        pause(Duration::from_secs(1));
    }
    // Its own receiver was told what is wrong with it.
    for alert in ["TlsightPlaintextTraffic", "TlsightPolicyMismatch", "TlsightCertificateExpiresIn7Days"] {
        demo.child.wait_for_line(alert, Duration::from_secs(60));
    }
    assert!(!demo.processes().is_empty());
    demo.child.signal(libc::SIGINT);
    let ended = demo.child.finish(ENDED_WITHIN);
    assert!(ended.status.success(), "{}", ended.text);
    assert!(!demo.directory.exists(), "{} is left", demo.directory.display());
    demo.assert_gone();
}

fn duration() {
    let demo = Demo::start(&["--duration", "1"]);
    let ended = demo.child.finish(ENDED_WITHIN);
    assert!(ended.status.success() && !demo.directory.exists(), "{}", ended.text);
    demo.assert_gone();
}

fn killed() {
    let demo = Demo::start(&[]);
    demo.child.signal(libc::SIGKILL);
    demo.child.finish(ENDED_WITHIN);
    demo.assert_gone();
    std::fs::remove_dir_all(&demo.directory).expect("what nobody was there to remove");
}
