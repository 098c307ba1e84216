//! Findings, raised by real servers and clients and told by `tlsight watch --policy`: each with its innocent neighbour,
//! which differs in that one thing. One agent watches all cases; the address a client calls says which policy applies.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tlsight_tests::agent::{Agent, Object};
use tlsight_tests::child::{Child, command};
use tlsight_tests::host::{free_port, pause, wait_until_listening};
use tlsight_tests::netns::Pair;
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, Ran, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{Identity, SERVER_NAME, pki, wrong};
use tlsight_tests::run::case;
use tlsight_tests::tools::scratch_dir;

const LIMIT: Duration = Duration::from_secs(20);

/// What policy expects of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// No document speaks of it.
    None,
    Strict,
    Tls,
    Permissive,
    /// Strict, and the client of the tests may call.
    AllowsCart,
    /// Strict, and it may not.
    AllowsOthers,
}

impl Policy {
    /// Third byte of the addresses it is about.
    fn net(self) -> u8 {
        match self {
            Policy::None => 0,
            Policy::Strict => 1,
            Policy::Tls => 2,
            Policy::Permissive => 3,
            Policy::AllowsCart => 4,
            Policy::AllowsOthers => 5,
        }
    }

    fn mode(self) -> Option<&'static str> {
        match self {
            Policy::None => None,
            Policy::Strict | Policy::AllowsCart | Policy::AllowsOthers => Some("strict"),
            Policy::Tls => Some("tls"),
            Policy::Permissive => Some("permissive"),
        }
    }

    fn document(self) -> Option<String> {
        let allowed = match self {
            Policy::AllowsCart => "  allowedClients: {spiffeIds: [\"spiffe://tlsight.test/ns/shop/*\"]}\n",
            Policy::AllowsOthers => "  allowedClients: {spiffeIds: [\"spiffe://tlsight.test/ns/bank/*\"]}\n",
            _ => "",
        };
        Some(format!(
            "---\napiVersion: tlsight.dev/v1alpha1\nkind: TlsightPolicy\nmetadata: {{name: net-{net}}}\nspec:\n  \
             selector: {{addresses: [127.250.{net}.0/24]}}\n  expect: {mode}\n{allowed}",
            net = self.net(),
            mode = self.mode()?,
        ))
    }
}

#[derive(Default)]
struct News {
    lines: Mutex<Vec<Object>>,
    changed: Condvar,
}

impl News {
    /// Waits for a line that is like this.
    fn wait(&self, what: &str, is_it: impl Fn(&Object) -> bool) -> Object {
        let deadline = Instant::now() + LIMIT;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| is_it(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} among {} events", lines.len());
            lines = self.changed.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// The agent of these cases, which runs until the end of the test binary, and the news it told.
static COURT: LazyLock<(Agent, Arc<News>)> = LazyLock::new(|| {
    let dir = scratch_dir("court");
    let policies =
        [Policy::Strict, Policy::Tls, Policy::Permissive, Policy::AllowsCart, Policy::AllowsOthers];
    let text: String = policies.into_iter().filter_map(Policy::document).collect();
    let (policy, config) = (dir.join("policy.yaml"), dir.join("tlsight.yaml"));
    std::fs::write(&policy, text).unwrap();
    let settings = "findings:\n  ledger: {settle_minutes: 0}\n  certificate_stale: {enabled: false}\n";
    std::fs::write(&config, settings).unwrap();
    let root = format!("live={}", pki().ca.display());
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (policy, config) = (text(&policy), text(&config));
    let news = Arc::new(News::default());
    let to = Arc::clone(&news);
    let arguments = [
        "--no-system-roots",
        "--ca-bundle",
        &root,
        "--config",
        &config,
        "--policy",
        &policy,
        "--findings",
        "--no-existing",
    ];
    let agent = Agent::start_as(&arguments, move |line| {
        to.lines.lock().unwrap().push(line);
        to.changed.notify_all();
    });
    (agent, news)
});

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("findings::plaintext_traffic", plaintext));
    for version in [Version::Tls12, Version::Tls13] {
        let name = |what: &str| format!("findings::{what}::{version:?}").to_lowercase();
        trials.push(case(name("mtls_missing"), move || mtls_missing(version)));
        trials.push(case(name("certificates"), move || certificates(version)));
        trials.push(case(name("client_identity_not_allowed"), move || identities(version)));
    }
    trials.push(case("findings::weak_protocol_and_no_forward_secrecy", weak));
    trials.push(case("findings::mixed_security", mixed));
    trials.push(case("findings::handshake_failed", handshake_failed));
    trials.push(case("findings::a_renewed_certificate_clears", renewed));
}

/// An address of a case's own that this policy is about.
fn address(policy: Policy, port: u16) -> SocketAddr {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, 250, policy.net(), last), port))
}

/// Checks what is said of the one connection to `server`, at both ends.
fn check(policy: Policy, server: SocketAddr, findings: &[&str]) {
    check_each(policy, server, &[findings]);
}

/// The same of several, in the order in which they were opened.
fn check_each(policy: Policy, server: SocketAddr, findings: &[&[&str]]) {
    let (agent, _) = &*COURT;
    let connections = agent.connections(server, findings.len());
    for ((client, server_end), findings) in connections.iter().zip(findings) {
        for (role, end) in [("client", client), ("server", server_end)] {
            let line = end.phase("final").expect("its end");
            let said = (line.get("tlsight.findings"), line.get("tlsight.expectation"));
            let (findings, mode) = (json!(findings), policy.mode().map(|mode| json!(mode)));
            assert_eq!(said, (Some(&findings), mode.as_ref()), "{role}:\n{}", agent.seen(server));
            let source = line.get("tlsight.expectation.source").and_then(Value::as_str);
            let named = format!("TlsightPolicy net-{} ", policy.net());
            let is_named = source.is_some_and(|source| source.starts_with(&named));
            assert_eq!(is_named, mode.is_some(), "{role}: {source:?}");
        }
    }
}

fn redis(server: SocketAddr) {
    let arguments =
        ["-h", &server.ip().to_string(), "-p", &server.port().to_string(), "PING"].map(str::to_owned);
    let ended = Child::spawn(command("redis-cli", arguments)).finish(LIMIT);
    assert!(ended.text.contains("PONG"), "{}", ended.text);
}

fn plaintext() {
    LazyLock::force(&COURT);
    let port = free_port();
    let mut cmd =
        command("redis-server", ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir"]);
    cmd.arg(scratch_dir("redis")).args(["--bind", "0.0.0.0", "--port", &port.to_string()]);
    let server = Child::spawn(cmd);
    assert!(wait_until_listening(([127, 0, 0, 1], port).into(), LIMIT, || server.is_running()));
    for (policy, findings) in [
        (Policy::Strict, ["plaintext_traffic"].as_slice()),
        (Policy::Tls, &["plaintext_traffic"]),
        (Policy::Permissive, &[]),
        // On the loopback interface, where no policy speaks of it.
        (Policy::None, &[]),
    ] {
        let at = address(policy, port);
        redis(at);
        check(policy, at, findings);
        if policy == Policy::Strict {
            let about = format!("-> {at}");
            let raised = COURT.1.wait("finding about redis", |line| {
                line.get("tlsight.finding.about").and_then(Value::as_str).is_some_and(|a| a.ends_with(&about))
            });
            assert_eq!(raised["tlsight.event"], "finding_raised");
            assert_eq!(raised["tlsight.finding.rule"], "plaintext_traffic");
            assert_eq!(raised["tlsight.finding.severity"], "critical");
            assert_eq!(raised["network.protocol.name"], "redis");
        }
    }
}

/// A connection of curl, which goes on whatever certificate it is shown.
fn curl(at: SocketAddr, name: &str, version: Version, identity: Option<&'static Identity>) -> Ran {
    let config = ClientConfig { name: Some(name), identity, ..ClientConfig::new(at).version(version) };
    let ran = ClientStack::Curl.run(&config.extra(&["--insecure", "--curves", "X25519:P-256"]));
    assert!(ran.success, "{}", ran.text);
    ran
}

fn mtls_missing(version: Version) {
    LazyLock::force(&COURT);
    let server = ServerStack::OpenSsl.start(&ServerConfig::new(Ask::Optional, &pki().server_p256));
    for (policy, identity, findings) in [
        (Policy::Strict, None, ["mtls_missing", "not_quantum_safe"].as_slice()),
        (Policy::Strict, Some(&pki().client), &["not_quantum_safe"]),
        (Policy::Tls, None, &["not_quantum_safe"]),
        (Policy::Permissive, None, &["not_quantum_safe"]),
    ] {
        let at = address(policy, server.port);
        curl(at, SERVER_NAME, version, identity);
        check(policy, at, findings);
    }
}

fn certificates(version: Version) {
    LazyLock::force(&COURT);
    for (identity, name, finding) in [
        (&pki().server_p256, SERVER_NAME, None),
        (&wrong().expired, SERVER_NAME, Some("certificate_expired")),
        (&wrong().expiring, SERVER_NAME, Some("certificate_expiring")),
        (&wrong().self_signed, SERVER_NAME, Some("certificate_self_signed")),
        (&pki().server_untrusted, SERVER_NAME, Some("certificate_untrusted")),
        (&pki().server_rsa, "other.tlsight.test", Some("certificate_name_mismatch")),
    ] {
        let server = ServerStack::OpenSsl.start(&ServerConfig::new(Ask::Never, identity));
        let at = address(Policy::Tls, server.port);
        curl(at, name, version, None);
        let findings: Vec<&str> = finding.into_iter().chain(["not_quantum_safe"]).collect();
        check(Policy::Tls, at, &findings);
    }
}

fn identities(version: Version) {
    LazyLock::force(&COURT);
    let server = ServerStack::OpenSsl.start(&ServerConfig::new(Ask::Optional, &pki().server_p256));
    for (policy, findings) in [
        (Policy::AllowsCart, ["not_quantum_safe"].as_slice()),
        (Policy::AllowsOthers, &["client_identity_not_allowed", "not_quantum_safe"]),
    ] {
        let at = address(policy, server.port);
        curl(at, SERVER_NAME, version, Some(&pki().client));
        check(policy, at, findings);
    }
}

fn weak() {
    LazyLock::force(&COURT);
    let low = ["-cipher", "ALL@SECLEVEL=0"];
    let config = ServerConfig::new(Ask::Never, &pki().server_rsa).extra(&low);
    let server = ServerStack::OpenSsl.start(&config);
    for (arguments, findings) in [
        (["-tls1_1", "-cipher", "ECDHE@SECLEVEL=0"], ["weak_protocol", "not_quantum_safe"].as_slice()),
        (["-tls1_2", "-cipher", "ECDHE@SECLEVEL=0"], &["not_quantum_safe"]),
        (["-tls1_2", "-cipher", "kRSA@SECLEVEL=0"], &["no_forward_secrecy", "not_quantum_safe"]),
    ] {
        let at = address(Policy::None, server.port);
        let client = ClientStack::OpenSsl.command(&ClientConfig::new(at).extra(&arguments));
        let request = b"GET / HTTP/1.0\r\n\r\n".to_vec();
        let ended = Child::spawn_with_input(client, Some(request), |_| None).finish(LIMIT);
        assert!(ended.text.contains("200 ok"), "{arguments:?}: {}", ended.text);
        check(Policy::None, at, findings);
    }
}

/// One server, a client without a certificate and one with: between network namespaces, since hops on the loopback
/// interface do not count.
fn mixed() {
    LazyLock::force(&COURT);
    let pair = Pair::direct();
    for (identities, findings) in [
        (
            [None, Some(&pki().client)],
            [["not_quantum_safe"].as_slice(), &["mixed_security", "not_quantum_safe"]],
        ),
        ([Some(&pki().client), Some(&pki().client_rsa)], [&["not_quantum_safe"], &["not_quantum_safe"]]),
    ] {
        let port = free_port();
        let config = ServerConfig::new(Ask::Optional, &pki().server_p256);
        let server = Child::spawn(pair.server.enter(&ServerStack::OpenSsl.command_line(&config, port)));
        server.wait_for_line("ACCEPT", LIMIT);
        let at = SocketAddr::from((pair.server_address, port));
        for identity in identities {
            let config = ClientConfig { identity, ..ClientConfig::new(at).version(Version::Tls12) };
            let ran = ClientStack::OpenSsl.run_in(Some(&pair.client), &config);
            assert_eq!(ran.said.first().and_then(|said| said.error.clone()), None, "{}", ran.text);
        }
        check_each(Policy::None, at, &findings);
    }
}

/// A client that refuses the server's certificate and says so; and one that does not.
fn handshake_failed() {
    LazyLock::force(&COURT);
    for (identity, findings) in [
        (&pki().server_untrusted, ["certificate_untrusted", "handshake_failed"].as_slice()),
        (&pki().server_p256, &["not_quantum_safe"]),
    ] {
        let server = ServerStack::OpenSsl.start(&ServerConfig::new(Ask::Never, identity));
        let at = address(Policy::None, server.port);
        let ran = ClientStack::OpenSsl.run(&ClientConfig::new(at).version(Version::Tls12));
        assert_eq!(ran.said.iter().all(|said| said.error.is_none()), findings.len() == 1, "{}", ran.text);
        check(Policy::None, at, findings);
    }
}

/// nginx shows an expired certificate, is given another one, and reloads: the finding is over, and that the certificate
/// was replaced is told.
fn renewed() {
    let (_, news) = &*COURT;
    let dir = scratch_dir("renewed");
    let shown = Identity {
        cert: dir.join("shown.pem"),
        key: dir.join("shown.key"),
        ..Identity::clone(&wrong().expired)
    };
    let show = |identity: &Identity| {
        std::fs::copy(&identity.cert, &shown.cert).unwrap();
        std::fs::copy(&identity.key, &shown.key).unwrap();
    };
    show(&wrong().expired);
    let server = ServerStack::Nginx.start(&ServerConfig::new(Ask::Never, &shown));
    let at = address(Policy::Tls, server.port);
    curl(at, SERVER_NAME, Version::Tls12, None);
    let about = format!("certificate of {at} for {SERVER_NAME}");
    let is = |event: &'static str, rule: Option<&'static str>| {
        let about = about.clone();
        move |line: &Object| {
            line.get("tlsight.event") == Some(&json!(event))
                && line.get("tlsight.finding.about") == Some(&json!(about))
                && line.get("tlsight.finding.rule").and_then(Value::as_str) == rule
        }
    };
    let rule = Some("certificate_expired");
    let raised = news.wait("raised finding", is("finding_raised", rule));
    assert_eq!(raised["tlsight.finding.severity"], "critical");
    assert_eq!(raised["tls.server.hash.sha256"], json!(wrong().expired.sha256));
    show(&pki().server_p256);
    server.child.signal(libc::SIGHUP);
    // Old workers take connections until the new ones do.
    let deadline = Instant::now() + LIMIT;
    let is_over = is("finding_cleared", rule);
    while !news.lines.lock().unwrap().iter().any(&is_over) {
        assert!(Instant::now() < deadline, "the finding is not over");
        curl(at, SERVER_NAME, Version::Tls12, None);
        pause(Duration::from_millis(200));
    }
    let cleared = news.wait("cleared finding", is_over);
    assert_eq!(cleared["tlsight.finding.cleared"], "good");
    let replaced = news.wait("replaced certificate", is("certificate_replaced", None));
    assert_eq!(
        (
            &replaced["tlsight.certificate.before.hash.sha256"],
            &replaced["tlsight.certificate.after.hash.sha256"]
        ),
        (&json!(wrong().expired.sha256), &json!(pki().server_p256.sha256))
    );
}
