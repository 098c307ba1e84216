//! Certificates of many connections at once: whatever the order, a chain is never pinned on a connection it is not of.

use super::host::{Chain, Hello, Host, Probe, WAIT, name};
use super::*;
use crate::observation::NotTied;

const P: u32 = 100;

#[test]
fn an_event_loop_with_a_thousand_connections_and_equal_lengths() {
    let mut host = Host::new(EngineConfig::default());
    let chains: Vec<Chain> = (0..50).map(Chain::new).collect();
    let of = |conn: u64| &chains[(conn * 7 % 50) as usize];
    for conn in 0..1000 {
        host.open(conn, Side::Client, Some(P));
    }
    for conn in 0..1000 {
        host.flight(conn, &Hello { random: conn, ..Hello::default() }, of(conn));
    }
    // The loop comes round in another order.
    for conn in (0..1000).map(|conn| conn * 337 % 1000) {
        host.probe(Probe { pid: P, last_read: Some(conn), ..Probe::default() }, of(conn));
    }
    for conn in (0..1000).rev() {
        host.finish(conn);
        assert_eq!(host.observations(conn).len(), 1);
        assert_eq!(host.leaf(conn, Side::Server), Some(of(conn).sha256()), "{conn}");
    }
    assert_eq!(host.engine.counters().association.tied_by_last_read, 1000);
    assert_eq!(host.engine.counters().certificates.misses, 51);
}

#[test]
fn a_thread_pool_without_hints_goes_by_lengths() {
    let mut host = Host::new(EngineConfig::default());
    let chains: Vec<Chain> = (0..40).map(|n| Chain::with_padding(n, n as usize)).collect();
    for conn in 0..40 {
        host.open(conn, Side::Client, Some(P));
        host.flight(conn, &Hello { random: conn, ..Hello::default() }, &chains[conn as usize]);
    }
    for chain in chains.iter().rev() {
        host.probe(Probe { pid: P, ..Probe::default() }, chain);
    }
    for conn in 0..40 {
        host.finish(conn);
        assert_eq!(host.leaf(conn, Side::Server), Some(chains[conn as usize].sha256()));
    }
    assert_eq!(host.engine.counters().association.tied_by_length, 40);
}

#[test]
fn two_connections_to_one_server_at_once() {
    let chain = Chain::new(1);
    for hinted in [false, true] {
        let mut host = Host::new(EngineConfig::default());
        let name = name(1);
        for conn in [1, 2] {
            host.open(conn, Side::Client, Some(P));
            host.flight(conn, &Hello { random: conn, server_name: Some(&name), ..Hello::default() }, &chain);
        }
        for conn in [2, 1] {
            host.probe(Probe { pid: P, last_read: hinted.then_some(conn), ..Probe::default() }, &chain);
        }
        host.wait(WAIT);
        for conn in [1, 2] {
            host.finish(conn);
            assert_eq!(host.leaf(conn, Side::Server), Some(chain.sha256()));
        }
    }
}

#[test]
fn every_bound_is_reached_and_counted() {
    let config = EngineConfig {
        max_pending_certificates: 2,
        max_certificate_candidates: 3,
        max_indexed_handshakes: 5,
        ..EngineConfig::default()
    };
    let mut host = Host::new(config);
    let chain = Chain::new(1);
    for conn in 1..=6 {
        host.open(conn, Side::Client, Some(P));
        host.flight(conn, &Hello { random: conn, ..Hello::default() }, &chain);
    }
    // More candidates than are told apart, and more chains than may wait.
    for _ in 0..4 {
        host.probe(Probe { pid: P, ..Probe::default() }, &chain);
    }
    let counters = host.engine.counters().association;
    assert_eq!(
        (counters.handshakes_not_indexed, counters.candidates_cut, counters.pending_evicted),
        (1, 4, 2)
    );
    assert_eq!(host.told().len(), 2);
    // What is not in the index is found by the thread all the same.
    host.probe(Probe { pid: P, last_read: Some(6), ..Probe::default() }, &chain);
    for conn in 1..=6 {
        host.finish(conn);
    }
    assert_eq!(host.leaf(6, Side::Server), Some(chain.sha256()));
    host.wait(WAIT);
    assert_eq!(host.told(), vec![(P, chain.sha256(), NotTied::SeveralConnections); 4]);
    assert_eq!(host.engine.counters().association.evidence_dropped, 1);
    assert_eq!(host.engine.poll_deadline(), None);
}

#[test]
fn the_end_of_the_source_decides_on_what_waits() {
    let mut host = Host::new(EngineConfig::default());
    let chain = Chain::new(1);
    host.probe(Probe { pid: P, ..Probe::default() }, &chain);
    host.engine.finish(host.now);
    let told = host.engine.poll_output();
    assert!(matches!(told, Some(Output::ProcessCertificates(_))), "{told:?}");
    assert_eq!(host.engine.poll_deadline(), None);
}

/// One handshake on its way, and what it has yet to do.
struct Course {
    conn: u64,
    pid: u32,
    local: Side,
    number: u32,
    chain: Chain,
    style: Style,
    step: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// One message a record.
    Plain,
    /// All of the flight in one record.
    Coalesced,
    /// Compressed certificates.
    Compressed,
}

impl Course {
    fn advance(&mut self, host: &mut Host, hints: &mut Lcg) {
        let (conn, record) = (self.conn, self.chain.record());
        let server_name = name(self.number);
        match self.step {
            0 => host.open(conn, self.local, Some(self.pid)),
            1 => {
                let compression = self.style == Style::Compressed;
                // A client that names nobody, or whom it gets.
                let server_name = (hints.below(2) == 0).then_some(server_name.as_str());
                host.hellos(conn, &Hello { random: conn, compression, server_name, ..Hello::default() });
            }
            2 => {
                let asks = self.local == Side::Server;
                let others = if asks { &[23, 85, 852, 97, 69][..] } else { &[][..] };
                host.records(conn, Side::Server, others);
                let sender = self.local.peer();
                let first: &[u16] = if asks { &[] } else { &[23] };
                match self.style {
                    Style::Plain => {
                        host.records(conn, sender, first);
                        host.records(conn, sender, &[record, 97, 69]);
                    }
                    Style::Coalesced => host.records(conn, sender, &[record + 180]),
                    Style::Compressed => {
                        host.records(conn, sender, first);
                        host.records(conn, sender, &[record - 300, 97, 69]);
                    }
                }
            }
            3 => {
                let hint = hints.below(4);
                let probe = Probe {
                    pid: self.pid,
                    peer: (hints.below(2) == 0).then_some(self.local.peer()),
                    last_read: (hint == 1).then_some(conn),
                    read_before: None,
                    client_random: (hint == 2).then_some(conn),
                };
                host.probe(probe, &self.chain);
            }
            4 if self.local == Side::Client => host.records(conn, Side::Client, &[69, 60]),
            4 => {}
            5 => host.records(conn, Side::Server, &[250]),
            _ => host.close(conn),
        }
        self.step += 1;
    }
}

#[test]
fn no_interleaving_ties_a_wrong_chain_when_hints_are_right_or_absent() {
    let mut rng = Lcg(3);
    let (mut tied, mut all) = (0, 0);
    for round in 0..300u64 {
        let mut host = Host::new(EngineConfig::default());
        let mut chains = std::collections::BTreeMap::new();
        let mut next = 0;
        let mut open: Vec<Course> = Vec::new();
        let width = 1 + rng.below(12);
        // Few lengths, few names: much is alike.
        let lengths = 1 + rng.below(4);
        while next < 40 || !open.is_empty() {
            if next < 40 && (open.len() as u32) < width {
                let number = rng.below(3);
                let chain = Chain::with_padding(number, rng.below(lengths) as usize);
                chains.insert(next, chain.sha256());
                open.push(Course {
                    conn: next,
                    pid: P + rng.below(2),
                    local: if rng.below(3) == 0 { Side::Server } else { Side::Client },
                    number,
                    chain,
                    style: [Style::Plain, Style::Plain, Style::Plain, Style::Coalesced, Style::Compressed]
                        [rng.below(5) as usize],
                    step: 0,
                });
                next += 1;
            }
            let at = rng.below(open.len() as u32) as usize;
            open[at].advance(&mut host, &mut rng);
            if open[at].step > 6 {
                open.swap_remove(at);
            }
            if rng.below(20) == 0 {
                host.wait(Duration::from_millis(u64::from(rng.below(100))));
            }
        }
        host.wait(WAIT);
        for (conn, leaf) in &chains {
            all += 1;
            for o in host.observations(*conn) {
                let local = o.local_side.expect("side");
                let tls = o.tls.as_ref().expect("facts");
                let shown = tls.chain(local.peer()).first().map(|leaf| leaf.sha256);
                assert!(shown.is_none() || shown == Some(*leaf), "round {round}, connection {conn}");
            }
            tied += u32::from(host.observations(*conn).iter().any(|o| {
                o.tls.as_ref().is_some_and(|tls| !tls.chain(o.local_side.expect("side").peer()).is_empty())
            }));
        }
        let counters = host.engine.counters().association;
        let ties = counters.tied_by_client_random + counters.tied_by_last_read + counters.tied_by_length;
        let told = host.told().len() as u64;
        assert_eq!(ties + told, 40, "round {round}: {counters:?}");
        assert_eq!(host.engine.poll_deadline(), None);
    }
    assert!(tied * 10 > all * 6, "{tied} of {all}");
}
