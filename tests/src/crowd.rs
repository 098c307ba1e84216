//! Many connections at once, and how many of them the agent gave the certificates that their own programs saw.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Agent, End};
use crate::child::{Child, command};
use crate::host::{free_port, wait_until_listening};
use crate::pki::{Identity, pki};
use crate::tools;

/// Thousands of handshakes on a machine that builds something else beside.
pub const LIMIT: Duration = Duration::from_secs(120);

/// One nginx with a port for each identity.
pub struct Servers {
    /// The master process.
    pub child: Child,
    /// Its ports, in the order of the identities.
    pub ports: Vec<u16>,
    /// What is shown at each.
    pub identities: &'static [Identity],
}

impl Servers {
    /// Starts it; `verify` is nginx's `ssl_verify_client`.
    pub fn start(identities: &'static [Identity], workers: u32, verify: &str) -> Servers {
        let dir = tools::scratch_dir("crowd");
        let ports: Vec<u16> = identities.iter().map(|_| free_port()).collect();
        let blocks: String = ports
            .iter()
            .zip(identities)
            .map(|(port, i)| {
                format!(
                    "server {{ listen 0.0.0.0:{port} ssl backlog=4096; ssl_certificate {}; ssl_certificate_key {}; \
                     return 200 \"hello\\n\"; }}\n",
                    i.cert.display(),
                    i.key.display()
                )
            })
            .collect();
        let conf = format!(
            "daemon off;\nworker_processes {workers};\nworker_rlimit_nofile 10000;\npid {dir}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 9000; }}\nhttp {{\naccess_log off;\nclient_body_temp_path {dir}/b;\n\
             proxy_temp_path {dir}/p;\nfastcgi_temp_path {dir}/f;\nuwsgi_temp_path {dir}/u;\nscgi_temp_path {dir}/s;\n\
             client_header_timeout 240s;\nssl_protocols TLSv1.3;\nssl_verify_client {verify};\n\
             ssl_client_certificate {ca};\n{blocks}}}\n",
            dir = dir.display(),
            ca = pki().ca.display(),
        );
        let file = dir.join("nginx.conf");
        std::fs::write(&file, conf).expect("write a configuration");
        let mut cmd = command("/usr/sbin/nginx", ["-e", "stderr", "-p"]);
        cmd.arg(&dir).arg("-c").arg(&file);
        let child = Child::spawn(cmd);
        let last = SocketAddr::from(([127, 0, 0, 1], *ports.last().expect("a server")));
        let up = wait_until_listening(last, LIMIT, || child.is_running());
        assert!(up, "nginx does not listen; it said:\n{}", child.text());
        Servers { child, ports, identities }
    }
}

/// One connection in the words of the program that made it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which connection of the program it is.
    pub number: usize,
    /// The client's port.
    pub local: u16,
    /// The server's.
    pub server: u16,
    /// SHA-256 of the certificate that the client's TLS library saw; `None` in plaintext.
    pub seen: Option<String>,
}

/// What `program` prints of its connections.
pub fn lines(program: &Child) -> Vec<Line> {
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        let port = |key: &str| u16::try_from(value.get(key)?.as_u64()?).ok();
        let number = usize::try_from(value.get("number")?.as_u64()?).ok()?;
        let seen = value.get("seen").and_then(Value::as_str).map(str::to_owned);
        Some(Line { number, local: port("local")?, server: port("server")?, seen })
    };
    program.text().lines().filter_map(parse).collect()
}

/// The chains of many connections, both ends of each counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Connection ends that should have a chain of one side.
    pub expected: usize,
    /// Of those: have the right one.
    pub tied: usize,
    /// Ends that have none, in brief.
    pub missing: Vec<String>,
    /// Ends with another certificate than the one that was shown, or with one where none was, or with a verdict that is not its own.
    pub wrong: Vec<String>,
}

impl Tally {
    /// Compares all of `lines` with what the agent says; `shown` is the certificate that the client of a line showed.
    pub fn add<'a>(
        &mut self,
        agent: &Agent,
        address: Ipv4Addr,
        lines: &[Line],
        shown: impl Fn(&Line) -> Option<&'a Identity>,
    ) {
        let mut by_server: BTreeMap<u16, Vec<&Line>> = BTreeMap::new();
        for line in lines {
            by_server.entry(line.server).or_default().push(line);
        }
        for (port, mut made) in by_server {
            for (client, server) in agent.connections(SocketAddr::from((address, port)), made.len()) {
                let local = client.phase("final").and_then(|l| l.get("client.port")).and_then(Value::as_u64);
                // Both in the order of time: a port may be used again.
                let found = made.iter().position(|line| Some(u64::from(line.local)) == local);
                let found = found.unwrap_or_else(|| panic!("nobody made the connection {client:?}"));
                let line = made.remove(found);
                for end in [client, server] {
                    self.end(&end, line, shown(line));
                }
            }
        }
    }

    fn end(&mut self, end: &End, line: &Line, shown: Option<&Identity>) {
        let told = end.phase("final").expect("a last line");
        let text = |key: &str| told.get(key).and_then(Value::as_str);
        let security = match (&line.seen, shown) {
            (None, _) => "plaintext",
            (_, None) => "tls",
            (_, Some(_)) => "mtls",
        };
        let mut wrong = |what: String| self.wrong.push(format!("{line:?}: {what}\n    {told:?}"));
        // What was lost on the way makes a connection unknown, or leaves open whether the client proved itself. That is not
        // wrong, but it misses its chains.
        let verdict = (text("tlsight.security"), text("tlsight.security.reason"));
        let is_unknown = verdict.0 == Some("unknown") && verdict.1.is_some();
        let is_open = security == "mtls" && verdict == (Some("tls"), Some("client_identity_unknown"));
        let is_proven = verdict.0 == Some(security);
        if !is_proven && !is_unknown && !is_open {
            wrong(format!("it is {security}"));
        }
        for (key, expected) in [
            ("tls.server.hash.sha256", line.seen.as_deref()),
            ("tls.client.hash.sha256", shown.map(|i| i.sha256.as_str())),
        ] {
            self.expected += usize::from(expected.is_some());
            match (text(key), expected) {
                (None, None) => {}
                (None, Some(_)) => {
                    let about =
                        ["tlsight.role", "client.port", "tlsight.security", "tlsight.security.reason"];
                    let about = about.map(|key| told.get(key).map(Value::to_string).unwrap_or_default());
                    self.missing.push(format!("connection {}: no {key}: {}", line.number, about.join(" ")));
                }
                (got, expected) if got == expected => {
                    self.tied += 1;
                    if is_proven && text("tlsight.security.source") != Some("probe") {
                        wrong("there is a chain, and its source is another".to_owned());
                    }
                }
                (got, expected) => wrong(format!("{key} is {got:?}, not {expected:?}")),
            }
        }
    }

    /// Prints the share that is tied to a connection and fails when a single one is wrong, or too many are missing.
    pub fn check(&self, what: &str) {
        let share = self.tied as f64 / self.expected.max(1) as f64;
        println!(
            "{what}: {} of {} chains tied to their connection ({:.2} %), {} wrong",
            self.tied,
            self.expected,
            share * 100.0,
            self.wrong.len()
        );
        self.missing.iter().for_each(|missing| println!("    {missing}"));
        let some: Vec<&str> = self.wrong.iter().take(10).map(String::as_str).collect();
        assert!(self.wrong.is_empty(), "{what}: {} wrong:\n{}", self.wrong.len(), some.join("\n"));
        assert!(self.expected > 0 && share >= 0.99, "{what}: {} of {} tied", self.tied, self.expected);
    }
}

/// How one program connects to many servers.
#[derive(Clone, Debug)]
pub struct Crowding<'a> {
    /// Where all servers are.
    pub address: Ipv4Addr,
    /// Ports; connection n goes to port n modulo their number.
    pub ports: &'a [u16],
    /// Names sent as SNI, one a port.
    pub names: Option<&'a [Identity]>,
    /// Certificates shown: connection n shows the nth modulo their number.
    pub identities: &'a [Identity],
    /// Connections.
    pub count: usize,
    /// A port that is talked to in plaintext between any two handshakes.
    pub plain: Option<u16>,
}

/// Programs that make many connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Python's asyncio.
    Asyncio,
    /// 64 threads of Python's ThreadPoolExecutor.
    Threads,
    /// Node.
    Node,
}

impl Crowding<'_> {
    /// Starts `program`.
    pub fn start(&self, program: Program) -> Child {
        let mut cmd = match program {
            Program::Asyncio => command(tools::venv("python3"), [tools::peer_source("python/crowd.py")]),
            Program::Threads => command(tools::venv("python3"), [tools::peer_source("python/crowd.py")]),
            Program::Node => command("node", [tools::peer_source("node/crowd.js")]),
        };
        cmd.arg(if program == Program::Threads { "threads" } else { "loop" });
        Child::spawn({
            cmd.arg(self.arguments());
            cmd
        })
    }

    /// Starts it as a proxy that listens on `port` and shows `identity` there.
    pub fn start_proxy(&self, program: Program, port: u16, identity: &Identity) -> Child {
        let mut cmd = match program {
            Program::Node => command("node", [tools::peer_source("node/proxy.js")]),
            _ => command(tools::venv("python3"), [tools::peer_source("python/proxy.py")]),
        };
        cmd.arg(port.to_string()).arg(&identity.cert).arg(&identity.key).arg("loop").arg(self.arguments());
        let child = Child::spawn(cmd);
        child.wait_for_line("listening", LIMIT);
        child
    }

    /// Runs `program` to its end and gives its connections.
    pub fn run(&self, program: Program) -> Vec<Line> {
        let child = self.start(program);
        let ended = child.finish(LIMIT);
        assert!(ended.status.success(), "{}", ended.text.chars().take(4000).collect::<String>());
        let lines = lines(&child);
        let expected = if self.plain.is_some() { 2 * self.count } else { self.count };
        assert_eq!(lines.len(), expected, "{}", ended.text.chars().take(4000).collect::<String>());
        lines
    }

    /// A file with all of it: the agent shows command lines with every connection.
    fn arguments(&self) -> PathBuf {
        let pair = |i: &Identity| json!([i.cert, i.key]);
        let names = |names: &[Identity]| names.iter().map(|i| i.subject.clone()).collect::<Vec<_>>();
        let told = json!({
            "address": self.address,
            "ca": pki().ca,
            "ports": self.ports,
            "count": self.count,
            "names": self.names.map(names).unwrap_or_default(),
            "identities": self.identities.iter().map(pair).collect::<Vec<_>>(),
            "plain": self.plain,
        });
        let file = tools::scratch_dir("crowding").join("arguments.json");
        std::fs::write(&file, told.to_string()).expect("write the arguments");
        file
    }
}
