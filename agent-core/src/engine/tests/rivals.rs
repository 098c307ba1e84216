//! Chains that could be taken for another connection's: threads that read ahead, and processes that lie.

use super::host::{Chain, Hello, Host, Probe, WAIT, name};
use super::*;
use crate::observation::{ClientCertificate, NotTied};

const P: u32 = 100;

/// A thread that read from `first` and then from `then`, and parses what it read first.
fn batch(first: u64, then: u64) -> Probe {
    let before = Some((first, Duration::from_micros(15)));
    Probe { pid: P, last_read: Some(then), read_before: before, ..Probe::default() }
}

/// Two connections of one process with chains of one length, all of both flights seen.
fn two(names: [Option<&str>; 2], chains: [&Chain; 2]) -> Host {
    let mut host = Host::new(EngineConfig::default());
    for ((conn, server_name), chain) in (1..).zip(names).zip(chains) {
        host.open(conn, Side::Client, Some(P));
        host.flight(conn, &Hello { random: conn, server_name, ..Hello::default() }, chain);
    }
    host.wait(Duration::from_micros(50));
    host
}

#[test]
fn names_tell_apart_what_a_thread_read_in_one_go() {
    let (a, b) = (Chain::new(1), Chain::new(2));
    let mut host = two([Some(&name(1)), Some(&name(2))], [&a, &b]);
    host.probe(batch(1, 2), &a);
    host.probe(batch(1, 2), &b);
    host.wait(WAIT);
    for (conn, chain) in [(1, &a), (2, &b)] {
        host.finish(conn);
        assert_eq!(host.leaf(conn, Side::Server), Some(chain.sha256()), "{conn}");
    }
    assert_eq!(host.told(), []);
}

#[test]
fn without_names_what_a_thread_read_in_one_go_is_told_of_the_process() {
    let (a, b) = (Chain::new(1), Chain::new(2));
    let mut host = two([None, None], [&a, &b]);
    host.probe(batch(1, 2), &a);
    host.probe(batch(1, 2), &b);
    host.wait(WAIT);
    for conn in [1, 2] {
        host.finish(conn);
        assert_eq!(host.leaf(conn, Side::Server), None, "{conn}");
    }
    let several = NotTied::SeveralConnections;
    assert_eq!(host.told(), [(P, a.sha256(), several), (P, b.sha256(), several)]);
}

#[test]
fn a_connection_that_was_read_from_before_its_chain_came_is_no_rival() {
    let (a, b) = (Chain::new(1), Chain::new(2));
    let mut host = two([None, None], [&a, &b]);
    // Its last read was before both flights.
    let before = Some((1, Duration::from_secs(1)));
    host.probe(Probe { read_before: before, ..batch(1, 2) }, &b);
    host.finish(2);
    assert_eq!(host.leaf(2, Side::Server), Some(b.sha256()));
}

#[test]
fn a_certificate_of_another_name_goes_to_the_connection_that_asked_for_it() {
    let (a, b) = (Chain::new(1), Chain::new(2));
    let mut host = two([Some(&name(1)), Some(&name(2))], [&a, &b]);
    // Three were read, of which the third is not known to be one.
    host.probe(Probe { read_before: None, ..batch(1, 2) }, &a);
    host.wait(WAIT);
    host.finish(1);
    host.finish(2);
    assert_eq!((host.leaf(1, Side::Server), host.leaf(2, Side::Server)), (Some(a.sha256()), None));
}

#[test]
fn a_certificate_of_another_name_is_believed_where_nothing_speaks_for_another_connection() {
    let chain = Chain::new(1);
    let mut host = Host::new(EngineConfig::default());
    host.open(1, Side::Client, Some(P));
    host.flight(1, &Hello { random: 1, server_name: Some(&name(7)), ..Hello::default() }, &chain);
    host.probe(Probe { read_before: None, ..batch(0, 1) }, &chain);
    host.finish(1);
    assert_eq!(host.leaf(1, Side::Server), Some(chain.sha256()));
}

#[test]
fn a_process_at_no_end_says_nothing_of_a_connection_whatever_random_it_knows() {
    let (forged, chain) = (Chain::new(1), Chain::new(2));
    for peer in [Side::Client, Side::Server] {
        let mut host = Host::new(EngineConfig::default());
        host.open(1, Side::Client, Some(P));
        host.open(2, Side::Server, Some(200));
        for conn in [1, 2] {
            host.flight(conn, &Hello { random: 9, ..Hello::default() }, &chain);
            host.records(conn, Side::Client, &[chain.record(), 97, 69]);
        }
        for pid in [300, if peer == Side::Client { P } else { 200 }] {
            let lie = Probe { pid, peer: Some(peer), client_random: Some(9), ..Probe::default() };
            host.probe(lie, &forged);
        }
        host.wait(WAIT);
        for conn in [1, 2] {
            host.records(conn, Side::Server, &[250]);
            assert_eq!(host.leaf(conn, peer), None, "{peer:?} {conn}");
        }
        assert_eq!(host.told().len(), 2);
    }
}

#[test]
fn nobody_makes_a_client_show_what_it_did_not_send() {
    let chain = Chain::new(1);
    let mut host = Host::new(EngineConfig::default());
    host.open(1, Side::Server, Some(P));
    host.flight(1, &Hello { random: 9, ..Hello::default() }, &chain);
    host.finish(1);
    for probe in [
        Probe { client_random: Some(9), ..Probe::default() },
        Probe { last_read: Some(1), ..Probe::default() },
        Probe::default(),
    ] {
        host.probe(Probe { pid: P, peer: Some(Side::Client), ..probe }, &chain);
    }
    host.wait(WAIT);
    assert_eq!(host.leaf(1, Side::Client), None);
    assert_eq!(host.facts(1).client_certificate, ClientCertificate::NotRequested);
    assert_eq!(host.last(1).security, Security::Tls);
}

#[test]
fn a_goroutine_that_gave_up_a_handshake_brings_it_no_certificates_of_the_next() {
    let chain = Chain::new(1);
    let mut host = Host::new(EngineConfig::default());
    host.open(1, Side::Client, Some(P));
    // The server stalls after its hello.
    host.hellos(1, &Hello { random: 9, ..Hello::default() });
    let stale = Probe { pid: P, peer: Some(Side::Server), client_random: Some(9), ..Probe::default() };
    host.probe(stale, &chain);
    host.wait(WAIT);
    host.close(1);
    assert_eq!(host.leaf(1, Side::Server), None);
    assert_eq!(host.told(), [(P, chain.sha256(), NotTied::NoConnection)]);
}
