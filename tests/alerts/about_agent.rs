//! Alerts about the agent itself. Each case is alone: what it does to the agent would be felt by all others.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use libtest_mimic::Trial;
use tlsight_tests::child::{command, output};
use tlsight_tests::host::{case_address, free_port};
use tlsight_tests::pki::pki;
use tlsight_tests::run::case_alone;
use tlsight_tests::tools::venv;

use crate::traffic::{Server, until, visit};
use crate::webhook::{Alert, Status};
use crate::world::{World, world};

/// More connections than the smallest ring buffer has room for.
const FLOOD: usize = 1500;
/// More names than a label may have values.
const NAMES: usize = 260;

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case_alone("an_agent_that_is_down_and_comes_back", down));
    trials.push(case_alone("no_agent_that_prometheus_knows_of", absent));
    trials.push(case_alone("events_that_are_lost", lost));
    trials.push(case_alone("a_configuration_that_cannot_be_read", reload));
    trials.push(case_alone("more_names_than_a_metric_may_have", limited));
    trials.push(case_alone("exports_that_are_dropped", dropped));
}

fn is_ours(world: &World) -> impl Fn(&Alert) -> bool {
    let instance = world.agent_at.to_string();
    move |alert| alert.label("instance") == instance
}

fn down() {
    let world = world();
    // An agent that other cases started anew was down too, perhaps for long enough: nobody is told twice of what goes on.
    world.is_over("TlsightAgentDown", is_ours(world));
    let mark = world.webhook.mark();
    world.stop_agent().expect("it ends well");
    let alert = world.hears(mark, "TlsightAgentDown", Status::Firing, is_ours(world));
    assert_eq!((alert.label("severity"), alert.label("job")), ("critical", "tlsight"));
    world.start_agent();
    world.hears(mark, "TlsightAgentDown", Status::Resolved, is_ours(world));
}

fn absent() {
    let world = world();
    let mark = world.webhook.mark();
    world.scrape(&[]);
    let alert = world.hears(mark, "TlsightAgentAbsent", Status::Firing, |_| true);
    assert_eq!(alert.label("severity"), "critical");
    world.scrape(&[world.agent_at]);
    world.hears(mark, "TlsightAgentAbsent", Status::Resolved, |_| true);
}

fn lost() {
    let world = world();
    world.with_settings("capture: {ring_buffer: 65536}", || {
        let at = SocketAddr::from((case_address(), free_port()));
        let listener = TcpListener::bind(at).expect("listen");
        let mark = world.webhook.mark();
        world.signal_agent(libc::SIGSTOP);
        for _ in 0..FLOOD {
            let client = TcpStream::connect(at).expect("connect");
            drop((listener.accept().expect("accept"), client));
        }
        world.signal_agent(libc::SIGCONT);
        let is_it = |alert: &Alert| is_ours(world)(alert) && alert.label("place") == "kernel_ring_buffer";
        let alert = world.hears(mark, "TlsightEventsLost", Status::Firing, is_it);
        assert_eq!(alert.label("severity"), "warning");
        world.hears(mark, "TlsightEventsLost", Status::Resolved, is_it);
    });
}

fn reload() {
    let world = world();
    let mark = world.webhook.mark();
    world.configure("findings: {no_such_rule: {}}");
    world.signal_agent(libc::SIGHUP);
    let alert = world.hears(mark, "TlsightConfigReloadFailed", Status::Firing, is_ours(world));
    assert_eq!(alert.label("severity"), "warning");
    world.configure_as_ever();
    world.signal_agent(libc::SIGHUP);
    world.hears(mark, "TlsightConfigReloadFailed", Status::Resolved, is_ours(world));
}

/// Connects with one name after the other.
const CONNECT: &str = "
import socket, ssl, sys
address, port, names = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
context = ssl._create_unverified_context()
for number in range(names):
    with socket.create_connection((address, port)) as connection:
        with context.wrap_socket(connection, server_hostname=f'{number}.tlsight.test') as secured:
            secured.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
            secured.recv(4096)
";

fn limited() {
    let (world, server) = (world(), Server::start(&pki().server_p256));
    // In an agent of its own: what is counted of other names would go on being limited.
    world.with_settings("", || {
        let mark = world.webhook.mark();
        let mut python = command(venv("python3"), ["-c", CONNECT]);
        python.args([server.at.ip().to_string(), server.at.port().to_string(), NAMES.to_string()]);
        output(python);
        let is_it =
            |alert: &Alert| is_ours(world)(alert) && alert.label("metric") == "tlsight_tls_handshakes_total";
        let alert = world.hears(mark, "TlsightSeriesLimited", Status::Firing, is_it);
        assert_eq!(alert.label("severity"), "info");
        world.hears(mark, "TlsightSeriesLimited", Status::Resolved, is_it);
    });
}

fn dropped() {
    let (world, server) = (world(), Server::start(&pki().server_p256));
    // Nobody listens there.
    let receiver = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let settings = format!("otlp: {{endpoint: 'http://{receiver}', timeout: 1s}}");
    world.with_settings(&settings, || {
        let mark = world.webhook.mark();
        let is_it = |alert: &Alert| {
            alert.label("alertname") == "TlsightExportDropped" && alert.label("what") == "otlp_spans"
        };
        let firing = |alert: &Alert| alert.status == Status::Firing && is_it(alert);
        let alert = until(
            || assert!(visit(&server, "https", &["--insecure"])),
            || world.webhook.wait(mark, Duration::from_millis(300), firing),
        );
        assert_eq!(alert.label("severity"), "warning");
        world.hears(mark, "TlsightExportDropped", Status::Resolved, is_it);
    });
}
