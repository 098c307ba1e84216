use std::sync::Arc;

use agent_core::identity::Party;
use agent_core::net::Side;
use agent_core::policy::expectation::{Expectation, Mode, Origin};
use agent_core::policy::finding::{RuleId, Severity};

use super::super::sample;
use super::*;

fn render(o: &Observation) -> String {
    let mut out = Vec::new();
    write_observation(&mut out, o).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn leaves_out_what_is_not_known() {
    assert_eq!(
        render(&sample::plaintext()),
        concat!(
            r#"{"timestamp":"2026-01-02T03:04:05.123456789Z","tlsight.connection":7,"tlsight.phase":"verdict","#,
            r#""tlsight.security":"plaintext","tlsight.security.source":"wire","network.transport":"tcp","#,
            r#""network.type":"ipv4","client.address":"10.0.0.1","client.port":40000,"server.address":"10.0.0.2","#,
            r#""server.port":80,"network.local.address":"10.0.0.1","network.local.port":40000,"#,
            r#""network.peer.address":"10.0.0.2","network.peer.port":80,"tlsight.role":"client","#,
            r#""network.protocol.name":"http"}"#
        )
    );
}

#[test]
fn every_fact_has_its_key() {
    let value: serde_json::Value = serde_json::from_str(&render(&sample::everything())).unwrap();
    let certificate = |side: &str, subject: &str, chain: u64| {
        serde_json::json!({
            format!("tls.{side}.subject"): format!("CN={subject}"),
            format!("tls.{side}.issuer"): "CN=ca",
            format!("tls.{side}.not_before"): "2026-01-01T00:00:00Z",
            format!("tls.{side}.not_after"): "2026-04-01T00:00:00Z",
            format!("tls.{side}.hash.sha256"): "AB".repeat(32),
            format!("tlsight.{side}.serial"): "0A1B",
            format!("tlsight.{side}.san"): [subject, "spiffe://td/x"],
            format!("tlsight.{side}.key_algorithm"): "EC",
            format!("tlsight.{side}.key_bits"): 256,
            format!("tlsight.{side}.key_curve"): "P-256",
            format!("tlsight.{side}.signature_algorithm"): "ecdsa-with-SHA256",
            format!("tlsight.{side}.extended_key_usage"): ["serverAuth"],
            format!("tlsight.{side}.ca"): true,
            format!("tlsight.{side}.self_signed"): true,
            format!("tlsight.{side}.problems"): ["bad_san"],
            format!("tlsight.{side}.chain_length"): chain,
        })
    };
    let mut expected: serde_json::Value = serde_json::from_str(
        r#"{
        "timestamp": "2026-01-02T03:04:05.123456789Z",
        "tlsight.connection": 7,
        "tlsight.phase": "final",
        "tlsight.security": "mtls",
        "tlsight.security.source": "wire",
        "tlsight.security.reason": "client_identity_unknown",
        "network.transport": "tcp",
        "network.type": "ipv6",
        "client.address": "::1",
        "client.port": 40001,
        "server.address": "a.example",
        "server.port": 443,
        "network.local.address": "::1",
        "network.local.port": 443,
        "network.peer.address": "::1",
        "network.peer.port": 40001,
        "network.protocol.name": "smtp",
        "tls.protocol.name": "tls",
        "tls.protocol.version": "1.2",
        "tls.cipher": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "tls.curve": "x25519",
        "tls.established": true,
        "tls.resumed": false,
        "tls.next_protocol": "h2",
        "tls.client.ja3": "0123456789abcdef0123456789abcdef",
        "tls.client.supported_ciphers": ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
        "tlsight.role": "server",
        "tlsight.scope": "loopback",
        "tlsight.server_name": "a.example",
        "tlsight.client.ja4": "t13d0203h2_000000000000_000000000000",
        "tlsight.client.supported_groups": ["X25519MLKEM768", "x25519"],
        "tlsight.client.supported_versions": ["TLS 1.3", "TLS 1.2"],
        "tlsight.client.offered_protocols": ["h2", "http/1.1"],
        "tlsight.client_certificate": "sent",
        "tlsight.starttls": "upgraded",
        "tlsight.proxy_protocol.version": 2,
        "tlsight.sslv2_hello": true,
        "tlsight.hello_retry_request": true,
        "tlsight.resumption_offered": true,
        "tlsight.early_data": true,
        "tlsight.ech": true,
        "tlsight.alert.name": "bad_certificate",
        "tlsight.alert.level": "warning",
        "tlsight.alert.sender": "client",
        "tlsight.certificates_not_kept": true,
        "tlsight.ocsp_stapled": true,
        "tlsight.malformed": "bad_record",
        "tlsight.handshake_duration_ms": 12.345,
        "tlsight.bytes.client": 1000,
        "tlsight.bytes.server": 2000,
        "tlsight.close": "finished",
        "tlsight.duration_ms": 1500.0,
        "process.pid": 42,
        "process.executable.name": "nginx"
    }"#,
    )
    .unwrap();
    let object = expected.as_object_mut().unwrap();
    for part in [certificate("server", "a.example", 2), certificate("client", "alice", 1)] {
        object.extend(part.as_object().unwrap().clone());
    }
    assert_eq!(value, expected);
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let documentation = include_str!("../../../../docs/json.md");
    let documented: std::collections::BTreeSet<&str> = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(key, _)| key)
        .collect();
    let lines = [render(&sample::everything()), render_process(Some(Side::Client)), render_process(None)];
    let values = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
    let mut written: std::collections::BTreeSet<&str> =
        values.iter().flat_map(|value| value.as_object().unwrap().keys().map(String::as_str)).collect();
    let more: Vec<String> = fields::identity::tests::every_key()
        .into_iter()
        .chain(fields::finding::tests::every_key())
        .chain(judged_keys())
        .collect();
    written.extend(more.iter().map(String::as_str));
    assert_eq!(documented, written);
}

fn judged_keys() -> [String; 3] {
    ["tlsight.expectation", "tlsight.expectation.source", "tlsight.findings"].map(str::to_owned)
}

/// What is there beyond the sighting.
fn judged(
    local_side: Option<Side>,
    expectation: Option<&Expectation>,
    findings: &[RuleId],
) -> serde_json::Value {
    let observation = Observation { local_side, ..sample::plaintext() };
    let sighting = Sighting { observation, local: Party::default(), peer: Party::default(), scope: None };
    let (mut bare, mut all) = (Vec::new(), Vec::new());
    write_sighting(&mut bare, &sighting).unwrap();
    let severities = vec![Severity::Warning; findings.len()];
    let judged =
        Judged { sighting: &sighting, expectation, findings, severities: &severities, about_client: &[] };
    write_judged(&mut all, &judged).unwrap();
    let parse = |line: &[u8]| serde_json::from_slice::<serde_json::Map<_, _>>(line).unwrap();
    let (bare, mut all) = (parse(&bare), parse(&all));
    all.retain(|key, value| bare.get(key) != Some(value));
    all.into()
}

#[test]
fn a_judged_connection_says_what_was_expected_and_what_is_wrong() {
    let expectation = Expectation {
        mode: Mode::Strict,
        allowed_clients: None,
        trust: None,
        origin: Arc::new(Origin {
            document: "a.yaml".into(),
            kind: "PeerAuthentication",
            namespace: Some("shop".to_owned()),
            name: "default".to_owned(),
            field: "spec.mtls.mode".to_owned(),
            line: Some(7),
        }),
    };
    let client = Some(Side::Client);
    let value = judged(client, Some(&expectation), &[RuleId::MtlsMissing, RuleId::Own("own".into())]);
    let expected = serde_json::json!({
        "tlsight.expectation": "strict",
        "tlsight.expectation.source": "PeerAuthentication shop/default spec.mtls.mode (a.yaml:7)",
        "tlsight.findings": ["mtls_missing", "own"],
    });
    assert_eq!(value, expected);
    assert_eq!(value.as_object().unwrap().len(), judged_keys().len());
    assert_eq!(judged(client, None, &[]), serde_json::json!({"tlsight.findings": []}));
    assert_eq!(judged(None, None, &[]), serde_json::json!({}), "nobody could judge");
}

#[test]
fn certificates_of_a_process_say_what_is_wrong_with_them() {
    let certificates = sample::process_certificates(None);
    let (party, findings) = (Party::default(), [RuleId::CertificateExpired]);
    let judged = JudgedProcess {
        certificates: &certificates,
        party: &party,
        findings: &findings,
        severities: &[Severity::Critical],
    };
    let mut out = Vec::new();
    JsonSink::new(&mut out, false).judged_process(&judged).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["tlsight.findings"], serde_json::json!(["certificate_expired"]));
    assert_eq!(value["tlsight.phase"], "process");
}

fn render_process(peer: Option<Side>) -> String {
    let mut out = Vec::new();
    JsonSink::new(&mut out, false).process_certificates(&sample::process_certificates(peer)).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn certificates_of_a_process_have_no_addresses() {
    for (peer, tls, own) in [
        (Some(Side::Server), "tls.server", "tlsight.server"),
        (Some(Side::Client), "tls.client", "tlsight.client"),
        (None, "tlsight.peer", "tlsight.peer"),
    ] {
        let value: serde_json::Value = serde_json::from_str(&render_process(peer)).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2026-01-02T03:04:05.123456789Z",
            "tlsight.phase": "process",
            "tlsight.security.source": "process",
            "tlsight.security.reason": "several_connections",
            "tlsight.probe.library": "gnutls",
            "process.pid": 42,
            "process.executable.name": "nginx",
            format!("{tls}.subject"): "CN=b.example",
            format!("{tls}.issuer"): "CN=ca",
            format!("{tls}.not_before"): "2026-01-01T00:00:00Z",
            format!("{tls}.not_after"): "2026-04-01T00:00:00Z",
            format!("{tls}.hash.sha256"): "AB".repeat(32),
            format!("{own}.serial"): "0A1B",
            format!("{own}.san"): ["b.example", "spiffe://td/x"],
            format!("{own}.key_algorithm"): "EC",
            format!("{own}.key_bits"): 256,
            format!("{own}.key_curve"): "P-256",
            format!("{own}.signature_algorithm"): "ecdsa-with-SHA256",
            format!("{own}.extended_key_usage"): ["serverAuth"],
            format!("{own}.ca"): true,
            format!("{own}.self_signed"): true,
            format!("{own}.problems"): ["bad_san"],
            format!("{own}.chain_length"): 2,
        });
        assert_eq!(value, expected);
    }
}

#[test]
fn strings_from_the_wire_stay_one_line_of_harmless_json() {
    let mut o = sample::everything();
    let name = "a\"\\\n\x1b[31m\u{9b}\u{202e}\u{e0041}é\u{0}";
    o.tls_mut().unwrap().server_name = Some(name.to_owned());
    let line = render(&o);
    assert!(
        line.contains(r#""tlsight.server_name":"a\"\\\n\u001b[31m\u009b\u202e\udb40\udc41é\u0000""#),
        "{line}"
    );
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["tlsight.server_name"], name);
}

#[test]
fn years_that_rfc_3339_cannot_write_are_left_out() {
    assert_eq!(rfc3339(0, 0).as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(rfc3339(253_402_207_200_000_000_000, 0).as_deref(), Some("9999-12-30T22:00:00Z"));
    assert_eq!(rfc3339(-70_000_000_000 * 1_000_000_000, 0), None);
    assert_eq!(rfc3339(i128::from(i64::MAX) * 1_000_000_000, 0), None);
}
