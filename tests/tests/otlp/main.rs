//! What the exporter of OTLP sends, as receivers that nobody here wrote read it: rotel (gRPC and HTTP) and oteltap (HTTP), the
//! former behind nginx where there is TLS with client certificates. What they read is held against what `tlsight pcap -o json`
//! prints of the same captures, whole.

mod captures;
mod collector;
mod print;

use std::collections::BTreeMap;
use std::time::Duration;

use collector::Gate;
use print::expected;
use tlsight::config::otlp::{Compression, Otlp, Protocol};
use tlsight::export::otlp::{self, Options, OtlpHandle, OtlpSink};
use tlsight_tests::pki::pki;
use tlsight_tests::rotel::{Rotel, free, wait_for};
use tlsight_tests::tools::venv;

const FILES: [&str; 4] = ["openssl-tls13.pcapng", "redis.pcap", "refused.pcapng", "upgrades.pcapng"];

/// What each test gives something that happens elsewhere.
const LONG: Duration = Duration::from_secs(30);

fn exporter(otlp: &Otlp) -> (OtlpHandle, OtlpSink) {
    let options = Options::resolve(otlp, &|_| None, &Otlp::default()).expect("options");
    otlp::start(&options).expect("an exporter")
}

/// Sends what is in the captures; gives what was counted.
fn send(otlp: &Otlp) -> BTreeMap<&'static str, u64> {
    let (handle, sink) = exporter(otlp);
    captures::run(&FILES, Box::new(sink));
    handle.shutdown(LONG).into_iter().collect()
}

/// Spans and records that rotel printed are those of the captures, and no others.
fn assert_whole(rotel: &Rotel, counters: &BTreeMap<&str, u64>) {
    let expected = expected(&FILES);
    assert!(expected.spans.len() > 20 && expected.plaintext.len() > 2, "{expected:?}");
    let received = rotel.received(|all| all, |got| got.spans.len() >= expected.spans.len());
    assert_eq!(received.spans, expected.spans);
    assert_eq!(received.plaintext, expected.plaintext);
    assert_eq!(counters["otlp.spans_exported"], expected.spans.len() as u64);
    let lost = ["spans_failed", "logs_failed", "spans_dropped_queue", "logs_dropped_queue"];
    for name in lost {
        assert_eq!(counters[format!("otlp.{name}").as_str()], 0, "{name}");
    }
}

#[test]
fn rotel_receives_all_of_it_over_grpc() {
    let rotel = Rotel::start();
    let endpoint = Some(format!("http://{}", rotel.grpc));
    let otlp = Otlp { endpoint, protocol: Some(Protocol::Grpc), ..Otlp::default() };
    assert_whole(&rotel, &send(&otlp));
}

#[test]
fn rotel_receives_all_of_it_over_http_compressed() {
    let rotel = Rotel::start();
    let endpoint = Some(format!("http://{}", rotel.http));
    let otlp = Otlp { endpoint, compression: Some(Compression::Gzip), ..Otlp::default() };
    assert_whole(&rotel, &send(&otlp));
}

#[test]
fn rotel_receives_all_of_it_over_http_as_json() {
    let rotel = Rotel::start();
    let endpoint = Some(format!("http://{}", rotel.http));
    let otlp = Otlp { endpoint, protocol: Some(Protocol::HttpJson), ..Otlp::default() };
    assert_whole(&rotel, &send(&otlp));
}

/// Through nginx, which wants a certificate of a client that it knows.
fn secured(gate: &Gate, protocol: Protocol) -> Otlp {
    Otlp {
        endpoint: Some(format!("https://localhost:{}", gate.port(protocol))),
        protocol: Some(protocol),
        certificate: Some(gate.authority.clone()),
        client_certificate: Some(pki().client.cert.clone()),
        client_key: Some(pki().client.key.clone()),
        timeout: Some(Duration::from_secs(3)),
        ..Otlp::default()
    }
}

#[test]
fn rotel_receives_all_of_it_over_tls_with_a_client_certificate() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let rotel = Rotel::start();
        let gate = Gate::before(&rotel);
        assert_whole(&rotel, &send(&secured(&gate, protocol)));
        // Without the certificate, or with one of a stranger, nothing arrives, and it is counted.
        let stranger = &pki().client_untrusted;
        let without = Otlp { client_certificate: None, client_key: None, ..secured(&gate, protocol) };
        let unknown = Otlp {
            client_certificate: Some(stranger.cert.clone()),
            client_key: Some(stranger.key.clone()),
            ..secured(&gate, protocol)
        };
        // A collector that is not who it should be is told nothing.
        let other = Otlp { certificate: Some(stranger.issuers.clone()), ..secured(&gate, protocol) };
        for otlp in [without, unknown, other] {
            let counters = send(&otlp);
            assert_eq!(counters["otlp.spans_exported"], 0, "{counters:?}");
            assert!(counters["otlp.spans_failed"] > 20, "{counters:?}");
        }
    }
}

#[test]
fn a_collector_that_was_killed_gets_what_comes_when_it_is_back() {
    let (grpc, http) = (free(), free());
    let rotel = Rotel::start_at(grpc, http);
    let otlp = Otlp {
        endpoint: Some(format!("http://{grpc}")),
        protocol: Some(Protocol::Grpc),
        timeout: Some(Duration::from_secs(1)),
        ..Otlp::default()
    };
    let (handle, sink) = exporter(&otlp);
    let mut sink = captures::Repeated::new(sink);
    let count = |name: &str| handle.counters().into_iter().find(|(known, _)| *known == name).expect(name).1;
    let until = |what: &str, mut done: Box<dyn FnMut() -> bool + '_>| {
        let deadline = std::time::Instant::now() + LONG;
        while !done() {
            assert!(std::time::Instant::now() < deadline, "{what}: {:?}", handle.counters());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    };
    sink.run(&FILES);
    let first = expected(&FILES).spans.len() as u64;
    until("sent", Box::new(|| count("otlp.spans_exported") == first));
    rotel.child.stop();
    let begun = std::time::Instant::now();
    sink.run(&FILES);
    assert!(begun.elapsed() < Duration::from_secs(10), "the reader of captures waited");
    until("lost", Box::new(|| count("otlp.spans_failed") == first));
    let again = Rotel::start_at(grpc, http);
    sink.run(&FILES);
    until("sent again", Box::new(|| count("otlp.spans_exported") == 2 * first));
    assert_eq!(
        again.received(|all| all, |got| got.spans.len() as u64 >= first).spans,
        expected(&FILES).spans
    );
    drop(handle);
}

#[test]
fn oteltap_receives_the_spans_over_http() {
    let address = free();
    let mut tap = tlsight_tests::child::command(venv("oteltap"), ["--port", &address.port().to_string()]);
    tap.env("PYTHONUNBUFFERED", "1");
    let tap = tlsight_tests::child::Child::spawn(tap);
    wait_for(&tap, address);
    let counters = send(&Otlp { endpoint: Some(format!("http://{address}")), ..Otlp::default() });
    let expected = expected(&FILES);
    assert_eq!(counters["otlp.spans_exported"], expected.spans.len() as u64);
    let mut names: Vec<String> = expected.spans.iter().map(|span| span.name.clone()).collect();
    names.sort();
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let text = tap.text();
        let mut got: Vec<String> =
            text.lines().filter_map(print::name_in_json).filter(|name| name.starts_with("TLS ")).collect();
        got.sort();
        if got == names {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{got:?}\n{names:?}\n{text}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    tap.stop();
}
