//! Collectors that are down, slow, or refuse; bounds; the end; the exporter's own connections.

use std::net::TcpListener;
use std::sync::Arc;

use agent_core::net::{ConnId, Endpoint};
use agent_core::observation::Phase;

use super::super::hold::{HOLD, Hold};
use super::super::record::{Handshake, Seen};
use super::collector::{Answer, Collector, OK};
use super::*;
use crate::export::sample;
use crate::pipeline::Sink;

/// A handshake of which nothing more will be known.
fn handshake(conn: u64) -> Sighting {
    let mut o = sample::everything();
    (o.conn, o.phase) = (ConnId(conn), Phase::Final);
    sighting(o)
}

fn see(sink: &mut OtlpSink, conns: std::ops::Range<u64>) {
    for conn in conns {
        sink.sighting(&handshake(conn)).unwrap();
    }
}

fn sum(counters: &[(&'static str, u64)]) -> u64 {
    ["exported", "dropped_queue", "failed", "rejected", "dropped_shutdown"]
        .map(|what| named(counters, &format!("otlp.spans_{what}")))
        .iter()
        .sum()
}

#[test]
fn a_collector_that_is_silent_holds_up_nobody_and_what_does_not_fit_is_counted() {
    let collector = Collector::start(Answer::Silence);
    let (handle, mut sink) = start(&options(collector.address)).unwrap();
    see(&mut sink, 0..4);
    until("a request is under way", || !collector.requests().is_empty());
    let begun = Instant::now();
    see(&mut sink, 4..10_000);
    assert!(begun.elapsed() < Duration::from_secs(2), "the capture waited");
    let full = handle.queues();
    assert_eq!(full[0], QueueLength { name: "otlp_spans", length: 16, capacity: 16 });
    collector.answer(OK);
    let counters = handle.shutdown(LONG);
    let exported = named(&counters, "otlp.spans_exported");
    // What was under way, and what the queue holds.
    assert!((16..=24).contains(&exported), "{counters:?}");
    assert_eq!(sum(&counters), 10_000);
}

#[test]
fn a_queue_is_full_by_its_bytes_too() {
    let collector = Collector::start(Answer::Silence);
    let mut options = options(collector.address);
    let traces = options.traces.as_mut().unwrap();
    traces.queue = Queue { max_size: 10_000, max_bytes: 40_000, ..QUEUE };
    let (handle, mut sink) = start(&options).unwrap();
    see(&mut sink, 0..4);
    until("a request is under way", || !collector.requests().is_empty());
    see(&mut sink, 4..1000);
    let waiting = handle.queues()[0].length;
    assert!((5..40).contains(&waiting), "{waiting}");
    assert_eq!(counter(&handle, "otlp.spans_dropped_queue"), 996 - waiting as u64);
    collector.answer(OK);
    assert_eq!(sum(&handle.shutdown(LONG)), 1000);
}

#[test]
fn a_collector_that_is_down_costs_only_what_it_would_have_been_sent() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = options(nobody);
    options.traces.as_mut().unwrap().target.timeout = Duration::from_millis(600);
    let (handle, mut sink) = start(&options).unwrap();
    see(&mut sink, 0..4);
    until("given up", || counter(&handle, "otlp.spans_failed") == 4);
    // Somebody is there again, and gets what comes next.
    let listener = TcpListener::bind(nobody).unwrap();
    see(&mut sink, 4..8);
    let (stream, _) = listener.accept().unwrap();
    drop((stream, listener));
    let counters = handle.shutdown(Duration::from_secs(3));
    assert_eq!(sum(&counters), 8);
}

#[test]
fn a_collector_that_is_busy_is_asked_again_when_it_says() {
    for busy in ["429 Too Many Requests", "503 Service Unavailable"] {
        let collector = Collector::start(Answer::Status(busy, "retry-after: 1\r\n", ""));
        let mut options = options(collector.address);
        options.traces.as_mut().unwrap().target.timeout = Duration::from_secs(10);
        let (handle, mut sink) = start(&options).unwrap();
        see(&mut sink, 0..4);
        until("asked", || !collector.requests().is_empty());
        let asked = Instant::now();
        collector.answer(OK);
        until("sent", || counter(&handle, "otlp.spans_exported") == 4);
        assert!(asked.elapsed() > Duration::from_millis(900), "{busy}: asked again too soon");
        assert_eq!((collector.requests().len(), counter(&handle, "otlp.span_requests")), (2, 1));
    }
}

#[test]
fn what_a_collector_refuses_is_not_sent_again() {
    let collector = Collector::start(Answer::Status("400 Bad Request", "", ""));
    let (handle, mut sink) = start(&options(collector.address)).unwrap();
    see(&mut sink, 0..4);
    until("refused", || counter(&handle, "otlp.spans_failed") == 4);
    collector.answer(OK);
    see(&mut sink, 4..8);
    until("taken", || counter(&handle, "otlp.spans_exported") == 4);
    assert_eq!(collector.requests().len(), 2);
}

#[test]
fn what_a_collector_rejects_of_a_request_is_counted() {
    let partial = r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
    let collector = Collector::start(Answer::Status("200 OK", "", partial));
    let (handle, mut sink) = start(&options(collector.address)).unwrap();
    see(&mut sink, 0..4);
    let counters = handle.shutdown(LONG);
    assert_eq!((named(&counters, "otlp.spans_exported"), named(&counters, "otlp.spans_rejected")), (1, 3));
}

#[test]
fn the_end_waits_no_longer_than_it_may() {
    let collector = Collector::start(Answer::Silence);
    let mut options = options(collector.address);
    options.traces.as_mut().unwrap().target.timeout = Duration::from_secs(60);
    let (handle, mut sink) = start(&options).unwrap();
    see(&mut sink, 0..4);
    until("a request is under way", || !collector.requests().is_empty());
    see(&mut sink, 4..10);
    let begun = Instant::now();
    let counters = handle.shutdown(Duration::from_millis(300));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(
        (named(&counters, "otlp.spans_failed"), named(&counters, "otlp.spans_dropped_shutdown")),
        (4, 6)
    );
    // What comes afterwards is dropped and counted like anything else.
    see(&mut sink, 10..12);
    collector.answer(OK);
}

#[test]
fn the_exporter_does_not_export_its_own_connections() {
    let collector = Collector::start(OK);
    let (handle, mut sink) = start(&options(collector.address)).unwrap();
    see(&mut sink, 0..4);
    until("sent", || counter(&handle, "otlp.spans_exported") == 4);
    // Both ends of the connection on which they went, as the agent would see them.
    let [from] = collector.connections()[..] else { panic!("one connection") };
    let end = |address: std::net::SocketAddr| Endpoint::new(address.ip(), address.port());
    let mut client = sample::plaintext();
    (client.tuple.local, client.tuple.peer) = (end(from), end(collector.address));
    let mut server = client.clone();
    std::mem::swap(&mut server.tuple.local, &mut server.tuple.peer);
    (server.conn, server.local_side) = (ConnId(8), Some(agent_core::net::Side::Server));
    let mut last = client.clone();
    last.phase = Phase::Final;
    for o in [client, server, last] {
        sink.sighting(&sighting(o)).unwrap();
    }
    let mut other = sample::plaintext();
    other.conn = ConnId(9);
    sink.sighting(&sighting(other)).unwrap();
    let counters = handle.shutdown(LONG);
    assert_eq!(
        (named(&counters, "otlp.logs_exported"), named(&counters, "otlp.own_connections_left_out")),
        (1, 2)
    );
}

#[test]
fn a_sampler_leaves_out_its_share_before_anything_is_copied() {
    for (ratio, range) in [(0.0, 0..=0), (0.25, 150..=350), (1.0, 1000..=1000)] {
        let collector = Collector::start(OK);
        let mut options = options(collector.address);
        let traces = options.traces.as_mut().unwrap();
        traces.ratio = Ratio::try_from(ratio).unwrap();
        traces.queue = Queue { max_size: 2000, max_bytes: 16 << 20, max_batch: 500, ..QUEUE };
        let (handle, mut sink) = start(&options).unwrap();
        see(&mut sink, 0..1000);
        let counters = handle.shutdown(LONG);
        let exported = named(&counters, "otlp.spans_exported");
        assert!(range.contains(&exported), "{ratio}: {exported}");
        assert_eq!(exported + named(&counters, "otlp.spans_sampled_out"), 1000);
    }
}

/// A handshake of which a certificate may still become known.
fn waiting(conn: u64) -> Sighting {
    let mut seen = handshake(conn);
    seen.observation.phase = Phase::Verdict;
    let tls = seen.observation.tls_mut().unwrap();
    tls.negotiated_version = Some(agent_core::tls::codepoints::ProtocolVersion::TLS_1_3);
    seen
}

#[test]
fn more_that_wait_than_there_is_room_for_do_not_wait() {
    let collector = Collector::start(OK);
    let mut options = options(collector.address);
    let traces = options.traces.as_mut().unwrap();
    traces.queue = Queue { max_size: 100_000, max_bytes: 64 << 20, max_batch: 500, ..QUEUE };
    let (handle, mut sink) = start(&options).unwrap();
    let mut seen = 0;
    // However slow this machine is just now: some time 1024 are there within the two seconds that they wait.
    while counter(&handle, "otlp.spans_not_held") == 0 {
        assert!(seen < 50_000, "{:?}", handle.shutdown(LONG));
        sink.sighting(&waiting(seen)).unwrap();
        seen += 1;
    }
    let counters = handle.shutdown(LONG);
    assert_eq!(named(&counters, "otlp.spans_exported"), seen);
}

#[test]
fn those_that_wait_longest_go_first_and_all_in_the_end() {
    let (mut hold, now) = (Hold::new(), tokio::time::Instant::now());
    let mut gone = Vec::new();
    for conn in 0..1100 {
        let seen = Arc::new(Seen::bare(&waiting(conn)));
        let (trace, span) = (1_u128.into(), 1_u64.into());
        let done = hold.take(Handshake { seen, trace, span, is_complete: false }, now);
        assert_eq!((done.early, done.late), (done.go.len(), 0));
        gone.extend(done.go);
    }
    let conns = |gone: &[Handshake]| -> Vec<u64> {
        gone.iter().map(|handshake| handshake.seen.sighting.observation.conn.0).collect()
    };
    assert_eq!(conns(&gone), (0..76).collect::<Vec<_>>());
    assert!(hold.release(Some(now + HOLD / 2)).is_empty());
    assert_eq!(conns(&hold.release(Some(now + HOLD))), (76..1100).collect::<Vec<_>>());
}

#[test]
fn with_nothing_to_send_there_is_nothing_to_do() {
    let (handle, mut sink) = start(&Options::default()).unwrap();
    see(&mut sink, 0..10);
    assert!(handle.shutdown(LONG).iter().all(|(_, n)| *n == 0));
}

#[test]
fn metrics_are_sent_when_asked_for_and_at_the_end() {
    let collector = Collector::start(OK);
    let metrics = Metrics {
        target: target(&format!("http://{}/v1/metrics", collector.address)),
        interval: Duration::from_secs(3600),
        temporality: opentelemetry_sdk::metrics::Temporality::Cumulative,
    };
    let (handle, mut sink) = start(&Options { metrics: Some(metrics), ..Options::default() }).unwrap();
    see(&mut sink, 0..3);
    let plain = sighting(sample::plaintext());
    sink.sighting(&plain).unwrap();
    sink.sighting(&plain).unwrap();
    let counters = handle.shutdown(LONG);
    assert_eq!(named(&counters, "otlp.metric_requests"), 1);
    let body = &collector.requests()[0].body;
    let metrics = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let mut sums: Vec<(String, u64)> = metrics
        .iter()
        .flat_map(|metric| {
            let name = metric["name"].as_str().unwrap().to_owned();
            let points = metric["sum"]["dataPoints"].as_array().cloned().unwrap_or_default();
            points.into_iter().map(move |point| {
                let attributes = super::spans::attributes(&point);
                let kind = attributes.get("tlsight.security").unwrap_or_else(|| &attributes["tlsight.role"]);
                (
                    format!("{name} {}", kind.as_str().unwrap()),
                    point["asInt"].as_str().unwrap().parse().unwrap(),
                )
            })
        })
        .collect();
    sums.sort();
    let expected = [
        ("tlsight.connections mtls", 3),
        ("tlsight.connections plaintext", 1),
        ("tlsight.tls.handshakes server", 3),
    ];
    assert_eq!(sums, expected.map(|(name, n)| (name.to_owned(), n)));
    let histogram = metrics.iter().find(|metric| metric["name"] == "tlsight.tls.handshake.duration").unwrap();
    assert_eq!(histogram["histogram"]["dataPoints"][0]["count"], "3");
}

#[test]
fn metrics_that_nobody_takes_are_given_up_at_the_end() {
    let collector = Collector::start(Answer::Silence);
    let mut target = target(&format!("http://{}/v1/metrics", collector.address));
    target.timeout = Duration::from_secs(60);
    let metrics = Metrics {
        target,
        interval: Duration::from_millis(1),
        temporality: opentelemetry_sdk::metrics::Temporality::Cumulative,
    };
    let (handle, mut sink) = start(&Options { metrics: Some(metrics), ..Options::default() }).unwrap();
    let status = handle.status();
    see(&mut sink, 0..3);
    until("a request is under way", || !collector.requests().is_empty());
    handle.shutdown(Duration::from_millis(300));
    // The thread that sends them is there to say so: it did not panic for want of the runtime.
    until("counted", || named(&status.counters(), "otlp.metric_requests_failed") > 0);
    assert_eq!(named(&status.counters(), "otlp.metric_requests"), 0);
}

#[test]
fn headers_are_sent_and_replace_what_the_crate_would_send() {
    let collector = Collector::start(OK);
    let mut options = options(collector.address);
    let pairs = [("authorization", "Bearer abc"), ("user-agent", "mine")];
    let headers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    options.traces.as_mut().unwrap().target.headers = Headers(headers.into());
    let (handle, mut sink) = start(&options).unwrap();
    see(&mut sink, 0..1);
    handle.shutdown(LONG);
    let requests = collector.requests();
    let sent = &requests.iter().find(|request| request.path == "/v1/traces").unwrap().headers;
    for (name, value) in pairs {
        let expected = format!("{name}: {value}");
        let found: Vec<&String> =
            sent.iter().filter(|header| header.starts_with(&format!("{name}:"))).collect();
        assert_eq!(found, [&expected]);
    }
    assert!(sent.contains(&"content-type: application/json".to_owned()), "{sent:?}");
}
