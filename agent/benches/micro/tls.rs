//! Decoding, reassembly and parsers.

use std::hint::black_box;

use agent_common::{ABI_VERSION, INGRESS, kind};
use agent_core::net::SeqNumber;
use agent_core::reassembly::{ReassemblyCounters, ReassemblyLimits, Stream};
use agent_core::time::Timestamp;
use agent_core::tls::client_hello::ClientHello;
use agent_core::tls::fingerprint::{ja3, ja4};
use agent_core::x509::summarize;

use crate::Operation;
use crate::recorded;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "decode",
        unit: "event of 1 KiB of payload read from the ring buffer's bytes",
        run: decode,
    },
    Operation { name: "reassembly", unit: "segment in order put through a stream", run: in_order },
    Operation {
        name: "reassembly-late",
        unit: "pair of segments that come the wrong way round",
        run: out_of_order,
    },
    Operation { name: "client-hello", unit: "ClientHello parsed", run: client_hello },
    Operation { name: "fingerprints", unit: "JA3 and JA4 of a ClientHello", run: fingerprints },
    Operation { name: "certificate", unit: "certificate summarized", run: certificate },
];

/// As in agent-common: kind, version, length, time, cookie; then sequence number, length on the wire, captured length, direction.
fn decode(times: u32) {
    let mut event = Vec::new();
    event.extend(kind::DATA.to_ne_bytes());
    event.extend(ABI_VERSION.to_ne_bytes());
    event.extend(1064_u32.to_ne_bytes());
    event.extend(1_u64.to_ne_bytes());
    event.extend(2_u64.to_ne_bytes());
    for number in [7, 1024, 1024, INGRESS] {
        event.extend(number.to_ne_bytes());
    }
    event.resize(event.len() + 1024, 0x16);
    for _ in 0..times {
        assert!(black_box(agent_common::read::read(black_box(&event))).is_ok());
    }
}

fn in_order(times: u32) {
    let (limits, mut counters, mut stream) =
        (ReassemblyLimits::default(), ReassemblyCounters::default(), Stream::new());
    stream.start_at(SeqNumber(1));
    let payload = [0; 1024];
    let mut seq = SeqNumber(1);
    for _ in 0..times {
        black_box(stream.push(seq, 1024, &payload, Timestamp(0), &limits, &mut counters));
        assert!(stream.pop(Timestamp(0), &limits, &mut counters).is_none());
        seq = seq.add(1024);
    }
}

fn out_of_order(times: u32) {
    let (limits, mut counters, mut stream) =
        (ReassemblyLimits::default(), ReassemblyCounters::default(), Stream::new());
    stream.start_at(SeqNumber(1));
    let payload = [0; 1024];
    let mut seq = SeqNumber(1);
    for _ in 0..times {
        black_box(stream.push(seq.add(1024), 1024, &payload, Timestamp(0), &limits, &mut counters));
        black_box(stream.push(seq, 1024, &payload, Timestamp(0), &limits, &mut counters));
        while let Some(item) = stream.pop(Timestamp(0), &limits, &mut counters) {
            black_box(item);
        }
        seq = seq.add(2048);
    }
}

/// Bodies of ClientHello messages of every stack.
fn hellos() -> Vec<Vec<u8>> {
    let recorded = recorded::handshakes("stacks.pcapng");
    recorded.iter().filter_map(|c| c.client_hello()?.get(9..).map(<[u8]>::to_vec)).collect()
}

fn client_hello(times: u32) {
    let hellos = hellos();
    for n in 0..times as usize {
        let _ = black_box(ClientHello::parse(black_box(&hellos[n % hellos.len()])));
    }
}

fn fingerprints(times: u32) {
    let hellos: Vec<ClientHello> =
        hellos().iter().filter_map(|hello| ClientHello::parse(hello).ok()).collect();
    for n in 0..times as usize {
        let hello = black_box(&hellos[n % hellos.len()]);
        black_box((ja3::hash(hello), ja4::hash(hello)));
    }
}

fn certificate(times: u32) {
    let root =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent-core/testdata/findings/ca.der");
    let der = std::fs::read(root).expect("a certificate");
    for _ in 0..times {
        black_box(summarize(black_box(&der)));
    }
}
