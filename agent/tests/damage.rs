//! `tlsight pcap` over files that are cut, shuffled, doubled or random: no panic, no endless loop, a documented exit code.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use agent_core::engine::EngineConfig;
use agent_core::observation::{Observation, ProcessCertificates};
use tlsight::filter::Filter;
use tlsight::pipeline::{Phases, Pipeline, Sink, View};
use tlsight::source::pcap::flow::FlowLimits;
use tlsight::source::pcap::run::{CaptureReader, RunError};

/// Counts and forgets.
struct Nothing;

impl Sink for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }

    fn observation(&mut self, _: &Observation) -> std::io::Result<()> {
        Ok(())
    }

    fn process_certificates(&mut self, _: &ProcessCertificates) -> std::io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a file through everything but the command line. `None` when it was no capture file.
fn read(bytes: &[u8]) -> Option<(u64, bool)> {
    let view = View { filter: Filter::default(), phases: Phases::All, client_is_local: true, count: None };
    let config = EngineConfig { seen_at_local_end: false, ..EngineConfig::default() };
    let mut pipeline = Pipeline::new(config, view, Box::new(Nothing));
    let mut reader = CaptureReader::new(FlowLimits::default());
    match reader.run(bytes, &mut pipeline, &mut |_| {}) {
        Ok(outcome) => Some((outcome.counters.packets, outcome.damage.is_some())),
        Err(RunError::Open(_)) => None,
        Err(RunError::Output(failure)) => panic!("{failure}"),
    }
}

fn smallest(extension: &str) -> Vec<u8> {
    common::captures()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| std::fs::read(path).expect("capture"))
        .min_by_key(Vec::len)
        .expect("a capture")
}

/// Splits a pcap file into its header and packets.
fn packets(file: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (header, mut rest) = file.split_at(24);
    let mut packets = Vec::new();
    while let Some(length) = rest.get(8..12) {
        let length = 16 + u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let (packet, after) = rest.split_at(length);
        packets.push(packet);
        rest = after;
    }
    (header, packets)
}

/// xorshift64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("small")
    }
}

#[test]
fn files_cut_at_every_byte_are_read_up_to_there() {
    for file in [smallest("pcap"), smallest("pcapng")] {
        let (all, damaged) = read(&file).expect("whole capture");
        assert!(!damaged);
        // Every byte of a short file; of a longer one, of its beginning and end, and places in between.
        let step = |n: usize| if n < 2000 || n + 500 > file.len() { 1 } else { 97 };
        let mut length = 0;
        let mut before = 0;
        while length < file.len() {
            if let Some((packets, _)) = read(&file[..length]) {
                assert!(packets >= before && packets <= all, "{length}");
                before = packets;
            } else {
                assert!(before == 0, "{length}");
            }
            length += step(length);
        }
    }
}

#[test]
fn changed_bytes_do_no_harm() {
    let mut random = Random(0x5eed);
    for file in [smallest("pcap"), smallest("pcapng")] {
        for _ in 0..300 {
            let mut file = file.clone();
            for _ in 0..1 + random.below(20) {
                let at = random.below(file.len());
                file[at] = random.next() as u8;
            }
            read(&file);
        }
    }
}

#[test]
fn packets_in_any_order_and_number_do_no_harm() {
    let mut random = Random(0x0dde5);
    for path in common::captures() {
        if path.extension().is_none_or(|e| e != "pcap") {
            continue;
        }
        let file = std::fs::read(&path).expect("capture");
        let (header, packets) = packets(&file);
        for _ in 0..20 {
            let mut shuffled = header.to_vec();
            for _ in 0..packets.len() * 2 {
                shuffled.extend(packets[random.below(packets.len())]);
            }
            assert_eq!(read(&shuffled), Some((packets.len() as u64 * 2, false)));
        }
    }
}

#[test]
fn random_bytes_behind_a_header_do_no_harm() {
    let mut random = Random(0xabcde);
    for file in [smallest("pcap"), smallest("pcapng")] {
        for _ in 0..100 {
            let mut file = file[..24 + random.below(200)].to_vec();
            file.extend((0..2000).map(|_| random.next() as u8));
            read(&file);
        }
    }
}

#[test]
fn doubled_packets_change_no_verdict() {
    for path in common::captures() {
        if path.extension().is_none_or(|e| e != "pcap") {
            continue;
        }
        let file = std::fs::read(&path).expect("capture");
        let (header, packets) = packets(&file);
        let mut doubled = header.to_vec();
        for packet in packets {
            doubled.extend(packet);
            doubled.extend(packet);
        }
        let (once, twice) = (piped(&file), piped(&doubled));
        assert_eq!(common::text(&once.stdout), common::text(&twice.stdout), "{}", path.display());
    }
}

/// `tlsight pcap -o json -` with a file on standard input.
fn piped(file: &[u8]) -> Output {
    let mut child = common::tlsight()
        .args(["pcap", "-o", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run tlsight");
    let mut stdin = child.stdin.take().expect("standard input");
    let file = file.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&file));
    let output = child.wait_with_output().expect("tlsight ends");
    // A reader that found nothing to read is gone before everything is written.
    let _ = writer.join().expect("writer");
    output
}

#[test]
fn truncated_file_gives_what_there_is_and_says_so() {
    let file = smallest("pcap");
    let output = piped(&file[..file.len() - 3]);
    assert_eq!(output.status.code(), Some(4));
    let stderr = common::text(&output.stderr);
    assert!(stderr.starts_with("tlsight: -: the file ends in the middle of a packet (byte "), "{stderr}");
    assert!(!output.stdout.is_empty());
}

#[test]
fn many_connections_are_read_in_time_and_bounded_memory() {
    // A SYN scan: every packet another connection.
    let mut file = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65535, 101].map(u32::to_le_bytes).concat();
    let total: u32 = 300_000;
    for n in 0..total {
        file.extend([n / 1000, n % 1000, 40, 40].map(u32::to_le_bytes).concat());
        file.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1]);
        file.extend((0x0b00_0000 + n).to_be_bytes());
        file.extend([0, 99, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    }
    let started = Instant::now();
    assert_eq!(read(&file), Some((u64::from(total), false)));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
