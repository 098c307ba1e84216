//! What comes from the wire is without number: series are not.

use agent_core::observation::{Phase, Security, TlsFacts};
use agent_core::policy::about::About;
use agent_core::policy::finding::{Evidence, Finding, RuleId, Severity};
use agent_core::policy::ledger::{Change, Cleared, Standing};
use agent_core::x509::CertificateSummary;

use super::*;
use crate::export::sample;

/// A handshake of a client with that server.
fn asking_for(conn: u64, name: &str) -> Sighting {
    let mut observation = sample::everything();
    if let Some(tls) = observation.tls_mut() {
        tls.server_name = Some(name.to_owned());
    }
    on(conn, plain(observation))
}

fn from(conn: u64, client: &str) -> Sighting {
    on(conn, hop(sample::plaintext(), workload("shop", client), workload("shop", "web")))
}

fn sum(lines: &[String]) -> u64 {
    lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// `tlsight_metric_series_limited_total` of a metric.
fn limited(bench: &Bench, metric: &str) -> u64 {
    let lines = bench.lines(&["tlsight_metric_series_limited_total"]);
    let of = format!("metric=\"{metric}\"");
    sum(&lines.into_iter().filter(|line| line.contains(&of)).collect::<Vec<_>>())
}

#[test]
fn ten_thousand_server_names_and_peers_stay_within_the_bounds() {
    let mut bench = Bench::new(Options::default());
    for n in 0..10_000 {
        let mut sighting = asking_for(n, &format!("host-{n}.random.example"));
        sighting.local = workload("shop", "web");
        sighting.peer = workload(&format!("namespace-{}", n % 300), &format!("client-{n}"));
        bench.see(&sighting);
    }
    for metric in ["tlsight_connections_total", "tlsight_tls_handshakes_total"] {
        let lines = bench.lines(&[metric]);
        assert_eq!(sum(&lines), 10_000, "{metric}: every sample is somewhere");
        assert!((200..=1001).contains(&lines.len()), "{metric}: {} series", lines.len());
        assert!(limited(&bench, metric) >= 9_000, "{metric}");
    }
    let names = bench.lines(&["tlsight_tls_handshakes_total"]);
    assert_eq!(names.len(), 201);
    assert_eq!(names.iter().filter(|line| line.contains(r#"server_name="other""#)).count(), 1);
    assert_eq!(limited(&bench, "tlsight_tls_handshakes_total"), 9_800);
    let certificates = bench.lines(&["tlsight_certificate_not_after_timestamp_seconds"]);
    assert!(certificates.len() <= 1001, "{}", certificates.len());
    let begin = Instant::now();
    let health = Health::default();
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let bytes = bench.exposition.render(format, &health).expect("rendered").len();
        assert!(bytes < 3_000_000, "{format:?}: {bytes} bytes");
    }
    println!(
        "{} series, three scrapes in {:?}, one each of text, OpenMetrics and protobuf",
        bench.exposition.series(),
        begin.elapsed()
    );
}

#[test]
fn what_does_not_fit_goes_to_one_series_of_others() {
    let options = Options { max_series: 3, max_values: 100, ..Options::default() };
    let mut bench = Bench::new(options);
    for (conn, client) in ["a", "b", "c", "d", "e", "a"].into_iter().enumerate() {
        bench.see(&from(conn as u64, client));
    }
    let line = |client: &str, n: u32| {
        format!(
            r#"tlsight_connections_total{{security="plaintext",role="client",scope="cluster",protocol="http",client_namespace="shop",client_workload="{client}",server_namespace="shop",server_workload="web",server_port="80"}} {n}"#
        )
    };
    let other = r#"tlsight_connections_total{security="other",expectation="other",role="other",scope="other",protocol="other",client_namespace="other",client_workload="other",server_namespace="other",server_workload="other",server_port="other"} 2"#;
    assert_eq!(
        bench.lines(&["tlsight_connections_total"]),
        [other.to_owned(), line("a", 2), line("b", 1), line("c", 1)]
    );
    assert_eq!(limited(&bench, "tlsight_connections_total"), 2);
    let kept = bench.lines(&["tlsight_metric_series"]);
    assert!(
        kept.contains(&r#"tlsight_metric_series{metric="tlsight_connections_total"} 4"#.to_owned()),
        "{kept:?}"
    );
}

#[test]
fn a_label_beyond_its_values_is_other_and_the_rest_is_kept() {
    let options = Options { max_values: 2, ..Options::default() };
    let mut bench = Bench::new(options);
    for (conn, client) in ["a", "b", "c", "d", "other"].into_iter().enumerate() {
        bench.see(&from(conn as u64, client));
    }
    let clients = bench.lines(&["tlsight_connections_total"]);
    let short: Vec<&str> = clients
        .iter()
        .map(|line| line.split_once("client_workload=").unwrap().1.split_once(',').unwrap().0)
        .collect();
    // One that is called "other" is one of the others: the series would be the same.
    assert_eq!(short, [r#""a""#, r#""b""#, r#""other""#]);
    assert!(clients[2].ends_with(" 3"), "{clients:?}");
    assert_eq!(limited(&bench, "tlsight_connections_total"), 2);
}

#[test]
fn labels_that_are_not_kept_are_added_up() {
    let kept = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    let options = Options {
        labels: [
            ("tlsight_connections_total".to_owned(), kept(&["role", "security"])),
            ("tlsight_tls_handshakes_total".to_owned(), kept(&[])),
        ]
        .into(),
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    for n in 0..50 {
        bench.see(&from(n, &format!("client-{n}")));
        bench.see(&asking_for(1000 + n, "a.example"));
    }
    assert_eq!(
        bench.lines(&["tlsight_connections_total", "tlsight_tls_handshakes_total"]),
        [
            r#"tlsight_connections_total{security="mtls",role="server"} 50"#,
            r#"tlsight_connections_total{security="plaintext",role="client"} 50"#,
            "tlsight_tls_handshakes_total 50",
        ]
    );
    assert_eq!(limited(&bench, "tlsight_connections_total"), 0);
}

#[test]
fn settings_out_of_their_bounds_are_refused() {
    let error = |options: Options| metrics(options).err().map(|error| error.to_string());
    let labels = |metric: &str, label: &str| Options {
        labels: [(metric.to_owned(), vec![label.to_owned()])].into(),
        ..Options::default()
    };
    for (options, expected) in [
        (
            Options { max_series: 0, ..Options::default() },
            "metrics.max_series: 0 is not between 1 and 100000",
        ),
        (
            Options { max_values: 0, ..Options::default() },
            "metrics.max_values: 0 is not between 1 and 100000",
        ),
        (
            labels("tlsight_nothing", "role"),
            "metrics.labels: tlsight_nothing is no metric whose labels can be chosen",
        ),
        (
            labels("tlsight_findings_raised_total", "role"),
            "metrics.labels.tlsight_findings_raised_total: there is no label role; there are: rule_id, severity",
        ),
    ] {
        assert_eq!(error(options).as_deref(), Some(expected));
    }
}

#[test]
fn idle_series_make_room_for_new_ones() {
    const METRICS: &[&str] = &["tlsight_connections_total"];
    let hour = Duration::from_secs(3600);
    let kept = vec!["client_workload".to_owned()];
    let options = Options {
        labels: [("tlsight_connections_total".to_owned(), kept)].into(),
        max_series: 2,
        max_values: 2,
        series_retention: hour,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.see(&from(1, "a"));
    bench.see(&from(2, "b"));
    bench.see_after(hour / 2, &from(3, "b"), None);
    bench.see_after(hour / 2, &from(4, "c"), None);
    let line =
        |client: &str, n: u32| format!(r#"tlsight_connections_total{{client_workload="{client}"}} {n}"#);
    assert_eq!(bench.lines_after(hour / 2, METRICS), [line("a", 1), line("b", 2), line("other", 1)]);
    // Nobody scraped in between: whoever needs the room takes it.
    bench.see_after(hour, &from(5, "d"), None);
    assert_eq!(bench.lines_after(hour, METRICS), [line("b", 2), line("d", 1), line("other", 1)]);
}

fn certificate(n: u64, not_after: i64) -> Sighting {
    let leaf = CertificateSummary {
        subject: Some(format!("CN={n}")),
        issuer: Some("CN=ca".to_owned()),
        serial: Some(format!("{n:04X}")),
        not_after: Some(not_after),
        ..CertificateSummary::default()
    };
    let tls = TlsFacts { server_chain: vec![Arc::new(leaf)], ..TlsFacts::default() };
    let observation =
        Observation { tls: Some(Arc::new(tls)), security: Security::Tls, ..sample::plaintext() };
    on(n, plain(observation))
}

#[test]
fn certificates_that_do_not_fit_show_the_earliest_of_their_ends() {
    const METRICS: &[&str] = &["tlsight_certificate_not_after_timestamp_seconds"];
    let day = Duration::from_secs(86_400);
    let mut bench = Bench::new(Options { max_series: 2, ..Options::default() });
    for (n, not_after) in [(1, 500), (2, 400), (3, 300), (4, 100), (5, 200)] {
        bench.see(&certificate(n, not_after));
    }
    let line = |subject: &str, issuer: &str, serial: &str, side: &str, rest: &str, end: u32| {
        format!(
            r#"{}{{subject="{subject}",issuer="{issuer}",serial="{serial}",side="{side}"{rest}}} {end}"#,
            METRICS[0]
        )
    };
    let others = r#",namespace="other",workload="other",server_name="other""#;
    let other = |end| line("other", "other", "other", "other", others, end);
    let (one, two) =
        (line("CN=1", "CN=ca", "0001", "server", "", 500), line("CN=2", "CN=ca", "0002", "server", "", 400));
    assert_eq!(bench.lines(METRICS), [one.clone(), two, other(100)]);
    assert_eq!(limited(&bench, METRICS[0]), 3);
    // The one that ends first is not seen any more: it is forgotten when it was not seen for a day, or two at the latest.
    for hours in [12, 23, 36, 47, 60] {
        let passed = Duration::from_secs(hours * 3600);
        bench.see_after(passed, &certificate(1, 500), None);
        bench.see_after(passed, &certificate(2, 400), None);
        bench.see_after(passed, &certificate(3, 300), None);
    }
    assert_eq!(bench.lines_after(Duration::from_secs(60 * 3600), METRICS).last(), Some(&other(300)));
    // None of the others is seen any more.
    bench.see_after(day * 3, &certificate(1, 500), None);
    assert_eq!(bench.lines_after(day * 4, METRICS), Vec::<String>::new());
}

#[test]
fn findings_beyond_the_bounds_are_still_taken_out_one_by_one() {
    let standing = |n: u64| {
        Box::new(Standing {
            finding: Finding {
                rule: RuleId::Own(Arc::from(format!("rego.rule_{n}"))),
                severity: Severity::Warning,
                about: About::Other(Arc::from(format!("thing {n}"))),
                evidence: Evidence::default(),
                summary: String::new(),
                advice: "".into(),
                turn: None,
            },
            first_seen: Timestamp(0),
            last_seen: Timestamp(0),
            count: 1,
        })
    };
    let options = Options { max_series: 2, max_findings: 5, ..Options::default() };
    let mut bench = Bench::new(options);
    for n in 0..7 {
        bench.finding(&judge::Output::Finding(Change::Raised(standing(n))));
    }
    let total = |bench: &Bench| sum(&bench.lines(&["tlsight_findings"]));
    // Three in the series of others, two that nobody could be told of.
    assert_eq!((bench.lines(&["tlsight_findings"]).len(), total(&bench)), (3, 5));
    assert_eq!(limited(&bench, "tlsight_findings"), 5);
    for n in (0..7).rev() {
        bench.finding(&judge::Output::Finding(Change::Cleared(standing(n), Cleared::Good)));
    }
    assert_eq!(bench.lines(&["tlsight_findings"]), Vec::<String>::new());
}

#[test]
fn values_from_the_wire_cannot_break_the_exposition() {
    let mut bench = Bench::new(Options {
        labels: [("tlsight_tls_handshakes_total".to_owned(), vec!["server_name".to_owned()])].into(),
        ..Options::default()
    });
    let lossy = String::from_utf8_lossy(b"bad\xFF\xFEutf8").into_owned();
    let long = "x".repeat(65_536);
    for (conn, name) in
        ["a\"} 1\n# EOF\nfake 7", "back\\slash", "new\nline", "tab\t\0\r", "\x1b[2J\u{202e}", &lossy, &long]
            .into_iter()
            .enumerate()
    {
        bench.see(&asking_for(conn as u64, name));
        bench.see(&asking_for(conn as u64 + 100, name));
    }
    let cut = format!("{}…", "x".repeat(MAX_VALUE_BYTES - 3));
    let expected = [
        r"\\u{1b}[2j\\u{202e}",
        r##"a\"} 1\\u{a}# eof\\u{a}fake 7"##,
        r"back\\slash",
        "bad\u{FFFD}\u{FFFD}utf8",
        r"new\\u{a}line",
        r"tab\\u{9}\\u{0}\\u{d}",
        &cut,
    ]
    .map(|value| format!(r#"tlsight_tls_handshakes_total{{server_name="{value}"}} 2"#));
    let text = |format| String::from_utf8(bench.show_after(Duration::ZERO, format)).expect("UTF-8");
    for format in [Format::Text, Format::OpenMetrics] {
        let text = text(format);
        let lines: Vec<&str> =
            text.split('\n').filter(|line| line.starts_with("tlsight_tls_handshakes_total{")).collect();
        assert_eq!(lines, expected, "{format:?}");
        assert!(text.split('\n').all(|line| !line.starts_with("fake")), "{format:?}");
    }
    assert!(text(Format::OpenMetrics).ends_with("\n# EOF\n"));
}

#[test]
fn observing_prints_what_it_costs() {
    let mut bench = Bench::new(Options::default());
    let sightings: Vec<Sighting> = (0..100)
        .map(|n| {
            let mut sighting = asking_for(n, &format!("host-{n}.example"));
            sighting.local = workload("shop", "web");
            sighting.peer = workload("shop", &format!("client-{n}"));
            sighting.observation.phase = Phase::Final;
            sighting
        })
        .collect();
    let rounds = 200;
    let begin = Instant::now();
    for _ in 0..rounds {
        for sighting in &sightings {
            bench.sink.sighting(sighting).expect("counted");
        }
    }
    let each = begin.elapsed() / (rounds * 100);
    println!("{each:?} an observation with a handshake, two certificates and bytes");
    assert_eq!(sum(&bench.lines(&["tlsight_connections_total"])), u64::from(rounds) * 100);
}
