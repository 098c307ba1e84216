//! `tlsight top` on a terminal: the real program asks an agent's socket, draws, takes keys, and gives the terminal back.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use agent_core::engine::EngineConfig;
use agent_core::policy::settings::Settings;
use serde_json::{Value, json};
use tlsight::export::silent::SilentSink;
use tlsight::filter::Filter;
use tlsight::judging::Judging;
use tlsight::pipeline::{Phases, Pipeline, View};
use tlsight::report::limits::Limits;
use tlsight::report::socket::Server;
use tlsight::source::pcap::flow::FlowLimits;
use tlsight::source::pcap::run::CaptureReader;

/// An agent that has seen what is in a capture, and answers until it is dropped.
struct Answering {
    folder: PathBuf,
    _server: Server,
}

impl Answering {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tlsight-top-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (server, feed) = Server::start(&folder.join("s"), Limits::default()).expect("a server");
        let view =
            View { filter: Filter::default(), phases: Phases::All, client_is_local: true, count: None };
        let config = EngineConfig { seen_at_local_end: false, ..EngineConfig::default() };
        let mut pipeline = Pipeline::new(config, view, Box::new(SilentSink))
            .with_judging(Judging::new(Settings::default()).expect("settings"))
            .with_recorder(Box::new(feed));
        let capture = common::tests().join("captures/nginx-curl.pcapng");
        let file = fs::File::open(capture).expect("a capture");
        CaptureReader::new(FlowLimits::default()).run(file, &mut pipeline, &mut |_| {}).expect("read");
        Self { folder, _server: server }
    }

    fn socket(&self) -> String {
        self.folder.join("s").to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs a program on a terminal of its own.
fn on_a_terminal(size: (u16, u16), program: &[&str], steps: &[Value]) -> Value {
    let mut child = Command::new("python3")
        .arg(common::tests().join("peers/python/terminal.py"))
        .args([size.0.to_string(), size.1.to_string()])
        .args(program)
        .env("TERM", "xterm-256color")
        .env("TZ", "UTC")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run python3");
    let text: String = steps.iter().map(|step| format!("{step}\n")).collect();
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{}", common::text(&output.stdout));
    serde_json::from_str(common::text(&output.stdout).trim()).expect("JSON")
}

fn assert_given_back(result: &Value) {
    let what = (&result["restored"], &result["alternate"], &result["cursor"], &result["entered"]);
    assert_eq!(what, (&json!(true), &json!(false), &json!(true), &json!(1)), "{result:#}");
}

const TLSIGHT: &str = env!("CARGO_BIN_EXE_tlsight");

#[test]
fn keys_and_a_new_size_change_the_screen_and_the_terminal_is_given_back() {
    let agent = Answering::new("keys");
    let socket = agent.socket();
    let result = on_a_terminal(
        (80, 24),
        &[TLSIGHT, "top", "--socket", &socket],
        &[
            json!({"expect": "[1 Services 4]"}),
            json!({"expect": "28444"}),
            json!({"screen": "services"}),
            json!({"send": "2"}),
            json!({"expect": "CN=server.test"}),
            json!({"send": "\r"}),
            json!({"expect": "SHA-256"}),
            json!({"send": "\u{1b}"}),
            json!({"expect": "SHOWN BY"}),
            json!({"send": "4/28080\r"}),
            json!({"expect": "filter: 28080"}),
            json!({"resize": [200, 50]}),
            json!({"expect": "CLIENT"}),
            json!({"screen": "wide"}),
            json!({"resize": [20, 5]}),
            json!({"expect": ">"}),
            json!({"send": "q"}),
            json!({"end": true}),
        ],
    );
    assert_eq!(result["status"], 0, "{result:#}");
    assert_given_back(&result);
    let services = result["screens"]["services"].as_str().expect("a screen");
    assert_eq!(services.lines().count(), 24, "{services}");
    assert!(services.starts_with("tlsight top agent at "), "{services}");
    assert!(services.lines().all(|line| line.chars().count() <= 80), "{services}");
    let wide = result["screens"]["wide"].as_str().expect("a screen");
    assert!(wide.contains("28080") && !wide.contains("28443"), "{wide}");
    // Nothing of the view is left on the screen that was there before.
    assert!(!result["main"].as_str().expect("text").contains("Services"), "{result:#}");
}

#[test]
fn signals_and_control_c_give_the_terminal_back_too() {
    let agent = Answering::new("signals");
    let socket = agent.socket();
    // SIGHUP, SIGINT, SIGQUIT, SIGTERM; and the key.
    let ends = [
        json!({"signal": 1}),
        json!({"signal": 2}),
        json!({"signal": 3}),
        json!({"signal": 15}),
        json!({"send": "\u{3}"}),
    ];
    for end in ends {
        let steps = [json!({"expect": "Services"}), end.clone(), json!({"end": true})];
        let result = on_a_terminal((80, 24), &[TLSIGHT, "top", "--socket", &socket], &steps);
        assert_eq!(result["status"], 0, "{end}: {result:#}");
        assert_given_back(&result);
    }
}

#[test]
fn an_agent_that_goes_away_is_said_to_be_gone_and_what_it_said_stays() {
    let agent = Answering::new("gone");
    let socket = agent.socket();
    // Takes the socket away when the view was up for a while, as an agent does that ends.
    let script = format!("(sleep 2; rm {socket}) & exec {TLSIGHT} top --socket {socket}");
    let steps = [
        json!({"expect": "28444"}),
        json!({"expect": "nobody answers there"}),
        json!({"screen": "gone"}),
        json!({"send": "q"}),
        json!({"end": true}),
    ];
    let result = on_a_terminal((100, 24), &["sh", "-c", &script], &steps);
    let gone = result["screens"]["gone"].as_str().expect("a screen");
    assert!(gone.contains("28444") && gone.contains("[NO NEWS]"), "{gone}");
    assert_given_back(&result);
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let agent = Answering::new("pipe");
    let output = common::run(&["top", "--socket", &agent.socket()]);
    assert_eq!(output.status.code(), Some(2));
    let said = common::text(&output.stderr);
    assert!(
        said.contains("standard output is not a terminal") && said.contains("--snapshot 80x24"),
        "{said}"
    );
}

#[test]
fn one_screen_is_printed_as_text_after_keys() {
    let agent = Answering::new("snapshot");
    let socket = agent.socket();
    let page = |args: &[&str]| {
        let output = common::run(&[&["top", "--socket", &socket, "--snapshot", "80x24"], args].concat());
        assert!(output.status.success(), "{}", common::text(&output.stderr));
        common::text(&output.stdout)
    };
    let services = page(&[]);
    assert_eq!(services.lines().count(), 24, "{services}");
    assert!(services.contains("[1 Services 4]") && !services.contains('\u{1b}'), "{services}");
    let certificate = page(&["--keys", "2,enter"]);
    assert!(certificate.contains("SHA-256"), "{certificate}");
}

#[test]
fn an_agent_that_is_not_there_is_told_before_the_screen_is_taken() {
    let output = common::run(&["top", "--socket", "/nonexistent/s", "--snapshot", "80x24"]);
    assert_eq!(output.status.code(), Some(3));
    let said = common::text(&output.stderr);
    assert!(said.contains("nobody answers there") && said.contains("tlsight agent"), "{said}");
}
