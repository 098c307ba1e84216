//! Certificates of TLS 1.3 that probes hand over, one or a few connections at a time.

use super::host::{Chain, Hello, Host, Probe, WAIT, name};
use super::*;
use crate::observation::{ClientCertificate, NotTied};

fn host() -> Host {
    Host::new(EngineConfig::default())
}

fn hello(random: u64) -> Hello<'static> {
    Hello { random, ..Hello::default() }
}

const P: u32 = 100;

fn hint(conn: u64) -> Probe {
    Probe { pid: P, last_read: Some(conn), ..Probe::default() }
}

fn no_hint() -> Probe {
    Probe { pid: P, ..Probe::default() }
}

fn verdict(o: &Observation) -> (Phase, Security, Option<Source>, Option<Reason>) {
    (o.phase, o.security, o.source, o.reason)
}

#[test]
fn a_chain_before_the_verdict_is_in_the_first_one() {
    let chain = Chain::new(1);
    for probe in [
        hint(1),
        no_hint(),
        Probe { client_random: Some(9), ..no_hint() },
        Probe { peer: Some(Side::Server), ..no_hint() },
    ] {
        let mut host = host();
        host.open(1, Side::Client, Some(P));
        host.flight(1, &hello(9), &chain);
        host.probe(probe, &chain);
        host.finish(1);
        let [only] = host.observations(1)[..] else { panic!("one verdict") };
        assert_eq!(verdict(only), (Phase::Verdict, Security::Tls, Some(Source::Probe), None));
        assert_eq!(host.leaf(1, Side::Server), Some(chain.sha256()));
        assert_eq!(host.facts(1).server_chain.len(), 2);
        assert!(!only.misses_peer_certificates());
        host.wait(WAIT);
        assert_eq!(host.told(), []);
    }
}

#[test]
fn a_chain_after_the_verdict_gives_it_once_more() {
    let chain = Chain::new(1);
    let mut host = host();
    host.open(1, Side::Client, Some(P));
    host.flight(1, &hello(9), &chain);
    host.finish(1);
    assert!(host.last(1).misses_peer_certificates());
    assert_eq!(verdict(host.last(1)), (Phase::Verdict, Security::Tls, Some(Source::RecordLength), None));
    host.probe(hint(1), &chain);
    assert_eq!(host.observations(1).len(), 2);
    assert_eq!(verdict(host.last(1)), (Phase::Verdict, Security::Tls, Some(Source::Probe), None));
    host.probe(hint(1), &chain);
    assert_eq!((host.observations(1).len(), host.engine.counters().association.repeated), (2, 1));
    host.close(1);
    assert_eq!(verdict(host.last(1)), (Phase::Final, Security::Tls, Some(Source::Probe), None));
    assert_eq!(host.leaf(1, Side::Server), Some(chain.sha256()));
}

#[test]
fn a_repeated_certificate_costs_no_parse() {
    let chain = Chain::new(1);
    let mut host = host();
    for conn in 1..=50 {
        host.open(conn, Side::Client, Some(P));
        host.flight(conn, &hello(conn), &chain);
        host.probe(hint(conn), &chain);
    }
    let certificates = host.engine.counters().certificates;
    assert_eq!((certificates.misses, certificates.hits), (2, 98));
}

/// Both ends on this host, the client with a certificate.
fn both_ends(host: &mut Host, client_chain: &Chain, server_chain: &Chain) {
    let h = hello(9);
    for (conn, local, pid) in [(1, Side::Client, P), (2, Side::Server, 200)] {
        host.open(conn, local, Some(pid));
        host.hellos(conn, &h);
        host.records(conn, Side::Server, &[23, 85, server_chain.record(), 97, 69]);
    }
    host.probe(hint(1), server_chain);
    for conn in [1, 2] {
        host.records(conn, Side::Client, &[client_chain.record(), 97, 69]);
    }
    host.probe(Probe { pid: 200, last_read: Some(2), ..Probe::default() }, client_chain);
}

#[test]
fn a_chain_that_there_is_no_room_for_is_nobodys() {
    let (client, server) = (Chain::new(1), Chain::with_padding(2, 30));
    let mut host = Host::new(EngineConfig { max_certificate_bytes: 0, ..EngineConfig::default() });
    both_ends(&mut host, &client, &server);
    for conn in [1, 2] {
        host.records(conn, Side::Server, &[250]);
        host.close(conn);
        assert_eq!((host.leaf(conn, Side::Client), host.leaf(conn, Side::Server)), (None, None));
        assert_eq!(host.last(conn).security, Security::Mtls, "its length says so");
    }
    let counters = host.engine.counters();
    assert_eq!((counters.certificates.not_kept, counters.association.chains), (2, 2));
    assert!(host.told().is_empty());
}

#[test]
fn both_ends_show_both_chains() {
    let (client, server) = (Chain::new(1), Chain::with_padding(2, 30));
    let mut host = host();
    both_ends(&mut host, &client, &server);
    assert!(host.observations(1).is_empty() && host.observations(2).is_empty());
    for conn in [1, 2] {
        host.records(conn, Side::Server, &[250]);
        assert_eq!(verdict(host.last(conn)), (Phase::Verdict, Security::Mtls, Some(Source::Probe), None));
        assert_eq!(host.leaf(conn, Side::Client), Some(client.sha256()));
        assert_eq!(host.leaf(conn, Side::Server), Some(server.sha256()));
        assert!(!host.last(conn).misses_peer_certificates());
    }
    let counters = host.engine.counters().association;
    assert_eq!((counters.tied_by_last_read, counters.shared), (2, 2));
}

#[test]
fn a_probe_does_not_make_a_rejected_client_mutual() {
    let (client, server) = (Chain::new(1), Chain::with_padding(2, 30));
    let mut host = host();
    both_ends(&mut host, &client, &server);
    for conn in [1, 2] {
        // An alert, and the end.
        host.records(conn, Side::Server, &[19]);
        host.close(conn);
        let failed =
            (Phase::Final, Security::Unknown, Some(Source::RecordLength), Some(Reason::HandshakeFailed));
        assert_eq!(verdict(host.last(conn)), failed);
        assert_eq!(host.facts(conn).established, Some(false));
        assert_eq!(host.leaf(conn, Side::Client), Some(client.sha256()));
        assert!(!host.last(conn).misses_peer_certificates());
    }
}

#[test]
fn a_chain_of_a_padded_flight_proves_that_it_was_sent() {
    let client = Chain::new(1);
    for late in [false, true] {
        let mut host = host();
        host.open(1, Side::Server, Some(P));
        host.hellos(1, &hello(9));
        host.records(1, Side::Server, &[23, 85, 852, 97, 69]);
        host.records(1, Side::Client, &[2064, 528, 528]);
        let mtls = (Phase::Verdict, Security::Mtls, Some(Source::Probe), None);
        if late {
            host.records(1, Side::Client, &[528]);
            host.records(1, Side::Server, &[250]);
            assert_eq!(host.last(1).reason, Some(Reason::ClientIdentityUnknown));
            host.probe(hint(1), &client);
        } else {
            host.probe(hint(1), &client);
            assert!(host.observations(1).is_empty(), "accepted it is not yet");
            host.records(1, Side::Server, &[250]);
        }
        assert_eq!(verdict(host.last(1)), mtls, "{late}");
        assert_eq!(host.facts(1).client_certificate, ClientCertificate::Sent);
    }
}

#[test]
fn the_presumed_verdict_takes_a_late_chain_too() {
    let client = Chain::new(1);
    let mut host = host();
    host.open(1, Side::Server, Some(P));
    host.hellos(1, &hello(9));
    host.records(1, Side::Server, &[23, 85, 852, 97, 69]);
    host.records(1, Side::Client, &[client.record(), 97, 69]);
    host.wait(Duration::from_secs(2));
    let presumed = (Phase::Verdict, Security::Mtls, Some(Source::RecordLength), None);
    assert_eq!(verdict(host.last(1)), presumed);
    assert!(host.last(1).misses_peer_certificates());
    host.probe(hint(1), &client);
    assert_eq!(verdict(host.last(1)), (Phase::Verdict, Security::Mtls, Some(Source::Probe), None));
    // The server objects after all.
    host.records(1, Side::Server, &[19]);
    host.close(1);
    assert_eq!(host.last(1).reason, Some(Reason::HandshakeFailed));
    assert_eq!(host.leaf(1, Side::Client), Some(client.sha256()));
}

#[test]
fn a_handshake_over_for_long_takes_no_chain() {
    let chain = Chain::new(1);
    for probe in [hint(1), no_hint(), Probe { client_random: Some(9), ..no_hint() }] {
        let mut host = host();
        host.open(1, Side::Client, Some(P));
        host.flight(1, &hello(9), &chain);
        host.finish(1);
        host.wait(Duration::from_secs(3));
        host.probe(probe, &chain);
        host.wait(WAIT);
        assert_eq!(host.told(), [(P, chain.sha256(), NotTied::NoConnection)]);
        assert_eq!(host.leaf(1, Side::Server), None);
    }
}

#[test]
fn after_the_end_it_is_the_processs() {
    let chain = Chain::new(1);
    let mut host = host();
    host.open(1, Side::Client, Some(P));
    host.flight(1, &hello(9), &chain);
    host.close(1);
    host.probe(hint(1), &chain);
    host.wait(WAIT);
    assert_eq!(host.told(), [(P, chain.sha256(), NotTied::NoConnection)]);
}

#[test]
fn resumed_handshakes_take_none() {
    let chain = Chain::new(1);
    for probe in [hint(1), no_hint(), Probe { client_random: Some(9), ..no_hint() }] {
        for finished in [false, true] {
            let mut host = host();
            host.open(1, Side::Client, Some(P));
            host.hellos(1, &Hello { resumes: true, ..hello(9) });
            host.records(1, Side::Server, &[23, 69]);
            if finished {
                host.records(1, Side::Client, &[69]);
            }
            host.probe(probe, &chain);
            host.wait(WAIT);
            assert_eq!(host.told(), [(P, chain.sha256(), NotTied::NoConnection)]);
            host.close(1);
            assert_eq!(host.leaf(1, Side::Server), None);
        }
    }
}

#[test]
fn chains_of_older_versions_are_on_the_wire() {
    for probe in [hint(1), Probe { client_random: Some(9), ..no_hint() }] {
        let mut host = host();
        host.open(1, Side::Client, Some(P));
        host.hellos(1, &Hello { older: true, ..hello(9) });
        host.probe(probe, &Chain::new(1));
        host.wait(WAIT);
        assert_eq!((host.told(), host.engine.counters().association.older_versions), (vec![], 1));
    }
}

#[test]
fn a_plaintext_connection_in_between_takes_none() {
    let chain = Chain::new(1);
    for wrong_hint in [false, true] {
        let mut host = host();
        host.open(1, Side::Client, Some(P));
        host.open(2, Side::Client, Some(P));
        host.flight(1, &hello(9), &chain);
        host.send(2, Side::Client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 26);
        host.send(2, Side::Server, b"HTTP/1.1 200 OK\r\n\r\n", 19);
        host.probe(if wrong_hint { hint(2) } else { no_hint() }, &chain);
        host.finish(1);
        assert_eq!(host.leaf(1, Side::Server), Some(chain.sha256()));
        assert_eq!(host.engine.counters().association.hints_contradicted, u64::from(wrong_hint));
    }
}

#[test]
fn a_hint_that_lengths_contradict_is_not_followed() {
    let (short, long) = (Chain::new(1), Chain::with_padding(2, 50));
    let mut host = host();
    for (conn, chain) in [(1, &short), (2, &long)] {
        host.open(conn, Side::Client, Some(P));
        host.flight(conn, &hello(conn), chain);
    }
    host.probe(hint(1), &long);
    host.wait(WAIT);
    for conn in [1, 2] {
        host.finish(conn);
    }
    assert_eq!((host.leaf(1, Side::Server), host.leaf(2, Side::Server)), (None, Some(long.sha256())));
    assert_eq!(host.engine.counters().association.hints_contradicted, 1);
}

#[test]
fn coalesced_and_compressed_flights_take_the_chain_of_their_thread() {
    let chain = Chain::new(1);
    for (compression, flight) in [
        (false, &[chain.record() + 200][..]),
        (false, &[39, chain.record() + 16, 112, 85]),
        (true, &[23, 700, 97, 69]),
    ] {
        let mut host = host();
        host.open(1, Side::Client, Some(P));
        host.hellos(1, &Hello { compression, ..hello(9) });
        host.records(1, Side::Server, flight);
        host.probe(no_hint(), &chain);
        host.probe(hint(1), &chain);
        host.finish(1);
        assert_eq!(host.leaf(1, Side::Server), Some(chain.sha256()), "{flight:?}");
        host.wait(WAIT);
        // The one without a hint has no length to go by.
        assert_eq!(host.told(), [(P, chain.sha256(), NotTied::NoConnection)]);
    }
}

#[test]
fn a_worker_that_took_over_the_connection_is_found() {
    let chain = Chain::new(1);
    let mut host = host();
    host.open(1, Side::Server, Some(50));
    host.hellos(1, &hello(9));
    host.records(1, Side::Server, &[23, 85, 852, 97, 69]);
    host.records(1, Side::Client, &[chain.record(), 97, 69]);
    // The event that tells of the worker comes late.
    host.probe(hint(1), &chain);
    host.owner(1, P);
    host.wait(Duration::from_millis(1));
    host.records(1, Side::Server, &[250]);
    assert_eq!((host.last(1).security, host.leaf(1, Side::Client)), (Security::Mtls, Some(chain.sha256())));
    // A thread id of another process that nobody tells of is no hint.
    host.open(2, Side::Server, Some(50));
    host.hellos(2, &hello(10));
    host.records(2, Side::Server, &[23, 85, 852, 97, 69]);
    host.records(2, Side::Client, &[chain.record(), 97, 69]);
    host.probe(hint(2), &chain);
    host.wait(WAIT);
    assert_eq!(host.told(), [(P, chain.sha256(), NotTied::NoConnection)]);
}

#[test]
fn a_client_that_is_a_server_too_keeps_them_apart() {
    let chain = Chain::new(1);
    for peer in [None, Some(Side::Server), Some(Side::Client)] {
        let mut host = host();
        host.open(1, Side::Client, Some(P));
        host.flight(1, &hello(1), &chain);
        host.open(2, Side::Server, Some(P));
        host.hellos(2, &hello(2));
        host.records(2, Side::Server, &[23, 85, chain.record(), 97, 69]);
        host.records(2, Side::Client, &[chain.record(), 97, 69]);
        host.probe(Probe { peer, ..no_hint() }, &chain);
        host.wait(WAIT);
        host.finish(1);
        host.records(2, Side::Server, &[250]);
        let want = |side| (peer == Some(side)).then(|| chain.sha256());
        assert_eq!(host.leaf(1, Side::Server), want(Side::Server), "{peer:?}");
        assert_eq!(host.leaf(2, Side::Client), want(Side::Client), "{peer:?}");
        assert_eq!(host.leaf(2, Side::Server), None);
        assert_eq!(host.told().len(), usize::from(peer.is_none()));
    }
}

#[test]
fn names_tell_chains_of_one_length_apart() {
    let chains = [Chain::new(1), Chain::new(2)];
    let mut host = host();
    for conn in [1, 2] {
        host.open(conn, Side::Client, Some(P));
        let name = name(conn as u32);
        host.flight(conn, &Hello { server_name: Some(&name), ..hello(conn) }, &chains[0]);
    }
    host.probe(no_hint(), &chains[1]);
    host.probe(no_hint(), &chains[0]);
    for conn in [1, 2] {
        host.finish(conn);
        assert_eq!(host.leaf(conn, Side::Server), Some(chains[conn as usize - 1].sha256()));
    }
}

#[test]
fn equal_chains_for_as_many_connections_are_given_to_each() {
    let chain = Chain::new(1);
    for missing in [0, 1] {
        let mut host = host();
        for conn in 1..=4 {
            host.open(conn, Side::Client, Some(P));
            host.flight(conn, &hello(conn), &chain);
        }
        for _ in missing..4 {
            host.probe(no_hint(), &chain);
        }
        // They are decided on when one of them goes, or after a while.
        if missing == 0 {
            host.close(4);
            assert_eq!(host.leaf(4, Side::Server), Some(chain.sha256()));
        } else {
            host.wait(WAIT);
        }
        for conn in 1..=3 {
            host.finish(conn);
            assert_eq!(host.leaf(conn, Side::Server).is_some(), missing == 0);
        }
        assert_eq!(host.told().len(), if missing == 0 { 0 } else { 3 });
    }
}

#[test]
fn what_fits_several_connections_is_the_processs() {
    let chains = [Chain::new(1), Chain::new(2)];
    let mut host = host();
    for conn in [1, 2] {
        host.open(conn, Side::Client, Some(P));
        host.flight(conn, &hello(conn), &chains[0]);
    }
    host.probe(no_hint(), &chains[0]);
    host.probe(no_hint(), &chains[1]);
    // One of them goes: the other one is no surer for it.
    host.close(2);
    host.wait(WAIT);
    host.finish(1);
    let several = NotTied::SeveralConnections;
    assert_eq!(host.told(), [(P, chains[0].sha256(), several), (P, chains[1].sha256(), several)]);
    assert_eq!(host.leaf(1, Side::Server), None);
    assert_eq!(host.engine.counters().association.several_connections, 2);
}

#[test]
fn a_connection_of_nobody_known_is_a_doubt() {
    let chain = Chain::new(1);
    let mut host = host();
    for (conn, pid) in [(1, Some(P)), (2, None)] {
        host.open(conn, Side::Client, pid);
        host.flight(conn, &hello(conn), &chain);
    }
    host.probe(no_hint(), &chain);
    host.wait(WAIT);
    assert_eq!(host.told(), [(P, chain.sha256(), NotTied::SeveralConnections)]);
}

#[test]
fn a_hint_to_an_unknown_connection_is_not_replaced_by_a_guess() {
    let chain = Chain::new(1);
    let mut host = host();
    host.open(1, Side::Client, Some(P));
    host.flight(1, &hello(1), &chain);
    host.probe(hint(77), &chain);
    host.probe(Probe { client_random: Some(77), ..no_hint() }, &chain);
    host.wait(WAIT);
    assert_eq!(host.told().len(), 2);
    host.finish(1);
    assert_eq!(host.leaf(1, Side::Server), None);
}

#[test]
fn a_hello_seen_after_the_probe_is_found_all_the_same() {
    let chain = Chain::new(1);
    let mut host = host();
    host.open(1, Side::Client, Some(P));
    host.probe(Probe { client_random: Some(9), ..no_hint() }, &chain);
    host.wait(Duration::from_millis(30));
    host.flight(1, &hello(9), &chain);
    host.wait(WAIT);
    host.finish(1);
    assert_eq!(host.leaf(1, Side::Server), Some(chain.sha256()));
}

#[test]
fn stronger_evidence_takes_the_place_of_weaker() {
    let (wrong, right) = (Chain::new(1), Chain::new(2));
    let mut host = host();
    host.open(1, Side::Client, Some(P));
    host.flight(1, &hello(1), &right);
    host.probe(no_hint(), &wrong);
    host.probe(hint(1), &right);
    host.probe(hint(1), &wrong);
    host.finish(1);
    assert_eq!(host.leaf(1, Side::Server), Some(right.sha256()));
    host.wait(WAIT);
    assert_eq!(host.told(), [(P, wrong.sha256(), NotTied::NoConnection)]);
    let counters = host.engine.counters().association;
    assert_eq!((counters.replaced, counters.hints_contradicted), (1, 1));
}

#[test]
fn a_replayed_hello_shares_nothing() {
    let chain = Chain::new(1);
    let mut host = host();
    host.open(1, Side::Client, Some(P));
    host.flight(1, &hello(9), &chain);
    // The same hello, answered by another server; and seen at the other end.
    for (conn, local, answer) in [(2, Side::Client, 1), (3, Side::Server, 0)] {
        host.open(conn, local, Some(300));
        host.flight(conn, &Hello { answer, ..hello(9) }, &chain);
    }
    host.probe(Probe { client_random: Some(9), ..no_hint() }, &chain);
    let want = [(1, Some(chain.sha256())), (2, None), (3, Some(chain.sha256()))];
    for (conn, leaf) in want {
        host.finish(conn);
        assert_eq!(host.leaf(conn, Side::Server), leaf, "{conn}");
    }
}

#[test]
fn malformed_and_cut_lists_keep_what_is_well_formed() {
    let chain = Chain::new(1);
    let whole = Some(chain.entries.len() as u32);
    let mut host = host();
    host.open(1, Side::Client, Some(P));
    host.flight(1, &hello(9), &chain);
    host.parse(hint(1), &[0, 0, 9], None, false);
    host.parse(hint(1), &[], None, false);
    host.parse(hint(1), &chain.entries[..chain.entries.len() - 7], whole, true);
    host.finish(1);
    assert_eq!((host.leaf(1, Side::Server), host.facts(1).server_chain.len()), (Some(chain.sha256()), 1));
    let counters = host.engine.counters().association;
    assert_eq!((counters.chains, counters.empty, counters.cut, counters.malformed), (3, 2, 1, 1));
}

#[test]
fn a_stapled_response_comes_with_the_chain() {
    let chain = Chain::new(1);
    let mut entries = chain.entries.clone();
    let at = 3 + chain.leaf.len();
    entries.splice(at..at + 2, [0, 12, 0, 5, 0, 8, 1, 0, 0, 4, 9, 8, 7, 6]);
    let stapled = Chain { entries, leaf: chain.leaf };
    let mut host = host();
    host.open(1, Side::Client, Some(P));
    host.flight(1, &hello(9), &stapled);
    host.probe(no_hint(), &stapled);
    host.finish(1);
    assert_eq!(host.facts(1).ocsp_response.as_deref().map(|response| &**response), Some(&[9, 8, 7, 6][..]));
}
