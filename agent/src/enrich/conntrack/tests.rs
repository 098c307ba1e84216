//! Answers of a Linux 6.18 kernel as they were recorded, ways through the tables, and bounds.

use std::sync::mpsc::channel;

use super::message::{Answer, answer, count, get};
use super::*;

/// What Linux was asked: connections of the end at port 3001, over IPv4 and IPv6.
const GET_V4: &str = "\
    48000000010101000100000000000000020000003400018014000180080001007f000001080002000a0900011c0002800500\
    010006000000060002000bb9000006000300c3510000\
";
const GET_V6: &str = "\
    600000000101010002000000000000000a0000004c0001802c00018014000300000000000000000000000000000000011400\
    0400fd0900000000000000000000000000011c0002800500010006000000060002000bb90000060003009c410000\
";
/// What it said: masqueraded and redirected.
const ENTRY_V4: &str = "\
    d40000000001020001000000c63e0000020000003400018014000180080001000a090001080002000a0900501c0002800500\
    010006000000060002009c400000060003000bb800003400028014000180080001007f000001080002000a0900011c000280\
    0500010006000000060002000bb9000006000300c351000008000300000001be080008000000000008000c00bbce74730800\
    0b00000000020800070000069780300004802c0001800500010003000000050002000a000000050003000a00000006000400\
    230000000600050023000000\
";
/// Redirected.
const ENTRY_V6: &str = "\
    040100000001020002000000c63e00000a0000004c0001802c00018014000300fd0900000000000000000000000000011400\
    0400fd0900000000000000000000000000011c0002800500010006000000060002009c410000060003000bb800004c000280\
    2c000180140003000000000000000000000000000000000114000400fd0900000000000000000000000000011c0002800500\
    010006000000060002000bb90000060003009c41000008000300000001ae080008000000000008000c0061c867f008000b00\
    00000002080007000006977f300004802c0001800500010003000000050002000a000000050003000a000000060004002300\
    00000600050023000000\
";
/// To a question about a connection that there is not.
const NO_ENTRY: &str = "\
    5c0000000200000003000000c63e0000feffffff480000000101010003000000000000000200000034000180140001800800\
    01007f00000108000200090909091c0002800500010006000000060002000bb900000600030000010000\
";
/// To the question how many there are.
const COUNT: &str = "\
    240000000501020004000000c63e00000000000008000100000000020800020000040000\
";
/// To a question that it does not know.
const INVALID: &str = "\
    280000000200000005000000c63e0000eaffffff1400000063010100050000000000000000000000\
";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter_map(|c| char::from(c).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn at(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().expect("address and port");
    Endpoint::new(address.ip(), address.port())
}

fn flow(from: &str, to: &str) -> Flow {
    Flow { from: at(from), to: at(to) }
}

#[test]
#[cfg(target_endian = "little")]
fn asks_as_the_kernel_wants_to_be_asked() {
    assert_eq!(get(flow("127.0.0.1:3001", "10.9.0.1:50001"), 1), bytes(GET_V4));
    assert_eq!(get(flow("[::1]:3001", "[fd09::1]:40001"), 2), bytes(GET_V6));
    assert_eq!(count(4), bytes("1400000005010100040000000000000000000000"));
}

#[test]
#[cfg(target_endian = "little")]
fn reads_what_the_kernel_answers() {
    let entry = |hex: &str, sequence| match answer(&bytes(hex), sequence) {
        Some(Answer::Entry(entry)) => (entry.original, entry.reply),
        other => panic!("{other:?}"),
    };
    let v4 = (flow("10.9.0.1:40000", "10.9.0.80:3000"), flow("127.0.0.1:3001", "10.9.0.1:50001"));
    assert_eq!(entry(ENTRY_V4, 1), v4);
    let v6 = (flow("[fd09::1]:40001", "[fd09::1]:3000"), flow("[::1]:3001", "[fd09::1]:40001"));
    assert_eq!(entry(ENTRY_V6, 2), v6);
    assert!(matches!(answer(&bytes(NO_ENTRY), 3), Some(Answer::None)));
    assert!(matches!(answer(&bytes(COUNT), 4), Some(Answer::Count(2))));
    let refused = match answer(&bytes(INVALID), 5) {
        Some(Answer::Refused(e)) => e.raw_os_error(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused, Some(22));
    assert!(answer(&bytes(ENTRY_V4), 7).is_none(), "an answer to another question");
}

#[test]
fn answers_that_are_cut_off_or_damaged_are_no_connection_and_harm_nobody() {
    for (hex, sequence) in [(ENTRY_V4, 1), (ENTRY_V6, 2), (NO_ENTRY, 3), (COUNT, 4), (INVALID, 5)] {
        let whole = bytes(hex);
        for len in 0..whole.len() {
            let found = answer(&whole[..len], sequence);
            assert!(!matches!(found, Some(Answer::Entry(_) | Answer::Count(_))), "{len} bytes: {found:?}");
        }
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[place] ^= 1 << bit;
                let _ = answer(&damaged, sequence);
            }
        }
    }
}

const NODE: NetworkNamespace = NetworkNamespace(1);
const POD: NetworkNamespace = NetworkNamespace(2);

fn question(side: Side, from: &str, to: &str) -> Question {
    Question { conn: ConnId(1), flow: flow(from, to), side, owner: Some((7, POD)) }
}

/// What comes of a question where the node's and the pod's tables have these connections.
fn find(question: &Question, node: &[(Flow, Flow)], pod: &[(Flow, Flow)]) -> Outcome {
    let found = walk(question, |place, flow| {
        let (table, network) = match place {
            Place::Node => (node, NODE),
            Place::Owner { pid: 7, network: POD } => (pod, POD),
            Place::Owner { .. } => panic!("{place:?}"),
        };
        let found = table.iter().find(|(original, reply)| *original == flow || *reply == flow);
        Ok(found.map(|(original, reply)| (Entry { original: *original, reply: *reply }, network)))
    });
    found.expect("an outcome")
}

fn translation(ends: [&str; 4], is_redirected: bool, network: NetworkNamespace) -> Outcome {
    let [client, dialled, answered, seen] = ends.map(at);
    Outcome::Translated(Translation { client, dialled, answered, seen, is_redirected, network })
}

#[test]
fn a_masqueraded_connection_is_found_from_either_end() {
    let ends = ["10.9.0.1:40000", "10.9.0.80:3000", "10.1.0.2:8080", "10.1.0.1:50001"];
    let node = [(flow(ends[0], ends[1]), flow(ends[2], ends[3]))];
    let expected = translation(ends, false, NODE);
    assert_eq!(find(&question(Side::Server, ends[2], ends[3]), &node, &[]), expected);
    assert_eq!(find(&question(Side::Client, ends[0], ends[1]), &node, &[]), expected);
    // One that plays another part than it has in the table is not the same connection.
    assert_eq!(find(&question(Side::Client, ends[2], ends[3]), &node, &[]), Outcome::NotFound);
    assert_eq!(find(&question(Side::Server, ends[0], ends[1]), &node, &[]), Outcome::NotFound);
}

#[test]
fn a_redirect_in_a_pod_is_followed_out_to_what_the_node_translates() {
    let node = [(flow("10.9.0.1:40000", "10.9.0.80:30080"), flow("10.1.0.2:8080", "10.1.0.1:50001"))];
    let pod = [(flow("10.1.0.1:50001", "10.1.0.2:8080"), flow("10.1.0.2:15006", "10.1.0.1:50001"))];
    let sidecar = question(Side::Server, "10.1.0.2:15006", "10.1.0.1:50001");
    let ends = ["10.9.0.1:40000", "10.9.0.80:30080", "10.1.0.2:15006", "10.1.0.1:50001"];
    assert_eq!(find(&sidecar, &node, &pod), translation(ends, true, NODE));
    // The node does nothing, or follows nothing.
    let ends = ["10.1.0.1:50001", "10.1.0.2:8080", "10.1.0.2:15006", "10.1.0.1:50001"];
    assert_eq!(find(&sidecar, &[], &pod), translation(ends, true, POD));
    assert_eq!(find(&sidecar, &[], &[]), Outcome::NotFound);
    assert_eq!(find(&Question { owner: None, ..sidecar }, &node, &pod), Outcome::NotFound);
}

#[test]
fn a_connection_that_is_not_translated_is_plain() {
    let node = [(flow("10.9.0.1:40000", "10.1.0.2:80"), flow("10.1.0.2:80", "10.9.0.1:40000"))];
    assert_eq!(find(&question(Side::Server, "10.1.0.2:80", "10.9.0.1:40000"), &node, &[]), Outcome::Plain);
    assert_eq!(find(&question(Side::Client, "10.9.0.1:40000", "10.1.0.2:80"), &node, &[]), Outcome::Plain);
}

fn ask(conntrack: &mut Conntrack, conn: u64) -> Asked {
    let question = question(Side::Server, "10.1.0.2:80", "10.9.0.1:40000");
    conntrack.ask(Question { conn: ConnId(conn), ..question })
}

#[test]
fn no_more_is_asked_than_there_is_room_for_and_nobody_waits_long_for_a_kernel_that_is_stuck() {
    let (go, stuck) = channel::<()>();
    let mut conntrack = Conntrack::with(move |_| {
        let _ = stuck.recv();
        (Outcome::Plain, State::InUse)
    })
    .expect("a thread");
    for conn in 0..QUEUE as u64 {
        // The thread takes the first one out of the queue, sooner or later.
        assert_eq!(ask(&mut conntrack, conn), Asked::Yes, "{conn}");
    }
    assert_eq!(ask(&mut conntrack, 9999), Asked::Full);
    let until = conntrack.patience().expect("somebody is asked");
    assert_eq!(conntrack.wait(until), None);
    assert_eq!(conntrack.patience(), None, "not twice in a row");
    assert_eq!(conntrack.poll(), None);
    drop(go);
    let answers = (0..QUEUE).map(|_| conntrack.wait(Instant::now() + Duration::from_secs(10)));
    let answers: Vec<_> = answers.collect();
    assert!((0..QUEUE as u64).eq(answers.iter().flatten().map(|(conn, _)| conn.0)), "{}", answers.len());
    assert_eq!((conntrack.poll(), conntrack.patience()), (None, None));
    assert_eq!(ask(&mut conntrack, 1), Asked::Yes);
}

#[test]
fn an_empty_table_is_not_asked_for_each_connection() {
    let mut conntrack = Conntrack::with(|_| (Outcome::NotFound, State::Empty)).expect("a thread");
    let answered = |conntrack: &mut Conntrack| conntrack.wait(Instant::now() + Duration::from_secs(10));
    assert_eq!(ask(&mut conntrack, 1), Asked::Yes);
    assert_eq!(answered(&mut conntrack), Some((ConnId(1), Outcome::NotFound)));
    // The first that knows of it asks once more; then there is a pause.
    assert_eq!(ask(&mut conntrack, 2), Asked::Yes);
    assert_eq!(answered(&mut conntrack), Some((ConnId(2), Outcome::NotFound)));
    assert_eq!(ask(&mut conntrack, 3), Asked::Idle);
}

/// An answer about a set of nftables, which the reader of such answers panics at.
const NFTABLES: &str = "480000000b0a000020000400c63e000000002000310011000000040000002626040100262626262626262600000000000020000400c63e\
     00000000200031000100000004000000262604010026262626262626260000000000000000000000000000000000000000000000262626\
     26262626262626262600000000000000730000000000010200000000000000000000000000000000002626262626262626262626260000\
     000000000073000000000001020007000000c63e00000a00040100";

#[test]
fn answers_about_anything_but_connections_are_not_read() {
    assert!(matches!(answer(&bytes(NFTABLES), 0), Some(Answer::Refused(_))));
}

/// An error whose number is the least that there is.
const LEAST: &str = "28000000020000000700000006000000000000801400000063010100050000000000000000000000";

#[test]
fn any_number_can_be_an_error() {
    assert!(matches!(answer(&bytes(LEAST), 7), Some(Answer::Refused(_))));
}
