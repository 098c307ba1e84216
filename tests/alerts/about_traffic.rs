//! Alerts about connections and certificates: raised by real programs that talk, ended by the same programs doing it right.

use std::net::SocketAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use tlsight_tests::child::{Child, command};
use tlsight_tests::host::free_port;
use tlsight_tests::netns::Pair;
use tlsight_tests::peers::{Ask, ServerConfig, ServerStack};
use tlsight_tests::pki::{Identity, ending, pki, wrong};
use tlsight_tests::run::case;

use crate::traffic::{Server, until, visit, visit_from, with_certificate};
use crate::webhook::{Alert, Status};
use crate::world::world;

/// How long a client that comes again waits, if nothing is heard meanwhile.
const BETWEEN_VISITS: Duration = Duration::from_millis(300);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("plaintext_where_policy_expects_tls", plaintext_against_policy));
    trials.push(case("plaintext_without_a_policy", plaintext_without_policy));
    trials.push(case("mixed_security_until_a_minute_after_the_last_plaintext", mixed));
    trials.push(case("mutual_tls_that_policy_expects_is_missing", mtls_missing));
    trials.push(case("weak_protocol", weak_protocol));
    trials.push(case("handshakes_that_fail", handshakes));
    trials.push(case("a_certificate_from_30_days_to_7_to_its_end_and_renewed", certificate));
}

fn about(server: &Server) -> impl Fn(&Alert) -> bool {
    let name = server.name();
    move |alert| alert.label("server_workload") == name
}

/// What a person is told names both ends and says where to read on.
fn assert_readable(alert: &Alert, words: &[&str]) {
    let description = alert.annotations["description"].as_str().expect("a description");
    assert!(words.iter().all(|word| description.contains(word)), "{words:?} in {description}");
    let book = alert.annotations["runbook_url"].as_str().expect("a runbook");
    assert!(book.ends_with(&format!("/{}.md", alert.label("alertname"))), "{book}");
}

fn plaintext_against_policy() {
    let (world, server) = (world(), Server::start(&pki().server_p256));
    world.expect(server.address(), "tls");
    let mark = world.webhook.mark();
    assert!(visit(&server, "http", &[]));
    let is_it = |alert: &Alert| about(&server)(alert) && alert.label("client_workload") == "curl";
    let alert = world.hears(mark, "TlsightPlaintextTraffic", Status::Firing, is_it);
    assert_eq!((alert.label("severity"), alert.label("rule_id")), ("critical", "plaintext_traffic"));
    assert_readable(&alert, &[&server.name(), "curl", "policy expects TLS"]);
    assert!(visit(&server, "https", &["--insecure"]));
    world.hears(mark, "TlsightPlaintextTraffic", Status::Resolved, is_it);
}

fn plaintext_without_policy() {
    let (world, server) = (world(), Server::start(&pki().server_p256));
    let mark = world.webhook.mark();
    assert!(visit(&server, "http", &[]));
    let is_it = |alert: &Alert| about(&server)(alert) && alert.label("client_workload") == "curl";
    let alert = world.hears(mark, "TlsightPlaintextTraffic", Status::Firing, is_it);
    assert_eq!((alert.label("severity"), alert.label("rule_id")), ("warning", "plaintext_traffic"));
    assert_readable(&alert, &[&server.name(), "curl", "No policy"]);
    assert!(visit(&server, "https", &["--insecure"]));
    world.hears(mark, "TlsightPlaintextTraffic", Status::Resolved, is_it);
}

fn mixed() {
    // On loopback nothing is mixed.
    let (world, pair) = (world(), Pair::direct());
    let at = SocketAddr::from((pair.server_address, free_port()));
    let server = Server::start_at(at, &pki().server_p256, Some(&pair.server));
    let mark = world.webhook.mark();
    let visits = |scheme| assert!(visit_from(Some(&pair.client), &server, scheme, &["--insecure"]));
    visits("http");
    visits("https");
    let is_it = |alert: &Alert| alert.label("alertname") == "TlsightMixedSecurity" && about(&server)(alert);
    let alert = world.hears(mark, "TlsightMixedSecurity", Status::Firing, is_it);
    assert_eq!(alert.label("severity"), "warning");
    assert_readable(&alert, &[&server.name()]);
    // It ends a minute after the last plaintext, with the next connection that is like all others.
    until(
        || visits("https"),
        || world.webhook.wait(mark, BETWEEN_VISITS, |alert| alert.status == Status::Resolved && is_it(alert)),
    );
}

fn mtls_missing() {
    let (world, server) = (world(), Server::start(&pki().server_p256));
    world.expect(server.address(), "strict");
    let mark = world.webhook.mark();
    assert!(visit(&server, "https", &["--insecure"]));
    let is_it = about(&server);
    let alert = world.hears(mark, "TlsightPolicyMismatch", Status::Firing, &is_it);
    assert_eq!((alert.label("severity"), alert.label("rule_id")), ("critical", "mtls_missing"));
    assert_readable(&alert, &[&server.name(), "curl", "shows no certificate"]);
    let certificate = with_certificate(&pki().client);
    let certificate: Vec<&str> = certificate.iter().map(String::as_str).collect();
    assert!(visit(&server, "https", &certificate));
    world.hears(mark, "TlsightPolicyMismatch", Status::Resolved, &is_it);
}

fn weak_protocol() {
    let (world, server) = (world(), Server::start(&pki().server_p256));
    let mark = world.webhook.mark();
    let old = ["--insecure", "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0"];
    assert!(visit(&server, "https", &old));
    let is_it = about(&server);
    let alert = world.hears(mark, "TlsightWeakProtocol", Status::Firing, &is_it);
    assert_eq!((alert.label("severity"), alert.label("rule_id")), ("warning", "weak_protocol"));
    assert_readable(&alert, &[&server.name(), "curl", "RFC 8996"]);
    assert!(visit(&server, "https", &["--insecure"]));
    world.hears(mark, "TlsightWeakProtocol", Status::Resolved, &is_it);
}

fn handshakes() {
    let world = world();
    // An executable that no other case has: what fails is summed up by it.
    let config = ServerConfig::new(Ask::Never, &pki().server_p256);
    let server = ServerStack::OpenSsl.start(&config);
    let at = SocketAddr::from(([127, 0, 0, 1], server.port));
    let mark = world.webhook.mark();
    let is_it = |alert: &Alert| {
        alert.label("alertname") == "TlsightHandshakeFailures" && alert.label("server_workload") == "openssl"
    };
    let alert = until(
        || {
            // curl does not know the authority. One connection after the other, as a client that tries again.
            let mut curl =
                command("curl", ["--silent", "--max-time", "20", "--noproxy", "*", "--tls-max", "1.2"]);
            curl.arg(format!("https://{at}/"));
            let ended = Child::spawn(curl).finish(Duration::from_secs(40));
            assert_eq!(ended.status.code(), Some(60), "curl: {}", ended.text);
        },
        || world.webhook.wait(mark, BETWEEN_VISITS, |alert| alert.status == Status::Firing && is_it(alert)),
    );
    assert_readable(&alert, &["openssl", "100%"]);
    world.hears(mark, "TlsightHandshakeFailures", Status::Resolved, is_it);
}

fn certificate() {
    let world = world();
    let steps: [(&Identity, &str, &str); 3] = [
        (&ending().in_20_days, "TlsightCertificateExpiresIn30Days", "warning"),
        (&ending().in_5_days, "TlsightCertificateExpiresIn7Days", "critical"),
        (&wrong().expired, "TlsightCertificateExpired", "critical"),
    ];
    let mark = world.webhook.mark();
    // TLS 1.2: the certificate is on the wire, and no probe has to be there in time.
    let visits = |server: &Server| assert!(visit(server, "https", &["--insecure", "--tls-max", "1.2"]));
    let mut server = Server::start(&ending().in_80_days);
    for (identity, name, severity) in steps {
        server = server.shows(identity);
        visits(&server);
        let alert = world.hears(mark, name, Status::Firing, about(&server));
        assert_eq!(alert.label("severity"), severity);
        assert_readable(&alert, &[&server.name(), "server"]);
    }
    // The one of 30 days ended when it became the one of 7.
    world.hears(mark, "TlsightCertificateExpiresIn30Days", Status::Resolved, about(&server));
    let server = server.shows(&ending().in_80_days);
    visits(&server);
    for (_, name, _) in steps {
        world.hears(mark, name, Status::Resolved, about(&server));
    }
}
