//! What each metric counts.

use std::path::Path;

use agent_core::event::{Bytes, CloseKind};
use agent_core::identity::{ProcessDetails, ServiceRef};
use agent_core::net::{Endpoint, Side};
use agent_core::observation::{AlertFact, Phase, Reason, Security, TlsFacts};
use agent_core::policy::about::{About, Actor, Target};
use agent_core::policy::finding::{Evidence, Finding, RuleId, Severity};
use agent_core::policy::history::{CertificateReplaced, Place};
use agent_core::policy::ledger::{Change, Cleared, Standing};
use agent_core::tls::codepoints::{AlertDescription, AlertLevel, CipherSuite, NamedGroup, ProtocolVersion};

use super::*;
use crate::export::sample;

/// A handshake of TLS 1.3, as a client saw it.
fn tls13() -> Observation {
    let tls = TlsFacts {
        negotiated_version: Some(ProtocolVersion::TLS_1_3),
        cipher: Some(CipherSuite(0x1301)),
        group: Some(NamedGroup(4588)),
        established: Some(true),
        resumed: Some(false),
        server_name: Some("A.example".to_owned()),
        handshake_duration: Some(Duration::from_millis(3)),
        ..TlsFacts::default()
    };
    Observation { security: Security::Tls, protocol: None, tls: Some(Arc::new(tls)), ..sample::plaintext() }
}

fn failed(alert: Option<AlertFact>, reason: Reason) -> Observation {
    let tls = TlsFacts { established: Some(false), alert, ..TlsFacts::default() };
    Observation {
        security: Security::Unknown,
        reason: Some(reason),
        protocol: None,
        phase: Phase::Final,
        tls: Some(Arc::new(tls)),
        ..sample::plaintext()
    }
}

fn unfinished(reason: Reason, closed: CloseKind) -> Observation {
    let tls = Some(Arc::new(TlsFacts::default()));
    Observation { tls, closed: Some(closed), ..failed(None, reason) }
}

#[test]
fn the_whole_exposition_of_one_connection_with_everything() {
    let mut bench = Bench::new(Options { native_histograms: false, ..Options::default() });
    bench.see_after(Duration::ZERO, &plain(sample::everything()), Some(Mode::Strict));
    for (format, file) in [(Format::OpenMetrics, "everything.openmetrics"), (Format::Text, "everything.text")]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/export/prometheus/tests").join(file);
        let text = String::from_utf8(bench.show_after(Duration::ZERO, format)).expect("UTF-8");
        if std::env::var_os("TLSIGHT_BLESS").is_some_and(|v| v == "1") {
            std::fs::write(&path, &text).expect("write the exposition");
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, there, "{file}: TLSIGHT_BLESS=1 writes it anew");
    }
}

#[test]
fn a_connection_end_counts_once_at_its_first_proven_verdict_or_else_at_its_end() {
    const METRICS: &[&str] = &["tlsight_connections_total", "tlsight_connections_unknown_total"];
    let mut bench = Bench::new(Options::default());
    let unknown = |phase, reason| Observation {
        phase,
        security: Security::Unknown,
        reason: Some(reason),
        protocol: None,
        ..sample::plaintext()
    };
    let proven = |phase| Observation { phase, ..sample::plaintext() };
    // Nothing is proven yet.
    bench.see(&plain(unknown(Phase::Verdict, Reason::StartedBeforeAgent)));
    assert_eq!(bench.lines(METRICS), Vec::<String>::new());
    bench.see(&plain(proven(Phase::Verdict)));
    let one =
        r#"tlsight_connections_total{security="plaintext",role="client",protocol="http",server_port="80"} 1"#;
    assert_eq!(bench.lines(METRICS), [one]);
    bench.see(&plain(proven(Phase::Verdict)));
    bench.see(&plain(proven(Phase::Final)));
    assert_eq!(bench.lines(METRICS), [one]);
    // Another one, of which nothing is ever proven.
    bench.see(&on(8, plain(unknown(Phase::Verdict, Reason::NoData))));
    bench.see(&on(8, plain(unknown(Phase::Final, Reason::NoData))));
    let never = r#"tlsight_connections_total{security="unknown",role="client",server_port="80"} 1"#;
    let reason = r#"tlsight_connections_unknown_total{reason="no_data"} 1"#;
    assert_eq!(bench.lines(METRICS), [one, never, reason]);
}

#[test]
fn connections_that_cannot_be_remembered_count_when_they_end() {
    let mut bench = Bench::new(Options { max_connections: 1, ..Options::default() });
    let value =
        |bench: &Bench| bench.lines(&["tlsight_connections_total"]).first().map(|line| line.chars().last());
    for conn in [1, 2, 2] {
        bench.see(&on(conn, plain(sample::plaintext())));
    }
    assert_eq!(value(&bench), Some(Some('1')));
    for conn in [2, 1] {
        bench.see(&on(conn, plain(Observation { phase: Phase::Final, ..sample::plaintext() })));
    }
    assert_eq!(value(&bench), Some(Some('2')));
    // There is room again.
    bench.see(&on(3, plain(sample::plaintext())));
    assert_eq!(value(&bench), Some(Some('3')));
}

#[test]
fn ends_are_named_by_workload_service_unit_executable_or_node() {
    let process = |unit: Option<&str>, path: Option<&str>| {
        let details = ProcessDetails {
            systemd_unit: unit.map(str::to_owned),
            executable_path: path.map(str::to_owned),
            ..ProcessDetails::default()
        };
        Party { process: Some(Arc::new(details)), ..Party::default() }
    };
    let service = Party {
        service: Some(Arc::new(ServiceRef { namespace: "shop".to_owned(), name: "db".to_owned() })),
        dialled: Some(Endpoint::new(std::net::IpAddr::from([10, 96, 0, 1]), 5432)),
        ..Party::default()
    };
    let node = Party { node: Some(Arc::from("node-2")), ..Party::default() };
    let mut redirected = workload("shop", "web");
    redirected.listen_port = Some(8080);
    let server = |party: Party| hop(sample::plaintext(), workload("shop", "cart"), party);
    for (conn, sighting, expected) in [
        (1, server(redirected), r#"server_namespace="shop",server_workload="web",server_port="8080""#),
        (2, server(service), r#"server_namespace="shop",server_workload="db",server_port="5432""#),
        (
            3,
            server(process(Some("db.service"), Some("/usr/bin/db"))),
            r#"server_workload="db.service",server_port="80""#,
        ),
        (4, server(process(None, Some("/usr/bin/db"))), r#"server_workload="db",server_port="80""#),
        (5, server(node), r#"server_workload="node-2",server_port="80""#),
        (6, server(Party::default()), r#"server_port="80""#),
    ] {
        let mut bench = Bench::new(Options::default());
        bench.see(&on(conn, sighting));
        let line = format!(
            r#"tlsight_connections_total{{security="plaintext",role="client",scope="cluster",protocol="http",client_namespace="shop",client_workload="cart",{expected}}} 1"#
        );
        assert_eq!(bench.lines(&["tlsight_connections_total"]), [line]);
    }
    // The observed end's own process is known without anybody asking procfs.
    let mut bench = Bench::new(Options::default());
    let mut seen = sample::everything();
    seen.tls = None;
    bench.see(&plain(seen));
    assert_eq!(
        bench.lines(&["tlsight_connections_total"]),
        [
            r#"tlsight_connections_total{security="mtls",role="server",scope="loopback",protocol="smtp",server_workload="nginx",server_port="443"} 1"#
        ]
    );
}

#[test]
fn handshakes_count_by_what_was_agreed_on_and_server_names_have_no_case() {
    const METRICS: &[&str] =
        &["tlsight_tls_handshakes_total", "tlsight_tls_handshake_duration_seconds_count"];
    let mut bench = Bench::new(Options::default());
    bench.see(&on(1, plain(tls13())));
    bench.see(&on(1, plain(Observation { phase: Phase::Final, ..tls13() })));
    bench.see(&on(2, plain(Observation { phase: Phase::Final, ..tls13() })));
    assert_eq!(
        bench.lines(METRICS),
        [
            r#"tlsight_tls_handshake_duration_seconds_count{role="client",tls_protocol_version="1.3",tls_resumed="false"} 2"#,
            r#"tlsight_tls_handshakes_total{role="client",tls_protocol_version="1.3",tls_cipher="TLS_AES_128_GCM_SHA256",tls_group="X25519MLKEM768",tls_resumed="false",server_name="a.example"} 2"#,
        ]
    );
}

#[test]
fn codepoints_without_a_name_are_numbers() {
    let mut bench = Bench::new(Options::default());
    let mut seen = tls13();
    if let Some(tls) = seen.tls_mut() {
        tls.negotiated_version = Some(ProtocolVersion(0x7F1C));
        tls.cipher = Some(CipherSuite(0xFE01));
        tls.group = Some(NamedGroup(0xBEEF));
        tls.resumed = None;
        tls.server_name = None;
    }
    bench.see(&plain(seen));
    assert_eq!(
        bench.lines(&["tlsight_tls_handshakes_total"]),
        [
            r#"tlsight_tls_handshakes_total{role="client",tls_protocol_version="0x7F1C",tls_cipher="0xFE01",tls_group="0xBEEF"} 1"#
        ]
    );
}

#[test]
fn a_handshake_that_nobody_saw_is_not_counted() {
    let mut bench = Bench::new(Options::default());
    let mut seen = tls13();
    seen.tls = Some(Arc::new(TlsFacts { established: Some(true), ..TlsFacts::default() }));
    bench.see(&plain(seen));
    let all: &[&str] = &["tlsight_tls_handshakes_total", "tlsight_tls_handshake_failures_total"];
    assert_eq!(bench.lines(all), Vec::<String>::new());
}

#[test]
fn failures_are_named_by_the_alert_or_by_the_reason() {
    let alert = |content| Some(AlertFact { sender: Side::Server, content });
    let unknown_ca = alert(Some((AlertLevel::FATAL, AlertDescription::UNKNOWN_CA)));
    let unassigned = alert(Some((AlertLevel::FATAL, AlertDescription(200))));
    let mut bench = Bench::new(Options::default());
    for (conn, observation) in [
        failed(unknown_ca, Reason::HandshakeFailed),
        failed(unassigned, Reason::HandshakeFailed),
        failed(alert(None), Reason::HandshakeFailed),
        failed(None, Reason::HandshakeIncomplete),
        Observation { reason: None, ..failed(None, Reason::NoData) },
        unfinished(Reason::HandshakeIncomplete, CloseKind::Reset),
        unfinished(Reason::MalformedTls, CloseKind::Finished),
        // These are none.
        unfinished(Reason::MissingBytes, CloseKind::Finished),
        unfinished(Reason::HandshakeIncomplete, CloseKind::SourceEnded),
    ]
    .into_iter()
    .enumerate()
    {
        bench.see(&on(conn as u64, hop(observation, workload("shop", "cart"), workload("shop", "web"))));
    }
    let line = |(error, n): (&str, u32)| {
        format!(
            r#"tlsight_tls_handshake_failures_total{{role="client",error_type="{error}",client_namespace="shop",client_workload="cart",server_namespace="shop",server_workload="web"}} {n}"#
        )
    };
    assert_eq!(
        bench.lines(&["tlsight_tls_handshake_failures_total", "tlsight_tls_handshakes_total"]),
        [
            ("0xC8", 1),
            ("handshake_failed", 2),
            ("handshake_incomplete", 2),
            ("malformed_tls", 1),
            ("unknown_ca", 1)
        ]
        .map(line)
    );
}

#[test]
fn bytes_count_when_a_connection_ends() {
    const METRICS: &[&str] = &["tlsight_connection_bytes_total"];
    let mut bench = Bench::new(Options::default());
    let bytes = Some(Bytes { egress: 100, ingress: 7 });
    bench.see(&plain(Observation { bytes, ..sample::plaintext() }));
    assert_eq!(bench.lines(METRICS), Vec::<String>::new());
    let closed = Some(CloseKind::Finished);
    bench.see(&plain(Observation { bytes, closed, phase: Phase::Final, ..sample::plaintext() }));
    assert_eq!(
        bench.lines(METRICS),
        [
            r#"tlsight_connection_bytes_total{security="plaintext",role="client",network_io_direction="receive"} 7"#,
            r#"tlsight_connection_bytes_total{security="plaintext",role="client",network_io_direction="transmit"} 100"#,
        ]
    );
}

#[test]
fn certificates_of_both_sides_and_of_processes_show_when_they_end() {
    let mut bench = Bench::new(Options::default());
    bench.see(&hop(sample::everything(), workload("shop", "web"), workload("shop", "cart")));
    bench.sink.process_certificates(&sample::process_certificates(Some(Side::Server))).expect("counted");
    bench.sink.process_certificates(&sample::process_certificates(None)).expect("counted");
    let line =
        |labels: &str| format!("tlsight_certificate_not_after_timestamp_seconds{{{labels}}} 1775001600");
    assert_eq!(
        bench.lines(&["tlsight_certificate_not_after_timestamp_seconds"]),
        [
            r#"subject="CN=a.example",issuer="CN=ca",serial="0A1B",side="server",namespace="shop",workload="web",server_name="a.example""#,
            r#"subject="CN=alice",issuer="CN=ca",serial="0A1B",side="client",namespace="shop",workload="cart",server_name="a.example""#,
            r#"subject="CN=b.example",issuer="CN=ca",serial="0A1B""#,
            r#"subject="CN=b.example",issuer="CN=ca",serial="0A1B",side="server""#,
        ]
        .map(line)
    );
}

#[test]
fn certificates_that_are_not_seen_any_more_go() {
    const METRICS: &[&str] =
        &["tlsight_certificate_not_after_timestamp_seconds", "tlsight_connections_total"];
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let options = Options {
        certificate_retention: hours(2),
        series_retention: hours(4),
        labels: [
            ("tlsight_certificate_not_after_timestamp_seconds".to_owned(), vec!["subject".to_owned()]),
            ("tlsight_connections_total".to_owned(), vec!["security".to_owned()]),
        ]
        .into(),
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.see(&plain(sample::everything()));
    let mut server = sample::everything();
    if let Some(tls) = server.tls_mut() {
        tls.client_chain.clear();
    }
    bench.see_after(hours(1), &on(8, plain(server)), None);
    let alice = r#"tlsight_certificate_not_after_timestamp_seconds{subject="CN=alice"} 1775001600"#;
    let example = r#"tlsight_certificate_not_after_timestamp_seconds{subject="CN=a.example"} 1775001600"#;
    let connections = r#"tlsight_connections_total{security="mtls"} 2"#;
    assert_eq!(bench.lines_after(hours(1), METRICS), [example, alice, connections]);
    assert_eq!(bench.lines_after(hours(2), METRICS), [example, connections]);
    assert_eq!(bench.lines_after(hours(3), METRICS), [connections]);
    assert_eq!(bench.lines_after(hours(5), METRICS), Vec::<String>::new());
}

fn finding(rule: RuleId, severity: Severity, about: About) -> Box<Standing> {
    Box::new(Standing {
        finding: Finding {
            rule,
            severity,
            about,
            evidence: Evidence::default(),
            summary: String::new(),
            advice: "".into(),
            turn: None,
        },
        first_seen: Timestamp(0),
        last_seen: Timestamp(0),
        count: 1,
    })
}

fn web() -> Arc<Target> {
    Arc::new(Target::Service { namespace: "shop".to_owned(), name: "web".to_owned(), port: 80 })
}

fn cart() -> Arc<Actor> {
    Arc::new(Actor::Workload {
        namespace: "shop".to_owned(),
        kind: "Deployment".to_owned(),
        name: "cart".to_owned(),
    })
}

#[test]
fn findings_stand_from_raised_to_cleared_under_their_severity() {
    let mut bench = Bench::new(Options::default());
    let hop = || About::Hop { client: cart(), target: web() };
    let certificate = || About::ServerCertificate { target: web(), server_name: None };
    let news = |change| judge::Output::Finding(change);
    let standing = |bench: &Bench| bench.lines(&["tlsight_findings"]);
    let labels = |rule: &str, severity: &str, client: &str, n: u32| {
        format!(
            r#"tlsight_findings{{rule_id="{rule}",severity="{severity}",server_namespace="shop",server_workload="web"{client}}} {n}"#
        )
    };
    let by_cart = r#",client_namespace="shop",client_workload="cart""#;
    let raise = |rule, severity, about| news(Change::Raised(finding(rule, severity, about)));
    let clear = |rule, severity, about| news(Change::Cleared(finding(rule, severity, about), Cleared::Good));
    bench.finding(&raise(RuleId::PlaintextTraffic, Severity::Warning, hop()));
    bench.finding(&raise(RuleId::CertificateExpiring, Severity::Warning, certificate()));
    let plaintext = labels("plaintext_traffic", "warning", by_cart, 1);
    assert_eq!(standing(&bench), [labels("certificate_expiring", "warning", "", 1), plaintext.clone()]);
    // The same with another severity.
    let worse = finding(RuleId::CertificateExpiring, Severity::Critical, certificate());
    bench.finding(&news(Change::Updated(worse)));
    assert_eq!(standing(&bench), [labels("certificate_expiring", "critical", "", 1), plaintext.clone()]);
    // Two of one label set.
    let other_name = || About::ServerCertificate { target: web(), server_name: Some(Arc::from("b.example")) };
    bench.finding(&raise(RuleId::CertificateExpiring, Severity::Critical, other_name()));
    assert_eq!(standing(&bench), [labels("certificate_expiring", "critical", "", 2), plaintext.clone()]);
    bench.finding(&clear(RuleId::CertificateExpiring, Severity::Critical, certificate()));
    assert_eq!(standing(&bench), [labels("certificate_expiring", "critical", "", 1), plaintext.clone()]);
    bench.finding(&clear(RuleId::CertificateExpiring, Severity::Critical, other_name()));
    bench.finding(&clear(RuleId::PlaintextTraffic, Severity::Warning, hop()));
    // One that was never raised takes nothing away.
    bench.finding(&clear(RuleId::PlaintextTraffic, Severity::Warning, hop()));
    assert_eq!(standing(&bench), Vec::<String>::new());
    assert_eq!(
        bench.lines(&["tlsight_findings_raised_total", "tlsight_findings_cleared_total"]),
        [
            r#"tlsight_findings_cleared_total{rule_id="certificate_expiring",severity="critical"} 2"#,
            r#"tlsight_findings_cleared_total{rule_id="plaintext_traffic",severity="warning"} 2"#,
            r#"tlsight_findings_raised_total{rule_id="certificate_expiring",severity="critical"} 1"#,
            r#"tlsight_findings_raised_total{rule_id="certificate_expiring",severity="warning"} 1"#,
            r#"tlsight_findings_raised_total{rule_id="plaintext_traffic",severity="warning"} 1"#,
        ]
    );
}

#[test]
fn findings_say_who_they_are_about_whatever_they_are_about() {
    let endpoint = Endpoint::new([10, 0, 0, 9].into(), 443);
    let name = Target::Name { name: "api.example".to_owned(), port: 443 };
    let unit = Arc::new(Actor::Unit("cart.service".to_owned()));
    let identity: Arc<str> = Arc::from("spiffe://td/cart");
    for (about, expected) in [
        (About::Target(Arc::new(name)), r#",server_workload="api.example""#),
        (About::Target(Arc::new(Target::Endpoint(endpoint))), r#",server_workload="10.0.0.9:443""#),
        (
            About::ClientCertificate { client: Arc::clone(&unit), identity: Arc::clone(&identity) },
            r#",client_workload="cart.service""#,
        ),
        (
            About::ProcessCertificate {
                process: Arc::new(Actor::Executable("/usr/bin/curl".to_owned())),
                identity,
            },
            r#",client_workload="curl""#,
        ),
        (
            About::Hop { client: Arc::new(Actor::Unnamed(None)), target: web() },
            r#",server_namespace="shop",server_workload="web""#,
        ),
        (About::Other(Arc::from("anything")), ""),
    ] {
        let mut bench = Bench::new(Options::default());
        let rule = RuleId::Own(Arc::from("rego.mine"));
        bench.finding(&judge::Output::Finding(Change::Raised(finding(rule, Severity::Information, about))));
        let line = format!(r#"tlsight_findings{{rule_id="rego.mine",severity="information"{expected}}} 1"#);
        assert_eq!(bench.lines(&["tlsight_findings"]), [line]);
    }
}

#[test]
fn replaced_certificates_count_by_whose_they_are() {
    let mut bench = Bench::new(Options::default());
    let everything = sample::everything();
    let leaf = Arc::clone(&everything.tls.as_ref().expect("TLS").server_chain[0]);
    let replaced = |about, place| {
        judge::Output::CertificateReplaced(Box::new(CertificateReplaced {
            time: sample::TIME,
            about,
            place,
            before: Arc::clone(&leaf),
            after: Arc::clone(&leaf),
        }))
    };
    let endpoint = Endpoint::new([10, 0, 0, 9].into(), 443);
    bench.finding(&replaced(
        About::ServerCertificate { target: web(), server_name: None },
        Place::Server { endpoint, server_name: None },
    ));
    let identity: Arc<str> = Arc::from("spiffe://td/cart");
    bench.finding(&replaced(
        About::ClientCertificate { client: cart(), identity: Arc::clone(&identity) },
        Place::Client { address: endpoint.addr, identity },
    ));
    assert_eq!(
        bench.lines(&["tlsight_certificates_replaced_total"]),
        [
            r#"tlsight_certificates_replaced_total{side="client",namespace="shop",workload="cart"} 1"#,
            r#"tlsight_certificates_replaced_total{side="server",namespace="shop",workload="web"} 1"#,
        ]
    );
}
