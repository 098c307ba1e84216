//! An agent that is behind: it was held up, or whoever reads its output is slow. As long as there is room for what
//! happens meanwhile, it says the same as if it had not been.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use libtest_mimic::Trial;
use tlsight_tests::agent::Agent;
use tlsight_tests::crowd::{Crowding, Program, Tally};
use tlsight_tests::flood::allow_descriptors;
use tlsight_tests::host::{case_address, free_port, pause};
use tlsight_tests::peers::{Ask, ServerConfig, ServerStack};
use tlsight_tests::pki::{crowd, pki};
use tlsight_tests::run::case_alone;

/// Connections, each with a chain of either side at both ends.
const COUNT: usize = 300;
/// Connections whose first events alone are more than the agent reads at a time.
const PIECES: usize = 1200;
/// Longer than anything that the agent waits for before it makes up its mind.
const LONG: Duration = Duration::from_secs(6);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case_alone("behind::held_up", held_up));
    trials.push(case_alone("behind::held_up_between_two_pieces", held_up_between_two_pieces));
    trials.push(case_alone("behind::output_that_is_not_read", not_read));
}

/// Makes the connections while the agent is in the way of itself, and compares all that it says afterwards.
fn behind(arguments: &[&str], meanwhile: impl FnOnce(&Agent, &dyn Fn())) -> Agent {
    let server = ServerStack::Go.start(&ServerConfig::new(Ask::Required, &pki().server_p256));
    let crowding = Crowding {
        address: case_address(),
        ports: &[server.port],
        names: None,
        identities: &crowd().clients,
        count: COUNT,
        plain: None,
    };
    let port = server.port.to_string();
    let agent = Agent::start(&[&["--stats", "--no-existing", "--port", &port], arguments].concat());
    let lines = std::cell::RefCell::default();
    meanwhile(&agent, &|| *lines.borrow_mut() = crowding.run(Program::Asyncio));
    let mut tally = Tally::default();
    let shown = |number: usize| crowding.identities.get(number % crowding.identities.len());
    tally.add(&agent, crowding.address, &lines.borrow(), |line| shown(line.number));
    tally.check(&format!("{COUNT} with an agent that is behind"));
    assert_eq!((tally.expected, tally.tied), (4 * COUNT, 4 * COUNT), "{}", agent.said());
    agent.stop().expect("a clean end");
    for lost in ["lifecycle_events_lost", "data_events_lost", "certificates_lost"] {
        assert_eq!(agent.counter(&format!("kernel.{lost}")), 0);
    }
    agent
}

fn held_up() {
    behind(&["--ring-buffer", "67108864"], |agent, connect| {
        agent.hold();
        connect();
        pause(LONG);
        agent.resume();
    });
}

/// What the agent waits for is a matter of when things happened, not of when it comes to look at them: more requests
/// come in two pieces, shortly one behind the other, than it reads events at a time.
fn held_up_between_two_pieces() {
    allow_descriptors();
    let at = SocketAddr::from((case_address(), free_port()));
    let listener = TcpListener::bind(at).expect("listen");
    let port = at.port().to_string();
    let agent = Agent::start(&["--stats", "--no-existing", "--port", &port, "--ring-buffer", "67108864"]);
    agent.hold();
    let connected = (0..PIECES).map(|_| {
        let mut client = TcpStream::connect(at).expect("connect");
        client.write_all(b"GE").expect("write");
        (client, listener.accept().expect("accept").0)
    });
    let mut connected: Vec<_> = connected.collect();
    for (client, _) in &mut connected {
        client.write_all(b"T / HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
    }
    for (client, mut server) in connected {
        drop(client);
        server.read_to_end(&mut Vec::new()).expect("end of stream");
    }
    pause(LONG);
    agent.resume();
    for (client, server) in agent.connections(at, PIECES) {
        for end in [client, server] {
            let told = |key: &str| end.lines.iter().map(|line| line.get(key).cloned()).collect::<Vec<_>>();
            assert_eq!(told("tlsight.security"), vec![Some("plaintext".into()); 2]);
            assert_eq!(told("network.protocol.name"), vec![Some("http".into()); 2]);
        }
    }
    agent.stop().expect("a clean end");
    assert!(agent.counter("segments") > 4096);
    assert_eq!(agent.counter("kernel.data_events_lost"), 0);
}

/// A reader that is slow for a while costs memory, not connections: the ring buffer takes a fraction of this.
fn not_read() {
    let agent = behind(&["--ring-buffer", "1048576"], |agent, connect| {
        agent.leave_unread();
        connect();
        agent.read_on();
    });
    assert!(agent.counter("output.bytes_deferred") > 1 << 20, "{}", agent.said());
    assert_eq!(agent.counter("output.times_full"), 0);
}
