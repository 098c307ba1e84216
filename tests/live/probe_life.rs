//! The life of probes: put into a library when the first process maps it, taken out when nobody does, also where libraries
//! are replaced under running processes, or can be seen by a container only; and nothing is left behind by processes that
//! come and go by the hundred.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;
use tlsight_tests::agent::Agent;
use tlsight_tests::child::{Child, command};
use tlsight_tests::host::{case_address, free_port, pause, wait_until_listening};
use tlsight_tests::pki::{Identity, pki};
use tlsight_tests::run::case_alone;
use tlsight_tests::tools::scratch_dir;

const LIMIT: Duration = Duration::from_secs(20);
/// Processes a second, and for how long.
const RATE: u32 = 200;
const SECONDS: u32 = 4;
/// Descriptors that come and go with other programs of the host, whose libraries are probed too.
const OTHERS: usize = 40;

/// Adds the cases. Each brings an agent of its own.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case_alone("probe_life::short_lived_processes_leave_nothing", short_lived));
    trials.push(case_alone("probe_life::a_replaced_library_is_probed_and_so_is_the_old_one", replaced));
    trials.push(case_alone("probe_life::a_rewritten_library_is_inspected_again", rewritten));
    trials.push(case_alone("probe_life::a_library_only_a_container_has", contained));
    trials.push(case_alone("probe_life::one_layer_in_two_containers_is_probed_once", layered));
    trials.push(case_alone("probe_life::off_means_nothing_is_attached_nor_followed", off));
}

/// The library that the installed `openssl` loads.
fn libssl() -> PathBuf {
    let out = Command::new("sh").args(["-c", "ldd \"$(command -v openssl)\""]).output().expect("ldd");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let path = text.lines().find(|l| l.contains("libssl")).and_then(|l| l.split_whitespace().nth(2));
    PathBuf::from(path.unwrap_or_else(|| panic!("openssl loads no libssl:\n{text}")))
}

fn own_copy(dir: &Path) -> PathBuf {
    let to = dir.join(libssl().file_name().expect("a name"));
    std::fs::copy(libssl(), &to).expect("copy libssl");
    to
}

/// `openssl` with the libssl of a directory.
fn openssl<'a>(dir: &Path, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut cmd = command("openssl", args);
    cmd.env("LD_LIBRARY_PATH", dir);
    cmd
}

/// What the agent's descriptors lead to.
fn descriptors(agent: &Agent) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("descriptors").flatten();
    links.filter_map(|l| Some(std::fs::read_link(l.path()).ok()?.to_string_lossy().into_owned())).collect()
}

/// Files under `dir` that the agent keeps open, as it does with those that somebody maps; a deleted one is marked.
fn kept(agent: &Agent, dir: &Path) -> Vec<String> {
    let dir = dir.to_str().expect("UTF-8");
    let mut kept: Vec<String> = descriptors(agent).into_iter().filter(|d| d.starts_with(dir)).collect();
    kept.sort();
    kept
}

/// Ids of the probes that the agent holds.
fn probes(agent: &Agent) -> BTreeSet<String> {
    let infos = std::fs::read_dir(format!("/proc/{}/fdinfo", agent.pid())).expect("descriptors").flatten();
    let text: String = infos.filter_map(|i| std::fs::read_to_string(i.path()).ok()).collect();
    text.lines().filter_map(|l| Some(l.strip_prefix("link_id:")?.trim().to_owned())).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        pause(Duration::from_millis(20));
    }
}

/// Waits until there are probes that were not there `before`, in a library in `dir`, of which `files` are in use.
fn wait_probed(agent: &Agent, dir: &Path, before: &BTreeSet<String>, files: usize) {
    wait_for("a probed library", || {
        kept(agent, dir).len() == files && probes(agent).difference(before).count() > 0
    });
    // The probes of one file come one by one.
    let mut last = BTreeSet::new();
    wait_for("all of its probes", || {
        pause(Duration::from_millis(200));
        let now = probes(agent);
        std::mem::replace(&mut last, now.clone()) == now
    });
}

fn agent(at: SocketAddr, more: &[&str]) -> Agent {
    let port = at.port().to_string();
    Agent::start(&[&["--no-existing", "--stats", "--port", &port], more].concat())
}

fn server_args(at: SocketAddr) -> Vec<String> {
    let identity = &pki().server_rsa;
    let path = |p: &Path| p.display().to_string();
    let accept = at.to_string();
    let fixed = ["s_server", "-accept", &accept, "-tls1_3", "-www", "-Verify", "1", "-verify_return_error"];
    let files = ["-cert", &path(&identity.cert), "-key", &path(&identity.key), "-CAfile", &path(&pki().ca)]
        .map(str::to_owned);
    fixed.map(str::to_owned).into_iter().chain(files).collect()
}

/// A server that asks for certificates, with the libssl of a directory.
fn server(dir: &Path, at: SocketAddr) -> Child {
    let args = server_args(at);
    let child = Child::spawn(openssl(dir, args.iter().map(String::as_str)));
    assert!(wait_until_listening(at, LIMIT, || child.is_running()), "{}", child.text());
    child
}

fn connect(dir: &Path, at: SocketAddr) {
    let identity = &pki().client;
    let path = |p: &Path| p.display().to_string();
    let (to, cert, key, ca) = (at.to_string(), path(&identity.cert), path(&identity.key), path(&pki().ca));
    let args = ["s_client", "-connect", &to, "-tls1_3", "-cert", &cert, "-key", &key, "-CAfile", &ca];
    let client =
        Child::spawn_with_input(openssl(dir, args), Some(b"GET / HTTP/1.0\r\n\r\n".to_vec()), |_| None);
    let ended = client.finish(LIMIT);
    assert!(ended.text.contains("HTTP/1.0 200 ok"), "{}", ended.text);
}

/// Both ends of the `n`th connection know both certificates: the server's from the client's library, the client's from the
/// server's.
fn both_seen(agent: &Agent, at: SocketAddr, connections: usize) {
    // Being looked at whether it listens is a connection too, which says nothing.
    let ends = agent.wait(LIMIT, |ends| {
        let finals: Vec<_> = ends
            .iter()
            .filter(|(t, _)| t.peer == at || t.local == at)
            .flat_map(|(_, e)| &e.lines)
            .filter(|l| l.get("tlsight.phase").and_then(Value::as_str) == Some("final"))
            .filter(|l| l.contains_key("tls.protocol.version"))
            .cloned()
            .collect();
        (finals.len() >= 2 * connections).then_some(finals)
    });
    let ends = ends.unwrap_or_else(|| panic!("no {connections} connections:\n{}", agent.seen(at)));
    assert_eq!(ends.len(), 2 * connections);
    let subject = |identity: &Identity| Value::from(format!("CN={},O=tlsight tests", identity.subject));
    for end in ends {
        let seen =
            ["tls.server.subject", "tls.client.subject", "tlsight.security", "tlsight.security.source"]
                .map(|key| end.get(key).cloned().unwrap_or_default());
        let expected =
            [subject(&pki().server_rsa), subject(&pki().client), Value::from("mtls"), Value::from("probe")];
        assert_eq!(seen, expected, "{}", agent.seen(at));
    }
}

fn counter(said: &str, name: &str) -> u64 {
    let line = said.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{said}")).trim().parse().expect("a number")
}

fn short_lived() {
    let at = SocketAddr::from((case_address(), free_port()));
    let dir = scratch_dir("short-lived");
    own_copy(&dir);
    let agent = agent(at, &["--tls13-detach-after", "1s"]);
    let before = descriptors(&agent).len();
    let start = Instant::now();
    let mut most = 0;
    for n in 0..RATE * SECONDS {
        // As many at once as there is time for; each is waited for, away from here.
        let mut child = openssl(&dir, ["version"]);
        child.stdout(std::process::Stdio::null());
        let mut child = child.spawn().expect("start openssl");
        thread::spawn(move || child.wait());
        let due = start + Duration::from_secs(1) / RATE * n;
        pause(due.saturating_duration_since(Instant::now()));
        if n % RATE == RATE / 2 {
            most = most.max(kept(&agent, &dir).len());
        }
    }
    assert_eq!(most, 1, "the library was not found, or more than once");
    wait_for("the probes taken out", || kept(&agent, &dir).is_empty());
    let after = descriptors(&agent);
    assert!(after.len() <= before + OTHERS, "{before} descriptors before, now {}: {after:#?}", after.len());
    agent.stop().expect("a clean end");
    let said = agent.said();
    assert!(counter(&said, "probe.events") >= u64::from(RATE * SECONDS), "{said}");
    assert!(counter(&said, "probe.files_detached") >= 1, "{said}");
    for bound in ["probe.processes_over_bound", "probe.files_over_bound", "probe.files_probed_over_bound"] {
        assert_eq!(counter(&said, bound), 0, "{said}");
    }
}

fn replaced() {
    let at = SocketAddr::from((case_address(), free_port()));
    let dir = scratch_dir("replaced");
    let old = own_copy(&dir);
    let agent = agent(at, &[]);
    let before = probes(&agent);
    let _server = server(&dir, at);
    wait_probed(&agent, &dir, &before, 1);
    connect(&dir, at);
    both_seen(&agent, at, 1);
    // As a package manager does it: written beside, then renamed over.
    let new = dir.join("new");
    std::fs::copy(&old, &new).expect("copy");
    std::fs::rename(&new, &old).expect("rename");
    let before = probes(&agent);
    assert!(openssl(&dir, ["version"]).status().expect("openssl").success());
    wait_probed(&agent, &dir, &before, 2);
    // The server has the old one still, the client gets the new one.
    connect(&dir, at);
    both_seen(&agent, at, 2);
    agent.stop().expect("a clean end");
}

fn rewritten() {
    let at = SocketAddr::from((case_address(), free_port()));
    let dir = scratch_dir("rewritten");
    let path = own_copy(&dir);
    let agent = agent(at, &[]);
    let before = probes(&agent);
    let _server = server(&dir, at);
    wait_probed(&agent, &dir, &before, 1);
    // The same bytes again: the server goes on as before, but from outside it may as well be another library.
    let bytes = std::fs::read(&path).expect("read");
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::File::options().write(true).open(&path).expect("open"),
        &bytes[..4096],
        0,
    )
    .expect("write");
    let before = probes(&agent);
    assert!(openssl(&dir, ["version"]).status().expect("openssl").success());
    wait_probed(&agent, &dir, &before, 1);
    connect(&dir, at);
    both_seen(&agent, at, 1);
    agent.stop().expect("a clean end");
    assert_eq!(counter(&agent.said(), "probe.files_changed"), 1);
}

/// Runs `script` in a mount namespace of its own; `$DIR` is a directory that it may mount over.
fn in_container(dir: &Path, script: &str, args: &[String]) -> Child {
    let mut cmd = command("unshare", ["--mount", "--propagation", "private", "sh", "-ec"]);
    cmd.arg(script).arg("container").args(args).env("DIR", dir).env("LIBSSL", libssl());
    Child::spawn(cmd)
}

fn contained() {
    let at = SocketAddr::from((case_address(), free_port()));
    let (dir, own) = (scratch_dir("container"), scratch_dir("host"));
    own_copy(&own);
    let agent = agent(at, &[]);
    let before = probes(&agent);
    let script = "mount -t tmpfs none \"$DIR\"; cp \"$LIBSSL\" \"$DIR\"; \
                  LD_LIBRARY_PATH=\"$DIR\" exec openssl \"$@\"";
    let server = in_container(&dir, script, &server_args(at));
    assert!(wait_until_listening(at, LIMIT, || server.is_running()), "{}", server.text());
    assert_eq!(
        std::fs::read_dir(&dir).expect("there").count(),
        0,
        "the container's files are not ours to see"
    );
    assert!(openssl(&own, ["version"]).status().expect("openssl").success());
    wait_probed(&agent, &own, &before, 1);
    connect(&own, at);
    both_seen(&agent, at, 1);
    agent.stop().expect("a clean end");
}

fn layered() {
    let at = SocketAddr::from((case_address(), free_port()));
    let (dir, layer) = (scratch_dir("overlay"), scratch_dir("layer"));
    own_copy(&layer);
    let agent = agent(at, &[]);
    let before = probes(&agent);
    // Two containers of one image: each has an overlay of its own over the same layer.
    let script = format!(
        "mount -t tmpfs none \"$DIR\"; mkdir \"$DIR\"/up \"$DIR\"/work \"$DIR\"/root; \
         mount -t overlay -o lowerdir={},upperdir=\"$DIR\"/up,workdir=\"$DIR\"/work none \"$DIR\"/root; \
         LD_LIBRARY_PATH=\"$DIR\"/root exec openssl \"$@\"",
        layer.display()
    );
    let server = in_container(&dir, &script, &server_args(at));
    assert!(wait_until_listening(at, LIMIT, || server.is_running()), "{}", server.text());
    wait_for("a probed library", || probes(&agent).difference(&before).count() > 0);
    pause(Duration::from_secs(1));
    let once = probes(&agent);
    let other = in_container(&dir, &script, &["version".to_owned()]);
    assert!(other.finish(LIMIT).status.success());
    assert!(openssl(&layer, ["version"]).status().expect("openssl").success());
    connect(&layer, at);
    both_seen(&agent, at, 1);
    // Three ways to one file; a probe in each would tell everything three times.
    assert_eq!(probes(&agent), once);
    agent.stop().expect("a clean end");
    let said = agent.said();
    assert_eq!(counter(&said, "kernel.certificates_openssl"), 2, "{said}");
}

fn off() {
    let at = SocketAddr::from((case_address(), free_port()));
    let agent = agent(at, &["--tls13-certificates", "off"]);
    let events: Vec<String> = descriptors(&agent).into_iter().filter(|d| d.contains("perf_event")).collect();
    assert_eq!(events, [""; 0]);
    let threads = std::fs::read_dir(format!("/proc/{}/task", agent.pid())).expect("threads").flatten();
    let names: Vec<String> =
        threads.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok()).collect();
    assert!(!names.iter().any(|name| name.trim() == "prober"), "{names:?}");
    let list = Command::new("bpftool").args(["--json", "prog", "list"]).output().expect("bpftool");
    let list: Vec<Value> = serde_json::from_slice(&list.stdout).expect("JSON");
    let own = agent.programs();
    let probes: Vec<&Value> = list
        .iter()
        .filter(|p| p["id"].as_u64().is_some_and(|id| own.iter().any(|o| u64::from(*o) == id)))
        .filter(|p| p["type"] == "kprobe")
        .collect();
    assert!(probes.is_empty(), "{probes:?}");
    agent.stop().expect("a clean end");
    assert!(!agent.said().contains("probe."), "{}", agent.said());
}
