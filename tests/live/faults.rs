//! What must not happen, and does: the agent is killed, gets no processor, lives at another time, has no room for its log,
//! and is not the only one at the root of the control groups.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;
use tlsight_tests::agent::{Agent, binary};
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::foreign::Foreign;
use tlsight_tests::host::pause;
use tlsight_tests::mixed::{Made, Mixed, Verdicts};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerStack, Version};
use tlsight_tests::pki::pki;
use tlsight_tests::run::case_alone;
use tlsight_tests::tools::scratch_dir;

use crate::support::{address, only_success, server};

const LIMIT: Duration = Duration::from_secs(60);

/// Adds the cases. Each brings an agent of its own, and looks at what is left of it on the whole host.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case_alone("faults::killed_under_load_and_started_again", killed));
    trials.push(case_alone("faults::starved_of_processors", starved));
    trials.push(case_alone("faults::another_time_namespace", another_time));
    trials.push(case_alone("faults::no_room_for_the_audit_log", disk_full));
    trials.push(case_alone("faults::others_at_the_root_of_control_groups", others_at_the_root));
}

fn agent(mixed: &Mixed, more: &[&str]) -> Agent {
    let port = mixed.at.port().to_string();
    let certificates =
        if more.contains(&"--tls13-certificates") { &[][..] } else { &["--tls13-certificates", "off"] };
    Agent::start(&[&["--stats", "--no-existing", "--port", &port], certificates, more].concat())
}

/// Makes connections until told to stop.
fn load(mixed: &Mixed, over: &AtomicBool, from: usize) -> Vec<Result<Made, String>> {
    (from..).take_while(|_| !over.load(Ordering::Acquire)).map(|n| mixed.connect(n)).collect()
}

/// Every one of these has its verdict at both ends.
fn all_right(agent: &Agent, mixed: &Mixed, made: &[Made]) {
    let verdicts = Verdicts::of(agent, mixed.at, made, LIMIT);
    assert_eq!(verdicts.wrong, Vec::<String>::new());
    assert_eq!((verdicts.right, verdicts.missing), (2 * made.len(), 0), "{}", agent.said());
}

/// Some connections, none of them where another one was before.
fn some(mixed: &Mixed) -> Vec<Made> {
    let made = (0..).map(|n| mixed.connect(n).expect("a connection"));
    made.filter(|made| !made.again).take(12).collect()
}

/// BPF programs in the kernel now, by id.
fn programs() -> BTreeSet<u32> {
    let list: Value =
        serde_json::from_str(&output(command("bpftool", ["--json", "prog", "list"]))).expect("JSON");
    let ids = list.as_array().into_iter().flatten();
    ids.filter_map(|program| u32::try_from(program["id"].as_u64()?).ok()).collect()
}

/// What somebody pinned, so that it outlives whoever made it.
fn pinned() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn killed() {
    let mixed = Mixed::start();
    let pins = pinned();
    // With probes in the libraries that these programs use, which the kernel has to take out of them.
    let first = agent(&mixed, &["--tls13-certificates", "on"]);
    assert!(first.descriptors().contains_key("anon_inode:[perf_event]"), "{:?}", first.descriptors());
    let probed = || {
        for (client, stack) in [
            (ClientStack::OpenSsl, ServerStack::Go),
            (ClientStack::Go, ServerStack::Python),
            (ClientStack::GnuTls, ServerStack::GnuTls),
        ] {
            let ran =
                client.run(&ClientConfig::new(address(server(stack, Ask::Never))).version(Version::Tls13));
            only_success(&ran);
        }
    };
    probed();
    let brought = first.programs();
    assert!(!brought.is_empty());
    let over = AtomicBool::new(false);
    let (traffic, second) = thread::scope(|scope| {
        let loads: Vec<_> = (0..2)
            .map(|n| {
                scope.spawn({
                    let (m, o) = (&mixed, &over);
                    move || load(m, o, n)
                })
            })
            .collect();
        // The load is seen before there is a death to survive.
        let seen = first.wait(LIMIT, |ends| (ends.len() > 50).then_some(()));
        assert!(seen.is_some(), "{}", first.said());
        first.kill();
        let deadline = Instant::now() + LIMIT;
        while !programs().is_disjoint(&brought) {
            assert!(Instant::now() < deadline, "still loaded: {:?}", programs().intersection(&brought));
            pause(Duration::from_millis(50));
        }
        assert_eq!(pinned(), pins);
        probed();
        let second = agent(&mixed, &[]);
        probed();
        over.store(true, Ordering::Release);
        let traffic: Vec<_> = loads.into_iter().flat_map(|load| load.join().expect("no panic")).collect();
        (traffic, second)
    });
    let harmed: Vec<&String> = traffic.iter().filter_map(|made| made.as_ref().err()).collect();
    assert!(harmed.is_empty(), "{harmed:?}");
    all_right(&second, &mixed, &some(&mixed));
    let brought = second.programs();
    second.stop().expect("a clean end");
    let deadline = Instant::now() + LIMIT;
    while !programs().is_disjoint(&brought) {
        assert!(Instant::now() < deadline, "still loaded: {:?}", programs().intersection(&brought));
        pause(Duration::from_millis(50));
    }
    assert_eq!(pinned(), pins);
}

fn starved() {
    let mixed = Mixed::start();
    // Little room, so that waiting costs.
    let agent = agent(&mixed, &["--ring-buffer", "65536"]);
    let pid = agent.pid().to_string();
    // Of what is left, the least; and nothing is left.
    output(command("chrt", ["--idle", "--all-tasks", "--pid", "0", &pid]));
    let over = AtomicBool::new(false);
    let made: Vec<Made> = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(2, |n| n.get());
        for _ in 0..cores {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
            });
        }
        let made = (0..300).map(|n| mixed.connect(n).expect("a connection")).collect();
        over.store(true, Ordering::Release);
        made
    });
    output(command("chrt", ["--other", "--all-tasks", "--pid", "0", &pid]));
    // And not at all for a while: then something is lost for certain.
    agent.hold();
    let unseen: Vec<Made> = (0..600).map(|n| mixed.connect(n).expect("a connection")).collect();
    agent.resume();
    let all = [made, unseen].concat();
    let verdicts = Verdicts::of(&agent, mixed.at, &all, Duration::from_secs(5));
    // It recovers: of what comes now, the first that is seen whole is not far.
    let recovered = (0..20).any(|_| {
        let now = some(&mixed);
        Verdicts::of(&agent, mixed.at, &now, Duration::from_secs(1)).right == 2 * now.len()
    });
    assert!(recovered, "{}", agent.said());
    agent.stop().expect("a clean end");
    assert_eq!(verdicts.wrong, Vec::<String>::new());
    let lost = agent.counter("kernel.lifecycle_events_lost") + agent.counter("kernel.data_events_lost");
    assert!(verdicts.missing > 0 && lost > 0, "nothing was lost: {verdicts:?}");
    assert!(u64::try_from(verdicts.missing).unwrap() <= lost, "{verdicts:?}, {lost} lost");
}

/// Clocks that are ahead of the kernel's own, as in a container that was moved from another host.
fn another_time() {
    let mixed = Mixed::start();
    let port = mixed.at.port().to_string();
    let mut cmd = command("unshare", ["--time", "--monotonic", "1000000", "--boottime", "1000000"]);
    cmd.arg(binary()).args([
        "watch",
        "-o",
        "json",
        "--no-existing",
        "--tls13-certificates",
        "off",
        "--port",
        &port,
    ]);
    let agent = Child::spawn(cmd);
    agent.wait_for_line("tlsight: watching", LIMIT);
    let before = now();
    let made = some(&mixed);
    let deadline = Instant::now() + LIMIT;
    let lines = loop {
        let text = agent.text();
        let lines = text.lines().filter(|line| line.starts_with('{'));
        let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect(line)).collect();
        let finals = lines.iter().filter(|line| line["tlsight.phase"] == "final").count();
        if finals >= 2 * made.len() {
            break lines;
        }
        assert!(Instant::now() < deadline, "{finals} of {}: {text}\n{}", 2 * made.len(), agent.text());
        pause(Duration::from_millis(50));
    };
    agent.signal(libc::SIGINT);
    assert!(agent.finish(LIMIT).status.success(), "{}", agent.text());
    for line in lines.iter().filter(|line| line["tlsight.phase"] == "final") {
        let client = line["client.port"].as_u64();
        let one = made.iter().find(|made| Some(u64::from(made.local.port())) == client).expect("one of ours");
        assert_eq!(line["tlsight.security"], one.security, "{line}");
        let text = line["timestamp"].as_str().expect("a timestamp");
        let at =
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect(text);
        let off = (at.unix_timestamp() - before).abs();
        assert!(off < 60, "{off} s off: {line}");
    }
}

fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// A file system of 64 KiB with the log in it; and somebody else fills it.
fn disk_full() {
    let folder = scratch_dir("full");
    let mixed = Mixed::start();
    let port = mixed.at.port().to_string();
    let script = "mount -t tmpfs -o size=64k none \"$1\" && cd \"$1\" && shift && exec \"$@\"";
    let mut cmd = command("unshare", ["--mount", "sh", "-c", script, "sh"]);
    cmd.arg(&folder).arg(binary()).args([
        "watch",
        "-o",
        "json",
        "--no-existing",
        "--tls13-certificates",
        "off",
        "--port",
        &port,
    ]);
    cmd.args(["--stats", "--no-system-roots", "--ca-bundle"]).arg(format!("live={}", pki().ca.display()));
    cmd.args(["--audit-log", "audit.log"]);
    let agent = Child::spawn(cmd);
    agent.wait_for_line("tlsight: watching", LIMIT);
    // Its mounts are its own: seen from here through procfs.
    let inside = Path::new("/proc").join(agent.pid.to_string()).join("cwd");
    let log = inside.join("audit.log");
    let written = || fs::read(&log).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
    let wait_for = |what: &str, ready: &dyn Fn() -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !ready() {
            assert!(Instant::now() < deadline, "{what}: {} lines\n{}", written(), agent.text());
            pause(Duration::from_millis(50));
        }
    };
    let mutual = || {
        mixed.connect(2).expect("a connection");
    };
    mutual();
    wait_for("the first line", &|| written() > 0);
    // Until no byte is left.
    fs::write(inside.join("filler"), vec![0; 64 * 1024]).expect_err("it is smaller");
    for _ in 0..20 {
        mutual();
    }
    // It goes on: connections are told, and their lines wait.
    wait_for("the connections", &|| {
        agent.text().lines().filter(|line| line.contains("\"final\"")).count() >= 2 * 21
    });
    assert!(written() < 21, "there was room");
    // Room again: what waited is written, and what comes then.
    fs::remove_file(inside.join("filler")).expect("remove");
    mutual();
    wait_for("all lines", &|| written() >= 22);
    let text = fs::read_to_string(&log).expect("read");
    agent.signal(libc::SIGINT);
    let ended = agent.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
    // One whole line a connection, wherever room ran out.
    let ports =
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line)["client.port"].clone());
    let ports: Vec<String> = ports.map(|port| port.to_string()).collect();
    assert_eq!((ports.len(), ports.iter().collect::<BTreeSet<_>>().len()), (22, 22), "{ports:?}");
    let counter = |name: &str| {
        let line = ended.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|n| n.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name} in {}", ended.text))
    };
    assert_eq!((counter("audit.lines_written"), counter("audit.lines_dropped")), (22, 0));
    assert!(counter("audit.write_errors") > 0);
}

/// Programs of others, attached before and after: all of them run, the agent sees everything, and they stay when it goes.
fn others_at_the_root() {
    let mixed = Mixed::start();
    let before = Foreign::attach();
    let agent = agent(&mixed, &[]);
    let after = Foreign::attach();
    let (ran_before, ran_after) = (before.runs(), after.runs());
    all_right(&agent, &mixed, &some(&mixed));
    agent.stop().expect("a clean end");
    for (foreign, ran) in [(&before, ran_before), (&after, ran_after)] {
        assert!(foreign.is_attached(), "{foreign:?}");
        for (now, then) in foreign.runs().iter().zip(&ran) {
            assert!(now > then, "did not run: {foreign:?}, {ran:?}, {:?}", foreign.runs());
        }
    }
    // Two agents are others to each other.
    let mixed = Mixed::start();
    let (one, two) = (self::agent(&mixed, &[]), self::agent(&mixed, &[]));
    let made = some(&mixed);
    all_right(&one, &mixed, &made);
    all_right(&two, &mixed, &made);
    one.stop().expect("a clean end");
    all_right(&two, &mixed, &some(&mixed));
    two.stop().expect("a clean end");
}
