//! What the agent gives up of root's rights, as the kernel tells of every thread of it; and that all else works without.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tlsight_tests::agent::{Agent, binary};
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::host::pause;
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerStack, Version};
use tlsight_tests::pki::pki;
use tlsight_tests::run::case;
use tlsight_tests::service::Service;
use tlsight_tests::tools::scratch_dir;

use crate::support::{address, only_success, server};

const LIMIT: Duration = Duration::from_secs(60);
const QUIET: &str = "tls13: {certificates: off}\ntrust: {system_roots: off}\n";

/// capability.h
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
const STRICT: u64 = BPF | PERFMON | NET_ADMIN | SYS_PTRACE | DAC_READ_SEARCH;

/// Adds the cases. Each brings an agent of its own.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("sandbox::an_agent_keeps_six_capabilities_in_every_thread", agent));
    trials.push(case("sandbox::watch_with_probes_gives_up_the_same", watch));
    trials.push(case("sandbox::top_gives_up_the_same", top));
    trials.push(case("sandbox::off_gives_up_nothing", off));
    trials.push(case("sandbox::strict_sees_what_the_wire_shows_and_says_what_it_does_not", strict));
    trials.push(case("sandbox::writes_its_files_where_others_own_the_folder", folder_of_others));
    trials.push(case("sandbox::writes_nothing_else_where_everything_is_read_only", read_only));
    trials.push(case("sandbox::runs_with_five_capabilities_and_no_others", five));
}

/// What a thread may.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rights {
    effective: u64,
    permitted: u64,
    bounding: u64,
    inheritable: u64,
    ambient: u64,
    no_new_privs: u64,
    filters: u64,
}

impl Rights {
    fn of(status: &Path) -> Option<Self> {
        let text = fs::read_to_string(status).ok()?;
        let get = |key: &str, radix: u32| {
            let value =
                text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or("0");
            u64::from_str_radix(value.trim(), radix).expect(key)
        };
        Some(Self {
            effective: get("CapEff", 16),
            permitted: get("CapPrm", 16),
            bounding: get("CapBnd", 16),
            inheritable: get("CapInh", 16),
            ambient: get("CapAmb", 16),
            no_new_privs: get("NoNewPrivs", 10),
            filters: get("Seccomp_filters", 10),
        })
    }

    fn own() -> Self {
        Self::of(Path::new("/proc/self/status")).expect("own status")
    }

    /// Those that a sandbox leaves of this process's own.
    fn left(kept: u64) -> Self {
        let own = Self::own();
        Self {
            effective: own.effective & kept,
            permitted: own.permitted & kept,
            bounding: own.bounding & kept,
            inheritable: 0,
            ambient: 0,
            no_new_privs: 1,
            filters: own.filters + 2,
        }
    }
}

/// Of every thread of a process, by its name.
fn threads(pid: u32) -> BTreeMap<String, Rights> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten();
    let one = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        Some((name.trim().to_owned(), Rights::of(&task.path().join("status"))?))
    };
    tasks.filter_map(one).collect()
}

fn all_have(pid: u32, rights: &Rights, wanted: &[&str]) {
    let threads = threads(pid);
    for name in wanted {
        assert!(threads.contains_key(*name), "no thread {name}: {:?}", threads.keys());
    }
    for (name, found) in &threads {
        assert_eq!(found, rights, "thread {name}");
    }
}

/// A handshake that everybody who watches sees.
fn connect() -> std::net::SocketAddr {
    let server = server(ServerStack::OpenSsl, Ask::Required);
    let at = address(server);
    let config = ClientConfig::new(at).version(Version::Tls13).identity(&pki().client);
    only_success(&ClientStack::OpenSsl.run(&config));
    at
}

/// Waits until a text contains something.
fn wait_for(what: &str, mut text: impl FnMut() -> String) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let text = text();
        if text.contains(what) {
            return text;
        }
        assert!(Instant::now() < deadline, "no {what} in:\n{text}");
        pause(Duration::from_millis(50));
    }
}

fn agent() {
    let service = Service::start("sandbox", QUIET);
    all_have(service.child.pid, &Rights::left(STRICT | SYS_ADMIN), &["service"]);
    let at = connect();
    let port = format!("server_port=\"{}\"", at.port());
    wait_for(&port, || service.get("/metrics", &[]).body);
    // What is started later has what is left, and works.
    let mut report = Command::new(binary());
    report.args(["report", "-o", "json", "--socket"]).arg(&service.socket);
    assert!(output(report).contains(&at.to_string()));
    assert!(service.reload().contains("settings read anew"), "{}", service.child.text());
    all_have(service.child.pid, &Rights::left(STRICT | SYS_ADMIN), &["service"]);
    let ended = service.stop();
    assert!(ended.status.success(), "{}", ended.text);
}

fn watch() {
    let agent = Agent::start_as(&["--no-existing", "--no-system-roots"], |_| {});
    all_have(agent.pid(), &Rights::left(STRICT | SYS_ADMIN), &["prober"]);
    let at = connect();
    let (client, server) = agent.connections(at, 1).remove(0);
    // A probe was put into a library after everything else was given up, or before; a certificate came through it.
    let subject = |end: &tlsight_tests::agent::End, key: &str| {
        end.phase("final").and_then(|line| line.get(key)).is_some()
    };
    assert!(subject(&client, "tls.server.subject"), "{client:?}");
    assert!(subject(&server, "tls.client.subject"), "{server:?}");
    agent.stop().expect("it ends well");
}

fn top() {
    let mut cmd = Command::new(binary());
    cmd.args(["top", "--own", "--snapshot", "100x30", "--duration", "6s", "--tls13-certificates", "off"]);
    let child = Child::spawn(cmd);
    let left = Rights::left(STRICT | SYS_ADMIN);
    let deadline = Instant::now() + LIMIT;
    while threads(child.pid).values().any(|rights| *rights != left) {
        assert!(
            child.is_running() && Instant::now() < deadline,
            "{:?}\n{}",
            threads(child.pid),
            child.text()
        );
        pause(Duration::from_millis(20));
    }
    let ended = child.finish(LIMIT);
    assert!(ended.status.success() && ended.text.contains("tlsight"), "{}", ended.text);
}

fn off() {
    let service = Service::start("sandbox-off", &format!("{QUIET}agent: {{sandbox: off}}\n"));
    let own = Rights::own();
    for (name, rights) in threads(service.child.pid) {
        assert_eq!(rights, own, "thread {name}");
    }
    assert!(service.stop().status.success(), "{}", service.child.text());
}

fn strict() {
    let folder = scratch_dir("strict");
    let file = folder.join("tlsight.yaml");
    fs::write(&file, "agent: {sandbox: strict}\ntrust: {system_roots: off}\n").expect("write");
    let agent = Agent::start_as(&["--config", &file.to_string_lossy()], |_| {});
    all_have(agent.pid(), &Rights::left(STRICT), &["prober"]);
    let at = connect();
    let (client, server) = agent.connections(at, 1).remove(0);
    for end in [&client, &server] {
        let line = end.phase("final").expect("a last line");
        assert_eq!(line.get("tlsight.security").and_then(|v| v.as_str()), Some("mtls"), "{line:?}");
    }
    agent.stop().expect("it ends well");
    // Whether this kernel wants CAP_SYS_ADMIN for probes is its own business; that it does is told.
    let certificates = client.phase("final").is_some_and(|line| line.contains_key("tls.server.subject"));
    let told = agent.said().contains("TLS libraries not probed: the kernel refused");
    assert_ne!(certificates, told, "{}", agent.said());
}

fn folder_of_others() {
    let folder = scratch_dir("of-others");
    std::os::unix::fs::chown(&folder, Some(65534), Some(65534)).expect("give it away");
    let log = folder.join("audit.log");
    let configuration = format!("{QUIET}audit: {{log: {}}}\n", log.display());
    let service = Service::start_in(&folder, &configuration, |_| {});
    all_have(service.child.pid, &Rights::left(STRICT | SYS_ADMIN | DAC_OVERRIDE), &["service"]);
    connect_tls12_with_certificate();
    wait_for("\n", || fs::read_to_string(&log).unwrap_or_default());
    // Opened anew, too.
    fs::rename(&log, folder.join("moved")).expect("rename");
    assert!(service.reload().contains("settings read anew"));
    connect_tls12_with_certificate();
    wait_for("\n", || fs::read_to_string(&log).unwrap_or_default());
    assert!(service.stop().status.success(), "{}", service.child.text());
}

/// Certificates are on the wire: no probe is needed.
fn connect_tls12_with_certificate() {
    let at = address(server(ServerStack::OpenSsl, Ask::Required));
    let config = ClientConfig::new(at).version(Version::Tls12).identity(&pki().client);
    only_success(&ClientStack::OpenSsl.run(&config));
}

/// Every mount of the host is read-only in a mount namespace of the agent's own, but for a folder with socket and audit log.
fn read_only() {
    let folder = scratch_dir("read-only");
    let state = folder.join("state");
    fs::create_dir(&state).expect("make a folder");
    let configuration = format!(
        "{QUIET}audit: {{log: {0}/audit.log}}\nagent: {{socket: {0}/tlsight.sock}}\nmetrics: {{listen: 127.0.0.1:0}}\n",
        state.display()
    );
    let file = folder.join("tlsight.yaml");
    fs::write(&file, configuration).expect("write");
    let script = "set -e; state=$1; shift
        findmnt --noheadings --raw --output TARGET | sort -u | while read -r at; do
            case $at in /proc*) ;; *) mount -o remount,bind,ro \"$at\" ;; esac
        done
        mount --types tmpfs tmpfs \"$state\"
        ! touch /tmp/x /run/x /var/tmp/x /x 2>/dev/null
        exec \"$@\"";
    let mut cmd = command("unshare", ["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    cmd.arg(&state).arg(binary()).args(["agent", "--config"]).arg(&file);
    let child = Child::spawn(cmd);
    child.wait_for_line("tlsight: watching", LIMIT);
    connect_tls12_with_certificate();
    let inside = |name: &str| format!("/proc/{}/root{}/{name}", child.pid, state.display());
    wait_for("\n", || fs::read_to_string(inside("audit.log")).unwrap_or_default());
    let names = |folder: &str| -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&inside("")), ["audit.log", "tlsight.sock"]);
    assert_eq!(written(child.pid), [format!("{}/audit.log", state.display())]);
    child.signal(libc::SIGTERM);
    let ended = child.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
}

/// Regular files that a process has open for writing.
fn written(pid: u32) -> Vec<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").flatten();
    let one = |fd: fs::DirEntry| {
        let target = fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned();
        let info =
            fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.file_name().to_string_lossy())).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let writes = u32::from_str_radix(flags.trim(), 8).ok()? & 0o3 != 0;
        let is_file =
            target.starts_with('/') && !target.starts_with("/dev/") && !target.starts_with("/proc/");
        (writes && is_file).then_some(target)
    };
    fds.filter_map(one).collect()
}

/// As in a container that is given five: without `CAP_SYS_ADMIN`, which the sandbox of this one would have kept.
fn five() {
    let names = "bpf,perfmon,net_admin,sys_ptrace,dac_read_search";
    let set: String = names.split(',').fold("-all".to_owned(), |set, name| format!("{set},+{name}"));
    let mut cmd = command("setpriv", ["--inh-caps", &set, "--bounding-set", &set, "--"]);
    cmd.arg(binary()).args(["watch", "-o", "json", "--no-existing", "--tls13-certificates", "off"]);
    let child = Child::spawn(cmd);
    child.wait_for_line("tlsight: watching", LIMIT);
    all_have(child.pid, &Rights::left(STRICT), &["tlsight"]);
    let at = connect();
    wait_for(&at.ip().to_string(), || child.text());
    child.signal(libc::SIGINT);
    let ended = child.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
}
