//! Questions and answers over a real socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::*;
use crate::exit::Exit;
use crate::export::sample;
use crate::pipeline::Sink;
use crate::report::limits::Limits;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tlsight-socket-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("run/tlsight.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(path: &Path) -> (Server, FeedSink) {
    Server::start(path, Limits::default()).expect("a server")
}

fn ask(path: &Path, question: &str) -> serde_json::Value {
    let mut agent = UnixStream::connect(path).expect("connect");
    agent.write_all(question.as_bytes()).expect("ask");
    agent.shutdown(std::net::Shutdown::Write).expect("say that this is all");
    let mut answer = String::new();
    agent.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with('\n') && answer.matches('\n').count() == 1, "{answer}");
    serde_json::from_str(&answer).expect("JSON")
}

#[test]
fn answers_with_what_it_was_fed_and_is_gone_afterwards() {
    let folder = Folder::new("feed");
    let path = folder.socket();
    let (server, mut feed) = start(&path);
    let mode = fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(client::report(&path, None, 1).expect("a report").connections.total, 0);
    feed.observation(&sample::plaintext()).expect("fed");
    feed.process_certificates(&sample::process_certificates(None)).expect("fed");
    feed.flush().expect("flushed");
    let report = client::report(&path, Some(0), 7).expect("a report");
    assert_eq!((report.connections.total, report.certificates.len(), report.min_connections), (1, 1, 7));
    assert_eq!(report.timestamp, "1970-01-01T00:00:00Z");
    drop(server);
    assert!(!path.exists());
    let failure = client::report(&path, None, 1).expect_err("nobody is there");
    assert_eq!(failure.exit, Exit::InputUnreadable);
    // The pipeline goes on.
    feed.observation(&sample::plaintext()).expect("fed");
    feed.flush().expect("flushed");
}

#[test]
fn what_a_killed_agent_left_behind_is_taken_over() {
    let folder = Folder::new("stale");
    let path = folder.0.join("s");
    drop(UnixListener::bind(&path).expect("bind"));
    assert!(path.exists());
    let (_server, _feed) = start(&path);
    assert!(client::report(&path, None, 1).is_ok());
}

#[test]
fn neither_another_agent_nor_a_file_is_pushed_aside() {
    let folder = Folder::new("taken");
    let path = folder.0.join("s");
    let (server, _feed) = start(&path);
    let failure = Server::start(&path, Limits::default()).expect_err("there is one");
    assert!(failure.to_string().contains("another tlsight answers there"), "{failure}");
    assert!(client::report(&path, None, 1).is_ok());
    drop(server);
    fs::write(&path, "mine").expect("a file");
    let failure = Server::start(&path, Limits::default()).expect_err("a file");
    assert!(failure.to_string().contains("no socket"), "{failure}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "mine");
}

#[test]
fn the_socket_of_a_later_agent_stays() {
    let folder = Folder::new("later");
    let path = folder.0.join("s");
    let (first, _feed) = start(&path);
    fs::remove_file(&path).expect("removed by hand");
    let (_second, _feed) = start(&path);
    drop(first);
    assert!(client::report(&path, None, 1).is_ok());
}

#[test]
fn questions_that_are_none_get_a_reason() {
    let folder = Folder::new("questions");
    let path = folder.0.join("s");
    let (_server, _feed) = start(&path);
    let long = format!("{}\n", " ".repeat(10_000));
    for (question, code) in [
        ("hello\n", "bad_request"),
        ("{\"tlsight.protocol\":1,\"command\":\"report\"}", "bad_request"),
        (long.as_str(), "bad_request"),
        ("{\"tlsight.protocol\":2,\"command\":\"report\"}\n", "unsupported_version"),
        ("{\"tlsight.protocol\":1,\"command\":\"stop\"}\n", "unknown_command"),
    ] {
        let answer = ask(&path, question);
        assert_eq!(answer["error"]["code"], code, "{question:.60} {answer}");
        assert_eq!(answer["tlsight.protocol"], 1);
    }
}

#[test]
fn clients_beyond_the_bound_are_told_to_come_back() {
    let folder = Folder::new("busy");
    let path = folder.0.join("s");
    let (_server, _feed) = start(&path);
    let silent: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(&path).expect("connect")).collect();
    let mut answer = String::new();
    let mut late = UnixStream::connect(&path).expect("connect");
    late.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("\"busy\""), "{answer}");
    drop(silent);
    let again = (0..200).any(|_| {
        std::thread::park_timeout(std::time::Duration::from_millis(10));
        client::report(&path, None, 1).is_ok()
    });
    assert!(again);
}

#[test]
fn what_the_report_cannot_keep_up_with_is_dropped_and_counted() {
    let (to, from) = std::sync::mpsc::sync_channel(1);
    let (top, _asker) = crate::top::keeper::start(Default::default()).expect("a thread");
    let mut feed = FeedSink::new(to, top);
    // Nobody takes anything: one batch fits the queue, a bounded amount is held.
    for _ in 0..20_000 {
        feed.observation(&sample::everything()).expect("fed");
    }
    let mut lines = 0;
    let mut dropped = 0;
    loop {
        feed.flush().expect("flushed");
        match from.try_recv() {
            Ok(server::Message::Lines { lines: taken, dropped: n }) => {
                lines += taken.len();
                dropped += n;
            }
            _ => break,
        }
    }
    assert_eq!((lines as u64 + dropped, dropped > 0), (20_000, true));
}
