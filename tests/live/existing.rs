//! Connections that are older than the agent: listed when it starts, and named once their bytes prove what they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tlsight_tests::agent::{self, End, Tuple};
use tlsight_tests::child::{Child, command};
use tlsight_tests::expect::Owner;
use tlsight_tests::host::case_address;
use tlsight_tests::peers::{Ask, Server, ServerConfig, ServerStack};
use tlsight_tests::pki::{SERVER_NAME, pki};
use tlsight_tests::run::case;

const LIMIT: Duration = Duration::from_secs(20);

/// Made before the agent starts.
struct Existing {
    tls_at: SocketAddr,
    tls_client: Child,
    tls_server: Server,
    plain: Mutex<(TcpStream, TcpStream)>,
    idle: Mutex<(TcpStream, TcpStream)>,
    /// Whoever listens is the server: without a listener nobody could tell.
    _listeners: [TcpListener; 2],
}

static EXISTING: OnceLock<Existing> = OnceLock::new();

fn connect() -> (Mutex<(TcpStream, TcpStream)>, TcpListener) {
    let listener = TcpListener::bind((case_address(), 0)).expect("listen");
    let at = listener.local_addr().expect("an address");
    let client = TcpStream::connect(at).expect("connect");
    let pair = (client, listener.accept().expect("accept").0);
    (Mutex::new(pair), listener)
}

/// Makes the connections.
pub(crate) fn before() {
    let config = ServerConfig::new(Ask::Never, &pki().server_rsa);
    let tls_server = ServerStack::OpenSsl.start_without(&config, "-www");
    let tls_at = SocketAddr::from((case_address(), tls_server.port));
    let mut cmd = command("openssl", ["s_client", "-connect", &tls_at.to_string(), "-tls1_3", "-servername"]);
    cmd.arg(SERVER_NAME).arg("-CAfile").arg(&pki().ca);
    cmd.env("LD_PRELOAD", "/usr/libexec/coreutils/libstdbuf.so").env("_STDBUF_O", "L");
    let tls_client = Child::spawn_with_input(cmd, Some(b"before\n".to_vec()), |_| None);
    tls_client.wait_for_line("Verify return code", LIMIT);
    tls_server.child.wait_for_line("before", LIMIT);

    let (plain, first) = connect();
    let (idle, second) = connect();
    {
        let mut pair = plain.lock().unwrap();
        pair.0.write_all(b"GET /before HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
        pair.1.read_exact(&mut [0; 33]).expect("read");
        pair.1.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("write");
        pair.0.read_exact(&mut [0; 27]).expect("read");
    }
    let made = Existing { tls_at, tls_client, tls_server, plain, idle, _listeners: [first, second] };
    assert!(EXISTING.set(made).is_ok(), "made once");
}

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("existing::idle_connection_is_listed_as_unknown", idle));
    trials.push(case("existing::http_is_recognized_by_its_next_request", plain));
    trials.push(case("existing::tls_is_recognized_by_its_next_records", tls));
}

fn existing() -> &'static Existing {
    EXISTING.get().expect("made before the agent started")
}

/// Waits until both ends of the connection have a line with these values.
fn wait_for(client: SocketAddr, server: SocketAddr, what: &[(&str, Value)]) -> Option<(End, End)> {
    let agent = agent::shared()?;
    let holds = |end: &End| end.lines.iter().any(|l| what.iter().all(|(k, v)| l.get(*k) == Some(v)));
    let found = agent.wait(LIMIT, |ends| {
        let near = ends.get(&Tuple { local: client, peer: server })?;
        let far = ends.get(&Tuple { local: server, peer: client })?;
        (holds(near) && holds(far)).then(|| (near.clone(), far.clone()))
    });
    Some(found.unwrap_or_else(|| panic!("nothing with {what:?} in:\n{}", agent.seen(server))))
}

/// The first line of each end says that the connection is older than the agent, and whose it is.
fn listed((client, server): &(End, End), owners: [Owner; 2]) {
    for ((end, role), owner) in [(client, "client"), (server, "server")].into_iter().zip(owners) {
        let line = &end.lines[0];
        let get = |key: &str| line.get(key).cloned().unwrap_or_default();
        assert_eq!(get("tlsight.phase"), json!("verdict"), "{line:?}");
        assert_eq!(get("tlsight.security"), json!("unknown"), "{line:?}");
        assert_eq!(get("tlsight.security.reason"), json!("started_before_agent"), "{line:?}");
        assert_eq!(get("tlsight.role"), json!(role), "{line:?}");
        let (Owner::Process(pid, name) | Owner::ShortLived(pid, name, _)) = owner else {
            unreachable!("a process");
        };
        assert_eq!(get("process.pid"), json!(pid), "{line:?}");
        assert_eq!(get("process.executable.name"), json!(name), "{line:?}");
    }
}

fn ends(pair: &(TcpStream, TcpStream)) -> (SocketAddr, SocketAddr) {
    (pair.0.local_addr().expect("an address"), pair.1.local_addr().expect("an address"))
}

fn idle() {
    let pair = existing().idle.lock().unwrap();
    let (client, server) = ends(&pair);
    let unknown = [("tlsight.security", json!("unknown"))];
    if let Some(found) = wait_for(client, server, &unknown) {
        listed(&found, [Owner::this(), Owner::this()]);
    }
}

fn plain() {
    let mut pair = existing().plain.lock().unwrap();
    let (client, server) = ends(&pair);
    pair.0.write_all(b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
    pair.1.read_exact(&mut [0; 32]).expect("read");
    pair.1.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("write");
    let proven = [("tlsight.security", json!("plaintext")), ("network.protocol.name", json!("http"))];
    if let Some(found) = wait_for(client, server, &proven) {
        listed(&found, [Owner::this(), Owner::this()]);
    }
}

fn tls() {
    let e = existing();
    for word in ["one\n", "two\n", "three\n"] {
        e.tls_client.type_in(Some(word.as_bytes()));
        e.tls_server.child.wait_for_line(word.trim(), LIMIT);
    }
    e.tls_client.type_in(Some(b"Q\n"));
    e.tls_client.finish(LIMIT);
    let Some(agent) = agent::shared() else { return };
    // Who the client is cannot be told any more.
    let tls = [
        ("tlsight.security", json!("tls")),
        ("tlsight.security.reason", json!("client_identity_unknown")),
        ("tlsight.phase", json!("final")),
    ];
    let client = agent.wait(LIMIT, |ends| ends.keys().find(|t| t.peer == e.tls_at).map(|t| t.local));
    let client = client.unwrap_or_else(|| panic!("not listed:\n{}", agent.seen(e.tls_at)));
    if let Some(found) = wait_for(client, e.tls_at, &tls) {
        listed(&found, [Owner::from(&e.tls_client), Owner::from(&e.tls_server.child)]);
    }
}
