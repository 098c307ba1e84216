//! `tlsight agent` with a collector: what arrives, and what happens when the collector does not do its part.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::host::{free_port, pause};
use tlsight_tests::pki::{SERVER_NAME, pki};
use tlsight_tests::rotel::{Attributes, Received, Rotel, free};
use tlsight_tests::run::case;
use tlsight_tests::service::Service;

const LIMIT: Duration = Duration::from_secs(30);

/// Adds the cases. Each brings an agent and a collector of its own.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("otlp::both_ends_of_a_handshake_arrive_and_the_exporters_own_do_not", both_ends));
    trials.push(case("otlp::a_collector_that_is_killed_costs_nothing_else", killed));
}

fn agent(rotel: &Rotel, protocol: &str) -> Service {
    let endpoint = if protocol == "grpc" { rotel.grpc } else { rotel.http };
    // The agent tells of all that goes on on this host, and other cases are busy.
    let queue = "queue: {delay: 100ms, max_size: 50000}";
    let configuration = format!(
        "tls13: {{certificates: off}}\ntrust: {{system_roots: off}}\notlp:\n  endpoint: http://{endpoint}\n  \
         protocol: {protocol}\n  timeout: 1s\n  traces: {{{queue}}}\n  logs: {{{queue}}}\n"
    );
    Service::start("otlp", &configuration)
}

/// A server of OpenSSL that wants no certificate, and a client that asks it once.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let port = free_port();
        let mut server = command("openssl", ["s_server", "-www", "-tls1_2", "-accept", &port.to_string()]);
        server.arg("-cert").arg(&pki().server_p256.cert).arg("-key").arg(&pki().server_p256.key);
        let child = Child::spawn(server);
        let deadline = Instant::now() + LIMIT;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{}", child.text());
            pause(Duration::from_millis(20));
        }
        Self { child, port }
    }

    fn ask(&self) {
        let url = format!("https://{SERVER_NAME}:{}/", self.port);
        let to = format!("{SERVER_NAME}:{}:127.0.0.1", self.port);
        let mut client = command("curl", ["--silent", "--noproxy", "*", "--resolve", &to, &url, "--cacert"]);
        client.arg(&pki().ca);
        output(client);
    }

    /// Of what was received: spans of its handshakes that completed, and plaintext connections to these other ports.
    fn of(&self, mut received: Received, others: &[u16]) -> Received {
        received.spans.retain(|span| {
            is_at(&span.attributes, self.port)
                && span.attributes.get("tls.established").is_some_and(|value| value == "Bool(true)")
        });
        received.plaintext.retain(|event| others.iter().any(|port| is_at(event, *port)));
        received
    }
}

fn is_at(attributes: &Attributes, port: u16) -> bool {
    attributes.get("server.port") == Some(&format!("Int({port})"))
}

fn both_ends() {
    for protocol in ["grpc", "http/protobuf"] {
        let rotel = Rotel::start();
        let agent = agent(&rotel, protocol);
        let server = Server::start();
        server.ask();
        let plain = format!("{}/healthz", agent.url);
        output(command("curl", ["--silent", "--noproxy", "*", &plain]));
        let endpoint: u16 = agent.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let others = [endpoint, rotel.grpc.port(), rotel.http.port()];
        let received = rotel.received(
            |all| server.of(all, &others),
            |got| {
                let asked = got.plaintext.iter().filter(|event| is_at(event, endpoint));
                got.spans.len() == 2 && asked.count() == 2
            },
        );
        let spans = &received.spans;
        let told: BTreeSet<[&str; 6]> = spans
            .iter()
            .map(|span| {
                let of = |key: &str| span.attributes.get(key).map_or("", String::as_str);
                let executable = of("process.executable.name");
                [
                    &span.name,
                    &span.kind,
                    &span.status,
                    of("tls.protocol.version"),
                    of("tls.server.hash.sha256"),
                    executable,
                ]
                .map(|text: &str| text)
            })
            .collect();
        let client = format!("TLS client handshake {SERVER_NAME}");
        let hash = format!("Str({})", pki().server_p256.sha256);
        let rest = |name, executable| {
            [name, "SPAN_KIND_INTERNAL", "STATUS_CODE_UNSET", "Str(1.2)", &hash, executable]
        };
        let expected = [rest(client.as_str(), "Str(curl)"), rest("TLS server handshake", "Str(openssl)")];
        assert_eq!(told, BTreeSet::from(expected));
        assert!(spans.iter().all(|span| span.lasted.is_some_and(|lasted| lasted > 0)), "{spans:?}");
        // The exporter's own connections: they were made, and nothing is said of them, at neither end.
        let own = received.plaintext.iter().filter(|event| !is_at(event, endpoint));
        assert_eq!(own.collect::<Vec<_>>(), [] as [&Attributes; 0]);
        server.child.stop();
        assert!(agent.stop().status.success(), "{}", agent.child.text());
    }
}

fn killed() {
    let (grpc, http) = (free(), free());
    let rotel = Rotel::start_at(grpc, http);
    let agent = agent(&rotel, "grpc");
    let server = Server::start();
    server.ask();
    rotel.received(|all| server.of(all, &[]), |got| got.spans.len() == 2);
    rotel.child.stop();
    let before = resident(agent.child.pid);
    for _ in 0..100 {
        server.ask();
    }
    assert_eq!(agent.get("/healthz", &[]).status, 200);
    let grown = resident(agent.child.pid).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    agent.child.wait_for_line("cannot export spans", LIMIT);
    let again = Rotel::start_at(grpc, http);
    // What was under way is lost; what comes next arrives.
    let deadline = Instant::now() + LIMIT;
    while !agent.child.text().contains("can be exported again") {
        assert!(Instant::now() < deadline, "{}", agent.child.text());
        server.ask();
        pause(Duration::from_millis(200));
    }
    again.received(|all| server.of(all, &[]), |got| got.spans.len() >= 2);
    server.child.stop();
    assert!(agent.stop().status.success(), "{}", agent.child.text());
}

/// Bytes of a process in memory.
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("it runs");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}
