//! The whole verdict a case expects, and the comparison with what the agent said: every key of every line is either
//! expected with its value, or named here as one whose value differs from run to run and checked for its shape.

pub mod findings;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::agent::{Agent, End, Object};
use crate::peers::Version;
use crate::pki::{Identity, KeyAlgorithm};

/// What is expected of one connection, at both ends.
#[derive(Clone, Debug, Default)]
pub struct Expect<'a> {
    /// `plaintext`, `tls`, `mtls`, `unknown`.
    pub security: &'static str,
    /// `wire`, `record_length`, `probe`, `resumed`.
    pub source: Option<&'static str>,
    /// Why it is unknown, or what of it.
    pub reason: Option<&'static str>,
    /// `network.protocol.name`.
    pub protocol: Option<&'static str>,
    /// `not_used`, `refused`, `upgraded`.
    pub starttls: Option<&'static str>,
    /// Facts of the TLS handshake.
    pub tls: Option<Tls<'a>>,
    /// Who owns the client's end.
    pub client: Owner,
    /// Who owns the server's end.
    pub server: Owner,
    /// Payload bytes sent by client and server, where the case knows them.
    pub bytes: Option<(u64, u64)>,
    /// `finished` or `reset`, where the case cares; else either will do.
    pub close: Option<&'static str>,
}

/// What is expected of a TLS handshake. `None` and empty are "the key is absent".
#[derive(Clone, Debug, Default)]
pub struct Tls<'a> {
    /// Negotiated version.
    pub version: Option<&'static str>,
    /// Cipher suite, IANA.
    pub cipher: Option<String>,
    /// Group, IANA.
    pub group: Option<String>,
    /// The handshake completed.
    pub established: Option<bool>,
    /// A session was resumed.
    pub resumed: Option<bool>,
    /// ALPN chosen, where the wire shows it.
    pub next_protocol: Option<&'static str>,
    /// SNI.
    pub server_name: Option<&'a str>,
    /// Whether the client sent a certificate.
    pub client_certificate: Option<&'static str>,
    /// The server's leaf and the length of the chain it sent, where the wire or a probe shows them.
    pub server_chain: Option<(&'a Identity, usize)>,
    /// The client's.
    pub client_chain: Option<(&'a Identity, usize)>,
    /// Sender, level and name of the alert; level and name are absent when it was encrypted.
    pub alert: Option<(&'static str, Option<(&'static str, &'static str)>)>,
    /// Keys with their values besides these.
    pub more: Vec<(&'static str, Value)>,
}

/// The process an end belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// Its id and the name of its executable.
    Process(u32, String),
    /// The same of a program that may be gone before its executable can be looked up: then it has the name it was started
    /// by, which is the kernel's `comm`.
    ShortLived(u32, String, String),
    /// It is known who listens, and who accepted once that process has read: by the end at the latest.
    Worker {
        /// Who listens.
        listener: u32,
        /// Who accepted.
        worker: u32,
        /// The executable of both.
        executable: String,
    },
    /// A process of this executable: a worker that comes and goes.
    Executable(String),
    /// Nobody: the connection was accepted by nobody, or its owner is not on this host.
    #[default]
    Unknown,
}

/// What the client offers differs from program to program; both ends must say the same of it.
const SAME_AT_BOTH_ENDS: [&str; 6] = [
    "tls.client.ja3",
    "tlsight.client.ja4",
    "tls.client.supported_ciphers",
    "tlsight.client.supported_groups",
    "tlsight.client.supported_versions",
    "tlsight.client.offered_protocols",
];

impl Expect<'_> {
    /// Checks the one connection to `server`: both ends, every line of each.
    pub fn check(&self, agent: &Agent, server: SocketAddr) {
        let ends = agent.connections(server, 1);
        self.check_ends(agent, server, &ends[0]);
    }

    /// Checks both ends of a connection.
    pub fn check_ends(&self, agent: &Agent, server: SocketAddr, ends: &(End, End)) {
        check_either(agent, server, ends, std::slice::from_ref(self), std::slice::from_ref(self));
    }

    fn check_end(&self, role: &str, server: SocketAddr, end: &End) -> Vec<String> {
        let mut wrong = Vec::new();
        let phases: Vec<&str> = end
            .lines
            .iter()
            .map(|l| l.get("tlsight.phase").and_then(Value::as_str).unwrap_or("none"))
            .collect();
        // What is unknown to the last becomes known to be so only at the end.
        let last_only = self.security == "unknown" && phases == ["final"];
        if phases != ["verdict", "final"] && !last_only {
            wrong.push(format!("{role}: phases are {phases:?}, not a verdict and then the end"));
        }
        for line in &end.lines {
            let is_final = line.get("tlsight.phase").and_then(Value::as_str) == Some("final");
            self.check_line(role, server, line, is_final, &mut wrong);
        }
        wrong
    }

    fn check_line(
        &self,
        role: &str,
        server: SocketAddr,
        line: &Object,
        is_final: bool,
        wrong: &mut Vec<String>,
    ) {
        let phase = if is_final { "final" } else { "verdict" };
        let client_port = line.get("client.port").and_then(Value::as_u64).unwrap_or(0);
        let client_address = line.get("client.address").and_then(Value::as_str).unwrap_or("absent");
        let mut expected = self.common(server);
        let client = (json!(client_address), json!(client_port));
        let to = (json!(server.ip().to_string()), json!(server.port()));
        let (local, peer) = if role == "client" { (client, to) } else { (to, client) };
        expected.insert("network.local.address".into(), local.0);
        expected.insert("network.local.port".into(), local.1);
        expected.insert("network.peer.address".into(), peer.0);
        expected.insert("network.peer.port".into(), peer.1);
        expected.insert("client.address".into(), json!(client_address));
        expected.insert("client.port".into(), json!(client_port));
        expected.insert("tlsight.role".into(), json!(role));
        expected.insert("tlsight.phase".into(), json!(phase));
        let mut seen = line.clone();
        let owner = if role == "client" { &self.client } else { &self.server };
        owner.expect(&mut expected, &mut seen, is_final);
        self.shapes(&mut seen, is_final, wrong, role);
        if is_final && let Some((from_client, from_server)) = self.bytes {
            expected.insert("tlsight.bytes.client".into(), json!(from_client));
            expected.insert("tlsight.bytes.server".into(), json!(from_server));
        }
        let keys: BTreeSet<&String> = expected.keys().chain(seen.keys()).collect();
        for key in keys {
            let (want, got) = (expected.get(key), seen.get(key));
            if want != got {
                let text = |v: Option<&Value>| v.map_or("absent".to_owned(), Value::to_string);
                wrong.push(format!("{role} {phase}: {key} is {}, expected {}", text(got), text(want)));
            }
        }
    }

    /// Takes the keys out whose values differ from run to run, after a look at their shape.
    fn shapes(&self, seen: &mut Object, is_final: bool, wrong: &mut Vec<String>, role: &str) {
        let mut take = |key: &str, required: bool, good: &dyn Fn(&Value) -> bool| match seen.remove(key) {
            Some(v) if good(&v) => {}
            None if !required => {}
            other => wrong.push(format!("{role}: {key} is {other:?}")),
        };
        let tls = self.tls.as_ref();
        let hello = tls.is_some_and(|t| t.version.is_some());
        let list = |v: &Value| v.as_array().is_some_and(|a| !a.is_empty());
        take("tlsight.client.supported_groups", false, &list);
        take("tlsight.client.supported_versions", false, &list);
        take("tlsight.client.offered_protocols", false, &list);
        take("tlsight.connection", true, &|v| v.as_u64().is_some_and(|n| n > 0));
        take("timestamp", true, &|v| v.as_str().is_some_and(|t| t.ends_with('Z') && t.len() >= 20));
        take("tls.client.ja3", hello, &|v| v.as_str().is_some_and(|t| t.len() == 32));
        take("tlsight.client.ja4", hello, &|v| {
            v.as_str().is_some_and(|t| t.len() == 36 && t.starts_with('t'))
        });
        take("tls.client.supported_ciphers", hello, &list);
        // Who owns the ends is asserted by id and name; what procfs adds to that depends on whether it was still there.
        let path = |v: &Value| v.as_str().is_some_and(|path| path.starts_with('/'));
        take("process.executable.path", false, &path);
        take("process.command_args", false, &list);
        take("tlsight.peer.process.pid", false, &|v| v.as_u64().is_some_and(|pid| pid > 0));
        take("tlsight.peer.process.executable.path", false, &path);
        take("tlsight.peer.process.executable.name", false, &|v| {
            v.as_str().is_some_and(|name| !name.is_empty())
        });
        for end in ["tlsight", "tlsight.peer"] {
            take(&format!("{end}.process.executable.usual_path"), false, &path);
        }
        let timed = tls.is_some_and(|t| t.established == Some(true));
        take("tlsight.handshake_duration_ms", timed, &|v| {
            v.as_f64().is_some_and(|ms| (0.0..20_000.0).contains(&ms))
        });
        take("tlsight.duration_ms", is_final, &|v| v.as_f64().is_some_and(|ms| ms >= 0.0));
        if self.bytes.is_none() {
            for key in ["tlsight.bytes.client", "tlsight.bytes.server"] {
                take(key, is_final, &|v| v.is_u64());
            }
        }
        match self.close {
            Some(close) => take("tlsight.close", is_final, &|v| v == close),
            None => take("tlsight.close", is_final, &|v| v == "finished" || v == "reset"),
        }
    }

    /// What both ends say alike.
    fn common(&self, server: SocketAddr) -> Object {
        let mut o = Object::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                o.insert(key.to_owned(), value);
            }
        };
        let text = |v: Option<&str>| v.map(|t| json!(t));
        let server_name = self.tls.as_ref().and_then(|t| t.server_name);
        put("network.transport", Some(json!("tcp")));
        put("network.type", Some(json!(if server.is_ipv4() { "ipv4" } else { "ipv6" })));
        put("server.address", Some(server_name.map_or_else(|| json!(server.ip().to_string()), |n| json!(n))));
        put("server.port", Some(json!(server.port())));
        // Other addresses are of network namespaces that the tests made: both ends are on this host.
        put("tlsight.scope", Some(json!(if server.ip().is_loopback() { "loopback" } else { "node" })));
        put("tlsight.security", Some(json!(self.security)));
        put("tlsight.security.source", text(self.source));
        put("tlsight.security.reason", text(self.reason));
        put("network.protocol.name", text(self.protocol));
        put("tlsight.starttls", text(self.starttls));
        put("tlsight.findings", Some(json!(findings::findings(self))));
        if let Some(tls) = &self.tls {
            put("tls.protocol.name", tls.version.map(|_| json!("tls")));
            put("tls.protocol.version", text(tls.version));
            put("tls.cipher", text(tls.cipher.as_deref()));
            put("tls.curve", text(tls.group.as_deref()));
            put("tls.established", tls.established.map(|e| json!(e)));
            put("tls.resumed", tls.resumed.map(|r| json!(r)));
            put("tls.next_protocol", text(tls.next_protocol));
            put("tlsight.server_name", text(server_name));
            put("tlsight.client_certificate", text(tls.client_certificate));
            put("tlsight.alert.sender", tls.alert.map(|(sender, _)| json!(sender)));
            let content = tls.alert.and_then(|(_, content)| content);
            put("tlsight.alert.level", content.map(|(level, _)| json!(level)));
            put("tlsight.alert.name", content.map(|(_, name)| json!(name)));
            for (key, value) in &tls.more {
                put(key, Some(value.clone()));
            }
            for (side, chain) in [("server", tls.server_chain), ("client", tls.client_chain)] {
                if let Some((identity, length)) = chain {
                    o.extend(certificate(side, identity, length));
                }
            }
        }
        o
    }
}

/// Checks both ends of a connection; each is as one of its expectations says.
pub fn check_either(
    agent: &Agent,
    server: SocketAddr,
    (client, server_end): &(End, End),
    of_client: &[Expect<'_>],
    of_server: &[Expect<'_>],
) {
    let mut wrong = Vec::new();
    for (role, end, expected) in [("client", client, of_client), ("server", server_end, of_server)] {
        let all: Vec<Vec<String>> = expected.iter().map(|e| e.check_end(role, server, end)).collect();
        // The expectation that fits best tells most.
        wrong.extend(all.into_iter().min_by_key(Vec::len).unwrap_or_default());
    }
    for key in SAME_AT_BOTH_ENDS {
        let [a, b] = [client, server_end].map(|e| e.phase("final").and_then(|l| l.get(key)).cloned());
        if a != b {
            wrong.push(format!("{key} differs between the ends: {a:?}, {b:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n\n{}", wrong.join("\n"), agent.seen(server));
}

fn certificate(side: &str, i: &Identity, chain_length: usize) -> Object {
    let time = |secs: i64| {
        let t = time::OffsetDateTime::from_unix_timestamp(secs).expect("in range");
        t.format(&time::format_description::well_known::Rfc3339).expect("formats")
    };
    let (algorithm, bits, curve) = match i.key_algorithm {
        KeyAlgorithm::Rsa => ("RSA", 2048, None),
        KeyAlgorithm::P256 => ("EC", 256, Some("P-256")),
        KeyAlgorithm::P384 => ("EC", 384, Some("P-384")),
        KeyAlgorithm::Ed25519 => ("Ed25519", 256, None),
    };
    let name = |common: &str| format!("CN={common},O=tlsight tests");
    let usage = if side == "server" { "serverAuth" } else { "clientAuth" };
    let mut values = vec![
        (format!("tls.{side}.subject"), json!(name(&i.subject))),
        (format!("tls.{side}.issuer"), json!(name(&i.issuer))),
        (format!("tls.{side}.not_before"), json!(time(i.not_before))),
        (format!("tls.{side}.not_after"), json!(time(i.not_after))),
        (format!("tls.{side}.hash.sha256"), json!(i.sha256)),
        (format!("tlsight.{side}.serial"), json!(i.serial)),
        (format!("tlsight.{side}.san"), json!(i.san)),
        (format!("tlsight.{side}.key_algorithm"), json!(algorithm)),
        (format!("tlsight.{side}.key_bits"), json!(bits)),
        (format!("tlsight.{side}.signature_algorithm"), json!("ecdsa-with-SHA256")),
        (format!("tlsight.{side}.chain_length"), json!(chain_length)),
        (format!("tlsight.{side}.extended_key_usage"), json!([usage])),
    ];
    values.extend(curve.map(|curve| (format!("tlsight.{side}.key_curve"), json!(curve))));
    values.into_iter().collect()
}

impl Owner {
    fn expect(&self, expected: &mut Object, seen: &mut Object, is_final: bool) {
        match self {
            Owner::Process(pid, name) => {
                expected.insert("process.pid".into(), json!(pid));
                expected.insert("process.executable.name".into(), json!(name));
            }
            Owner::ShortLived(pid, name, comm) => {
                expected.insert("process.pid".into(), json!(pid));
                let comm = json!(comm.chars().take(15).collect::<String>());
                let by_comm = seen.get("process.executable.name") == Some(&comm);
                expected.insert("process.executable.name".into(), if by_comm { comm } else { json!(name) });
            }
            Owner::Worker { listener, worker, executable } => {
                let pid = seen.get("process.pid").and_then(Value::as_u64);
                let early = !is_final && pid == Some(u64::from(*listener));
                expected.insert("process.pid".into(), json!(if early { listener } else { worker }));
                expected.insert("process.executable.name".into(), json!(executable));
            }
            Owner::Executable(name) => {
                // Any id, but one.
                if seen.get("process.pid").is_some_and(Value::is_u64) {
                    seen.remove("process.pid");
                }
                expected.insert("process.executable.name".into(), json!(name));
            }
            Owner::Unknown => {}
        }
    }
}

impl<'a> Expect<'a> {
    /// A plaintext connection of this protocol.
    pub fn plaintext(protocol: Option<&'static str>) -> Self {
        Self { security: "plaintext", source: Some("wire"), protocol, ..Self::default() }
    }

    /// An unknown one.
    pub fn unknown(reason: &'static str) -> Self {
        Self { security: "unknown", reason: Some(reason), ..Self::default() }
    }

    /// A completed, full handshake; `client_certificate` is `sent`, `declined` or `not_requested`.
    pub fn handshake(version: Version, client_certificate: &'static str) -> Self {
        Self {
            security: if client_certificate == "sent" { "mtls" } else { "tls" },
            source: Some(match version {
                Version::Tls12 => "wire",
                Version::Tls13 => "record_length",
            }),
            tls: Some(Tls {
                version: Some(version.as_str()),
                established: Some(true),
                resumed: Some(false),
                client_certificate: Some(client_certificate),
                ..Tls::default()
            }),
            ..Self::default()
        }
    }

    /// Adds the server's chain where somebody could see it: up to TLS 1.2 everybody, in TLS 1.3 a probe in the library that
    /// parsed it.
    pub fn add_server_chain(&mut self, probed: bool, identity: &'a Identity, length: usize) {
        if self.is_visible(probed) {
            self.tls().server_chain = Some((identity, length));
        }
    }

    /// The same for the client's.
    pub fn add_client_chain(&mut self, probed: bool, identity: &'a Identity, length: usize) {
        if self.is_visible(probed) {
            self.tls().client_chain = Some((identity, length));
        }
    }

    fn is_visible(&mut self, probed: bool) -> bool {
        let tls13 = self.tls().version == Some(Version::Tls13.as_str());
        if tls13 && probed && self.source == Some("record_length") && self.security != "unknown" {
            self.source = Some("probe");
        }
        !tls13 || probed
    }

    /// The TLS facts, to be filled in.
    pub fn tls(&mut self) -> &mut Tls<'a> {
        self.tls.get_or_insert_default()
    }
}
