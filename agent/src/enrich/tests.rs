mod cluster;
mod translation;

use std::process::{Child, Command, Stdio};

use agent_core::event::{CloseKind, Closed, Opened, Origin};
use agent_core::identity::ProcessDetails;
use agent_core::net::{Endpoint, FiveTuple, Side};
use agent_core::observation::{Phase, Security};

use super::*;

fn at(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().expect("address and port");
    Endpoint::new(address.ip(), address.port())
}

fn tuple(local: &str, peer: &str) -> FiveTuple {
    FiveTuple { local: at(local), peer: at(peer) }
}

/// Now, because the processes of these tests are real ones.
fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(u64::try_from(now.as_nanos()).expect("before 2554"))
}

fn enricher(options: Options) -> Enricher {
    // What this host translates has nothing to do with these tests.
    Enricher { conntrack: None, ..Enricher::new(options).expect("an enricher") }
}

fn this_process() -> Arc<Process> {
    Arc::new(Process { pid: std::process::id(), executable_name: "test".to_owned() })
}

fn open(enricher: &mut Enricher, conn: u64, tuple: FiveTuple, side: Side, process: Option<Arc<Process>>) {
    let opened = Opened { conn: ConnId(conn), tuple, local_side: Some(side), origin: Origin::Fresh, process };
    enricher.observe(&Event::Opened(opened), now());
}

fn observation(conn: u64, tuple: FiveTuple, process: Option<Arc<Process>>) -> Observation {
    Observation {
        conn: ConnId(conn),
        time: now(),
        phase: Phase::Verdict,
        tuple,
        local_side: None,
        process,
        security: Security::Plaintext,
        source: None,
        reason: None,
        protocol: None,
        starttls: None,
        proxy_protocol: None,
        tls: None,
        bytes: None,
        closed: Some(CloseKind::Finished),
        duration: None,
    }
}

/// A process that waits for its input to end.
struct Waiting(Child);

impl Waiting {
    fn start() -> Self {
        let mut command = Command::new("cat");
        Waiting(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat"))
    }

    fn process(&self) -> Arc<Process> {
        Arc::new(Process { pid: self.0.id(), executable_name: "cat".to_owned() })
    }

    fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("its end");
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

const C: &str = "192.0.2.1:40000";
const S: &str = "192.0.2.2:443";

#[test]
fn both_ends_on_this_host_are_named() {
    let mut enricher = enricher(Options::default());
    let cat = Waiting::start();
    open(&mut enricher, 1, tuple(C, S), Side::Client, Some(this_process()));
    open(&mut enricher, 2, tuple(S, C), Side::Server, Some(cat.process()));
    let sighting = enricher.enrich(observation(1, tuple(C, S), Some(this_process())), now());
    assert_eq!(sighting.local.process.map(|p| p.pid), Some(std::process::id()));
    assert_eq!(sighting.peer.process.map(|p| p.pid), Some(cat.0.id()));
    assert_eq!(sighting.scope, Some(Scope::Node));
    assert_eq!(enricher.counters().pairs_found, 1);
}

#[test]
fn the_other_end_keeps_its_name_when_it_closes_first() {
    let mut enricher = enricher(Options::default());
    let mut cat = Waiting::start();
    open(&mut enricher, 1, tuple(C, S), Side::Client, Some(this_process()));
    open(&mut enricher, 2, tuple(S, C), Side::Server, Some(cat.process()));
    cat.end();
    enricher.forget(ConnId(2));
    let sighting = enricher.enrich(observation(1, tuple(C, S), Some(this_process())), now());
    assert_eq!(sighting.peer.process.map(|p| p.pid), Some(cat.0.id()));
    assert_eq!(sighting.scope, Some(Scope::Node));
}

#[test]
fn an_end_keeps_its_owner_after_that_is_gone() {
    let mut enricher = enricher(Options::default());
    let mut cat = Waiting::start();
    open(&mut enricher, 1, tuple(C, S), Side::Client, Some(cat.process()));
    cat.end();
    let sighting = enricher.enrich(observation(1, tuple(C, S), Some(cat.process())), now());
    let process = sighting.local.process.expect("a process");
    assert!(process.executable_path.as_deref().is_some_and(|path| path.starts_with('/')), "{process:?}");
    assert_eq!(sighting.scope, Some(Scope::External));
}

#[test]
fn a_process_is_read_once() {
    let mut enricher = enricher(Options::default());
    for conn in 0..100 {
        open(&mut enricher, conn, tuple(C, S), Side::Client, Some(this_process()));
    }
    assert_eq!((enricher.counters().process_reads, enricher.counters().process_hits), (1, 99));
}

#[test]
fn a_process_id_that_was_given_on_is_no_owner() {
    let mut enricher = enricher(Options::default());
    let cat = Waiting::start();
    // The event is older than the process that has the id now.
    let opened = Opened {
        conn: ConnId(1),
        tuple: tuple(C, S),
        local_side: Some(Side::Client),
        origin: Origin::Fresh,
        process: Some(cat.process()),
    };
    let before = Timestamp(now().as_nanos() - 10_000_000_000);
    enricher.observe(&Event::Opened(opened), before);
    let sighting = enricher.enrich(observation(1, tuple(C, S), None), now());
    let told = ProcessDetails { pid: cat.0.id(), name: Some("cat".to_owned()), ..ProcessDetails::default() };
    assert_eq!(sighting.local, Party { process: Some(Arc::new(told)), ..Party::default() });
    assert_eq!(enricher.counters().process_ids_reused, 1);
}

#[test]
fn a_process_that_is_gone_is_counted_and_not_read_again_at_once() {
    let mut enricher = enricher(Options::default());
    let gone = Arc::new(Process { pid: 5_000_000, executable_name: "gone".to_owned() });
    open(&mut enricher, 1, tuple(C, S), Side::Client, Some(Arc::clone(&gone)));
    open(&mut enricher, 2, tuple(C, S), Side::Client, Some(gone));
    assert_eq!((enricher.counters().process_reads, enricher.counters().processes_gone), (1, 1));
}

#[test]
fn a_process_that_is_gone_is_called_as_the_kernel_and_its_namesakes_were() {
    let mut enricher = enricher(Options::default());
    let mut told = |conn: u64| {
        let gone =
            Arc::new(Process { pid: 5_000_000, executable_name: this_process().executable_name.clone() });
        open(&mut enricher, conn, tuple(C, S), Side::Client, Some(Arc::clone(&gone)));
        let sighting = enricher.enrich(observation(conn, tuple(C, S), Some(gone)), now());
        open(&mut enricher, conn + 1, tuple(C, S), Side::Client, Some(this_process()));
        let process = sighting.local.process.expect("a process");
        assert!(!process.was_read());
        process.executable().map(str::to_owned)
    };
    let path = std::env::current_exe().expect("own path").display().to_string();
    assert_eq!(told(1), Some(this_process().executable_name.clone()));
    assert_eq!(told(3), Some(path));
}

#[test]
fn arguments_come_as_soon_as_they_are_read() {
    let mut enricher = enricher(Options { command_args: true, ..Options::default() });
    open(&mut enricher, 1, tuple(C, S), Side::Client, Some(this_process()));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let sighting = enricher.enrich(observation(1, tuple(C, S), None), now());
        let arguments = sighting.local.process.map(|p| p.command_args.clone()).unwrap_or_default();
        if !arguments.is_empty() {
            assert_eq!(arguments, std::env::args().collect::<Vec<_>>());
            break;
        }
        assert!(std::time::Instant::now() < deadline, "no arguments");
        std::thread::yield_now();
    }
    assert_eq!(enricher.counters().arguments_read, 1);
}

#[test]
fn arguments_are_not_read_unless_that_is_wanted() {
    let mut enricher = enricher(Options::default());
    open(&mut enricher, 1, tuple(C, S), Side::Client, Some(this_process()));
    let sighting = enricher.enrich(observation(1, tuple(C, S), None), now());
    assert_eq!(sighting.local.process.map(|p| p.command_args.len()), Some(0));
}

#[test]
fn a_connection_that_was_not_seen_to_open_is_named_all_the_same() {
    let mut enricher = enricher(Options { max_connections: 0, ..Options::default() });
    open(&mut enricher, 1, tuple(C, S), Side::Client, None);
    let sighting = enricher.enrich(observation(1, tuple(C, S), Some(this_process())), now());
    assert_eq!(sighting.local.process.map(|p| p.pid), Some(std::process::id()));
}

#[test]
fn nothing_is_left_of_connections_that_are_over() {
    let mut enricher = enricher(Options::default());
    for conn in 0..1000 {
        open(&mut enricher, conn, tuple(C, S), Side::Client, Some(this_process()));
        let closed = Closed { conn: ConnId(conn), how: CloseKind::Finished, bytes: None };
        enricher.observe(&Event::Closed(closed), now());
        enricher.enrich(observation(conn, tuple(C, S), None), now());
        enricher.forget(ConnId(conn));
    }
    assert_eq!(enricher.ends.len(), 0);
}
