//! Many connections of many processes, their handshakes put together by hand: real hellos, encrypted records of which only
//! the lengths matter, and what probes see.

use std::collections::BTreeMap;

use super::*;
use crate::event::{EarlierRead, PeerCertificates, TlsLibrary};
use crate::observation::TlsFacts;

pub(super) const SUITE: u16 = 0x1302;
pub(super) const WAIT: Duration = Duration::from_millis(250);

/// A chain of leaf and issuer; leaves of different numbers differ in their name and not in their length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) entries: Vec<u8>,
    pub(super) leaf: Vec<u8>,
}

pub(super) fn name(number: u32) -> String {
    format!("a{number:06}.tst")
}

impl Chain {
    pub(super) fn new(number: u32) -> Self {
        Self::with_padding(number, 0)
    }

    /// As long as another one and this much more.
    pub(super) fn with_padding(number: u32, padding: usize) -> Self {
        const NAME: &[u8] = b"\x82\x0bexample.com";
        let mut leaf = include_bytes!("../../../testdata/x509/leaf.der").to_vec();
        let at = leaf.windows(NAME.len()).position(|window| window == NAME).expect("name") + 2;
        leaf[at..at + 11].copy_from_slice(name(number).as_bytes());
        let mut entries = Vec::new();
        for der in [&leaf[..], include_bytes!("../../../testdata/x509/rsa_ca.der")] {
            entries.extend(&(der.len() as u32).to_be_bytes()[1..]);
            entries.extend(der);
            entries.extend([0, 0]);
        }
        if padding > 0 {
            let end = entries.len() - 2;
            let length = (4 + padding) as u16;
            entries[end..].copy_from_slice(&length.to_be_bytes());
            entries.extend([0xff, 0xee]);
            entries.extend((padding as u16).to_be_bytes());
            entries.extend(vec![0; padding]);
        }
        Self { entries, leaf }
    }

    /// Length field of the record with its Certificate message.
    pub(super) fn record(&self) -> u16 {
        (self.entries.len() + 8 + 17) as u16
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        use sha2::Digest;
        sha2::Sha256::digest(&self.leaf).into()
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hello<'a> {
    pub(super) random: u64,
    /// Another server answers it.
    pub(super) answer: u64,
    pub(super) server_name: Option<&'a str>,
    pub(super) compression: bool,
    pub(super) resumes: bool,
    pub(super) older: bool,
}

pub(super) fn random(number: u64) -> [u8; 32] {
    let mut random = [7; 32];
    random[..8].copy_from_slice(&number.to_be_bytes());
    random
}

fn extension(out: &mut Vec<u8>, number: u16, body: &[u8]) {
    out.extend(number.to_be_bytes());
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
}

fn message(kind: u8, start: &[u8], extensions: &[u8]) -> Vec<u8> {
    let body = [start, &(extensions.len() as u16).to_be_bytes(), extensions].concat();
    let mut out = vec![22, 3, 3];
    out.extend(((body.len() + 4) as u16).to_be_bytes());
    out.push(kind);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend(body);
    out
}

fn client_hello(hello: &Hello<'_>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = hello.server_name {
        let mut list = ((name.len() + 3) as u16).to_be_bytes().to_vec();
        list.push(0);
        list.extend((name.len() as u16).to_be_bytes());
        list.extend(name.as_bytes());
        extension(&mut extensions, 0, &list);
    }
    if hello.compression {
        extension(&mut extensions, 27, &[2, 0, 2]);
    }
    extension(&mut extensions, 43, &[2, 3, 4]);
    let start = [&[3, 3][..], &random(hello.random), &[0, 0, 2], &SUITE.to_be_bytes(), &[1, 0]].concat();
    message(1, &start, &extensions)
}

fn server_hello(hello: &Hello<'_>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if !hello.older {
        extension(&mut extensions, 43, &[3, 4]);
        extension(&mut extensions, 51, &[&[0, 29, 0, 32][..], &[9; 32]].concat());
    }
    if hello.resumes {
        extension(&mut extensions, 41, &[0, 0]);
    }
    let suite = if hello.older { 0xc02b } else { SUITE };
    let start =
        [&[3, 3][..], &random(!hello.random ^ hello.answer), &[0], &suite.to_be_bytes(), &[0]].concat();
    message(2, &start, &extensions)
}

/// What a probe sees.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    pub(super) pid: u32,
    pub(super) peer: Option<Side>,
    pub(super) last_read: Option<u64>,
    /// And before that, so long ago.
    pub(super) read_before: Option<(u64, Duration)>,
    pub(super) client_random: Option<u64>,
}

pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) now: Timestamp,
    pub(super) outputs: Vec<Output>,
    seq: BTreeMap<u64, ([u32; 2], Side)>,
}

impl Host {
    pub(super) fn new(config: EngineConfig) -> Self {
        let now = Timestamp::from_secs(1);
        Self { engine: Engine::new(config), now, outputs: Vec::new(), seq: BTreeMap::new() }
    }

    pub(super) fn handle(&mut self, event: Event<'_>) {
        self.now = self.now + Duration::from_micros(10);
        self.engine.handle_timeout(self.now);
        self.engine.handle(event, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            self.outputs.push(output);
        }
    }

    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.engine.poll_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    pub(super) fn open(&mut self, conn: u64, local: Side, pid: Option<u32>) {
        self.seq.insert(conn, ([1, 1], local));
        let process = pid.map(process);
        let (local_side, origin, conn) = (Some(local), Origin::Fresh, ConnId(conn));
        self.handle(Event::Opened(Opened { conn, tuple: tuple(), local_side, origin, process }));
        let start = SeqNumber(1);
        self.handle(Event::Established(Established { conn, egress_start: start, ingress_start: start }));
    }

    pub(super) fn owner(&mut self, conn: u64, pid: u32) {
        self.handle(Event::Owner { conn: ConnId(conn), process: process(pid) });
    }

    pub(super) fn send(&mut self, conn: u64, side: Side, payload: &[u8], wire_len: usize) {
        let (seq, local) = self.seq.get_mut(&conn).expect("open");
        let direction = if side == *local { Direction::Egress } else { Direction::Ingress };
        let at = seq[direction.index()];
        seq[direction.index()] = at + wire_len as u32;
        let (conn, seq, wire_len) = (ConnId(conn), SeqNumber(at), wire_len as u32);
        self.handle(Event::Segment(Segment { conn, direction, seq, wire_len, payload }));
    }

    pub(super) fn records(&mut self, conn: u64, side: Side, lengths: &[u16]) {
        for len in lengths {
            let [high, low] = len.to_be_bytes();
            self.send(conn, side, &[23, 3, 3, high, low], 5 + usize::from(*len));
        }
    }

    pub(super) fn hellos(&mut self, conn: u64, hello: &Hello<'_>) {
        let client = client_hello(hello);
        self.send(conn, Side::Client, &client, client.len());
        let server = server_hello(hello);
        self.send(conn, Side::Server, &server, server.len());
    }

    /// Both hellos and the flight of a server that puts each message in a record of its own.
    pub(super) fn flight(&mut self, conn: u64, hello: &Hello<'_>, chain: &Chain) {
        self.hellos(conn, hello);
        self.records(conn, Side::Server, &[23, chain.record(), 97, 69]);
    }

    /// The client got this far and sends a request.
    pub(super) fn finish(&mut self, conn: u64) {
        self.records(conn, Side::Client, &[69, 60]);
        self.records(conn, Side::Server, &[250]);
    }

    /// A process parses a chain.
    pub(super) fn probe(&mut self, probe: Probe, chain: &Chain) {
        self.parse(probe, &chain.entries, Some(chain.entries.len() as u32), false);
    }

    pub(super) fn parse(&mut self, probe: Probe, entries: &[u8], list_len: Option<u32>, is_cut: bool) {
        self.handle(Event::PeerCertificates(PeerCertificates {
            process: process(probe.pid),
            library: TlsLibrary::OpenSsl,
            peer: probe.peer,
            last_read: probe.last_read.map(ConnId),
            read_before: probe.read_before.map(|(conn, ago)| EarlierRead { conn: ConnId(conn), ago }),
            client_random: probe.client_random.map(random),
            list_len,
            entries,
            has_extensions: true,
            is_cut,
        }));
    }

    pub(super) fn close(&mut self, conn: u64) {
        let (conn, how) = (ConnId(conn), CloseKind::Finished);
        self.handle(Event::Closed(Closed { conn, how, bytes: None }));
    }

    pub(super) fn observations(&self, conn: u64) -> Vec<&Observation> {
        let observations = self.outputs.iter().filter_map(|output| match output {
            Output::Observation(observation) => Some(observation.as_ref()),
            _ => None,
        });
        observations.filter(|observation| observation.conn.0 == conn).collect()
    }

    pub(super) fn last(&self, conn: u64) -> &Observation {
        self.observations(conn).last().expect("an observation")
    }

    pub(super) fn facts(&self, conn: u64) -> &TlsFacts {
        self.last(conn).tls.as_deref().expect("facts")
    }

    /// SHA-256 of the leaf that a connection shows of a side.
    pub(super) fn leaf(&self, conn: u64, side: Side) -> Option<[u8; 32]> {
        self.facts(conn).chain(side).first().map(|leaf| leaf.sha256)
    }

    /// Chains told of processes: process, leaf and why.
    pub(super) fn told(&self) -> Vec<(u32, [u8; 32], crate::observation::NotTied)> {
        let told = self.outputs.iter().filter_map(|output| match output {
            Output::ProcessCertificates(told) => Some(told),
            _ => None,
        });
        told.map(|told| (told.process.pid, told.chain[0].sha256, told.reason)).collect()
    }
}

pub(super) fn process(pid: u32) -> Arc<Process> {
    Arc::new(Process { pid, executable_name: "app".to_owned() })
}
