//! However long a collector is silent, the exporter's memory stays as it is. A process of its own: other tests take memory too.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_core::event::Bytes;
use agent_core::identity::{Party, Sighting};
use agent_core::net::{ConnId, Endpoint, FiveTuple, Side};
use agent_core::observation::{Observation, Phase, Security, Source, TlsFacts};
use agent_core::time::Timestamp;
use agent_core::tls::codepoints::{CipherSuite, ProtocolVersion};
use peak_alloc::PeakAlloc;
use tlsight::config::otlp::Otlp;
use tlsight::export::otlp::{self, Options};
use tlsight::pipeline::Sink;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn handshake(conn: u64) -> Sighting {
    let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
    let tls = TlsFacts {
        negotiated_version: Some(ProtocolVersion::TLS_1_2),
        established: Some(true),
        server_name: Some(format!("{conn}.example.org")),
        offered_ciphers: vec![CipherSuite(0x1301); 30],
        handshake_started: Some(Timestamp::from_secs(1)),
        handshake_duration: Some(Duration::from_millis(3)),
        ..TlsFacts::default()
    };
    let observation = Observation {
        conn: ConnId(conn),
        time: Timestamp::from_secs(1),
        phase: Phase::Final,
        tuple: FiveTuple { local: end(40_000), peer: end(443) },
        local_side: Some(Side::Client),
        process: None,
        security: Security::Tls,
        source: Some(Source::Wire),
        reason: None,
        protocol: None,
        starttls: None,
        proxy_protocol: None,
        tls: Some(Arc::new(tls)),
        bytes: Some(Bytes { egress: 1, ingress: 2 }),
        closed: None,
        duration: Some(Duration::from_millis(5)),
    };
    Sighting { observation, local: Party::default(), peer: Party::default(), scope: None }
}

#[test]
fn memory_is_flat_however_long_a_collector_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let file = Otlp {
        endpoint: Some(format!("http://{address}")),
        timeout: Some(Duration::from_secs(3600)),
        ..Otlp::default()
    };
    let options = Options::resolve(&file, &|_| None, &Otlp::default()).expect("options");
    let (handle, mut sink) = otlp::start(&options).expect("an exporter");
    let count = |name: &str| handle.counters().iter().find(|(known, _)| *known == name).expect(name).1;
    // A request comes, and nobody answers.
    let mut see = |conns: std::ops::Range<u64>| {
        for conn in conns {
            sink.sighting(&handshake(conn)).expect("no output that can fail");
        }
    };
    see(0..1000);
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut bytes = [0; 1 << 16];
    assert!(stream.read(&mut bytes).expect("a request") > 0);
    see(1000..20_000);
    let full = handle.queues()[0];
    assert_eq!((full.length, full.capacity), (2048, 2048));
    let (before, dropped) = (MEMORY.current_usage(), count("otlp.spans_dropped_queue"));
    let begun = Instant::now();
    see(20_000..220_000);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}: somebody waited", begun.elapsed());
    assert_eq!(count("otlp.spans_dropped_queue") - dropped, 200_000);
    let after = MEMORY.current_usage();
    assert!(after < before + (1 << 20), "{before} bytes became {after}");
    println!("{before} bytes before, {after} after 200000 more handshakes, in {:?}", begun.elapsed());
    drop(stream);
}
