//! Names behind address translation.

use std::sync::mpsc::channel;

use super::cluster::{CLIENT, HOST, WEB, in_cluster, named, open_in, see, through, who};
use super::*;
use crate::enrich::conntrack::Translation;

const NODE: NetworkNamespace = NetworkNamespace(1);

/// Client, what it dialled, who answered, and the client as that one sees it.
fn translated([client, dialled, answered, seen]: [&str; 4]) -> Outcome {
    let [client, dialled, answered, seen] = [client, dialled, answered, seen].map(at);
    Outcome::Translated(Translation { client, dialled, answered, seen, is_redirected: false, network: NODE })
}

/// A cluster whose node has these connections in its table.
fn with_table(table: &[[&'static str; 4]]) -> Enricher {
    let table: Vec<[&str; 4]> = table.to_vec();
    let find = move |question: &Question| {
        let is_it = |[client, dialled, answered, seen]: &&[&str; 4]| match question.side {
            Side::Client => (question.flow.from, question.flow.to) == (at(client), at(dialled)),
            Side::Server => (question.flow.from, question.flow.to) == (at(answered), at(seen)),
        };
        table.iter().find(is_it).map_or(Outcome::NotFound, |ends| translated(*ends))
    };
    Enricher { conntrack: Some(Conntrack::answering(find)), ..in_cluster() }
}

/// What is told of addresses: what the client of this end dialled, and where the other end is.
fn addresses(sighting: &Sighting) -> (Option<Endpoint>, Option<Endpoint>) {
    assert_eq!((sighting.local.address, sighting.peer.dialled), (None, None));
    (sighting.local.dialled, sighting.peer.address)
}

const MASQUERADED: [&str; 4] = ["10.1.0.3:40000", "10.99.0.1:30080", "10.1.0.2:8080", "10.1.0.1:50001"];

#[test]
fn a_masqueraded_caller_is_named_at_the_servers_end() {
    for client_first in [true, false] {
        let mut enricher = with_table(&[MASQUERADED]);
        let client = |enricher: &mut Enricher| {
            open_in(enricher, 1, tuple(MASQUERADED[0], MASQUERADED[1]), Side::Client, CLIENT, 3);
        };
        let server = |enricher: &mut Enricher| {
            open_in(enricher, 2, tuple(MASQUERADED[2], MASQUERADED[3]), Side::Server, WEB, 2);
        };
        let order: [&dyn Fn(&mut Enricher); 2] =
            if client_first { [&client, &server] } else { [&server, &client] };
        for open in order {
            open(&mut enricher);
        }
        let caller = named("Pod", "client", Some("client"), Some("app"));
        let web = through(named("Deployment", "web", Some("web-1-a"), Some("app")), "web");
        let answering = see(&mut enricher, 2);
        assert_eq!((who(&answering.local), who(&answering.peer)), (web.clone(), caller.clone()));
        assert_eq!(answering.scope, Some(Scope::Node));
        let expected = (Some(at(MASQUERADED[1])), Some(at(MASQUERADED[0])));
        assert_eq!(addresses(&answering), expected);
        assert_eq!(answering.local.listen_port, None);
        let dialling = see(&mut enricher, 1);
        assert_eq!((who(&dialling.local), who(&dialling.peer)), (caller, web));
        assert_eq!(addresses(&dialling), (None, Some(at(MASQUERADED[2]))));
        assert_eq!(dialling.peer.listen_port, Some(8080));
        let counters = enricher.counters();
        assert_eq!(
            (counters.pairs_found, counters.pairs_translated, counters.conntrack_translated),
            (1, 1, 1)
        );
        // The server's end told all there is.
        assert_eq!(counters.conntrack_asked, 1);
    }
}

#[test]
fn a_caller_from_outside_is_named_by_its_own_address() {
    let ends = ["93.184.216.34:40000", "10.99.0.1:30080", "10.1.0.2:8080", "10.1.0.1:50001"];
    let mut enricher = with_table(&[ends]);
    open_in(&mut enricher, 1, tuple(ends[2], ends[3]), Side::Server, WEB, 2);
    let sighting = see(&mut enricher, 1);
    let web = through(named("Deployment", "web", Some("web-1-a"), Some("app")), "web");
    assert_eq!((who(&sighting.local), who(&sighting.peer)), (web, (None, None, None)));
    assert_eq!(sighting.scope, Some(Scope::External));
    assert_eq!(addresses(&sighting), (Some(at(ends[1])), Some(at(ends[0]))));
}

#[test]
fn who_answers_on_another_node_is_named() {
    let ends = ["10.1.0.3:40000", "10.96.0.1:80", "10.1.1.2:8080", "10.1.0.3:40000"];
    let mut enricher = with_table(&[ends]);
    open_in(&mut enricher, 1, tuple(ends[0], ends[1]), Side::Client, CLIENT, 3);
    let sighting = see(&mut enricher, 1);
    assert_eq!(who(&sighting.peer), through(named("Deployment", "web", Some("web-1-b"), None), "web"));
    assert_eq!((sighting.scope, addresses(&sighting)), (Some(Scope::Cluster), (None, Some(at(ends[2])))));
    assert_eq!(enricher.counters().workloads_behind_services, 0);
}

#[test]
fn a_node_port_dialled_on_loopback_leads_to_its_server() {
    let ends = ["127.0.0.1:40000", "127.0.0.1:30080", "10.1.0.2:8080", "10.1.0.1:50001"];
    let mut enricher = with_table(&[ends]);
    // The same addresses in a pod: every network namespace has a loopback of its own.
    open_in(&mut enricher, 1, tuple(ends[0], ends[1]), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 2, tuple(ends[0], ends[1]), Side::Client, HOST, NODE.0);
    open_in(&mut enricher, 3, tuple(ends[2], ends[3]), Side::Server, WEB, 2);
    let exporter =
        (named("Pod", "exporter", Some("exporter"), Some("app")).0, None, Some("node-a".to_owned()));
    let answering = see(&mut enricher, 3);
    assert_eq!((who(&answering.peer), answering.scope), (exporter, Some(Scope::Node)));
    let web = through(named("Deployment", "web", Some("web-1-a"), Some("app")), "web");
    assert_eq!(who(&see(&mut enricher, 2).peer), web);
    assert_eq!(see(&mut enricher, 1).scope, Some(Scope::Pod));
}

#[test]
fn a_caller_that_is_gone_first_keeps_its_name() {
    let mut enricher = with_table(&[MASQUERADED]);
    open_in(&mut enricher, 1, tuple(MASQUERADED[0], MASQUERADED[1]), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 2, tuple(MASQUERADED[2], MASQUERADED[3]), Side::Server, WEB, 2);
    see(&mut enricher, 2);
    enricher.forget(ConnId(1));
    let sighting = see(&mut enricher, 2);
    assert_eq!(who(&sighting.peer), named("Pod", "client", Some("client"), Some("app")));
    assert_eq!(addresses(&sighting), (Some(at(MASQUERADED[1])), Some(at(MASQUERADED[0]))));
}

#[test]
fn ends_are_named_by_process_outside_of_clusters_too() {
    let find = |_: &Question| translated([C, "192.0.2.9:8443", S, "192.0.2.200:50001"]);
    let mut enricher =
        Enricher { conntrack: Some(Conntrack::answering(find)), ..enricher(Options::default()) };
    let cat = Waiting::start();
    open(&mut enricher, 1, tuple(C, "192.0.2.9:8443"), Side::Client, Some(cat.process()));
    open(&mut enricher, 2, tuple(S, "192.0.2.200:50001"), Side::Server, Some(this_process()));
    let answering = see(&mut enricher, 2);
    assert_eq!(answering.peer.process.as_ref().map(|process| process.pid), Some(cat.0.id()));
    assert_eq!(addresses(&answering), (Some(at("192.0.2.9:8443")), Some(at(C))));
    let dialling = see(&mut enricher, 1);
    assert_eq!(dialling.peer.process.as_ref().map(|process| process.pid), Some(std::process::id()));
    assert_eq!((dialling.scope, addresses(&dialling)), (Some(Scope::Node), (None, Some(at(S)))));
}

#[test]
fn a_client_that_is_shown_first_waits_for_the_answer_about_its_server() {
    let find = |_: &Question| {
        std::thread::yield_now();
        translated([C, "192.0.2.9:8443", S, "192.0.2.200:50001"])
    };
    let mut enricher =
        Enricher { conntrack: Some(Conntrack::answering(find)), ..enricher(Options::default()) };
    open(&mut enricher, 1, tuple(C, "192.0.2.9:8443"), Side::Client, None);
    open(&mut enricher, 2, tuple(S, "192.0.2.200:50001"), Side::Server, Some(this_process()));
    // Another time it may be late: the wait has a bound.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while see(&mut enricher, 1).scope != Some(Scope::Node) {
        assert!(enricher.counters().conntrack_late > 0 && std::time::Instant::now() < deadline);
    }
    assert_eq!(see(&mut enricher, 1).peer.process.map(|process| process.pid), Some(std::process::id()));
}

#[test]
fn nobody_asks_about_ends_that_mirror_each_other_or_dialled_no_service() {
    let mut enricher = with_table(&[]);
    open_in(&mut enricher, 1, tuple("10.1.0.3:40000", "10.1.0.2:8080"), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 2, tuple("10.1.0.2:8080", "10.1.0.3:40000"), Side::Server, WEB, 2);
    open_in(&mut enricher, 3, tuple("10.1.0.3:40001", "93.184.216.34:443"), Side::Client, CLIENT, 3);
    for conn in 1..=3 {
        assert_eq!(addresses(&see(&mut enricher, conn)), (None, None));
    }
    assert_eq!(enricher.counters().conntrack_asked, 0);
}

#[test]
fn an_end_is_shown_without_waiting_long_and_named_when_the_answer_is_there() {
    let (go, stuck) = channel::<()>();
    let find = move |_: &Question| {
        let _ = stuck.recv();
        translated(MASQUERADED)
    };
    let mut enricher = Enricher { conntrack: Some(Conntrack::answering(find)), ..in_cluster() };
    open_in(&mut enricher, 1, tuple(MASQUERADED[0], MASQUERADED[1]), Side::Client, CLIENT, 3);
    open_in(&mut enricher, 2, tuple(MASQUERADED[2], MASQUERADED[3]), Side::Server, WEB, 2);
    let before = see(&mut enricher, 2);
    assert_eq!((who(&before.peer), before.scope), ((None, None, None), None));
    assert_eq!(enricher.counters().conntrack_late, 1);
    go.send(()).expect("the thread waits");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while who(&see(&mut enricher, 2).peer) != named("Pod", "client", Some("client"), Some("app")) {
        assert!(std::time::Instant::now() < deadline, "no name");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_asked_at_once_has_a_bound_and_what_was_left_out_is_asked_when_it_is_shown() {
    const MANY: u64 = 1100;
    let (go, stuck) = channel::<()>();
    let find = move |_: &Question| {
        let _ = stuck.recv();
        Outcome::NotFound
    };
    let mut enricher = Enricher { conntrack: Some(Conntrack::answering(find)), ..in_cluster() };
    for conn in 0..MANY {
        let peer = format!("10.1.0.1:{}", 20_000 + conn);
        open(&mut enricher, conn, tuple("10.1.0.2:8080", &peer), Side::Server, None);
    }
    assert_eq!(
        (enricher.counters().conntrack_asked, enricher.counters().conntrack_dropped),
        (1024, MANY - 1024)
    );
    drop(go);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while enricher.counters().conntrack_missed < MANY {
        for conn in 0..MANY {
            see(&mut enricher, conn);
        }
        assert!(std::time::Instant::now() < deadline, "{:?}", enricher.counters());
    }
    assert_eq!(enricher.counters().conntrack_asked, MANY);
}
