use std::sync::Arc;

use agent_core::identity::{Party, ServiceRef, Workload};
use agent_core::policy::about::About;
use agent_core::policy::finding::{Evidence, Finding};
use agent_core::policy::history::{CertificateReplaced, Place};
use agent_core::policy::ledger::{Change, Cleared, Standing};

use super::super::sample;
use super::*;
use unicode_width::UnicodeWidthStr;

fn render(o: &Observation, look: Look) -> String {
    let mut out = Vec::new();
    TableSink::new(&mut out, look).observation(o).unwrap();
    String::from_utf8(out).unwrap()
}

fn look() -> Look {
    Look {
        color: false,
        width: None,
        zone: TimeZone::UTC,
        date: false,
        process: true,
        flush_each: false,
        findings: false,
    }
}

#[test]
fn aligns_columns_under_their_headers() {
    assert_eq!(
        render(&sample::plaintext(), look()),
        "TIME          SECURITY   PROTOCOL    PROCESS          LOCAL                      PEER                   \
         NAME                      DETAILS\n\
         03:04:05.123  plaintext  http        -                10.0.0.1:40000         ->  10.0.0.2:80            -\n"
    );
}

#[test]
fn says_everything_when_nothing_limits_the_line() {
    let text = render(&sample::everything(), look());
    assert_eq!(
        text.lines().nth(1).unwrap(),
        "03:04:05.123  mtls 1.2   smtp        nginx[42]        [::1]:443              <-  [::1]:40001            \
         a.example                 alert bad_certificate from client, client certificate: cannot be told, \
         after STARTTLS, closed after 1.5s, 1000 B sent, 2000 B answered, \
         client CN=alice (88 days left), server CN=a.example (88 days left), \
         TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, x25519, hello retried, early data offered, no room for its certificates, PROXY protocol v2"
    );
}

#[test]
fn lines_end_at_the_width_of_the_terminal() {
    for width in 1..250 {
        for line in render(&sample::everything(), Look { width: Some(width), ..look() }).lines() {
            assert!(line.width() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colour_leaves_the_text_as_it_is() {
    let plain = render(&sample::plaintext(), look());
    let colored = render(&sample::plaintext(), Look { color: true, ..look() });
    let red = AnsiColor::Red.on_default().bold();
    assert!(colored.contains(&format!("{red}plaintext{red:#}")), "{colored}");
    let mut stripped = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn no_time_is_told_of_a_connection_of_which_nothing_but_an_instant_was_seen() {
    let mut o = sample::everything();
    (o.closed, o.duration) =
        (Some(agent_core::event::CloseKind::SourceEnded), Some(std::time::Duration::ZERO));
    let text = render(&o, look());
    assert!(text.contains("still open, ") && !text.contains("after 0"), "{text}");
}

#[test]
fn names_from_the_wire_cannot_move_the_cursor() {
    let mut o = sample::everything();
    o.tls_mut().unwrap().server_name = Some("x\x1b[2J\r\u{202e}".to_owned());
    let text = render(&o, look());
    assert!(text.contains("x\\u{1b}[2J\\u{d}\\u{202e}"), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn certificates_of_a_process_are_one_line_without_addresses() {
    let mut out = Vec::new();
    let mut sink = TableSink::new(&mut out, look());
    for (peer, fits_none) in [(Some(Side::Server), true), (None, false)] {
        let mut certificates = sample::process_certificates(peer);
        if fits_none {
            certificates.reason = agent_core::observation::NotTied::NoConnection;
        }
        sink.process_certificates(&certificates).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "03:04:05.123  -          -           nginx[42]        -                          -                      \
             -                         server CN=b.example (88 days left), \
             certificate of the process: fits no connection",
            "03:04:05.123  -          -           nginx[42]        -                          -                      \
             -                         peer CN=b.example (88 days left), \
             certificate of the process: fits several connections",
        ]
    );
}

#[test]
fn a_probed_chain_reads_as_one_from_the_wire() {
    let wire = sample::everything();
    let mut probed = wire.clone();
    probed.source = Some(agent_core::observation::Source::Probe);
    assert_eq!(render(&probed, look()), render(&wire, look()));
}

fn party(namespace: &str, name: &str) -> Party {
    let workload = Workload {
        namespace: namespace.to_owned(),
        kind: "Deployment".to_owned(),
        name: name.to_owned(),
        ..Workload::default()
    };
    Party { workload: Some(Arc::new(workload)), ..Party::default() }
}

/// A connection from shop/web to shop/db behind a Service, with these findings.
fn judged(findings: &[(RuleId, Severity)], look: Look) -> String {
    let service = ServiceRef { namespace: "shop".to_owned(), name: "orders".to_owned() };
    let peer = Party { service: Some(Arc::new(service)), ..party("shop", "db") };
    let sighting =
        Sighting { observation: sample::plaintext(), local: party("shop", "web"), peer, scope: None };
    let (rules, severities): (Vec<_>, Vec<_>) = findings.iter().cloned().unzip();
    let judged = Judged {
        sighting: &sighting,
        expectation: None,
        findings: &rules,
        severities: &severities,
        about_client: &[],
    };
    let mut out = Vec::new();
    TableSink::new(&mut out, look).judged(&judged).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn ends_have_their_names_in_the_cluster_and_findings_come_first() {
    let findings = [
        (RuleId::PlaintextTraffic, Severity::Critical),
        (RuleId::NotQuantumSafe, Severity::Information),
        (RuleId::MixedSecurity, Severity::Warning),
    ];
    assert_eq!(
        judged(&findings, look()).lines().nth(1).unwrap(),
        "03:04:05.123  plaintext  http        -                shop/web:40000         ->  shop/db:80             \
         -                         [plaintext_traffic mixed_security] Service shop/orders"
    );
    let colored = judged(&findings, Look { color: true, ..look() });
    let (red, yellow) = (AnsiColor::Red.on_default().bold(), AnsiColor::Yellow.on_default());
    let both = format!("[{red}plaintext_traffic{red:#} {yellow}mixed_security{yellow:#}] ");
    assert!(colored.contains(&both), "{colored}");
}

#[test]
fn without_names_and_findings_a_judged_line_is_that_of_its_observation() {
    let sighting = Sighting {
        observation: sample::everything(),
        local: Party::default(),
        peer: Party::default(),
        scope: None,
    };
    let (findings, severities) = ([RuleId::NotQuantumSafe], [Severity::Information]);
    let judged = Judged {
        sighting: &sighting,
        expectation: None,
        findings: &findings,
        severities: &severities,
        about_client: &[],
    };
    let mut out = Vec::new();
    TableSink::new(&mut out, look()).judged(&judged).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), render(&sample::everything(), look()));
}

#[test]
fn eighty_columns_show_both_what_was_called_and_what_is_wrong() {
    let findings = [(RuleId::PlaintextTraffic, Severity::Critical)];
    let look = Look { width: Some(80), ..look() };
    assert_eq!(
        judged(&findings, look.clone()),
        "TIME      SECURITY   PROCESS              PEER                   DETAILS\n\
         03:04:05  plaintext  -                ->  shop/db:80             [plaintext_tra…\n"
    );
    let file = Look { date: true, process: false, ..look };
    assert_eq!(
        judged(&[], file),
        "DATE AND TIME   SECURITY   CLIENT                     SERVER                 DE…\n\
         01-02 03:04:05  plaintext  shop/web:40000         ->  shop/db:80             Se…\n"
    );
}

fn standing(severity: Severity) -> Box<Standing> {
    Box::new(Standing {
        finding: Finding {
            rule: RuleId::CertificateExpired,
            severity,
            about: About::Other("certificate of a.example:443".into()),
            evidence: Evidence::default(),
            summary: "the server certificate a.example ended on 2026-01-01".to_owned(),
            advice: "".into(),
            turn: None,
        },
        first_seen: sample::TIME,
        last_seen: sample::TIME,
        count: 1,
    })
}

fn news(look: Look) -> String {
    let tls = sample::everything().tls.unwrap();
    let endpoint = sample::everything().tuple.local;
    let replaced = CertificateReplaced {
        time: sample::TIME,
        about: About::Other("certificate of a.example:443".into()),
        place: Place::Server { endpoint, server_name: None },
        before: Arc::clone(&tls.client_chain[0]),
        after: Arc::clone(&tls.server_chain[0]),
    };
    let mut out = Vec::new();
    let mut sink = TableSink::new(&mut out, look);
    for news in [
        judge::Output::Finding(Change::Raised(standing(Severity::Critical))),
        judge::Output::Finding(Change::Updated(standing(Severity::Critical))),
        judge::Output::Finding(Change::Cleared(standing(Severity::Critical), Cleared::Good)),
        judge::Output::CertificateReplaced(Box::new(replaced)),
    ] {
        sink.finding(&news, sample::TIME).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn news_of_findings_are_lines_where_they_are_asked_for() {
    assert_eq!(news(look()), "");
    let text = news(Look { findings: true, ..look() });
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "03:04:05.123  critical   certificate_expired: the server certificate a.example ended on 2026-01-01",
            "03:04:05.123  cleared    certificate_expired: certificate of a.example:443 (seen to be fine)",
            "03:04:05.123  replaced   certificate of a.example:443: CN=alice (88 days left) -> \
             CN=a.example (88 days left)",
        ]
    );
}
