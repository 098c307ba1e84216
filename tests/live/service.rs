//! `tlsight agent`: its endpoint, settings that are read anew while it runs, and its end.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tlsight_tests::agent::binary;
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::host::{case_address, free_port, pause, wait_until_listening};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerStack, Version};
use tlsight_tests::pki::pki;
use tlsight_tests::run::case;
use tlsight_tests::service::Service;
use tlsight_tests::tools::scratch_dir;

use crate::support::{address, only_success, server};

const LIMIT: Duration = Duration::from_secs(30);

/// No probes: they are the business of other cases, and take their time.
const QUIET: &str = "tls13: {certificates: off}\ntrust: {system_roots: off}\n";

/// Adds the cases. Each brings an agent of its own.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("service::endpoint_answers", endpoint));
    trials.push(case("service::metrics_tell_what_was_seen", metrics));
    trials.push(case("service::endpoint_over_tls_knows_who_may_ask", endpoint_over_tls));
    trials.push(case("service::reload_takes_policy_and_thresholds", reload));
    trials.push(case("service::files_that_change_are_read_anew", files_that_change));
    trials.push(case("service::ends_well_and_leaves_nothing", end));
    trials.push(case("service::an_address_in_use_is_named", address_in_use));
}

fn endpoint() {
    let service = Service::start("endpoint", QUIET);
    let ask = |path: &str, arguments: &[&str]| {
        let answer = service.get(path, arguments);
        (answer.status, answer.body)
    };
    let text = |status: u16, body: &str| (status, body.to_owned());
    assert_eq!(ask("/healthz", &[]), text(200, "ok\n"));
    assert_eq!(ask("/readyz", &[]), text(200, "watching\n"));
    assert_eq!(ask("/", &[]), text(200, "tlsight\n\n/metrics\n/healthz\n/readyz\n"));
    assert_eq!(ask("/metric", &[]), text(404, "not found; see /\n"));
    assert_eq!(ask("/healthz", &["--data", "x"]), text(405, "GET or HEAD\n"));
    assert_eq!(service.get("/metrics", &["--compressed"]).status, 200);
    // An agent that does not run is neither alive nor ready, once it is asked.
    service.child.signal(libc::SIGSTOP);
    let silent = ask("/healthz", &["--max-time", "1"]);
    service.child.signal(libc::SIGCONT);
    assert_eq!(silent, text(0, ""));
    assert_eq!(ask("/healthz", &[]), text(200, "ok\n"));
    assert!(service.stop().status.success(), "{}", service.child.text());
}

/// Series of a metric and their values, in the text format.
fn series(text: &str, metric: &str, with: &str) -> Vec<(String, f64)> {
    let of = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        let is_it = name.strip_prefix(metric)?.starts_with('{') || name == metric;
        (is_it && name.contains(with)).then(|| Some((name.to_owned(), value.parse().ok()?)))?
    };
    text.lines().filter_map(of).collect()
}

/// A plaintext connection and a handshake are counted, at both ends, within the time of a scrape.
fn metrics() {
    let service = Service::start("metrics", QUIET);
    let plain = Plain::new();
    let server = server(ServerStack::Go, Ask::Required);
    let at = address(server);
    let identity = &pki().client;
    let ran = ClientStack::Curl.run(&ClientConfig::new(at).version(Version::Tls13).identity(identity));
    let cipher = only_success(&ran).cipher.clone().expect("a cipher suite");
    plain.ask();
    let label = |port: u16| format!("server_port=\"{port}\"");
    let counted = wait_for(|| {
        let text = service.get("/metrics", &[]).body;
        let of = |port: u16| series(&text, "tlsight_connections_total", &label(port));
        let is_there = |port: u16| of(port).iter().map(|(_, n)| *n as u64).sum::<u64>() >= 2;
        (is_there(plain.at.port()) && is_there(at.port())).then_some(text)
    });
    let text = counted.unwrap_or_else(|| panic!("{}", service.get("/metrics", &[]).body));
    for (port, security, protocol) in
        [(plain.at.port(), "plaintext", "protocol=\"http\""), (at.port(), "mtls", "")]
    {
        for role in ["client", "server"] {
            let found = series(&text, "tlsight_connections_total", &label(port));
            let wanted =
                [format!("security=\"{security}\""), format!("role=\"{role}\""), protocol.to_owned()];
            let is_it = |name: &str| wanted.iter().all(|label| name.contains(label.as_str()));
            assert!(found.iter().any(|(name, n)| is_it(name) && *n >= 1.0), "{security} {role}: {found:#?}");
        }
    }
    let with = format!("tls_protocol_version=\"1.3\",tls_cipher=\"{cipher}\"");
    let handshakes = series(&text, "tlsight_tls_handshakes_total", &with);
    assert!(handshakes.iter().any(|(_, n)| *n >= 1.0), "{with} in {text}");
    // Of what is served, a program that others wrote thinks well.
    let mut promtool = command("promtool", ["check", "metrics"]);
    let file = service.folder.join("metrics");
    std::fs::write(&file, &text).expect("write");
    promtool.stdin(std::fs::File::open(&file).expect("open"));
    let said = promtool.output().expect("promtool");
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    // The three formats, compressed too.
    let kind = |accept: &str, more: &[&str]| {
        let accept = format!("Accept: {accept}");
        let answer = service.get("/metrics", &[&["--header", &accept], more].concat());
        assert!(answer.body.contains("tlsight_connections_total"), "{accept}: {}", answer.body);
        answer.content_type
    };
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(kind("*/*", &["--compressed"]), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(kind("application/openmetrics-text;version=1.0.0", &["--compressed"]), openmetrics);
    // What programs cost is told as long as the kernel counts, and not before.
    assert_eq!(series(&text, "tlsight_bpf_program_runs_total", ""), []);
    assert!(service.stop().status.success(), "{}", service.child.text());
}

fn endpoint_over_tls() {
    let folder = scratch_dir("endpoint-tls");
    let copy = |from: &std::path::Path, to: &str| {
        std::fs::copy(from, folder.join(to)).expect("copy");
    };
    copy(&pki().server_rsa.cert, "tls.crt");
    copy(&pki().server_rsa.key, "tls.key");
    std::fs::write(folder.join("token"), "s3cret\n").expect("write");
    let at = |name: &str| folder.join(name).display().to_string();
    let configuration = format!(
        "{QUIET}metrics:\n  bearer_token_file: {}\n  tls:\n    certificate: {}\n    key: {}\n    client_ca: {}\n",
        at("token"),
        at("tls.crt"),
        at("tls.key"),
        pki().ca.display()
    );
    let service = Service::start_in(&folder, &configuration, |_| {});
    assert!(service.url.starts_with("https://127.0.0.1:"), "{}", service.url);
    let (ca, cert) = (pki().ca.display().to_string(), pki().client.cert.display().to_string());
    let (key, stranger) = (pki().client.key.display().to_string(), &pki().client_untrusted);
    let port = service.url.rsplit(':').next().expect("a port");
    let name = tlsight_tests::pki::SERVER_NAME;
    let to = format!("{name}:{port}:127.0.0.1");
    let url = format!("https://{name}:{port}");
    let service = Service { url, ..service };
    let known = ["--cacert", &ca, "--resolve", &to, "--cert", &cert, "--key", &key];
    let unknown = &known[..4];
    let status = |path: &str, arguments: &[&str], header: &[&str]| {
        service.get(path, &[arguments, header].concat()).status
    };
    let (good, bad) = (["-H", "Authorization: Bearer s3cret"], ["-H", "Authorization: Bearer secret"]);
    assert_eq!(status("/healthz", unknown, &[]), 200);
    assert_eq!(status("/readyz", unknown, &[]), 200);
    assert_eq!(status("/metrics", &known, &good), 200);
    assert_eq!(status("/metrics", &known, &bad), 401);
    assert_eq!(status("/metrics", &known, &[]), 401);
    assert_eq!(status("/metrics", unknown, &good), 403);
    let (cert, key) = (stranger.cert.display().to_string(), stranger.key.display().to_string());
    let strange = ["--cacert", &ca, "--resolve", &to, "--cert", &cert, "--key", &key];
    assert_eq!(status("/metrics", &strange, &good), 0, "of an authority that is not trusted");
    assert_eq!(status("/metrics", &known[..4], &["--cacert", &cert]), 0, "the client is the one to refuse");

    // Another certificate and another token, while it runs.
    let serial = || {
        let at = format!("127.0.0.1:{port}");
        let line = format!(
            "openssl s_client -connect {at} -servername {name} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256"
        );
        let text = output(command("sh", ["-c", &line]));
        text.trim().rsplit('=').next().expect("digits").replace(':', "").to_lowercase()
    };
    assert_eq!(serial(), pki().server_rsa.sha256.to_lowercase());
    copy(&pki().server_p256.cert, "tls.crt");
    copy(&pki().server_p256.key, "tls.key");
    service.write("token", "another");
    assert!(service.reload().contains("settings read anew"), "{}", service.child.text());
    assert_eq!(serial(), pki().server_p256.sha256.to_lowercase());
    assert_eq!(status("/metrics", &known, &good), 401);
    assert_eq!(status("/metrics", &known, &["-H", "Authorization: Bearer another"]), 200);
    // A key that is not the certificate's: what was shown before is shown still.
    copy(&pki().server_rsa.cert, "tls.crt");
    assert!(service.reload().contains("settings stay as they were"), "{}", service.child.text());
    assert_eq!(serial(), pki().server_p256.sha256.to_lowercase());
    assert!(service.stop().status.success(), "{}", service.child.text());
}

/// A server that speaks plaintext, and one connection to it that is over.
struct Plain {
    _server: Child,
    at: SocketAddr,
}

impl Plain {
    fn new() -> Self {
        let at = SocketAddr::from((case_address(), free_port()));
        let folder = scratch_dir("plain");
        let mut cmd = command("python3", ["-m", "http.server", "--bind", &at.ip().to_string()]);
        cmd.arg("--directory").arg(folder).arg(at.port().to_string());
        let server = Child::spawn(cmd);
        assert!(wait_until_listening(at, LIMIT, || server.is_running()), "{}", server.text());
        Self { _server: server, at }
    }

    fn ask(&self) {
        output(command(
            "curl",
            ["--silent", "--noproxy", "*", "--output", "/dev/null", &format!("http://{}/", self.at)],
        ));
    }

    /// A policy document that says what is expected of it.
    fn policy(&self, expect: &str) -> String {
        format!(
            "apiVersion: tlsight.dev/v1alpha1\nkind: TlsightPolicy\nmetadata: {{name: plain}}\nspec:\n  \
             selector: {{ports: [{}]}}\n  expect: {expect}\n",
            self.at.port()
        )
    }

    /// Connections that the running agent knows of, and the rules that have something against it now.
    fn told_by(&self, service: &Service) -> (u64, Vec<String>) {
        let mut cmd = Command::new(binary());
        cmd.args(["report", "-o", "json", "--socket"]).arg(&service.socket);
        let report: Value = serde_json::from_str(&output(cmd)).expect("JSON");
        let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
        let at = json!(self.at.to_string());
        let services = list("services");
        let of_server = services.iter().find(|s| s["endpoints"].as_array().is_some_and(|e| e.contains(&at)));
        let counts = of_server.and_then(|s| s["connections"].as_object()).into_iter().flatten();
        let seen = counts.filter_map(|(_, n)| n.as_u64()).sum();
        let port = format!(":{}", self.at.port());
        let stands = |finding: &&Value| {
            let active = finding["active"].as_array().into_iter().flatten();
            active.filter_map(|a| a["about"].as_str()).any(|about| about.ends_with(&port))
        };
        let findings = list("findings");
        let rules = findings.iter().filter(stands).filter_map(|f| f["rule"].as_str().map(str::to_owned));
        (seen, rules.collect())
    }

    /// Asks once more, waits until the running agent knows of it, and gives the rules that have something against it.
    fn ask_before(&self, service: &Service) -> Vec<String> {
        let (before, _) = self.told_by(service);
        self.ask();
        let told = wait_for(|| Some(self.told_by(service)).filter(|(seen, _)| *seen > before));
        told.unwrap_or_else(|| panic!("not seen: {}", service.child.text())).1
    }
}

fn wait_for<T>(mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match ready() {
            None if Instant::now() < deadline => pause(Duration::from_millis(50)),
            other => return other,
        }
    }
}

fn reload() {
    let plain = Plain::new();
    let folder = scratch_dir("reload");
    std::fs::write(folder.join("policy.yaml"), plain.policy("permissive")).expect("write");
    let configuration = format!(
        "{QUIET}agent: {{reload: off}}\npolicy: {{files: [{}]}}\n",
        folder.join("policy.yaml").display()
    );
    let service = Service::start_in(&folder, &configuration, |_| {});
    assert_eq!(plain.ask_before(&service), Vec::<String>::new());
    // What is wrong changes nothing, and is said.
    service.write("policy.yaml", "kind: Nonsense\n");
    assert!(service.reload().contains("settings stay as they were"), "{}", service.child.text());
    service.write("policy.yaml", &plain.policy("strict"));
    assert!(service.reload().contains("settings read anew"), "{}", service.child.text());
    assert_eq!(plain.ask_before(&service), ["plaintext_traffic"]);
    // A rule that is not looked at any more has nothing against anybody.
    service.write(
        "tlsight.yaml",
        &format!("{configuration}findings: {{plaintext_traffic: {{enabled: false}}}}\n"),
    );
    assert!(service.reload().contains("settings read anew"), "{}", service.child.text());
    let cleared = wait_for(|| plain.told_by(&service).1.is_empty().then_some(()));
    assert_eq!(cleared, Some(()), "{:?}", plain.told_by(&service));
    assert_eq!(plain.ask_before(&service), Vec::<String>::new());
    // What cannot be changed while it runs is named.
    service.write("tlsight.yaml", &format!("{configuration}capture: {{max_connections: 1000}}\n"));
    assert!(service.reload().contains("settings read anew"), "{}", service.child.text());
    assert!(
        service.child.text().contains("capture: changes count after a restart"),
        "{}",
        service.child.text()
    );
    assert!(service.stop().status.success(), "{}", service.child.text());
}

fn files_that_change() {
    let folder = scratch_dir("changing");
    std::fs::create_dir(folder.join("policies")).expect("folder");
    let configuration = format!("{QUIET}policy: {{files: [{}]}}\n", folder.join("policies").display());
    let service = Service::start_in(&folder, &configuration, |_| {});
    let plain = Plain::new();
    for (n, (name, text, expected)) in [
        ("policies/a.yaml", plain.policy("strict"), "settings read anew"),
        ("policies/a.yaml", "kind: [".to_owned(), "settings stay as they were"),
        ("policies/a.yaml", plain.policy("permissive"), "settings read anew"),
        (
            "tlsight.yaml",
            format!("{configuration}findings: {{ledger: {{settle_minutes: 0}}}}\n"),
            "settings read anew",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        service.write(name, &text);
        let said = service.wait_for_reload(n);
        assert!(said.contains(expected), "{name}: {said}\n{}", service.child.text());
    }
    assert_eq!(service.reloads(), 4, "{}", service.child.text());
    assert!(service.stop().status.success(), "{}", service.child.text());
}

fn end() {
    let service = Service::start("end", QUIET);
    assert!(service.socket.exists());
    let ended = service.stop();
    assert!(ended.status.success(), "{}", ended.text);
    assert!(!service.socket.exists());
    assert_eq!(service.get("/healthz", &[]).status, 0);
    let lines: Vec<&str> = ended.text.lines().collect();
    assert_eq!(lines.last().copied(), Some("tlsight: watching"), "{}", ended.text);
}

fn address_in_use() {
    let first = Service::start("first", QUIET);
    let at = first.url.strip_prefix("http://").expect("an address");
    let mut cmd =
        command(binary(), ["agent", "--tls13-certificates", "off", "--metrics-listen", at, "--socket"]);
    cmd.arg(scratch_dir("second").join("tlsight.sock"));
    let ended = Child::spawn(cmd).finish(LIMIT);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.text);
    let expected = format!("cannot serve metrics at {at}");
    assert!(ended.text.contains(&expected) && ended.text.contains("--metrics-listen"), "{}", ended.text);
    assert!(first.stop().status.success());
}
