//! Who would break.

use super::*;

fn by(caller: &str) -> Value {
    both(workload("local", caller), &workload("peer", "db"))
}

fn resumed(caller: &str) -> Value {
    both(by(caller), &json!({"tlsight.security.reason": "client_identity_unknown"}))
}

fn db(readiness: Readiness, reasons: &str) -> Vec<(String, Readiness, String)> {
    vec![("Deployment shop/db:443".to_owned(), readiness, reasons.to_owned())]
}

#[test]
fn mutual_tls_of_every_caller_is_ready() {
    let report = report_of(&[line(1, "client", "mtls", by("cart")), line(2, "client", "mtls", by("web"))]);
    assert_eq!(verdicts(&report), db(Readiness::Ready, ""));
}

#[test]
fn fewer_connections_than_asked_for_are_not_enough() {
    let model = model_of(Limits::default(), &[line(1, "client", "mtls", by("cart"))]);
    let report = model.report(Options { now: NOW, min_connections: 2 });
    assert_eq!(verdicts(&report), db(Readiness::NotEnoughSeen, "few_connections"));
}

#[test]
fn one_caller_in_plaintext_or_without_a_certificate_is_not_ready() {
    let report = report_of(&[
        line(1, "client", "mtls", by("cart")),
        line(2, "client", "plaintext", both(by("old"), &json!({"network.protocol.name": "http"}))),
        line(3, "client", "plaintext", both(by("old"), &json!({"timestamp": "2026-01-01T11:00:00Z"}))),
        line(4, "client", "tls", by("web")),
        line(5, "client", "mtls", both(by("web"), &json!({"timestamp": "2026-01-01T12:00:00Z"}))),
    ]);
    assert_eq!(verdicts(&report), db(Readiness::NotReady, "plaintext tls"));
    let service = &report.services[0];
    assert_eq!(service.mixed_security, ["plaintext", "tls", "mtls"]);
    let callers: Vec<_> = service
        .callers
        .iter()
        .map(|c| {
            (c.name.name.as_str(), c.breaks.join(" "), c.breaking_connections, c.last_breaking.as_deref())
        })
        .collect();
    assert_eq!(
        callers,
        [
            ("old", "plaintext".to_owned(), 2, Some("2026-01-01T11:00:00Z")),
            ("web", "tls".to_owned(), 1, Some("2026-01-01T10:00:00Z")),
            ("cart", String::new(), 0, None),
        ]
    );
}

#[test]
fn what_is_encrypted_by_something_else_would_be_refused() {
    let ssh = both(by("cart"), &json!({"tlsight.security.reason": "encrypted_not_tls"}));
    assert_eq!(
        verdicts(&report_of(&[line(1, "client", "unknown", ssh)])),
        db(Readiness::NotReady, "encrypted_not_tls")
    );
}

#[test]
fn a_resumed_session_is_no_news_of_a_caller_that_showed_its_certificate() {
    let first = line(1, "client", "mtls", by("cart"));
    let report = report_of(&[first.clone(), line(2, "client", "tls", resumed("cart"))]);
    assert_eq!(verdicts(&report), db(Readiness::Ready, ""));
    let report = report_of(&[first, line(2, "client", "tls", resumed("web"))]);
    assert_eq!(verdicts(&report), db(Readiness::NotEnoughSeen, "client_identity_unknown"));
}

#[test]
fn failed_handshakes_and_health_checks_prove_nothing() {
    let because = |reason: &str| both(by("probe"), &json!({"tlsight.security.reason": reason}));
    let lines = [
        line(1, "client", "unknown", because("handshake_failed")),
        line(2, "client", "unknown", because("no_data")),
    ];
    assert_eq!(verdicts(&report_of(&lines)), db(Readiness::NotEnoughSeen, "few_connections"));
    let with = [lines.as_slice(), &[line(3, "client", "mtls", by("cart"))]].concat();
    assert_eq!(verdicts(&report_of(&with)), db(Readiness::Ready, ""));
    let old = line(4, "client", "unknown", because("started_before_agent"));
    let with = [with.as_slice(), &[old]].concat();
    assert_eq!(verdicts(&report_of(&with)), db(Readiness::NotEnoughSeen, "unknown"));
}

#[test]
fn what_is_outside_insists_on_what_it_likes() {
    let outside = json!({"tlsight.scope": "external", "tlsight.server_name": "example.org"});
    let report = report_of(&[
        line(1, "client", "plaintext", outside.clone()),
        // Callers from outside are another matter: the service is here.
        line(2, "server", "plaintext", both(workload("local", "web"), &json!({"tlsight.scope": "external"}))),
    ]);
    assert_eq!(
        verdicts(&report),
        [
            ("Deployment shop/web:443".to_owned(), Readiness::NotReady, "plaintext".to_owned()),
            ("10.0.0.2:443".to_owned(), Readiness::NotApplicable, String::new()),
        ]
    );
    assert_eq!(report.services[1].server_names, ["example.org"]);
}
