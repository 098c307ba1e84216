//! What the agent shows to Prometheus, as Prometheus's own programs read it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use agent_core::engine::EngineConfig;
use agent_core::identity::{Party, Sighting};
use agent_core::net::{ConnId, Endpoint, FiveTuple, Side};
use agent_core::observation::{Observation, Phase, Security, TlsFacts};
use agent_core::policy::settings::Settings;
use agent_core::time::Timestamp;
use agent_core::tls::codepoints::ProtocolVersion;
use serde_json::Value;
use tlsight::export::prometheus::{
    Exposition, Format, Health, MetricsSink, Options, Queue, Reload, metrics, negotiate,
};
use tlsight::export::silent::SilentSink;
use tlsight::filter::Filter;
use tlsight::judging::Judging;
use tlsight::pipeline::{Phases, Pipeline, Sink, View};
use tlsight::source::pcap::flow::FlowLimits;
use tlsight::source::pcap::run::CaptureReader;
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::tools::{repository, scratch_dir};

/// Longest that is waited for a program.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names that a line of text could not hold as they are.
const HOSTILE: &[&str] =
    &["quote\"d", "back\\slash", "new\nline", "# EOF", "", "{}", "tab\t,comma=", "ünïcode", "nul\0"];

/// A handshake with a server of this name.
fn handshake(conn: u64, name: &str) -> Sighting {
    let end = |port| Endpoint::new([127, 0, 0, 1].into(), port);
    let tls = TlsFacts {
        negotiated_version: Some(ProtocolVersion::TLS_1_3),
        established: Some(true),
        resumed: Some(false),
        server_name: Some(name.to_owned()),
        handshake_duration: Some(Duration::from_millis(conn + 1)),
        ..TlsFacts::default()
    };
    let observation = Observation {
        conn: ConnId(conn),
        time: Timestamp(0),
        phase: Phase::Final,
        tuple: FiveTuple { local: end(40_000), peer: end(443) },
        local_side: Some(Side::Client),
        process: None,
        security: Security::Tls,
        source: None,
        reason: None,
        protocol: None,
        starttls: None,
        proxy_protocol: None,
        tls: Some(Arc::new(tls)),
        bytes: None,
        closed: None,
        duration: None,
    };
    Sighting { observation, local: Party::default(), peer: Party::default(), scope: None }
}

fn hostile(sink: &mut MetricsSink) {
    let long = "x".repeat(65_536);
    for (conn, name) in (0..).zip(HOSTILE.iter().copied().chain([long.as_str()])) {
        sink.sighting(&handshake(conn, name)).expect("counted");
    }
}

/// Metrics of every capture in the repository, of findings in them, and of hostile names.
fn exposition() -> Exposition {
    let (mut sink, exposition) = metrics(Options::default()).expect("defaults");
    hostile(&mut sink);
    let view = View { filter: Filter::default(), phases: Phases::All, client_is_local: true, count: None };
    let judging = Judging::new(Settings::default()).expect("defaults");
    let mut pipeline = Pipeline::new(EngineConfig::default(), view, Box::new(SilentSink))
        .with_judging(judging)
        .with_recorder(Box::new(sink));
    let mut reader = CaptureReader::new(FlowLimits::default());
    let mut read = 0;
    for entry in fs::read_dir(repository().join("tests/captures")).expect("captures") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "pcap" || end == "pcapng") {
            let file = fs::File::open(&path).expect("a capture");
            reader.run(file, &mut pipeline, &mut |_| {}).expect("read");
            read += 1;
        }
    }
    assert!(read > 5, "{read} captures");
    exposition
}

fn health() -> Health {
    let named =
        |list: &[(&str, u64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    Health {
        connections_open: Some(1),
        counters: named(&[
            ("kernel.data_events_lost", 1),
            ("kernel.connection_table_full", 2),
            ("opened", 3),
            ("findings.standing", 4),
        ]),
        gauges: Vec::new(),
        queues: vec![Queue { name: "audit".to_owned(), length: 1, capacity: 2 }],
        probes: named(&[("tracepoint", 3)]),
        reload: Some(Reload { successful: true, success_timestamp: 1_767_323_045.0 }),
        programs: Vec::new(),
    }
}

#[test]
fn promtool_has_nothing_against_the_metrics() {
    let text = exposition().render(Format::Text, &health()).expect("rendered");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool: cargo xtask setup --tests installs it");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(&text).expect("promtool reads everything");
    drop(stdin);
    let out = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.is_empty(), "{}\n{said}", out.status);
}

/// Serves `/metrics` and tells of each scrape which format it got.
fn serve(exposition: Exposition, told: Sender<Format>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(format) = answer(&exposition, stream.expect("a scrape")) else { continue };
            if told.send(format).is_err() {
                return;
            }
        }
    });
    port
}

fn answer(exposition: &Exposition, mut stream: TcpStream) -> Option<Format> {
    let mut accept = None;
    for line in BufReader::new(stream.try_clone().ok()?).lines() {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("accept")
        {
            accept = Some(value.to_owned());
        }
    }
    let format = negotiate(accept.as_deref());
    let body = exposition.render(format, &health()).expect("rendered");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        format.content_type(),
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()?;
    Some(format)
}

/// A port that nobody listens on just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    fn start(target: u16, features: &[&str]) -> Self {
        let dir = scratch_dir("prometheus");
        let config = dir.join("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: tlsight\n  static_configs:\n  \
                 - targets: ['127.0.0.1:{target}']\n"
            ),
        )
        .expect("write the configuration");
        let port = free_port();
        let mut prometheus = command(
            "prometheus",
            [
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", dir.join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ],
        );
        prometheus.args(features);
        let child = Child::spawn(prometheus);
        child.wait_for_line("ready to receive web requests", PATIENCE);
        Self { child, port }
    }

    /// The result of a query.
    fn query(&self, query: &str) -> Vec<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let answer = output(command("curl", ["-sSG", "--data-urlencode", &format!("query={query}"), &url]));
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().expect("a vector").clone()
    }

    fn number(&self, query: &str) -> f64 {
        let result = self.query(query);
        assert_eq!(result.len(), 1, "{query}: {result:?}");
        result[0]["value"][1].as_str().expect("text").parse().expect("a number")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.stop();
    }
}

/// Two scrapes: the first is stored when the second comes.
fn scraped(scrapes: &Receiver<Format>) -> Format {
    let first = scrapes.recv_timeout(PATIENCE).expect("a scrape");
    assert_eq!(scrapes.recv_timeout(PATIENCE).expect("another"), first);
    assert_eq!(scrapes.recv_timeout(PATIENCE).expect("and another"), first);
    first
}

#[test]
fn prometheus_reads_every_format_and_finds_the_same() {
    let exposition = exposition();
    let text = exposition.render(Format::Text, &health()).expect("rendered");
    let text = String::from_utf8(text).expect("UTF-8");
    let is_sample =
        |line: &&str| !line.starts_with('#') && !line.starts_with("tlsight_tls_handshake_duration");
    let samples = text.split('\n').filter(|line| !line.is_empty()).filter(is_sample).count();
    let handshakes: f64 = text
        .split('\n')
        .filter(|line| line.starts_with("tlsight_tls_handshake_duration_seconds_count"))
        .map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number"))
        .sum();
    assert!(samples > 100 && handshakes > 10.0, "{samples} samples, {handshakes} handshakes");
    for (features, format, count) in [
        (&[] as &[&str], Format::OpenMetrics, "sum(tlsight_tls_handshake_duration_seconds_count)"),
        (
            &["--enable-feature=native-histograms"],
            Format::Protobuf,
            "histogram_count(sum(tlsight_tls_handshake_duration_seconds))",
        ),
    ] {
        let (told, scrapes) = channel();
        let prometheus = Prometheus::start(serve(exposition.clone(), told), features);
        assert_eq!(scraped(&scrapes), format);
        assert_eq!(prometheus.number("up{job=\"tlsight\"}"), 1.0, "{format:?}");
        let others = "count({job=\"tlsight\",__name__=~\"tlsight_.*|process_.*\",\
                      __name__!~\"tlsight_tls_handshake_duration.*\"})";
        assert_eq!(prometheus.number(others) as usize, samples, "{format:?}");
        assert_eq!(prometheus.number(count), handshakes, "{format:?}");
        let names: Vec<String> = prometheus
            .query("tlsight_tls_handshakes_total{server_name!=\"\"}")
            .iter()
            .map(|series| series["metric"]["server_name"].as_str().expect("text").to_owned())
            .collect();
        for hostile in HOSTILE.iter().filter(|name| !name.is_empty()) {
            // What a terminal would obey is written out.
            let plain = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
            let lower: String = hostile.to_ascii_lowercase().chars().map(plain).collect();
            assert!(names.contains(&lower), "{format:?}: {hostile:?} is not in {names:?}");
        }
    }
}
