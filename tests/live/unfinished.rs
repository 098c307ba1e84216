//! Probes switched off, and processes that die in the middle of a handshake.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;
use tlsight_tests::agent::{Agent, End};
use tlsight_tests::child::{Child, command};
use tlsight_tests::expect::{Expect, Owner};
use tlsight_tests::host::{case_address, free_port, pause};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, Server, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{Identity, SERVER_NAME, pki};
use tlsight_tests::run::case_alone;
use tlsight_tests::tools::{peer_source, venv};

use crate::support::{address, only_success, owner};

const LIMIT: Duration = Duration::from_secs(60);
/// Deaths.
const MANY: usize = 200;

/// Adds the cases. Each brings an agent of its own.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    for (client, server) in [
        (ClientStack::OpenSsl, ServerStack::Go),
        (ClientStack::Go, ServerStack::Nginx),
        (ClientStack::GnuTls, ServerStack::Node),
        (ClientStack::Node, ServerStack::GnuTls),
    ] {
        let name = format!("unfinished::probes_off::{client:?}_to_{server:?}").to_lowercase();
        trials.push(case_alone(name, move || off(client, server)));
    }
    for server in [ServerStack::Nginx, ServerStack::Go, ServerStack::GnuTls] {
        let name = format!("unfinished::clients_of_{server:?}_die").to_lowercase();
        trials.push(case_alone(name, move || clients_die(server)));
    }
    for client in [ClientStack::OpenSsl, ClientStack::Go, ClientStack::GnuTls, ClientStack::Node] {
        let name = format!("unfinished::server_dies_before_{client:?}").to_lowercase();
        trials.push(case_alone(name, move || server_dies(client)));
    }
}

/// An agent that shows connections to this port.
fn agent(port: u16, more: &[&str]) -> Agent {
    let port = port.to_string();
    Agent::start(&[&["--stats", "--no-existing", "--port", &port], more].concat())
}

/// TLS 1.3 without probes is what it is without a library that can be probed, and nothing is in anybody's way.
fn off(client: ClientStack, stack: ServerStack) {
    let server = stack.start(&ServerConfig::new(Ask::Optional, &pki().server_rsa));
    let agent = agent(server.port, &["--tls13-certificates", "off"]);
    for (identity, certificate) in [(None, "declined"), (Some(&pki().client), "sent")] {
        let at = address(&server);
        let config = ClientConfig { identity, ..ClientConfig::new(at).version(Version::Tls13) };
        let ran = client.run(&config);
        let said = only_success(&ran);
        let mut expect = Expect::handshake(Version::Tls13, certificate);
        let tls = expect.tls();
        tls.cipher.clone_from(&said.cipher);
        tls.group = said.group.clone().or_else(|| Some("x25519".to_owned()));
        tls.server_name = Some(SERVER_NAME);
        expect.client = Owner::from(&ran);
        expect.server = owner(stack, &server);
        expect.check(&agent, at);
    }
    assert_eq!(agent.descriptors().get("anon_inode:[perf_event]"), None, "{:?}", agent.descriptors());
    agent.stop().expect("a clean end");
    for library in ["openssl", "gnutls", "go"] {
        assert_eq!(agent.counter(&format!("kernel.probe_hits_{library}")), 0, "{library}");
    }
}

/// What must not grow.
fn held(agent: &Agent) -> (usize, Vec<(String, usize)>) {
    (agent.descriptors().values().sum(), agent.map_entries().into_iter().collect())
}

/// Runs `die` under an agent of its own, and checks that nothing is left of it and that what comes after is seen whole.
fn nothing_is_left(
    port: u16,
    at: SocketAddr,
    ends: usize,
    securities: &[&str],
    die: impl FnOnce(),
    after: impl FnOnce(&Agent),
) {
    let agent = agent(port, &[]);
    let before = held(&agent);
    die();
    for (client, server) in agent.connections(at, ends) {
        for end in [client, server] {
            unfinished(&end, securities);
        }
    }
    // Sockets of others come and go meanwhile: it is enough that hundreds do not stay.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = held(&agent);
        let pairs = now.1.iter().zip(&before.1);
        if now.0 <= before.0 + 8 && pairs.clone().all(|(now, before)| now.1 <= before.1 + MANY / 2) {
            break;
        }
        assert!(Instant::now() < deadline, "before: {before:?}\nafter: {now:?}");
        pause(Duration::from_millis(100));
    }
    after(&agent);
    agent.stop().expect("a clean end");
}

/// Nothing was exchanged; a certificate is told only if it is the one that was shown.
fn unfinished(end: &End, securities: &[&str]) {
    let line = end.phase("final").expect("a last line");
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    assert!(text("tlsight.security").is_some_and(|s| securities.contains(&s)), "{line:?}");
    assert_eq!(text("tls.client.hash.sha256"), None, "{line:?}");
    if let Some(sha256) = text("tls.server.hash.sha256") {
        assert_eq!(sha256, shown().sha256, "{line:?}");
    }
}

fn shown() -> &'static Identity {
    &pki().server_p256
}

fn python(script: &str) -> std::process::Command {
    command(venv("python3"), [peer_source("python").join(script)])
}

/// A client that is well.
fn well(agent: &Agent, client: ClientStack, stack: ServerStack, server: &Server) {
    let at = address(server);
    let ran = client.run(&ClientConfig::new(at).version(Version::Tls13).identity(&pki().client));
    only_success(&ran);
    let (near, far) = agent.connections(at, 1).remove(0);
    for end in [near, far] {
        let line = end.phase("final").expect("a last line");
        let text = |key: &str| line.get(key).and_then(Value::as_str);
        assert_eq!(text("tls.server.hash.sha256"), Some(shown().sha256.as_str()), "{stack:?}: {line:?}");
        assert_eq!(text("tls.client.hash.sha256"), Some(pki().client.sha256.as_str()), "{stack:?}: {line:?}");
    }
}

fn clients_die(stack: ServerStack) {
    let server = stack.start(&ServerConfig::new(Ask::Required, shown()));
    let at = address(&server);
    let die = || {
        let mut cmd = python("die.py");
        cmd.args(["client", &at.ip().to_string(), &at.port().to_string(), &MANY.to_string()]);
        cmd.arg(&pki().ca).arg(&pki().client.cert).arg(&pki().client.key);
        let died = Child::spawn(cmd);
        let ended = died.finish(LIMIT);
        assert!(ended.text.contains("all died"), "{}", ended.text);
    };
    let after = |agent: &Agent| well(agent, ClientStack::Python, stack, &server);
    nothing_is_left(server.port, at, MANY, &["unknown"], die, after);
}

fn server_dies(client: ClientStack) {
    let port = free_port();
    let mut cmd = python("die.py");
    cmd.args(["server", &port.to_string()]).arg(&shown().cert).arg(&shown().key);
    let child = Child::spawn(cmd);
    child.wait_for_line("listening", LIMIT);
    let at = SocketAddr::from((case_address(), port));
    let times = 10;
    let die = || {
        for _ in 0..times {
            let ran = client.run(&ClientConfig::new(at).version(Version::Tls13));
            assert!(!ran.said.iter().any(|s| s.body.contains("200 OK")), "{}", ran.text);
        }
    };
    // A client that was asked for nothing is through when it has sent its Finished, whether anybody reads it or not.
    nothing_is_left(port, at, times, &["unknown", "tls"], die, |_| ());
}
