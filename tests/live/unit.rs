//! The rights and the protocol of deploy/systemd/tlsight.service, without a systemd: the agent runs with the unit's
//! capabilities and no others, with no way to get more, with the unit's system calls, and tells a notification socket what
//! it would tell systemd (sd_notify(3)).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::host::{case_address, free_port, wait_until_listening};
use tlsight_tests::pki::pki;
use tlsight_tests::run::case;
use tlsight_tests::service::Service;
use tlsight_tests::tools::{repository, scratch_dir};

const LIMIT: Duration = Duration::from_secs(60);
/// In place of the unit's minute.
const WATCHDOG: Duration = Duration::from_secs(2);

/// Adds the cases. Each brings an agent of its own.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("unit::its_rights_are_enough_and_systemd_is_told", told));
    trials.push(case("unit::without_sys_admin_only_probes_are_missing", without_probes));
}

/// What the unit says under a key.
fn setting(key: &str) -> Vec<String> {
    let path = repository().join("deploy/systemd/tlsight.service");
    let unit = std::fs::read_to_string(path).expect("the unit");
    let value = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {key}")).split(' ').map(str::to_owned).collect()
}

/// The capabilities of the unit, as setpriv(1) writes them.
fn capabilities() -> BTreeSet<String> {
    let all = setting("CapabilityBoundingSet");
    all.iter().map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect()
}

/// The system calls that the unit allows, groups resolved by systemd itself.
fn system_calls() -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    let mut open = setting("SystemCallFilter");
    while let Some(name) = open.pop() {
        if !name.starts_with('@') {
            calls.insert(name);
            continue;
        }
        let listed = output(command("systemd-analyze", ["--no-pager", "syscall-filter", &name]));
        let lines = listed.lines().skip(1).map(str::trim);
        open.extend(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    calls
}

/// Allows the system calls that are named first, answers all others with EPERM, and runs a program.
const FILTER: &str = "
import errno, os, seccomp, sys
calls, program = sys.argv[1].split(','), sys.argv[2:]
filter = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
for call in calls:
    try:
        filter.add_rule(seccomp.ALLOW, call)
    except (RuntimeError, ValueError):
        pass  # of another processor
filter.load()
os.execv(program[0], program)
";

/// Runs a command with these capabilities and the unit's other restrictions.
fn confine(cmd: &mut Command, capabilities: &BTreeSet<String>) {
    let sets: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let calls: Vec<String> = system_calls().into_iter().collect();
    let mut confined = command("setpriv", ["--no-new-privs", "--clear-groups"]);
    confined.args(["--bounding-set", &format!("-all{sets}"), "--inh-caps", "-all"]);
    confined.args(["/usr/bin/python3", "-c", FILTER, &calls.join(",")]);
    confined.arg(cmd.get_program()).args(cmd.get_args());
    *cmd = confined;
}

/// What is left of a process's capabilities.
fn rights(pid: u32) -> (String, String) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    (line("CapEff"), line("NoNewPrivs"))
}

/// The bits of capabilities, as the kernel prints them.
fn mask(capabilities: &BTreeSet<String>) -> String {
    let bit = |name: &str| match name {
        "dac_read_search" => 2,
        "net_admin" => 12,
        "sys_ptrace" => 19,
        "sys_admin" => 21,
        "perfmon" => 38,
        "bpf" => 39,
        other => panic!("which bit is {other}?"),
    };
    format!("{:016x}", capabilities.iter().fold(0_u64, |mask, name| mask | 1 << bit(name)))
}

/// The next message with this in it, and all before.
fn wait_for(socket: &UnixDatagram, what: &str) -> Vec<String> {
    let deadline = Instant::now() + LIMIT;
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a limit");
        let Ok(length) = socket.recv(&mut buffer) else { break };
        seen.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        if seen.last().is_some_and(|message| message.lines().any(|line| line == what)) {
            return seen;
        }
    }
    panic!("systemd is not told {what}: {seen:?}");
}

/// A TLS 1.3 server, to be called.
fn server() -> (Child, SocketAddr) {
    let at = SocketAddr::from((case_address(), free_port()));
    let mut server = command("openssl", ["s_server", "-quiet", "-www", "-accept", &at.to_string(), "-cert"]);
    server.arg(&pki().server_p256.cert).arg("-key").arg(&pki().server_p256.key);
    let server = Child::spawn(server);
    assert!(wait_until_listening(at, LIMIT, || server.is_running()), "{}", server.text());
    (server, at)
}

/// Calls until the running agent knows the service by what is seen of TLS 1.3, with its certificate or without.
fn seen(service: &Service, at: SocketAddr, with_certificate: bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut call = command("curl", ["--silent", "--insecure", "--noproxy", "*", "--tlsv1.3"]);
        output({
            call.arg(format!("https://{at}/"));
            call
        });
        let mut report = Command::new(tlsight_tests::agent::binary());
        report.args(["report", "-o", "json", "--socket"]).arg(&service.socket);
        let text = output(report);
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let names = |entry: &serde_json::Value, list: &str, name: &str| {
            entry[list].as_array().is_some_and(|all| all.iter().any(|one| one == name))
        };
        let any = |of: &str, list: &str, name: &str| {
            report[of].as_array().is_some_and(|all| all.iter().any(|entry| names(entry, list, name)))
        };
        let is_seen = any("services", "endpoints", &at.to_string());
        let is_shown = any("certificates", "shown_by", &format!("/usr/bin/openssl:{}", at.port()));
        if is_seen && is_shown == with_certificate {
            return;
        }
        assert!(Instant::now() < deadline, "{text}\n{}", service.child.text());
    }
}

fn told() {
    let folder = scratch_dir("unit");
    let address = folder.join("notify");
    let systemd = UnixDatagram::bind(&address).expect("a socket");
    let all = capabilities();
    let configuration = "trust: {system_roots: off}\n";
    let service = Service::start_in(&folder, configuration, |cmd| {
        confine(cmd, &all);
        cmd.env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    });
    assert_eq!(rights(service.child.pid), (mask(&all), "1".to_owned()));
    let first = wait_for(&systemd, "READY=1");
    assert_eq!(first.len(), 1, "{first:?}");
    let (_server, at) = server();
    seen(&service, at, true);
    assert!(!service.child.text().contains("refused"), "{}", service.child.text());

    let started = Instant::now();
    wait_for(&systemd, "WATCHDOG=1");
    wait_for(&systemd, "WATCHDOG=1");
    assert!(started.elapsed() <= WATCHDOG * 3, "{:?}", started.elapsed());
    service.child.signal(libc::SIGHUP);
    wait_for(&systemd, "RELOADING=1");
    wait_for(&systemd, "READY=1");

    // A capture that stands still is not called alive.
    service.child.signal(libc::SIGSTOP);
    systemd.set_read_timeout(Some(WATCHDOG * 2)).expect("a limit");
    let mut late = 0;
    while systemd.recv(&mut [0; 4096]).is_ok() {
        late += 1;
    }
    assert!(late <= 1, "{late} words of a process that is stopped");
    service.child.signal(libc::SIGCONT);
    wait_for(&systemd, "WATCHDOG=1");

    service.child.signal(libc::SIGTERM);
    wait_for(&systemd, "STOPPING=1");
    let ended = service.child.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
}

fn without_probes() {
    let mut all = capabilities();
    assert!(all.remove("sys_admin"));
    let configuration = "trust: {system_roots: off}\ntls13: {certificates: off}\n";
    let service = Service::start_in(&scratch_dir("unit"), configuration, |cmd| confine(cmd, &all));
    assert_eq!(rights(service.child.pid), (mask(&all), "1".to_owned()));
    let (_server, at) = server();
    seen(&service, at, false);
    let ended = service.stop();
    assert!(ended.status.success(), "{}", ended.text);
}
