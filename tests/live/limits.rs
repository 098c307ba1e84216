//! Every bound of the kernel side, reached: its counter says so, and no verdict is made up for what was cut.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tlsight_tests::agent::{Agent, End};
use tlsight_tests::host::{case_address, free_port};
use tlsight_tests::run::case_alone;

/// More connections than the smallest connection table holds ends.
const MANY: usize = 40;
/// More events than the smallest ring buffer holds.
const FLOOD: usize = 1500;

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case_alone("limits::plaintext_bytes", plaintext));
    trials.push(case_alone("limits::clear_tls_bytes", clear_tls));
    trials.push(case_alone("limits::encrypted_records", encrypted));
    trials.push(case_alone("limits::bytes_that_are_no_records_any_more", raw));
    trials.push(case_alone("limits::records_in_one_packet", records_per_packet));
    trials.push(case_alone("limits::connection_table", table));
    trials.push(case_alone("limits::ring_buffer", ring));
}

/// An agent with `options` that shows connections to one port only. Its counters are those of the whole host, other
/// cases' traffic included.
struct Bounded {
    agent: Agent,
    at: SocketAddr,
    listener: TcpListener,
}

impl Bounded {
    fn new(options: &[&str]) -> Self {
        let at = SocketAddr::from((case_address(), free_port()));
        let listener = TcpListener::bind(at).expect("listen");
        let port = at.port().to_string();
        let all = [&["--stats", "--no-existing", "--port", &port], options].concat();
        Self { agent: Agent::start(&all), at, listener }
    }

    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.at).expect("connect");
        (client, self.listener.accept().expect("accept").0)
    }

    /// Sends `bytes` from client to server in one write, closes both ends, and gives what the agent says of them.
    fn say(&self, bytes: &[u8]) -> (End, End) {
        let (mut client, mut server) = self.connect();
        client.write_all(bytes).expect("write");
        let mut got = vec![0; bytes.len()];
        server.read_exact(&mut got).expect("read");
        drop(client);
        server.read_to_end(&mut got).expect("end of stream");
        drop(server);
        self.agent.connections(self.at, 1).remove(0)
    }

    /// Stops the agent and gives a counter of its last words.
    fn counter(&self, name: &str) -> u64 {
        self.agent.stop().expect("a clean end");
        self.agent.counter(name)
    }
}

fn value(end: &End, key: &str) -> Value {
    end.phase("final").expect("a final line").get(key).cloned().unwrap_or_default()
}

fn both(ends: &(End, End), key: &str, expected: &Value) {
    assert_eq!((&value(&ends.0, key), &value(&ends.1, key)), (expected, expected), "{ends:?}");
}

/// One TLS record.
fn record(content_type: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("a record").to_be_bytes();
    [&[content_type, 3, 3, len[0], len[1]], body].concat()
}

fn plaintext() {
    let bounded = Bounded::new(&["--plaintext-bytes", "64"]);
    let request = [b"GET / HTTP/1.1\r\nHost: ".as_slice(), &[b'x'; 200], b"\r\n\r\n"].concat();
    let ends = bounded.say(&request);
    both(&ends, "tlsight.security", &json!("plaintext"));
    both(&ends, "network.protocol.name", &json!("http"));
    both(&ends, "tlsight.bytes.client", &json!(request.len()));
    assert!(bounded.counter("kernel.plaintext_bytes_cut") >= 2);
}

fn clear_tls() {
    let bounded = Bounded::new(&["--tls-bytes", "1024"]);
    // The start of a ClientHello that is longer than what is let through.
    let hello = [&[1, 0, 0x3f, 0xfc, 3, 3], [7; 0x3ffa].as_slice()].concat();
    let ends = bounded.say(&record(22, &hello));
    both(&ends, "tlsight.security", &json!("unknown"));
    assert!(bounded.counter("kernel.clear_tls_bytes_cut") >= 2);
}

fn encrypted() {
    let bounded = Bounded::new(&["--encrypted-records", "4"]);
    let records: Vec<u8> = (0..6).flat_map(|_| record(23, &[9; 100])).collect();
    let ends = bounded.say(&records);
    // No hello was seen: records alone, from the start of a connection, are no handshake.
    both(&ends, "tlsight.security", &json!("unknown"));
    assert!(bounded.counter("kernel.encrypted_records_cut") >= 2);
}

fn raw() {
    let bounded = Bounded::new(&["--out-of-order-bytes", "1024"]);
    let bytes = [record(22, &[1, 0, 0, 1, 0]), vec![0xee; 3000]].concat();
    let ends = bounded.say(&bytes);
    both(&ends, "tlsight.security", &json!("unknown"));
    assert!(bounded.counter("kernel.raw_bytes_cut") >= 2);
}

fn records_per_packet() {
    let bounded = Bounded::new(&[]);
    let records: Vec<u8> = (0..200).flat_map(|_| record(21, &[1, 0])).collect();
    let ends = bounded.say(&records);
    both(&ends, "tlsight.security", &json!("unknown"));
    assert!(bounded.counter("kernel.records_per_packet_cut") >= 2);
}

fn table() {
    let bounded = Bounded::new(&["--max-connections", "16"]);
    let open: Vec<_> = (0..MANY).map(|_| bounded.connect()).collect();
    drop(open);
    assert!(bounded.counter("kernel.connection_table_full") >= (2 * MANY - 16) as u64);
    let said = bounded.agent.said();
    assert!(said.contains("connections not observed: the table was full (--max-connections)"), "{said}");
}

/// The agent is held while more happens than the ring buffer takes. What is lost is counted and said, and afterwards
/// everything is seen again.
fn ring() {
    let bounded = Bounded::new(&["--ring-buffer", "65536"]);
    bounded.agent.hold();
    for _ in 0..FLOOD {
        let (mut client, mut server) = bounded.connect();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
        server.read_exact(&mut [0; 27]).expect("read");
    }
    bounded.agent.resume();
    // The ring buffer is still full for a moment: one of the next connections is the first that is seen again.
    let again = |n: usize| {
        let (mut client, mut server) = bounded.connect();
        let us = (client.local_addr().expect("address"), server.local_addr().expect("address"));
        let request = format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).expect("write");
        server.read_exact(&mut vec![0; request.len()]).expect("read");
        let seen = bounded.agent.wait(Duration::from_secs(2), |ends| {
            let end = ends.iter().find(|(t, _)| (t.local, t.peer) == us)?.1;
            end.phase("verdict").cloned()
        });
        seen.is_some_and(|line| line.get("tlsight.security") == Some(&json!("plaintext")))
    };
    assert!((0..20).any(again), "nothing is seen after the ring buffer was full");
    let lost = bounded.counter("kernel.lifecycle_events_lost");
    assert!(lost > 0);
    let said = bounded.agent.said();
    assert!(
        said.contains(&format!("{lost} opens or closes lost: the ring buffer was full (--ring-buffer)")),
        "{said}"
    );
}
