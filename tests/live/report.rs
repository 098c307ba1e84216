//! `tlsight report` asks a running agent through its socket, while real servers have clients of three kinds: in plaintext,
//! without a client certificate, and with one.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Map, Value, json};
use tlsight_tests::agent::{Agent, Object, binary};
use tlsight_tests::child::{Child, command};
use tlsight_tests::host::{case_address, free_port, pause, wait_until_listening};
use tlsight_tests::peers::{Ask, ServerConfig, ServerStack};
use tlsight_tests::pki::{Identity, SERVER_NAME, pki};
use tlsight_tests::run::case;
use tlsight_tests::tools::scratch_dir;

const LIMIT: Duration = Duration::from_secs(30);

/// Adds the case.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("report::asks_the_running_agent", ask));
}

/// A server that takes connections and says nothing, until it is dropped: programs that call it second keep running, and can
/// be looked at.
struct Hold {
    at: SocketAddr,
    taken: Receiver<TcpStream>,
}

impl Hold {
    fn new() -> Self {
        let listener = TcpListener::bind((case_address(), free_port())).expect("listen");
        let (at, (to, taken)) = (listener.local_addr().expect("an address"), channel());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if to.send(client).is_err() {
                    break;
                }
            }
        });
        Self { at, taken }
    }

    /// curl, once it has its answer from `to`; it ends when the connection does.
    fn curl(&self, to: SocketAddr, identity: Option<&Identity>, arguments: &[&str]) -> (Child, TcpStream) {
        let mut curl = command("curl", ["--silent", "--show-error", "--noproxy", "*"]);
        curl.args(arguments).arg("--cacert").arg(&pki().ca);
        if let Some(identity) = identity {
            curl.arg("--cert").arg(&identity.cert).arg("--key").arg(&identity.key);
        }
        curl.arg("--resolve").arg(format!("{SERVER_NAME}:{}:{}", to.port(), to.ip()));
        curl.arg(format!("https://{SERVER_NAME}:{}/", to.port())).arg(format!("http://{}/", self.at));
        let child = Child::spawn(curl);
        let held = self.taken.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{child:?}:\n{}", child.text()));
        (child, held)
    }
}

fn redis(port: u16) -> Child {
    let mut cmd =
        command("redis-server", ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir"]);
    cmd.arg(scratch_dir("redis")).args(["--bind", "0.0.0.0", "--port", &port.to_string()]);
    let server = Child::spawn(cmd);
    let up = wait_until_listening(([127, 0, 0, 1], port).into(), LIMIT, || server.is_running());
    assert!(up, "{}", server.text());
    server
}

fn ask() {
    let redis_port = free_port();
    let _redis = redis(redis_port);
    let either = ServerStack::Nginx.start(&ServerConfig::new(Ask::Optional, &pki().server_p256));
    let strict = ServerStack::Nginx.start(&ServerConfig::new(Ask::Required, &pki().server_rsa));
    let socket = scratch_dir("report").join("run/tlsight.sock");
    let socket = socket.to_str().expect("UTF-8");
    let ports = format!("{redis_port},{},{}", either.port, strict.port);
    let agent = Agent::start_as(
        &[
            "--socket",
            socket,
            "--port",
            &ports,
            "--no-existing",
            "--no-system-roots",
            "--tls13-certificates",
            "off",
        ],
        |_| {},
    );
    let mode = std::fs::metadata(socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let at = |port: u16| SocketAddr::from((case_address(), port));
    let hold = Hold::new();
    let (to_redis, to_either, to_strict) = (at(redis_port), at(either.port), at(strict.port));
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(hold.curl(to_either, None, &[]));
        held.push(hold.curl(to_strict, Some(&pki().client), &["--tls-max", "1.2"]));
    }
    held.push(hold.curl(to_either, Some(&pki().client), &[]));
    let cli =
        ["-h", &to_redis.ip().to_string(), "-p", &redis_port.to_string(), "-r", "5", "-i", "0.2", "PING"]
            .map(str::to_owned);
    let clients: Vec<Child> = (0..3).map(|_| Child::spawn(command("redis-cli", cli.clone()))).collect();
    // While they are open they count.
    let open = wait_for_report(socket, 8);
    assert_eq!(open["connections"]["total"], json!(8), "{open:#}");
    for (curl, held) in held {
        drop(held);
        curl.finish(LIMIT);
    }
    for client in clients {
        let ended = client.finish(LIMIT);
        assert!(ended.text.contains("PONG"), "{}", ended.text);
    }
    let mut ends = agent.connections(to_redis, 3);
    ends.extend(agent.connections(to_either, 3));
    ends.extend(agent.connections(to_strict, 2));
    // The same lines from a file are the same report, once the agent has taken in the last of them.
    let lines = ends.iter().flat_map(|(client, server)| client.lines.iter().chain(&server.lines));
    let text: String = lines.map(|line: &Object| Value::Object(line.clone()).to_string() + "\n").collect();
    let file = scratch_dir("report").join("watch.jsonl");
    std::fs::write(&file, text).expect("write the lines");
    let from_file = report(&[file.to_str().expect("UTF-8")]);
    let deadline = Instant::now() + LIMIT;
    let answered = loop {
        let answered = report(&["--socket", socket]);
        if answered["services"] == from_file["services"] || Instant::now() > deadline {
            break answered;
        }
        pause(Duration::from_millis(50));
    };
    check(&answered, [redis_port, either.port, strict.port]);
    for section in ["connections", "services", "certificates", "algorithms"] {
        assert_eq!(from_file[section], answered[section], "{section}");
    }
    let page = run(&["--socket", socket]);
    for words in ["would be refused", "3 of 3", "CN=server.tlsight.test", "(redis)"] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }

    agent.stop().expect("ends well");
    assert!(!Path::new(socket).exists());
    let nobody = Command::new(binary()).args(["report", "--socket", socket]).output().expect("run tlsight");
    assert_eq!(nobody.status.code(), Some(3), "{}", String::from_utf8_lossy(&nobody.stderr));
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(binary()).arg("report").args(arguments).output().expect("run tlsight");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn report(from: &[&str]) -> Value {
    let text = run(&[&["-o", "json", "--min-connections", "2"], from].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// The agent's report, once so many connections are in it, each with a verdict.
fn wait_for_report(socket: &str, connections: u64) -> Value {
    let deadline = Instant::now() + LIMIT;
    loop {
        let report = report(&["--socket", socket]);
        let of = |kind: &str| report["connections"][kind].as_u64().expect("a number");
        if of("plaintext") + of("tls") + of("mtls") == connections || Instant::now() > deadline {
            return report;
        }
        pause(Duration::from_millis(50));
    }
}

fn check(report: &Value, [redis, either, strict]: [u16; 3]) {
    let counts = |plaintext: u64, tls: u64, mtls: u64| {
        json!({"plaintext": plaintext, "tls": tls, "mtls": mtls, "client_identity_unknown": 0, "encrypted_not_tls": 0,
            "handshake_failed": 0, "no_data": 0, "unknown": 0})
    };
    let service =
        |port: u16, readiness: &str, reasons: &[&str], mixed: &[&str], counts: &Value, caller: Value| {
            let mut service =
                json!({"port": port, "readiness": readiness, "connections": counts, "callers": [caller]});
            for (key, list) in [("reasons", reasons), ("mixed_security", mixed)] {
                if !list.is_empty() {
                    service[key] = json!(list);
                }
            }
            service
        };
    let caller = |breaks: &[&str], breaking: u64, counts: &Value| {
        let mut caller = json!({"breaking_connections": breaking, "connections": counts});
        if !breaks.is_empty() {
            caller["breaks"] = json!(breaks);
        }
        caller
    };
    let [in_plaintext, some_with, all_with] = [counts(3, 0, 0), counts(0, 2, 1), counts(0, 0, 2)];
    let expected = [
        service(
            redis,
            "not_ready",
            &["plaintext"],
            &[],
            &in_plaintext,
            caller(&["plaintext"], 3, &in_plaintext),
        ),
        service(either, "not_ready", &["tls"], &["tls", "mtls"], &some_with, caller(&["tls"], 2, &some_with)),
        service(strict, "ready", &[], &[], &all_with, caller(&[], 0, &all_with)),
    ];
    let services = report["services"].as_array().expect("a list");
    let found = |port: u16| {
        let mut of_port = services.iter().filter(|service| service["server.port"] == json!(port));
        let service = of_port.next().unwrap_or_else(|| panic!("nothing at {port} in {report:#}"));
        assert!(of_port.next().is_none(), "two services at {port} in {report:#}");
        readiness(service)
    };
    assert_eq!([redis, either, strict].map(found), expected, "{report:#}");
    assert_eq!(services.len(), 3, "{report:#}");
    let mut named: Vec<(&str, &str)> = Vec::new();
    for service in services {
        let callers = service["callers"].as_array().expect("a list");
        named.extend(callers.iter().map(|caller| (text(service, "name"), text(caller, "name"))));
    }
    // A unit stands for both ends where this runs in one.
    for (service, caller) in &named {
        let is =
            |name: &str, program: &str| name.ends_with(&format!("/{program}")) || name.ends_with(".service");
        let servers = ["nginx", "redis-server", "redis-check-rdb"];
        assert!(servers.iter().any(|server| is(service, server)), "{named:?}");
        assert!(is(caller, "curl") || is(caller, "redis-cli"), "{named:?}");
    }
    assert_eq!(report["limits"].as_object().map(|limits| limits.values().all(|n| n == 0)), Some(true));
    // TLS 1.2 shows certificates without probes, of both sides.
    let sides: Vec<Value> = report["certificates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| json!([c["sides"], c["subject"], c["hash.sha256"], c["connections"]]))
        .collect();
    let shown = |side: &str, identity: &Identity| {
        json!([[side], format!("CN={},O=tlsight tests", identity.subject), identity.sha256, 2])
    };
    let mut expected = [shown("server", &pki().server_rsa), shown("client", &pki().client)];
    expected.sort_by_key(|c| sides.iter().position(|side| side == c));
    assert_eq!(sides, expected);
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("no {key} in {object:#}"))
}

/// What a service's readiness consists of.
fn readiness(service: &Value) -> Value {
    let pick = |object: &Value, keys: &[&str]| {
        let object = object.as_object().expect("an object");
        let picked = object.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        Value::Object(picked.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>())
    };
    let mut picked = pick(service, &["readiness", "reasons", "mixed_security", "connections"]);
    picked["port"] = service["server.port"].clone();
    let callers = service["callers"].as_array().expect("a list");
    let keys = ["breaks", "breaking_connections", "connections"];
    picked["callers"] = callers.iter().map(|caller| pick(caller, &keys)).collect();
    picked
}
