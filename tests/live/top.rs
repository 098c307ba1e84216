//! `tlsight top` on a real terminal: by itself, and of a running agent, while real servers have clients of three kinds.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tlsight_tests::agent::{Agent, binary};
use tlsight_tests::child::{Child, command};
use tlsight_tests::host::{case_address, free_port, wait_until_listening};
use tlsight_tests::peers::{Ask, ServerConfig, ServerStack};
use tlsight_tests::pki::{Identity, SERVER_NAME, pki};
use tlsight_tests::run::case;
use tlsight_tests::tools::{repository, scratch_dir};

const LIMIT: Duration = Duration::from_secs(30);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("top::shows_what_it_captures_by_itself", by_itself));
    trials.push(case("top::shows_what_a_running_agent_knows", of_an_agent));
}

const POLICY: &str = "\
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata: {name: mutual}
spec:
  selector: {ports: [PORT]}
  expect: strict
";

fn redis(port: u16) -> Child {
    let mut cmd =
        command("redis-server", ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir"]);
    cmd.arg(scratch_dir("redis")).args(["--bind", "0.0.0.0", "--port", &port.to_string()]);
    let server = Child::spawn(cmd);
    let up = wait_until_listening(([127, 0, 0, 1], port).into(), LIMIT, || server.is_running());
    assert!(up, "{}", server.text());
    server
}

fn curl(to: SocketAddr, identity: Option<&Identity>) -> Child {
    let mut curl = command("curl", ["--silent", "--show-error", "--noproxy", "*"]);
    curl.arg("--cacert").arg(&pki().ca);
    if let Some(identity) = identity {
        curl.arg("--cert").arg(&identity.cert).arg("--key").arg(&identity.key);
    }
    curl.arg("--resolve").arg(format!("{SERVER_NAME}:{}:{}", to.port(), to.ip()));
    curl.arg(format!("https://{SERVER_NAME}:{}/", to.port()));
    Child::spawn(curl)
}

fn ping(to: SocketAddr) -> Child {
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    Child::spawn(command("redis-cli", ["-h", &address, "-p", &port, "PING"]))
}

/// A program on a terminal of its own, as tests/peers/python/terminal.py runs it.
struct Terminal {
    child: std::process::Child,
    done: BufReader<ChildStdout>,
}

impl Terminal {
    fn new(arguments: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .arg(repository().join("tests/peers/python/terminal.py"))
            .args(["120", "30"])
            .arg(binary())
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3");
        let done = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, done }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.done.read_line(&mut line).expect("read");
        assert!(!line.is_empty(), "the terminal ended; its reason is on standard error");
        line
    }

    /// Takes a step, and waits until it is done.
    fn step(&mut self, step: &Value) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{step}").expect("write");
        self.line();
    }

    fn end(mut self) -> Value {
        self.step(&json!({"end": true}));
        drop(self.child.stdin.take());
        let result: Value = serde_json::from_str(&self.line()).expect("what came of it");
        assert!(self.child.wait().expect("its end").success());
        assert_eq!(result["status"], json!(0), "{result:#}");
        let given_back = (&result["restored"], &result["alternate"], &result["cursor"]);
        assert_eq!(given_back, (&json!(true), &json!(false), &json!(true)), "{result:#}");
        result
    }
}

/// The row of a service with this port.
fn row(screen: &str, port: u16) -> String {
    let found = screen.lines().find(|line| line.contains(&format!(":{port} ")));
    found.unwrap_or_else(|| panic!("no service with port {port} on\n{screen}")).to_owned()
}

fn numbers(row: &str) -> Vec<u64> {
    row.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn by_itself() {
    let redis_port = free_port();
    let _redis = redis(redis_port);
    let nginx = ServerStack::Nginx.start(&ServerConfig::new(Ask::Optional, &pki().server_p256));
    let ports = format!("{redis_port},{}", nginx.port);
    let policy = scratch_dir("top").join("policy.yaml");
    std::fs::write(&policy, POLICY.replace("PORT", &nginx.port.to_string())).expect("written");
    let policy = policy.to_str().expect("UTF-8");
    let mut terminal = Terminal::new(&[
        "top",
        "--own",
        "--port",
        &ports,
        "--no-existing",
        "--no-system-roots",
        "--policy",
        policy,
    ]);
    // Once it is drawn it watches: what comes now is seen.
    terminal.step(&json!({"expect": "no connection was seen yet"}));
    let at = |port: u16| SocketAddr::from((case_address(), port));
    for _ in 0..2 {
        for client in
            [ping(at(redis_port)), curl(at(nginx.port), None), curl(at(nginx.port), Some(&pki().client))]
        {
            client.finish(LIMIT);
        }
    }
    terminal.step(
        &json!({"expect": "6 connections, 0 open: 33 % plaintext, 33 % TLS, 33 % mutual TLS, 0 % unknown"}),
    );
    terminal.step(&json!({"expect": "strict NO  critical"}));
    terminal.step(&json!({"screen": "services"}));
    terminal.step(&json!({"send": "/strict no\r"}));
    terminal.step(&json!({"expect": "filter: strict no"}));
    terminal.step(&json!({"send": "\r"}));
    terminal.step(&json!({"expect": "NOT met by"}));
    terminal.step(&json!({"screen": "service"}));
    terminal.step(&json!({"send": "2"}));
    terminal.step(&json!({"expect": "CN=server.tlsight.test"}));
    terminal.step(&json!({"send": "3"}));
    terminal.step(&json!({"expect": "mtls_missing"}));
    terminal.step(&json!({"send": "4"}));
    terminal.step(&json!({"expect": "mutual TLS"}));
    terminal.step(&json!({"screen": "connections"}));
    terminal.step(&json!({"send": "q"}));
    let result = terminal.end();
    let screen = |name: &str| result["screens"][name].as_str().expect("a screen").to_owned();
    let services = screen("services");
    assert!(services.starts_with("tlsight top own capture"), "{services}");
    let (redis_row, nginx_row) = (row(&services, redis_port), row(&services, nginx.port));
    // Plaintext, TLS, mutual TLS, unknown.
    assert_eq!(numbers(&redis_row)[..4], [2, 0, 0, 0], "{services}");
    assert_eq!(numbers(&nginx_row)[..4], [0, 2, 2, 0], "{services}");
    assert!(nginx_row.contains("strict NO") && nginx_row.contains("critical"), "{services}");
    assert!(nginx_row.contains("nginx:"), "{services}");
    let service = screen("service");
    assert!(service.contains("curl") && service.contains("TLS 1.3"), "{service}");
    let connections = screen("connections");
    assert!(connections.contains("redis-cli") && connections.contains("plaintext"), "{connections}");
}

fn of_an_agent() {
    let nginx = ServerStack::Nginx.start(&ServerConfig::new(Ask::Required, &pki().server_rsa));
    let socket = scratch_dir("top").join("run/tlsight.sock");
    let socket = socket.to_str().expect("UTF-8");
    let port = nginx.port.to_string();
    let agent =
        Agent::start_as(&["--socket", socket, "--port", &port, "--no-existing", "--no-system-roots"], |_| {});
    let to = SocketAddr::from((case_address(), nginx.port));
    for _ in 0..3 {
        curl(to, Some(&pki().client)).finish(LIMIT);
    }
    agent.connections(to, 3);
    let mut terminal = Terminal::new(&["top", "--socket", socket]);
    // What was before it asked is there.
    terminal.step(&json!({"expect": format!("nginx:{port} ")}));
    terminal.step(&json!({"screen": "services"}));
    terminal.step(&json!({"send": "q"}));
    let result = terminal.end();
    let services = result["screens"]["services"].as_str().expect("a screen");
    assert_eq!(numbers(&row(services, nginx.port))[..4], [0, 0, 3, 0], "{services}");
    let snapshot = Command::new(binary())
        .args(["top", "--socket", socket, "--snapshot", "160x40", "--keys", "2"])
        .output()
        .expect("run tlsight");
    let text = String::from_utf8(snapshot.stdout).expect("UTF-8");
    assert!(text.contains("CN=server.tlsight.test") && text.contains("[2 Certificates"), "{text}");
    agent.stop().expect("ends well");
}
