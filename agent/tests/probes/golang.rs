//! Go, client and server in one process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent_common::{CERTIFICATES_CUT, CERTIFICATES_HAVE_RANDOM, library, peer};

use crate::library::{Scratch, output, points};
use crate::pki::{Chain, chain};
use crate::watch::{Message, Watch, is_off};

fn build(dir: &Path) -> PathBuf {
    let program = dir.join("peer");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-o"]).arg(&program).arg("peer.go");
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes"));
    let tools = PathBuf::from(std::env::var_os("TLSIGHT_TOOLS").unwrap());
    go.env("GOCACHE", tools.join("gocache")).env("GOPATH", tools.join("gopath"));
    go.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("CGO_ENABLED", "0");
    output(&mut go);
    program
}

/// One connection from the program to itself, two if it is to be forgetful; its process.
fn run(program: &Path, version: &str, server: &Chain, client: Option<&Chain>) -> u32 {
    let mut cmd = Command::new(program);
    cmd.arg(version);
    for chain in [Some(server), client].into_iter().flatten() {
        cmd.arg(&chain.all).arg(&chain.key);
    }
    let mut child = cmd.stdin(Stdio::null()).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    child.id()
}

#[track_caller]
fn assert_message(message: &Message, peer: u8, chain: &Chain) {
    let e = &message.event;
    let entries: usize = chain.der.iter().map(|der| 3 + der.len()).sum();
    assert_eq!(
        (e.library, e.peer, e.flags, e.list_len, e.cap_len as usize, e.header.cookie),
        (library::GO, peer, CERTIFICATES_HAVE_RANDOM, 0, entries, 0)
    );
    assert_eq!(message.chain(), chain.der);
}

#[test]
fn hands_over_chains_in_both_roles_with_the_random_of_their_handshake() {
    if is_off() {
        return;
    }
    let scratch = Scratch::new();
    let program = build(&scratch.0);
    let mut watch = Watch::new(&program, &points(&program));
    let mut randoms = Vec::new();
    for length in 1..=4 {
        let server = chain(&scratch.0, "server", length, 0);
        let client = chain(&scratch.0, "client", 5 - length, 0);
        let pid = run(&program, "1.3", &server, Some(&client));
        watch.until(|w| w.messages_of(pid).len() == 2);
        let mut messages = watch.messages_of(pid);
        messages.sort_by_key(|m| m.event.peer);
        let [of_server, of_client] = messages[..] else {
            panic!("{} messages; {:?}", messages.len(), watch.counters(""))
        };
        assert_message(of_server, peer::SERVER, &server);
        assert_message(of_client, peer::CLIENT, &client);
        assert_eq!(of_server.event.client_random, of_client.event.client_random);
        assert!(!randoms.contains(&of_server.event.client_random));
        randoms.push(of_server.event.client_random);
    }
    assert_eq!(watch.counters("certificates_"), [("certificates_go", 8)]);
    assert_eq!(watch.counters("probe_"), [("probe_hits_go", 8), ("probe_hits_go_random", 8)]);
}

/// A program that keeps no log of keys never looks at the label that it hands to the log.
#[test]
fn needs_nothing_that_the_program_has_no_need_of() {
    if is_off() {
        return;
    }
    let scratch = Scratch::new();
    let program = build(&scratch.0);
    let mut watch = Watch::new(&program, &points(&program));
    let (server, client) = (chain(&scratch.0, "server", 2, 0), chain(&scratch.0, "client", 2, 0));
    let pid = run(&program, "forgetful", &server, Some(&client));
    watch.until(|w| w.messages_of(pid).len() == 4);
    assert_eq!(watch.counters("certificates_"), [("certificates_go", 4)]);
    assert_eq!(watch.counters("probe_"), [("probe_hits_go", 4), ("probe_hits_go_random", 4)]);
}

#[test]
fn copies_nothing_in_tls_1_2_nor_of_a_client_that_declined() {
    if is_off() {
        return;
    }
    let scratch = Scratch::new();
    let program = build(&scratch.0);
    let mut watch = Watch::new(&program, &points(&program));
    let (server, client) = (chain(&scratch.0, "server", 2, 0), chain(&scratch.0, "client", 2, 0));
    run(&program, "1.2", &server, Some(&client));
    assert_eq!(watch.counters("certificates_"), []);
    let pid = run(&program, "1.3", &server, None);
    watch.until(|w| w.messages.len() == 1);
    assert_eq!(watch.messages_of(pid)[0].event.peer, peer::SERVER);
    assert_eq!(watch.counters("certificates_"), [("certificates_go", 1)]);
}

#[test]
fn cuts_a_chain_longer_than_an_event() {
    if is_off() {
        return;
    }
    let scratch = Scratch::new();
    let program = build(&scratch.0);
    let mut watch = Watch::new(&program, &points(&program));
    let server = chain(&scratch.0, "server", 18, 0);
    let pid = run(&program, "1.3", &server, None);
    watch.until(|w| w.messages.len() == 1);
    let [message] = watch.messages_of(pid)[..] else { panic!() };
    assert_eq!(message.event.flags, CERTIFICATES_HAVE_RANDOM | CERTIFICATES_CUT);
    assert_eq!(message.chain(), server.der[..agent_common::MAX_CHAIN as usize]);

    let server = chain(&scratch.0, "long", 2, 1200);
    let pid = run(&program, "1.3", &server, None);
    watch.until(|w| w.messages.len() == 2);
    assert_message(watch.messages_of(pid)[0], peer::SERVER, &server);
}
