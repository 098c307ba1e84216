//! The audit log: real clients with certificates of every kind, and the whole line that each connection has.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tlsight_tests::agent::{Object, binary};
use tlsight_tests::child::Child;
use tlsight_tests::host::pause;
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, Ran, Server, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{Identity, SERVER_NAME, pki, revoked};
use tlsight_tests::run::case;
use tlsight_tests::tools::scratch_dir;

use crate::support::{address, client_chain_length};

const LIMIT: Duration = Duration::from_secs(30);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    for version in [Version::Tls12, Version::Tls13] {
        let name = |what: &str| format!("audit::{what}_{version:?}").to_lowercase();
        trials.push(case(name("good"), move || good(version, ServerStack::OpenSsl)));
        trials.push(case(name("good_at_nginx"), move || good(version, ServerStack::Nginx)));
        trials.push(case(name("expired_and_refused"), move || expired_and_refused(version)));
        trials.push(case(name("expired_and_accepted"), move || expired_and_accepted(version)));
        trials.push(case(name("of_an_unknown_authority"), move || unknown_authority(version)));
        trials.push(case(name("revoked_and_refused"), move || revoked_and_refused(version)));
        trials.push(case(name("for_another_purpose"), move || another_purpose(version)));
        trials.push(case(name("no_certificate_no_line"), move || no_certificate(version)));
    }
    trials.push(case("audit::in_the_words_of_ecs", ecs));
    trials.push(case("audit::a_renamed_file_is_opened_anew_on_sighup", renamed));
    trials.push(case("audit::standard_output_has_nothing_else_in_it", standard_output));
}

/// An agent with an audit log of its own.
struct Auditor {
    agent: Child,
    log: PathBuf,
}

impl Auditor {
    fn start(extra: &[&str]) -> Self {
        let log = scratch_dir("audit").join("audit.log");
        let mut cmd = Command::new(binary());
        cmd.args(["watch", "-o", "json", "--no-existing", "--no-system-roots", "--ca-bundle"]);
        // The clients of these tests have SPIFFE ids, which are held against the bundle of their trust domain.
        cmd.arg(format!("live={ca},spiffe://tlsight.test={ca}", ca = pki().ca.display()));
        cmd.arg("--audit-log").arg(&log).args(extra);
        let agent = Child::spawn(cmd);
        agent.wait_for_line("tlsight: watching", LIMIT);
        Self { agent, log }
    }

    /// The only line about connections to `server`.
    fn line(&self, server: SocketAddr) -> Object {
        let deadline = Instant::now() + LIMIT;
        while lines(&self.log, server).is_empty() {
            assert!(Instant::now() < deadline, "no line of {server}; the agent said:\n{}", self.agent.text());
            pause(Duration::from_millis(20));
        }
        // A second one would be there a moment later.
        pause(Duration::from_millis(700));
        let lines = lines(&self.log, server);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines[0].clone()
    }

    fn stop(self) {
        self.agent.signal(libc::SIGINT);
        let ended = self.agent.finish(LIMIT);
        assert!(ended.status.success(), "{}: {}", ended.status, ended.text);
        assert!(!ended.text.contains("panicked"), "{}", ended.text);
    }
}

/// The agent that most cases share; it runs until the end of the test binary.
static AUDITOR: LazyLock<Auditor> = LazyLock::new(|| Auditor::start(&[]));

fn lines(log: &Path, server: SocketAddr) -> Vec<Object> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let objects = whole.lines().map(|line| serde_json::from_str::<Object>(line).expect(line));
    let about = |o: &Object| {
        let ip = o.get("tlsight.server.ip").or(o.get("destination.ip"));
        ip == Some(&json!(server.ip().to_string()))
    };
    objects.filter(about).collect()
}

struct Shown<'a> {
    server: Server,
    at: SocketAddr,
    ran: Ran,
    identity: &'a Identity,
    version: Version,
    stack: ServerStack,
}

/// One connection of OpenSSL's client to a server of its own.
fn show<'a>(
    version: Version,
    stack: ServerStack,
    ask: Ask,
    extra: &[&str],
    identity: &'a Identity,
) -> Shown<'a> {
    LazyLock::force(&AUDITOR);
    let server = stack.start(&ServerConfig::new(ask, &pki().server_p256).extra(extra));
    let at = address(&server);
    let ran = ClientStack::OpenSsl.run(&ClientConfig::new(at).version(version).identity(identity));
    Shown { server, at, ran, identity, version, stack }
}

impl Shown<'_> {
    /// The whole line in OpenTelemetry's words.
    fn check(&self, status: &str, reason: Option<&str>, established: bool, findings: &[&str]) {
        let mut line = AUDITOR.line(self.at);
        let is_12 = self.version == Version::Tls12;
        let said = &self.ran.said[0];
        let name = |common: &str| format!("CN={common},O=tlsight tests");
        let trusted = self.identity.issuer == pki().client.issuer;
        let mut expected = json!({
            "event.name": "tlsight.client_certificate",
            "tlsight.audit.status": status,
            "tls.established": established,
            "tlsight.role": "server",
            "tlsight.scope": "loopback",
            "tlsight.security": if established { "mtls" } else { "unknown" },
            "tlsight.security.source": match (is_12, established) {
                (true, _) => "wire",
                (false, true) => "probe",
                (false, false) => "record_length",
            },
            "network.transport": "tcp",
            "network.type": "ipv4",
            "client.address": "127.0.0.1",
            "server.address": SERVER_NAME,
            "server.port": self.at.port(),
            "tlsight.server.ip": self.at.ip().to_string(),
            "tlsight.server_name": SERVER_NAME,
            "tls.protocol.name": "tls",
            "tls.protocol.version": self.version.as_str(),
            "tls.cipher": said.cipher,
            "tls.curve": said.group.clone().unwrap_or_else(|| "x25519".to_owned()),
            "tls.client.subject": name(&self.identity.subject),
            "tls.client.issuer": name(&self.identity.issuer),
            "tls.client.not_before": time(self.identity.not_before),
            "tls.client.not_after": time(self.identity.not_after),
            "tls.client.hash.sha256": self.identity.sha256,
            "tlsight.client.serial": self.identity.serial,
            "tlsight.client.san": self.identity.san,
            "tlsight.client.chain_length": if trusted { client_chain_length(ClientStack::OpenSsl) } else { 1 },
            "tls.server.subject": name(SERVER_NAME),
            "tls.server.hash.sha256": pki().server_p256.sha256,
            "process.executable.name": if self.stack == ServerStack::Nginx { "nginx" } else { "openssl" },
        });
        let expected = expected.as_object_mut().unwrap();
        if let Some(reason) = reason {
            expected.insert("tlsight.audit.reason".into(), json!(reason));
        }
        if !established {
            expected.insert("tlsight.security.reason".into(), json!("handshake_failed"));
            expected.insert("tlsight.alert.sender".into(), json!("server"));
            if is_12 {
                expected.insert("tlsight.alert.level".into(), json!("fatal"));
                expected.insert("tlsight.alert.name".into(), json!(reason));
            }
        }
        assert_eq!(self.identity.sha256.len(), 64);
        let found = line.remove("tlsight.findings").expect("findings");
        let found: BTreeSet<&str> = found.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(found, findings.iter().copied().collect());
        volatile(&mut line, &self.server);
        // In TLS 1.3 the client's probe tells of the server's certificate, later perhaps than the server accepts the client.
        if !is_12 && line.get("tls.server.hash.sha256").is_none() {
            expected.retain(|key, _| !key.starts_with("tls.server."));
        }
        assert_eq!(Value::Object(line), Value::Object(expected.clone()));
    }
}

/// Takes out what differs from run to run, after a look at its shape.
fn volatile(line: &mut Object, server: &Server) {
    let mut take = |key: &str, required: bool, good: &dyn Fn(&Value) -> bool| match line.remove(key) {
        Some(value) if good(&value) => {}
        None if !required => {}
        other => panic!("{key} is {other:?}"),
    };
    let path = |v: &Value| v.as_str().is_some_and(|path| path.starts_with('/'));
    take("timestamp", true, &|v| v.as_str().is_some_and(|t| t.ends_with('Z') && t.len() == 30));
    take("tlsight.connection", true, &Value::is_u64);
    take("client.port", true, &|v| v.as_u64().is_some_and(|port| port > 0));
    take("process.pid", true, &|v| v.as_u64().is_some_and(|pid| pid >= u64::from(server.child.pid)));
    take("tlsight.server.process.executable.path", false, &path);
    take("tlsight.client.process.executable.path", false, &path);
    take("tlsight.server.systemd.unit", false, &Value::is_string);
    take("tlsight.client.systemd.unit", false, &Value::is_string);
}

fn time(secs: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(secs).expect("in range");
    time.format(&time::format_description::well_known::Rfc3339).expect("formats")
}

fn good(version: Version, stack: ServerStack) {
    let shown = show(version, stack, Ask::Required, &[], &pki().client);
    assert_eq!(shown.ran.said[0].error, None, "{}", shown.ran.text);
    shown.check("success", None, true, &["not_quantum_safe"]);
}

fn expired_and_refused(version: Version) {
    let shown = show(version, ServerStack::OpenSsl, Ask::Required, &[], &pki().client_expired);
    shown.check("expired", Some("certificate_expired"), false, &["certificate_expired", "handshake_failed"]);
}

/// A server that asks and does not care.
const CARELESS: [&str; 2] = ["-Verify", "4"];

fn expired_and_accepted(version: Version) {
    let shown = show(version, ServerStack::OpenSsl, Ask::Never, &CARELESS, &pki().client_expired);
    shown.check("expired", Some("certificate_expired"), true, &["certificate_expired", "not_quantum_safe"]);
}

fn unknown_authority(version: Version) {
    let findings = ["certificate_untrusted", "handshake_failed"];
    let shown = show(version, ServerStack::OpenSsl, Ask::Required, &[], &pki().client_untrusted);
    let reason = if version == Version::Tls12 { "unknown_ca" } else { "certificate_untrusted" };
    shown.check("untrusted", Some(reason), false, &findings);
}

/// Clients do not staple OCSP responses to their certificates: the server's refusal is all there is to see.
fn revoked_and_refused(version: Version) {
    let list = revoked().list.display().to_string();
    let checks = ["-CRL", &list, "-crl_check"];
    let shown = show(version, ServerStack::OpenSsl, Ask::Required, &checks, &revoked().client);
    match version {
        Version::Tls12 => shown.check("revoked", Some("certificate_revoked"), false, &["handshake_failed"]),
        // The alert is encrypted.
        Version::Tls13 => shown.check("rejected", Some("handshake_failed"), false, &["handshake_failed"]),
    }
}

fn another_purpose(version: Version) {
    let findings = ["certificate_wrong_usage", "handshake_failed"];
    let shown = show(version, ServerStack::OpenSsl, Ask::Required, &[], &pki().server_rsa);
    let reason = if version == Version::Tls12 { "unsupported_certificate" } else { "handshake_failed" };
    shown.check("rejected", Some(reason), false, &findings);
}

fn no_certificate(version: Version) {
    LazyLock::force(&AUDITOR);
    let server = ServerStack::OpenSsl.start(&ServerConfig::new(Ask::Optional, &pki().server_p256));
    let at = address(&server);
    let ran = ClientStack::OpenSsl.run(&ClientConfig::new(at).version(version));
    assert_eq!(ran.said[0].error, None, "{}", ran.text);
    // Another connection, which has a line, is over after it.
    let shown = show(version, ServerStack::OpenSsl, Ask::Required, &[], &pki().client);
    AUDITOR.line(shown.at);
    assert_eq!(lines(&AUDITOR.log, at), Vec::<Object>::new());
}

fn ecs() {
    let auditor = Auditor::start(&["--audit-format", "ecs"]);
    let shown = show(Version::Tls12, ServerStack::OpenSsl, Ask::Required, &[], &pki().client_expired);
    let mut line = auditor.line(shown.at);
    auditor.stop();
    let identity = shown.identity;
    let ip = shown.at.ip().to_string();
    let port = line.remove("source.port").and_then(|v| v.as_u64()).expect("source.port");
    assert!(port > 0);
    let timestamp = line.remove("@timestamp").expect("@timestamp");
    line.insert("timestamp".into(), timestamp);
    line.insert("client.port".into(), json!(port));
    line.remove("tlsight.findings");
    volatile(&mut line, &shown.server);
    let name = |common: &str| format!("CN={common},O=tlsight tests");
    // In two parts: the macro expands only so many keys.
    let mut expected = json!({
        "ecs.version": "8.17.0",
        "event.kind": "event",
        "event.module": "tlsight",
        "event.dataset": "tlsight.audit",
        "event.action": "tls-client-certificate",
        "event.category": ["authentication", "network"],
        "event.type": ["start", "denied"],
        "event.outcome": "failure",
        "event.reason": "certificate_expired",
        "network.transport": "tcp",
        "network.type": "ipv4",
        "network.direction": "ingress",
        "source.address": "127.0.0.1",
        "source.ip": "127.0.0.1",
        "destination.address": ip,
        "destination.ip": ip,
        "destination.port": shown.at.port(),
        "destination.domain": SERVER_NAME,
        "tls.client.server_name": SERVER_NAME,
        "tls.version_protocol": "tls",
        "tls.version": "1.2",
        "tls.cipher": shown.ran.said[0].cipher,
        "tls.curve": shown.ran.said[0].group.clone().unwrap_or_else(|| "x25519".to_owned()),
        "tls.established": false,
    });
    let certificates = json!({
        "tls.client.subject": name(&identity.subject),
        "tls.client.issuer": name(&identity.issuer),
        "tls.client.not_before": time(identity.not_before),
        "tls.client.not_after": time(identity.not_after),
        "tls.client.hash.sha256": identity.sha256,
        "tls.client.x509.subject.distinguished_name": name(&identity.subject),
        "tls.client.x509.issuer.distinguished_name": name(&identity.issuer),
        "tls.client.x509.not_before": time(identity.not_before),
        "tls.client.x509.not_after": time(identity.not_after),
        "tls.client.x509.serial_number": identity.serial,
        "tls.client.x509.alternative_names": identity.san,
        "tls.client.x509.public_key_algorithm": "EC",
        "tls.client.x509.public_key_size": 256,
        "tls.client.x509.public_key_curve": "P-256",
        "tls.client.x509.signature_algorithm": "ecdsa-with-SHA256",
        "tls.server.subject": name(SERVER_NAME),
        "tls.server.hash.sha256": pki().server_p256.sha256,
        "process.name": "openssl",
        "tlsight.audit.status": "expired",
        "tlsight.audit.reason": "certificate_expired",
        "tlsight.role": "server",
        "tlsight.scope": "loopback",
        "tlsight.security": "unknown",
        "tlsight.security.source": "wire",
        "tlsight.security.reason": "handshake_failed",
        "tlsight.alert.name": "certificate_expired",
        "tlsight.alert.level": "fatal",
        "tlsight.alert.sender": "server",
    });
    let expected = expected.as_object_mut().unwrap();
    expected.extend(certificates.as_object().unwrap().clone());
    assert_eq!(Value::Object(line), Value::Object(expected.clone()));
}

fn renamed() {
    let auditor = Auditor::start(&["--audit-max-size", "0"]);
    let first = show(Version::Tls12, ServerStack::OpenSsl, Ask::Required, &[], &pki().client);
    auditor.line(first.at);
    let moved = auditor.log.with_extension("1");
    std::fs::rename(&auditor.log, &moved).expect("rename the log");
    auditor.agent.signal(libc::SIGHUP);
    let second = show(Version::Tls12, ServerStack::OpenSsl, Ask::Required, &[], &pki().client);
    auditor.line(second.at);
    assert!(lines(&auditor.log, first.at).is_empty());
    assert_eq!(lines(&moved, first.at).len(), 1);
    assert!(lines(&moved, second.at).is_empty());
    auditor.stop();
}

fn standard_output() {
    let mut cmd = Command::new(binary());
    cmd.args(["watch", "--no-existing", "--audit-log", "-"]);
    let agent = Child::spawn(cmd);
    agent.wait_for_line("tlsight: watching", LIMIT);
    let shown = show(Version::Tls12, ServerStack::OpenSsl, Ask::Required, &[], &pki().client);
    agent.wait_for_line(&format!("\"tlsight.server.ip\":\"{}\"", shown.at.ip()), LIMIT);
    agent.signal(libc::SIGINT);
    let ended = agent.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
    // Other cases connect meanwhile: their lines may be here too, and nothing but lines.
    for line in ended.text.lines().filter(|line| !line.starts_with("tlsight: ")) {
        let object: Object = serde_json::from_str(line).expect(line);
        assert_eq!(object["event.name"], "tlsight.client_certificate", "{line}");
    }
}
