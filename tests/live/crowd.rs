//! Which certificate belongs to which connection, where nothing but the probes can tell: servers and clients show
//! certificates of one length, thousands of handshakes are under way in one thread, and names are sent or not.

use libtest_mimic::Trial;
use tlsight_tests::agent;
use tlsight_tests::child::{Child, command};
use tlsight_tests::crowd::{Crowding, LIMIT, Line, Program, Servers, Tally, lines};
use tlsight_tests::host::{case_address, free_port};
use tlsight_tests::peers::{Ask, ServerConfig, ServerStack};
use tlsight_tests::pki::{Identity, crowd, pki};
use tlsight_tests::run::{case, case_alone};
use tlsight_tests::tools::{peer_source, venv};

use crate::support::server;

/// Connections from one event loop.
const MANY: usize = 2000;

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    for program in [Program::Asyncio, Program::Node] {
        let name = |what: &str| format!("crowd::{what}_{program:?}").to_lowercase();
        // Alone: one of them keeps both processors busy for seconds.
        trials.push(case_alone(name("event_loop_with_names"), move || many(program, MANY, true, None)));
        trials.push(case_alone(name("event_loop_without_names"), move || many(program, MANY, false, None)));
        trials.push(case(name("plaintext_in_between"), move || {
            let port = plain_server();
            many(program, 200, true, Some(port.1));
        }));
        trials.push(case(name("client_and_server_at_once"), move || proxy(program)));
        for stack in [ServerStack::Asyncio, ServerStack::Node, ServerStack::Go] {
            let name = format!("crowd::clients_of_one_{stack:?}_server_from_{program:?}").to_lowercase();
            trials.push(case(name, move || clients(program, stack)));
        }
        trials.push(case(name("nginx_workers"), move || workers(program)));
        trials.push(case(name("forked_workers"), move || forked(program)));
        trials.push(case(name("two_at_a_time"), move || two_at_a_time(program)));
    }
    trials.push(case_alone("crowd::threads_with_names", || many(Program::Threads, 1024, true, None)));
    trials.push(case_alone("crowd::threads_without_names", || many(Program::Threads, 1024, false, None)));
}

/// One program, `count` connections to as many servers as there are certificates.
fn many(program: Program, count: usize, named: bool, plain: Option<u16>) {
    let identities = &crowd().servers;
    let servers = Servers::start(identities, 2, "off");
    let crowding = Crowding {
        address: case_address(),
        ports: &servers.ports,
        names: named.then_some(identities),
        identities: &[],
        count,
        plain,
    };
    let lines = crowding.run(program);
    as_connected(&lines, &servers);
    let Some(agent) = agent::shared() else { return };
    let mut tally = Tally::default();
    tally.add(agent, crowding.address, &lines, |_| None);
    tally.check(&format!("{count} from {program:?}{}", if named { "" } else { ", no SNI" }));
    assert_eq!(tally.expected, 2 * count);
}

/// The client saw what the server it connected to shows: else the case itself is wrong.
fn as_connected(lines: &[Line], servers: &Servers) {
    for line in lines.iter().filter(|l| l.seen.is_some()) {
        let n = servers.ports.iter().position(|p| *p == line.server).expect("a port of these servers");
        assert_eq!(line.seen.as_deref(), Some(servers.identities[n].sha256.as_str()));
    }
}

/// The certificate that connection `n` of a program shows.
fn nth(identities: &[Identity], line: &Line) -> Option<&'static Identity> {
    let clients: &'static [Identity] = &crowd().clients;
    clients.get(line.number % identities.len())
}

fn plain_server() -> (Child, u16) {
    let port = free_port();
    let mut cmd = command(venv("python3"), [peer_source("python/http_plain.py")]);
    cmd.arg(port.to_string());
    let child = Child::spawn(cmd);
    child.wait_for_line("listening", LIMIT);
    (child, port)
}

/// A proxy: a client's certificate, its own one in both roles, and a server's cross one event loop.
fn proxy(program: Program) {
    let back = Servers::start(&crowd().servers, 2, "on");
    let shown_behind = &crowd().clients[..1];
    let behind = Crowding {
        address: case_address(),
        ports: &back.ports,
        names: Some(&crowd().servers),
        identities: shown_behind,
        count: 1,
        plain: None,
    };
    let port = free_port();
    let proxy = behind.start_proxy(program, port, &pki().server_p256);
    let front = Crowding {
        address: case_address(),
        ports: &[port],
        names: None,
        identities: &crowd().clients,
        count: 300,
        plain: None,
    };
    let front_lines = front.run(Program::Asyncio);
    let back_lines = lines(&proxy);
    assert_eq!(back_lines.len(), front_lines.len(), "{}", proxy.text());
    as_connected(&back_lines, &back);
    let Some(agent) = agent::shared() else { return };
    let mut tally = Tally::default();
    tally.add(agent, front.address, &front_lines, |line| nth(front.identities, line));
    tally.add(agent, behind.address, &back_lines, |_| shown_behind.first());
    tally.check(&format!("300 through a proxy on {program:?}"));
}

/// Fifty client certificates at one server.
fn clients(program: Program, stack: ServerStack) {
    let server = stack.start(&ServerConfig::new(Ask::Required, &pki().server_p256));
    mutual(program, &[server.port], 200, &format!("client certificates at {stack:?}"));
}

/// The same at one nginx with four workers.
fn workers(program: Program) {
    let servers = Servers::start(&crowd().servers, 4, "on");
    mutual(program, &servers.ports, 300, "client certificates at four nginx workers");
}

/// The same at four processes that accept from one socket.
fn forked(program: Program) {
    let port = free_port();
    let mut cmd = command(venv("python3"), [peer_source("python/prefork_tls.py")]);
    cmd.arg(port.to_string()).arg(&pki().ca).arg(&pki().server_p256.cert).arg(&pki().server_p256.key);
    let server = Child::spawn(cmd);
    server.wait_for_line("listening", LIMIT);
    // Its workers serve one connection after the other.
    for _ in 0..5 {
        mutual(program, &[port], 4, "client certificates at forked workers");
    }
}

/// Two connections to one server at the same time, again and again.
fn two_at_a_time(program: Program) {
    let go = server(ServerStack::Go, Ask::Optional);
    for _ in 0..3 {
        mutual(program, &[go.port], 2, "two at a time");
    }
}

fn mutual(program: Program, ports: &[u16], count: usize, what: &str) {
    let crowding = Crowding {
        address: case_address(),
        ports,
        names: None,
        identities: &crowd().clients,
        count,
        plain: None,
    };
    let lines = crowding.run(program);
    let Some(agent) = agent::shared() else { return };
    let mut tally = Tally::default();
    tally.add(agent, crowding.address, &lines, |line| nth(crowding.identities, line));
    tally.check(&format!("{count} from {program:?}, {what}"));
    assert_eq!(tally.expected, 4 * count);
}
