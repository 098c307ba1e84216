//! Every bound of the engine is reached here and counted.

use super::recorded::{play, recorded};
use super::*;

/// A client of this host connects; what is sent from now on is its.
fn next_client(rig: &mut Rig, id: u64) {
    rig.id = ConnId(id);
    rig.seq = [1000, 2000];
    rig.connect(Some(Side::Client));
}

#[test]
fn connections_past_the_limit_are_reported_and_not_tracked() {
    let mut rig = Rig::bare(EngineConfig { max_connections: 1, ..EngineConfig::default() });
    rig.connect(Some(Side::Client));
    rig.id = ConnId(2);
    rig.connect(Some(Side::Client));
    assert_eq!(rig.verdicts(), [(Phase::Final, Security::Unknown, None, Some(Reason::LimitReached))]);
    assert!(matches!(rig.outputs.last(), Some(Output::CaptureDone(ConnId(2)))));
    rig.send(Side::Client, b"GET / HTTP/1.1\r\n\r\n");
    rig.close(CloseKind::Finished);
    assert_eq!(rig.observations().len(), 1);
    let counters = rig.engine.counters();
    assert_eq!((counters.connections_refused, counters.events_of_unknown_connections), (1, 3));
    assert_eq!(rig.engine.open_connections(), 1);
}

#[test]
fn a_connection_opened_twice_keeps_its_first_facts() {
    let mut rig = Rig::bare(EngineConfig::default());
    rig.open(Origin::Fresh, Some(Side::Client));
    rig.open(Origin::BeforeStart, Some(Side::Server));
    rig.close(CloseKind::Finished);
    assert_eq!(rig.engine.counters().opened_twice, 1);
    assert_eq!(rig.last().local_side, Some(Side::Client));
    assert_eq!(rig.verdicts().len(), 1);
}

#[test]
fn all_connections_together_hold_no_more_than_they_may() {
    let config = EngineConfig { max_buffered_bytes: 5000, ..EngineConfig::default() };
    let mut rig = Rig::bare(config);
    for id in 1..=20 {
        next_client(&mut rig, id);
        // The first byte is missing: the rest waits.
        rig.segment(Direction::Egress, 1001, &[7; 1000], 1000);
        let held = rig.engine.counters().buffered_bytes;
        assert!(held <= 6000, "{held}");
    }
    assert!(rig.engine.counters().gaps_forced_by_total_buffer > 0);
    rig.engine.finish(rig.now);
    assert_eq!(rig.engine.counters().buffered_bytes, 0);
}

#[test]
fn a_handshake_without_end_gets_a_verdict() {
    // Hello and a ServerHello of TLS 1.2, then records of an unknown kind on and on.
    let chunks = recorded("tls12_none");
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &chunks[..1]);
    for _ in 0..200 {
        rig.send(Side::Client, &[24, 3, 3, 0, 4, 1, 2, 3, 4]);
        rig.send(Side::Server, &[24, 3, 3, 0, 4, 1, 2, 3, 4]);
    }
    assert_eq!(rig.observations().len(), 1);
    assert_eq!(rig.last().reason, Some(Reason::MissingBytes));
    assert_eq!(rig.engine.counters().encrypted_record_limits, 1);
}

#[test]
fn one_side_alone_gets_a_verdict_too_at_last() {
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &recorded("tls12_none")[..1]);
    for _ in 0..300 {
        rig.send(Side::Server, &[24, 3, 3, 0, 4, 1, 2, 3, 4]);
    }
    assert_eq!(rig.observations().len(), 1);
    assert_eq!(rig.engine.counters().encrypted_record_limits, 1);
}

#[test]
fn sessions_are_forgotten_within_their_bound() {
    let mut rig = Rig::bare(EngineConfig { max_sessions: 1, ..EngineConfig::default() });
    for (id, name) in [(1, "tls12_ticket_first"), (2, "tls12_id_first"), (3, "tls12_sent")] {
        rig.id = ConnId(id);
        rig.connect(Some(Side::Client));
        play(&mut rig, &recorded(name));
    }
    let counters = rig.engine.counters();
    assert!(counters.sessions_stored >= 3 && counters.sessions_evicted >= 2, "{counters:?}");
}

#[test]
fn after_its_verdict_a_connection_is_small() {
    assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    assert!(size_of::<crate::observation::TlsFacts>() <= 640);
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &recorded("tls13_sent"));
    let tls = rig.last().tls.clone().expect("facts");
    let lists = tls.offered_ciphers.len() * 2
        + tls.offered_groups.len() * 2
        + tls.offered_versions.len() * 2
        + tls.offered_protocols.iter().map(|p| p.len() + 24).sum::<usize>()
        + 32
        + 36;
    let total = size_of::<Connection>() + size_of_val(tls.as_ref()) + lists;
    assert!(total <= 1536, "{total}");
}

/// A handshake message, in records.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let whole = [&[kind], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], body].concat();
    whole.chunks(16_000).flat_map(|piece| [&record_header(piece.len())[..], piece].concat()).collect()
}

fn record_header(len: usize) -> [u8; 5] {
    let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
    [22, 3, 3, high, low]
}

fn vec16(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn extension(number: u16, body: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &vec16(body)].concat()
}

fn hello(suites: &[u8], extensions: &[u8]) -> Vec<u8> {
    let body = [[3, 3].as_slice(), &[7; 32], &[0], &vec16(suites), &[1, 0], &vec16(extensions)].concat();
    message(1, &body)
}

/// Odd numbers from 0x1001 on, none of which is GREASE.
fn numbers(n: u16) -> Vec<u8> {
    (0..n).flat_map(|at| (0x1001 + 2 * at).to_be_bytes()).collect()
}

const SERVER_HELLO: [u8; 38] = {
    let mut hello = [8; 38];
    (hello[0], hello[1], hello[34], hello[35], hello[36], hello[37]) = (3, 3, 0, 0xc0, 0x2f, 0);
    hello
};

#[test]
fn of_a_hello_that_offers_thousands_of_everything_only_so_much_is_kept() {
    let names: Vec<u8> =
        (0..1000u16).flat_map(|n| [&[5][..], format!("{n:05}").as_bytes()].concat()).collect();
    let extensions = [
        extension(10, &vec16(&numbers(12_000))),
        extension(13, &vec16(&numbers(1000))),
        extension(43, &[&[250][..], &numbers(125)].concat()),
        extension(16, &vec16(&names)),
        extension(0, &vec16(&[&[0][..], &vec16(&[b'a'; 300])].concat())),
    ];
    let mut rig = Rig::fresh(Side::Client);
    rig.send(Side::Client, &hello(&numbers(12_000), &extensions.concat()));
    rig.close(CloseKind::Finished);
    let tls = rig.last().tls.clone().expect("facts");
    let lists = (tls.offered_ciphers.len(), tls.offered_groups.len(), tls.offered_versions.len());
    assert_eq!((lists, tls.offered_protocols.len()), ((512, 512, 32), 128));
    assert_eq!((&tls.server_name, tls.malformed), (&None, Some("invalid_server_name")));
    let fingerprints = tls.fingerprints.as_ref().expect("fingerprints");
    assert!(fingerprints.bytes() < 512, "{}", fingerprints.bytes());
    assert!(fingerprints.ja4().starts_with("t00d9905"), "{}", fingerprints.ja4());
    let cut = 2 * (12_000 - 512) + (125 - 32) + (1000 - 128);
    assert_eq!(rig.engine.counters().offered_values_cut, cut);
}

#[test]
fn messages_that_are_not_whole_are_held_no_more_than_they_may_all_together() {
    let config = EngineConfig { max_buffered_bytes: 400_000, ..EngineConfig::default() };
    let mut rig = Rig::bare(config);
    let endless = &hello(&numbers(30_000), &[])[..50_000];
    for id in 1..=40 {
        next_client(&mut rig, id);
        rig.send(Side::Client, endless);
        // Half of it, and what one more has.
        let held = rig.engine.counters().buffered_bytes;
        assert!(held <= 265_000, "{held}");
    }
    assert_eq!(rig.engine.counters().messages_forced_by_total_buffer, 36);
    // Who sends an ordinary hello in two parts is not disturbed.
    next_client(&mut rig, 99);
    let chunks = recorded("tls12_sent");
    let (_, first) = &chunks[0];
    rig.send(Side::Client, &first[..100]);
    rig.send(Side::Client, &first[100..]);
    play(&mut rig, &chunks[1..]);
    assert_eq!(rig.last().security, Security::Mtls);
    rig.engine.finish(rig.now);
    assert_eq!(rig.engine.counters().buffered_bytes, 0);
}

#[test]
fn a_hello_that_came_in_parts_is_given_up_only_without_any_room() {
    let mut rig = Rig::bare(EngineConfig { max_buffered_bytes: 10_000, ..EngineConfig::default() });
    for id in 1..=20 {
        next_client(&mut rig, id);
        rig.send(Side::Client, &hello(&numbers(1000), &[])[..1500]);
        assert!(rig.engine.counters().buffered_bytes <= 12_000);
    }
    let forced = rig.engine.counters().messages_forced_by_total_buffer;
    assert!((13..=15).contains(&forced), "{forced}");
    rig.close(CloseKind::Reset);
    assert_eq!((rig.last().security, rig.last().reason), (Security::Unknown, Some(Reason::MissingBytes)));
}

/// A chain of certificates that nobody has shown before.
fn bomb(id: u64, len: usize) -> Vec<u8> {
    let mut list = Vec::new();
    for n in 0..40u64 {
        let der = [&[0x30, 0x82][..], &id.to_be_bytes(), &n.to_be_bytes(), &vec![0; len]].concat();
        list.extend_from_slice(&u32::try_from(der.len()).unwrap().to_be_bytes()[1..]);
        list.extend_from_slice(&der);
    }
    let body = [&u32::try_from(list.len()).unwrap().to_be_bytes()[1..], &list].concat();
    message(11, &body)
}

#[test]
fn certificates_of_open_connections_are_held_no_more_than_they_may_all_together() {
    let config = EngineConfig { max_certificate_bytes: 2_000_000, ..EngineConfig::default() };
    let mut rig = Rig::bare(config);
    let mut held = 0;
    for id in 1..=200 {
        next_client(&mut rig, id);
        rig.send(Side::Client, &hello(&[0xc0, 0x2f], &[]));
        rig.send(Side::Server, &[message(2, &SERVER_HELLO), bomb(id, 1000)].concat());
        held = rig.engine.counters().certificates.held_bytes;
        assert!(held <= 1_100_000, "{held}");
    }
    let counters = rig.engine.counters().certificates;
    assert!(held > 900_000 && counters.not_kept > 150 && counters.cut == 200 * 8, "{counters:?}");
    // Whoever shows an ordinary chain is not disturbed, and who shows one that is known is not either.
    for id in [1000, 1001] {
        next_client(&mut rig, id);
        play(&mut rig, &recorded("tls12_sent"));
        let tls = rig.last().tls.clone().expect("facts");
        assert_eq!((rig.last().security, tls.server_chain.is_empty()), (Security::Mtls, false));
    }
    assert_eq!(rig.engine.counters().certificates.not_kept, counters.not_kept);
}

#[test]
fn a_client_whose_certificate_there_was_no_room_for_has_shown_one() {
    let mut rig = Rig::bare(EngineConfig { max_certificate_bytes: 0, ..EngineConfig::default() });
    rig.connect(Some(Side::Client));
    play(&mut rig, &recorded("tls12_sent"));
    let tls = rig.last().tls.clone().expect("facts");
    assert_eq!((rig.last().security, tls.client_certificate.as_str()), (Security::Mtls, "sent"));
    assert_eq!((tls.client_chain.len(), tls.server_chain.len(), tls.client_chain_not_kept), (0, 0, true));
    assert_eq!(rig.engine.counters().certificates.not_kept, 2);
}

#[test]
fn messages_that_stand_still_make_room_for_others() {
    let mut rig = Rig::bare(EngineConfig { max_buffered_bytes: 100_000, ..EngineConfig::default() });
    for id in 1..=10 {
        next_client(&mut rig, id);
        rig.send(Side::Client, &hello(&numbers(3000), &[])[..4000]);
    }
    let held = rig.engine.counters().buffered_bytes;
    assert!(held > 35_000, "{held}");
    let later = Timestamp::from_secs(60);
    rig.engine.handle_timeout(later);
    let counters = rig.engine.counters();
    // As many as it takes.
    assert!(counters.buffered_bytes <= 25_000 && counters.buffered_bytes > 15_000, "{counters:?}");
    assert!((3..=6).contains(&counters.messages_forced_by_total_buffer), "{counters:?}");
}

#[test]
fn messages_that_go_on_a_byte_at_a_time_make_room_too() {
    let mut rig = Rig::bare(EngineConfig { max_buffered_bytes: 100_000, ..EngineConfig::default() });
    let whole = hello(&numbers(3000), &[]);
    for id in 1..=10 {
        next_client(&mut rig, id);
        rig.send(Side::Client, &whole[..4000]);
    }
    let at = rig.seq;
    for seconds in 1..=5 {
        rig.wait(Duration::from_secs(4));
        for id in 1..=10 {
            (rig.id, rig.seq) = (ConnId(id), [at[0] + seconds - 1, at[1]]);
            rig.send(Side::Client, &whole[3999 + seconds as usize..4000 + seconds as usize]);
        }
    }
    let counters = rig.engine.counters();
    assert!(counters.buffered_bytes <= 25_000, "{counters:?}");
    assert!((3..=8).contains(&counters.messages_forced_by_total_buffer), "{counters:?}");
}

#[test]
fn a_message_that_stands_still_for_centuries_is_not_asked_for_every_ten_seconds() {
    let mut rig = Rig::fresh(Side::Client);
    rig.send(Side::Client, &hello(&numbers(3000), &[])[..4000]);
    let mut asked = 0;
    while let Some(deadline) = rig.engine.poll_deadline() {
        rig.engine.handle_timeout(deadline);
        asked += 1;
        assert!(asked < 50, "{deadline:?}");
    }
    assert!(rig.engine.counters().buffered_bytes > 3000, "there is room");
    let mut rig = Rig::fresh(Side::Client);
    rig.send(Side::Client, &hello(&numbers(3000), &[])[..4000]);
    rig.engine.handle_timeout(Timestamp(u64::MAX));
    assert_eq!(rig.engine.poll_deadline(), None);
}

#[test]
fn a_session_with_certificates_longer_than_any_in_use_is_not_remembered() {
    let mut rig = Rig::fresh(Side::Client);
    let server_hello = [&SERVER_HELLO[..34], &[4, 1, 2, 3, 4], &SERVER_HELLO[35..]].concat();
    rig.send(Side::Client, &hello(&[0xc0, 0x2f], &[]));
    let flight = [message(2, &server_hello), bomb(1, 1000), message(14, &[])].concat();
    rig.send(Side::Server, &flight);
    let finished = [&[20, 3, 3, 0, 1, 1][..], &[22, 3, 3, 0, 40], &[7; 40]].concat();
    rig.send(Side::Client, &[message(16, &[0; 66]), finished.clone()].concat());
    rig.send(Side::Server, &finished);
    assert_eq!((rig.last().security, rig.last().reason), (Security::Tls, None));
    let counters = rig.engine.counters();
    assert_eq!((counters.sessions_too_long, counters.sessions_stored), (1, 0));
}

#[test]
fn connections_of_which_nothing_can_be_made_give_way_where_room_is_short() {
    let mut rig = Rig::bare(EngineConfig { max_buffered_bytes: 20_000, ..EngineConfig::default() });
    // Some 700 bytes each, which may be the beginning of TLS behind a protocol that is not known here.
    for id in 1..=40 {
        next_client(&mut rig, id);
        rig.send(Side::Client, b"STARTTLS AUTH\r\n");
        rig.send(Side::Server, &[b'a'; 600]);
        assert!(rig.engine.counters().buffered_bytes <= 21_000, "{:?}", rig.engine.counters());
    }
    let given_up = rig.engine.counters().recognitions_given_up_by_total_buffer;
    let (last, verdicts) = (rig.last().clone(), rig.verdicts().len() as u64);
    assert_eq!((last.security, last.reason), (Security::Unknown, Some(Reason::LimitReached)));
    assert!(given_up == verdicts && (10..12).contains(&given_up), "{given_up} {verdicts}");
    // Those that go on, a byte at a time, are not waited for longer than others may take.
    for _ in 0..15 {
        rig.wait(Duration::from_secs(4));
        let at = rig.seq;
        for id in 1..=40 {
            (rig.id, rig.seq) = (ConnId(id), at);
            rig.send(Side::Client, b"\n");
        }
    }
    let counters = rig.engine.counters();
    assert!(counters.buffered_bytes <= 5000 && counters.buffered_bytes > 3000, "{counters:?}");
}

#[test]
fn who_holds_nothing_any_more_gives_way_to_nobody() {
    let mut rig = Rig::bare(EngineConfig { max_buffered_bytes: 20_000, ..EngineConfig::default() });
    next_client(&mut rig, 1);
    rig.send(Side::Server, &[b"220-".as_slice(), &[b'a'; 700]].concat());
    assert!(rig.engine.counters().buffered_bytes > 700, "{:?}", rig.engine.counters());
    rig.send(Side::Server, b"\r\n220 mail ESMTP\r\n");
    rig.send(Side::Client, b"EHLO a\r\n");
    assert_eq!(rig.engine.counters().buffered_bytes, 0);
    let seq = rig.seq;
    next_client(&mut rig, 2);
    rig.send(Side::Client, &hello(&numbers(8000), &[])[..15_000]);
    rig.wait(Duration::from_secs(60));
    (rig.id, rig.seq) = (ConnId(1), seq);
    rig.send(Side::Server, b"250 a\r\n");
    rig.send(Side::Client, b"MAIL FROM:<a@b>\r\n");
    rig.send(Side::Server, b"250 a\r\n");
    rig.close(CloseKind::Finished);
    assert_eq!((rig.last().security, rig.last().protocol), (Security::Plaintext, Some("smtp")));
    assert_eq!(rig.engine.counters().recognitions_given_up_by_total_buffer, 0);
}

#[test]
fn what_may_be_tls_is_not_held_where_room_is_short() {
    let mut rig = Rig::bare(EngineConfig { max_buffered_bytes: 20_000, ..EngineConfig::default() });
    for id in 1..=20 {
        next_client(&mut rig, id);
        rig.send(Side::Server, b"220 mail ESMTP\r\n");
        rig.send(Side::Client, b"EHLO a\r\nSTARTTLS\r\n");
        rig.send(Side::Client, &[0x16; 2000]);
        assert!(rig.engine.counters().buffered_bytes <= 22_000, "{:?}", rig.engine.counters());
    }
    assert_eq!(rig.engine.counters().recognitions_given_up_by_total_buffer, 9);
    assert_eq!((rig.last().reason, rig.last().protocol), (Some(Reason::LimitReached), Some("smtp")));
}

#[test]
fn a_long_answer_in_plaintext_to_a_hello_is_not_waited_on_for_ever() {
    let mut rig = Rig::fresh(Side::Client);
    rig.send(Side::Client, &hello(&[0xc0, 0x2f], &[]));
    rig.send(Side::Server, &[b'a'; 400]);
    assert!(rig.verdicts().is_empty());
    rig.send(Side::Server, &[b'a'; 400]);
    assert_eq!((rig.last().security, rig.last().reason), (Security::Unknown, Some(Reason::HandshakeFailed)));
}
