//! `tlsight watch` itself: filters, limits, and how it ends when something is in its way.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;
use tlsight_tests::agent::{Object, binary};
use tlsight_tests::child::{Child, command};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerStack, Version};
use tlsight_tests::run::case;

use crate::support::{address, only_success, server};

const LIMIT: Duration = Duration::from_secs(30);

/// Adds the cases. Each brings an agent of its own.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("cli::without_rights_says_which_and_ends_with_5", without_rights));
    trials.push(case("cli::full_disk_ends_with_7", full_disk));
    trials.push(case("cli::closed_pipe_ends_quietly", closed_pipe));
    trials.push(case("cli::count_and_filters_hold", count_and_filters));
    trials.push(case("cli::table_shows_a_line_per_connection", table));
    trials.push(case("cli::ends_after_its_duration", duration));
    for signal in [libc::SIGINT, libc::SIGTERM] {
        trials.push(case(format!("cli::signal_{signal}_ends_it_well"), move || stopped_by(signal)));
    }
}

fn exit_code(child: &Child) -> (Option<i32>, String) {
    let ended = child.finish(LIMIT);
    (ended.status.code(), ended.text)
}

/// Any connection: something for the agent to print.
fn connect() -> SocketAddr {
    let server = server(ServerStack::Go, Ask::Never);
    let at = address(server);
    only_success(&ClientStack::Go.run(&ClientConfig::new(at).version(Version::Tls13)));
    at
}

fn without_rights() {
    // A directory that everybody may enter: the build's own may be root's.
    let copy = tlsight_tests::tools::scratch().join("tlsight");
    std::fs::copy(binary(), &copy).expect("copy the agent");
    let mut cmd =
        command("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]);
    cmd.arg(&copy).args(["watch", "-o", "json"]);
    let (code, text) = exit_code(&Child::spawn(cmd));
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("cannot") && text.contains("try:"), "{text}");
}

/// An agent whose output goes to `out`; its standard error is collected.
fn watching_into(out: Stdio) -> std::process::Child {
    let mut cmd = Command::new(binary());
    cmd.args(["watch", "-o", "json", "--no-existing"])
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped());
    cmd.spawn().expect("start the agent")
}

fn full_disk() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut agent = watching_into(full.into());
    let mut errors = std::io::BufReader::new(agent.stderr.take().expect("piped"));
    wait_until_watching(&mut errors);
    connect();
    let status = agent.wait().expect("the agent ends");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut errors, &mut text).expect("its last words");
    assert_eq!(status.code(), Some(7), "{text}");
    assert!(text.contains("cannot write to standard output"), "{text}");
}

fn closed_pipe() {
    let mut agent = watching_into(Stdio::piped());
    let mut errors = std::io::BufReader::new(agent.stderr.take().expect("piped"));
    wait_until_watching(&mut errors);
    drop(agent.stdout.take());
    connect();
    let status = agent.wait().expect("the agent ends");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut errors, &mut text).expect("its last words");
    assert_eq!((status.code(), text.as_str()), (Some(0), ""));
}

fn wait_until_watching(errors: &mut impl std::io::BufRead) {
    let mut line = String::new();
    while !line.contains("tlsight: watching") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).expect("standard error"), 0, "the agent ended");
    }
}

fn own_agent(args: &[&str]) -> Child {
    let mut cmd = Command::new(binary());
    cmd.arg("watch").args(args);
    let agent = Child::spawn(cmd);
    agent.wait_for_line("tlsight: watching", LIMIT);
    agent
}

fn count_and_filters() {
    let port = server(ServerStack::Rustls, Ask::Never).port.to_string();
    let process = ClientStack::Rustls.command(&ClientConfig::new(([127, 0, 0, 1], 1).into()));
    let process = std::path::Path::new(process.get_program())
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let filters =
        ["--port", &port, "--process", &process, "--security", "tls", "--no-existing", "--count", "2"];
    let agent = own_agent(&[&["-o", "json"], &filters[..]].concat());
    // None of these passes all filters.
    connect();
    let at = address(server(ServerStack::Rustls, Ask::Never));
    drop(std::net::TcpStream::connect(at));
    // Both ends of this one do: the client and the server are the same program.
    only_success(&ClientStack::Rustls.run(&ClientConfig::new(at).version(Version::Tls13)));
    let (code, text) = exit_code(&agent);
    assert_eq!(code, Some(0), "{text}");
    let shown: Vec<Object> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let roles: std::collections::BTreeSet<&str> =
        shown.iter().filter_map(|o| o.get("tlsight.role").and_then(Value::as_str)).collect();
    assert_eq!(roles, ["client", "server"].into(), "{text}");
    for o in &shown {
        assert_eq!(o["server.port"].to_string(), port);
        assert_eq!(o["process.executable.name"], process.as_str());
        assert_eq!(o["tlsight.security"], "tls");
    }
}

fn table() {
    let server = server(ServerStack::Envoy, Ask::Optional);
    let agent = own_agent(&["--no-existing", "--port", &server.port.to_string()]);
    let at = address(server);
    let config = ClientConfig::new(at).version(Version::Tls13).identity(&tlsight_tests::pki::pki().client);
    only_success(&ClientStack::Curl.run(&config));
    let line = agent.wait_for_line("curl", LIMIT);
    for word in ["mtls", "1.3", tlsight_tests::pki::SERVER_NAME] {
        assert!(line.to_lowercase().contains(word), "no {word:?} in {line:?}");
    }
    agent.signal(libc::SIGINT);
    let (code, text) = exit_code(&agent);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains('\u{1b}'), "colour, and no terminal:\n{text}");
}

fn duration() {
    let agent = own_agent(&["--duration", "1s", "--no-existing"]);
    let (code, text) = exit_code(&agent);
    assert_eq!(code, Some(0), "{text}");
}

fn stopped_by(signal: i32) {
    let agent = own_agent(&["-o", "json"]);
    agent.signal(signal);
    let (code, text) = exit_code(&agent);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}
