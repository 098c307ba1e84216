use agent_core::identity::ProcessDetails;

use super::*;

fn at(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().expect("address and port");
    Endpoint::new(address.ip(), address.port())
}

fn end(local: &str, peer: &str, side: Option<Side>, network: Option<u64>) -> End {
    let mut end = End::new(FiveTuple { local: at(local), peer: at(peer) }, side, Timestamp::from_secs(10));
    end.owner = network.map(|inode| {
        Arc::new(Owner {
            details: Arc::new(ProcessDetails::default()),
            container: None,
            pod: None,
            pod_container: None,
            network: Some(NetworkNamespace(inode)),
        })
    });
    end
}

struct Table {
    ends: Ends,
    counters: Counters,
    next: u64,
}

impl Table {
    fn new() -> Self {
        Self { ends: Ends::new(64), counters: Counters::default(), next: 0 }
    }

    fn add(&mut self, end: End) -> ConnId {
        self.next += 1;
        self.ends.insert(ConnId(self.next), end, &mut self.counters);
        ConnId(self.next)
    }

    fn pair(&mut self, conn: ConnId) -> Option<(ConnId, Match)> {
        self.ends.pair(conn, |_, _| false, &mut self.counters)
    }
}

const CLIENT: Option<Side> = Some(Side::Client);
const SERVER: Option<Side> = Some(Side::Server);

#[test]
fn ends_that_mirror_each_other_belong_together() {
    for sides in [(CLIENT, SERVER), (None, SERVER), (CLIENT, None), (None, None)] {
        let mut table = Table::new();
        let a = table.add(end("10.1.0.1:40000", "10.1.0.2:80", sides.0, Some(1)));
        let b = table.add(end("10.1.0.2:80", "10.1.0.1:40000", sides.1, Some(2)));
        assert_eq!(table.pair(b), Some((a, Match::Mirror)), "{sides:?}");
        assert_eq!(table.pair(a), Some((b, Match::Mirror)), "{sides:?}");
        assert_eq!(table.counters.pairs_found, 1);
    }
}

#[test]
fn two_clients_are_no_pair() {
    let mut table = Table::new();
    let a = table.add(end("10.1.0.1:40000", "10.1.0.2:80", CLIENT, None));
    table.add(end("10.1.0.2:80", "10.1.0.1:40000", CLIENT, None));
    assert_eq!(table.pair(a), None);
}

#[test]
fn a_redirect_into_a_sidecar_is_matched_by_the_client() {
    let mut table = Table::new();
    let application = table.add(end("10.1.0.1:40000", "93.184.216.34:443", CLIENT, Some(7)));
    let sidecar = table.add(end("127.0.0.1:15001", "10.1.0.1:40000", SERVER, Some(7)));
    assert_eq!(table.pair(sidecar), Some((application, Match::Translated)));
    assert_eq!(table.pair(application), Some((sidecar, Match::Translated)));
}

#[test]
fn a_service_is_matched_by_the_client() {
    let mut table = Table::new();
    let client = table.add(end("10.1.0.1:40000", "10.96.0.10:80", CLIENT, Some(1)));
    let server = table.add(end("10.1.0.9:8080", "10.1.0.1:40000", SERVER, Some(2)));
    assert_eq!(table.pair(client), Some((server, Match::Translated)));
    assert_eq!(table.counters.pairs_translated, 1);
}

#[test]
fn loopback_addresses_of_two_networks_are_kept_apart() {
    let mut table = Table::new();
    let a1 = table.add(end("127.0.0.1:40000", "127.0.0.1:8080", CLIENT, Some(1)));
    let a2 = table.add(end("127.0.0.1:40000", "127.0.0.1:8080", CLIENT, Some(2)));
    let b2 = table.add(end("127.0.0.1:8080", "127.0.0.1:40000", SERVER, Some(2)));
    let b1 = table.add(end("127.0.0.1:8080", "127.0.0.1:40000", SERVER, Some(1)));
    assert_eq!(table.pair(b2), Some((a2, Match::Mirror)));
    assert_eq!(table.pair(a1), Some((b1, Match::Mirror)));
}

#[test]
fn loopback_addresses_of_unknown_networks_are_not_guessed() {
    let mut table = Table::new();
    table.add(end("127.0.0.1:40000", "127.0.0.1:8080", CLIENT, None));
    table.add(end("127.0.0.1:40000", "127.0.0.1:8080", CLIENT, None));
    let b = table.add(end("127.0.0.1:8080", "127.0.0.1:40000", SERVER, Some(2)));
    assert_eq!(table.pair(b), None);
    assert_eq!(table.counters.pairs_ambiguous, 1);
}

#[test]
fn a_port_used_for_two_connections_at_once_is_told_apart_by_what_was_dialled() {
    let mut table = Table::new();
    let away = table.add(end("10.1.0.1:40000", "93.184.216.34:443", CLIENT, Some(1)));
    let here = table.add(end("10.1.0.1:40000", "10.96.0.10:80", CLIENT, Some(1)));
    let server = table.add(end("10.1.0.9:8080", "10.1.0.1:40000", SERVER, Some(2)));
    assert_eq!(table.pair(server), None, "nobody knows that Service");
    assert_eq!(table.counters.pairs_ambiguous, 1);
    let leads = |dialled: Endpoint, _| dialled == at("10.96.0.10:80");
    let found = table.ends.pair(server, leads, &mut table.counters);
    assert_eq!(found, Some((here, Match::Translated)));
    assert_eq!(table.pair(away), None);
}

#[test]
fn what_has_a_mirror_image_is_not_behind_a_translation() {
    let mut table = Table::new();
    table.add(end("10.1.0.1:40000", "10.1.0.2:443", CLIENT, Some(1)));
    table.add(end("10.1.0.2:443", "10.1.0.1:40000", SERVER, Some(3)));
    let server = table.add(end("10.1.0.9:8080", "10.1.0.1:40000", SERVER, Some(2)));
    assert_eq!(table.pair(server), None);
}

#[test]
fn a_port_used_again_later_is_another_connection() {
    let mut table = Table::new();
    table.add(end("10.1.0.1:40000", "93.184.216.34:443", CLIENT, Some(1)));
    let mut later = end("10.1.0.9:8080", "10.1.0.1:40000", SERVER, Some(2));
    later.opened = Timestamp::from_secs(16);
    let later = table.add(later);
    assert_eq!(table.pair(later), None);
}

#[test]
fn what_is_removed_leaves_nothing_behind() {
    let mut table = Table::new();
    let conns: Vec<_> = (0..3)
        .map(|side| table.add(end("10.1.0.1:1", "10.1.0.1:1", [None, CLIENT, SERVER][side], None)))
        .collect();
    table.ends.learn_side(conns[0], Side::Server);
    for conn in conns {
        assert!(table.ends.remove(conn).is_some());
    }
    assert_eq!(table.ends.len(), 0);
    assert!(table.ends.by_client.is_empty());
}

#[test]
fn a_full_table_refuses_and_counts() {
    let mut table = Table { ends: Ends::new(1), ..Table::new() };
    table.add(end("10.1.0.1:1", "10.1.0.2:1", CLIENT, None));
    let b = table.add(end("10.1.0.2:1", "10.1.0.1:1", SERVER, None));
    assert!(table.ends.get(b).is_none());
    assert_eq!((table.counters.ends, table.counters.ends_refused), (1, 1));
}

#[test]
fn candidates_are_bounded_and_counted() {
    let mut table = Table::new();
    for port in 0..=MAX_CANDIDATES {
        table.add(end("10.1.0.1:1", &format!("10.1.0.2:{}", port + 1), CLIENT, None));
    }
    assert_eq!(table.counters.pair_candidates_dropped, 1);
}
