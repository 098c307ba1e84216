//! Health, protobuf, and everything together.

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;
use prost::Message;

use super::*;
use crate::export::sample;
use crate::loader::ProgramCost;

fn health() -> Health {
    let named =
        |list: &[(&str, u64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    Health {
        connections_open: Some(12),
        counters: named(&[
            ("kernel.lifecycle_events_lost", 1),
            ("kernel.data_events_lost", 2),
            ("kernel.connection_table_full", 3),
            ("opened", 4),
            ("engine.closed", 5),
            ("buffered_bytes", 6),
            ("tls.oversized_messages", 7),
            ("probe.unprobed.rustls", 8),
            ("rego.failed.mine", 9),
            ("newer.things_dropped", 10),
            ("newer.things_lost", 11),
            ("newer.things", 12),
        ]),
        gauges: named(&[("newer.size", 13)]),
        queues: vec![Queue { name: "audit".to_owned(), length: 14, capacity: 15 }],
        probes: named(&[("tracepoint", 16)]),
        programs: vec![ProgramCost { program: "skb_egress", runs: 3, nanoseconds: 1500 }],
        reload: Some(Reload { successful: true, success_timestamp: 1_767_323_045.5 }),
    }
}

#[test]
fn health_tells_losses_bounds_and_sizes_apart() {
    let text = encode(Format::Text, health::collect(&health())).expect("encoded");
    let text = String::from_utf8(text).expect("UTF-8");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            r#"tlsight_agent_events_total{name="engine.closed"} 5"#,
            r#"tlsight_agent_events_total{name="engine.opened"} 4"#,
            r#"tlsight_agent_events_total{name="probe.unprobed.rustls"} 8"#,
            r#"tlsight_agent_events_total{name="rego.failed.mine"} 9"#,
            r#"tlsight_agent_state{name="engine.buffered_bytes"} 6"#,
            r#"tlsight_agent_state{name="newer.size"} 13"#,
            r#"tlsight_agent_state{name="newer.things"} 12"#,
            "tlsight_bpf_program_run_seconds_total{program=\"skb_egress\"} 0.0000015",
            "tlsight_bpf_program_runs_total{program=\"skb_egress\"} 3",
            "tlsight_config_last_reload_success_timestamp_seconds 1767323045.5",
            "tlsight_config_last_reload_successful 1",
            "tlsight_connections_open 12",
            r#"tlsight_dropped_total{what="engine.tls.oversized_messages"} 7"#,
            r#"tlsight_dropped_total{what="kernel.connection_table_full"} 3"#,
            r#"tlsight_dropped_total{what="newer.things_dropped"} 10"#,
            r#"tlsight_events_lost_total{place="elsewhere"} 11"#,
            r#"tlsight_events_lost_total{place="kernel_ring_buffer"} 3"#,
            r#"tlsight_probes_attached{kind="tracepoint"} 16"#,
            r#"tlsight_queue_capacity{queue="audit"} 15"#,
            r#"tlsight_queue_length{queue="audit"} 14"#,
        ]
    );
}

#[test]
fn what_a_capture_that_did_not_answer_could_not_say_is_absent_and_not_zero() {
    let text = encode(Format::Text, health::collect(&Health::default())).expect("encoded");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(!text.lines().any(|line| line.starts_with("tlsight_connections_open")), "{text}");
}

#[test]
fn the_process_tells_what_every_exporter_tells() {
    let bench = Bench::new(Options::default());
    let text = bench.exposition.render(Format::Text, &Health::default()).expect("rendered");
    let text = String::from_utf8(text).expect("UTF-8");
    let value = |name: &str| {
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_else(|| panic!("{name}"))
    };
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_virtual_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
    assert!(value("process_threads") >= 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let age = now.as_secs_f64() - value("process_start_time_seconds");
    assert!((-2.0..86_400.0).contains(&age), "{age}");
    let build = format!(
        r#"tlsight_build_info{{version="{}",rust_version="{}"}} 1"#,
        env!("CARGO_PKG_VERSION"),
        health::RUST_VERSION
    );
    assert!(text.lines().any(|line| line == build), "{text}");
    assert!(health::RUST_VERSION.starts_with("1."), "{:?}", health::RUST_VERSION);
}

fn families(mut bytes: &[u8]) -> Vec<MetricFamily> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(MetricFamily::decode_length_delimited(&mut bytes).expect("a message"));
    }
    all
}

#[test]
fn protobuf_carries_classic_and_native_buckets() {
    let mut bench = Bench::new(Options::default());
    bench.see(&plain(sample::everything()));
    let all = families(&bench.show_after(Duration::ZERO, Format::Protobuf));
    let names: Vec<&str> = all.iter().map(|family| &*family.name).collect();
    let text = String::from_utf8(bench.show_after(Duration::ZERO, Format::Text)).expect("UTF-8");
    let in_text: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(names, in_text);
    let duration =
        all.iter().find(|family| family.name == "tlsight_tls_handshake_duration_seconds").expect("it");
    let histogram = duration.metric[0].histogram.as_ref().expect("a histogram");
    assert_eq!((histogram.sample_count, histogram.bucket.len()), (1, registry::BUCKETS.len() + 1));
    assert_eq!(histogram.schema, 3);
    assert_eq!(histogram.positive_delta, [1]);
    assert_eq!(histogram.positive_span.len(), 1);
    // 2^(-51/8) < 0.012345 <= 2^(-50/8)
    assert_eq!((histogram.positive_span[0].offset, histogram.positive_span[0].length), (-50, 1));
}

#[test]
fn native_buckets_are_bounded_and_can_be_left_out() {
    let mut bench = Bench::new(Options::default());
    for n in 0..20_000_u32 {
        let mut observation = sample::everything();
        if let Some(tls) = observation.tls_mut() {
            tls.handshake_duration = Some(Duration::from_nanos(1) * (n * n));
        }
        bench.see(&on(n.into(), plain(observation)));
    }
    let histogram = |bench: &Bench| {
        let all = families(&bench.show_after(Duration::ZERO, Format::Protobuf));
        let duration = all.into_iter().find(|family| family.name == "tlsight_tls_handshake_duration_seconds");
        duration.expect("it").metric[0].histogram.clone().expect("a histogram")
    };
    let many = histogram(&bench);
    assert_eq!(many.sample_count, 20_000);
    assert!(many.positive_delta.len() <= registry::NATIVE_BUCKETS, "{}", many.positive_delta.len());
    let mut bench = Bench::new(Options { native_histograms: false, ..Options::default() });
    bench.see(&plain(sample::everything()));
    let classic = histogram(&bench);
    assert_eq!((classic.positive_span.len(), classic.bucket.len()), (0, registry::BUCKETS.len() + 1));
}

#[test]
fn a_scrape_on_another_thread_sees_what_was_counted() {
    let mut bench = Bench::new(Options::default());
    bench.see(&plain(sample::everything()));
    let exposition = bench.exposition.clone();
    let shown =
        std::thread::spawn(move || exposition.render(Format::Text, &Health::default()).expect("rendered"));
    let text = String::from_utf8(shown.join().expect("no panic")).expect("UTF-8");
    assert!(text.contains("tlsight_connections_total{security=\"mtls\""), "{text}");
}
