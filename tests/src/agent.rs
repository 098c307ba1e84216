//! The agent under test: one process that watches the whole host while the cases of a test binary run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::child::{Child, command};
use crate::expect::findings::CONFIGURATION;
use crate::held;
use crate::netns::Namespace;
use crate::pki::pki;
use crate::tools::{repository, scratch_dir};

/// Ring buffer of the agent that all cases share. They make hundreds of handshakes at the same moment, on hosts that may
/// give the agent no processor for a second.
const ROOM: usize = 64 << 20;

/// A JSON object as the agent prints it.
pub type Object = Map<String, Value>;

/// How long the agent may take from the end of a connection to its last observation.
const OBSERVED_WITHIN: Duration = Duration::from_secs(20);

/// How long the agent may take to end. Most of it is the kernel's, which takes out the probes of all libraries of the host
/// one by one, about 100 ms each on a busy machine.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// One connection end as the agent told it: its lines in order.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// Every observation of this end.
    pub lines: Vec<Object>,
}

impl End {
    /// One end a connection: the kernel gives a client's port to another connection soon after.
    pub fn connections(&self) -> Vec<End> {
        let mut ends: Vec<(Option<&Value>, End)> = Vec::new();
        for line in &self.lines {
            let id = line.get("tlsight.connection");
            match ends.iter_mut().find(|(known, _)| *known == id) {
                Some((_, end)) => end.lines.push(line.clone()),
                None => ends.push((id, End { lines: vec![line.clone()] })),
            }
        }
        ends.into_iter().map(|(_, end)| end).collect()
    }

    /// How many these are, if all of them are over.
    fn over(&self) -> Option<usize> {
        let id = |line: &Object| line.get("tlsight.connection").and_then(Value::as_u64);
        let is_final = |line: &&Object| line.get("tlsight.phase").and_then(Value::as_str) == Some("final");
        let all: BTreeSet<_> = self.lines.iter().map(id).collect();
        let over: BTreeSet<_> = self.lines.iter().filter(is_final).map(id).collect();
        (over.len() == all.len()).then_some(all.len())
    }

    /// The observation with this `tlsight.phase`.
    pub fn phase(&self, phase: &str) -> Option<&Object> {
        self.lines.iter().find(|l| l.get("tlsight.phase").and_then(Value::as_str) == Some(phase))
    }
}

/// Local and peer address of a connection end; in order of the peer, so that the clients of one server lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tuple {
    /// The other one.
    pub peer: SocketAddr,
    /// The observed end.
    pub local: SocketAddr,
}

#[derive(Default)]
struct Log {
    ends: Mutex<BTreeMap<Tuple, End>>,
    changed: Condvar,
    /// Nobody reads what the agent prints.
    unread: Mutex<bool>,
    read_on: Condvar,
}

impl Log {
    /// Takes what comes. Not in the thread that reads the agent's output: cases that look at what there is must not keep
    /// the agent waiting.
    fn take(&self, lines: &mpsc::Receiver<String>) {
        while let Ok(first) = lines.recv() {
            let objects = std::iter::once(first).chain(lines.try_iter().take(1000));
            let objects = objects.filter_map(|line| {
                let object: Object = serde_json::from_str(&line).ok()?;
                Some((tuple(&object)?, object))
            });
            let objects: Vec<_> = objects.collect();
            let mut ends = self.ends.lock().unwrap();
            for (tuple, object) in objects {
                ends.entry(tuple).or_default().lines.push(object);
            }
            drop(ends);
            self.changed.notify_all();
        }
    }
}

/// The running agent.
pub struct Agent {
    child: Child,
    log: Arc<Log>,
}

/// Where the agent's binary is: `TLSIGHT_BIN` (set by `cargo xtask test`), else the newest one built here.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TLSIGHT_BIN") {
        return path.into();
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.join(profile).join("tlsight"));
    let newest = built.iter().filter_map(|p| Some((p.metadata().ok()?.modified().ok()?, p))).max();
    newest.map(|(_, p)| p.clone()).unwrap_or_else(|| {
        panic!(
            "no tlsight binary: run `cargo xtask build`, or set TLSIGHT_BIN (looked in {})",
            target.display()
        )
    })
}

impl Agent {
    /// Starts `tlsight watch -o json`, which trusts the root of this run alone, and waits until it watches.
    pub fn start(extra: &[&str]) -> Agent {
        let configuration = scratch_dir("agent").join("tlsight.yaml");
        std::fs::write(&configuration, CONFIGURATION).expect("write a configuration");
        let configuration = configuration.to_string_lossy();
        let root = format!("live={}", pki().ca.display());
        let judging = ["--no-system-roots", "--ca-bundle", &root, "--config", &configuration];
        Self::start_as(&[&judging, extra].concat(), |_| {})
    }

    /// Starts `tlsight watch -o json` with these arguments alone, and waits until it watches. What is no connection goes to
    /// `other`.
    pub fn start_as(arguments: &[&str], other: impl Fn(Object) + Send + 'static) -> Agent {
        Self::start_within(None, arguments, other)
    }

    /// The same in a network namespace, as in the network of a node. Everything else is the host's.
    pub fn start_within(
        network: Option<&Namespace>,
        arguments: &[&str],
        other: impl Fn(Object) + Send + 'static,
    ) -> Agent {
        let log = Arc::new(Log::default());
        let (to, from) = mpsc::channel();
        let taker = log.clone();
        thread::spawn(move || taker.take(&from));
        let gate = log.clone();
        let child = Child::spawn_with_input(
            {
                // Before the load that the cases make: they are about what it says, not about how little time it needs.
                let mut c = command("nice", ["-n", "-10"]);
                if let Some(network) = network {
                    // `ip netns exec` would hide the control groups, which are below /sys.
                    c.args(["nsenter", &format!("--net=/run/netns/{}", network.name), "--"]);
                }
                c.arg(binary()).args(["watch", "-o", "json"]).args(arguments);
                c
            },
            None,
            move |line| {
                let unread = gate.unread.lock().unwrap();
                drop(gate.read_on.wait_while(unread, |unread| *unread).unwrap());
                if line.starts_with('{') && line.contains("\"network.local.address\"") {
                    to.send(line.to_owned()).expect("somebody takes the lines for as long as there are any");
                    return Some(());
                }
                other(serde_json::from_str::<Object>(line).ok()?);
                None
            },
        );
        child.wait_for_line("tlsight: watching", Duration::from_secs(20));
        Agent { child, log }
    }

    /// The agent's process id.
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Ids of the BPF programs the agent holds, as the kernel tells.
    pub fn programs(&self) -> BTreeSet<u32> {
        let dir = format!("/proc/{}/fdinfo", self.child.pid);
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let text: String = files.filter_map(|f| std::fs::read_to_string(f.path()).ok()).collect();
        text.lines().filter_map(|l| l.strip_prefix("prog_id:")?.trim().parse().ok()).collect()
    }

    /// Its open descriptors, by what they are: `anon_inode:bpf_link`, `anon_inode:[perf_event]` ...
    pub fn descriptors(&self) -> BTreeMap<String, usize> {
        held::descriptors(self.child.pid)
    }

    /// Entries of each of its BPF maps that only it can empty, by name.
    pub fn map_entries(&self) -> BTreeMap<String, usize> {
        held::map_entries(self.child.pid)
    }

    /// What the agent printed besides observations: its log on standard error, and any line that is not one.
    pub fn said(&self) -> String {
        self.child.text()
    }

    /// Waits until `ready` finds what it wants among the connection ends; `None` after the deadline.
    pub fn wait<T>(
        &self,
        limit: Duration,
        mut ready: impl FnMut(&BTreeMap<Tuple, End>) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut ends = self.log.ends.lock().unwrap();
        loop {
            if let Some(found) = ready(&ends) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            ends = self.log.changed.wait_timeout(ends, left).unwrap().0;
        }
    }

    /// The `count` connections to `server`, both ends each, once all are over: in order of the time of opening.
    /// Fails with everything the agent said about that server where they are not all told in time.
    pub fn connections(&self, server: SocketAddr, count: usize) -> Vec<(End, End)> {
        let first = Tuple { peer: server, local: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) };
        let pair_up = |ends: &BTreeMap<Tuple, End>| {
            let clients = || ends.range(first..).take_while(|(tuple, _)| tuple.peer == server);
            let other = |tuple: &Tuple| ends.get(&Tuple { local: tuple.peer, peer: tuple.local });
            let mut over = 0;
            for (tuple, client) in clients() {
                let near = client.over()?;
                other(tuple)?.over().filter(|far| *far == near)?;
                over += near;
            }
            if over < count {
                return None;
            }
            let mut pairs = Vec::new();
            for (tuple, client) in clients() {
                pairs.extend(client.connections().into_iter().zip(other(tuple)?.connections()));
            }
            pairs.sort_by_key(|(c, _)| c.lines[0].get("timestamp").map(Value::to_string));
            Some(pairs)
        };
        let found = self.wait(OBSERVED_WITHIN, pair_up);
        let found = found.unwrap_or_else(|| {
            panic!("no {count} finished connections to {server}, both ends; seen:\n{}", self.seen(server))
        });
        assert_eq!(found.len(), count, "more connections to {server} than were made:\n{}", self.seen(server));
        found
    }

    /// Everything the agent said about connections to or from `server`, for a failure's message.
    pub fn seen(&self, server: SocketAddr) -> String {
        let ends = self.log.ends.lock().unwrap();
        let ours = ends.iter().filter(|(t, _)| t.peer == server || t.local == server);
        let short = |line: &Object| {
            let brief =
                line.iter().filter(|(key, _)| !key.contains("supported_") && !key.ends_with("hash.sha256"));
            Value::Object(brief.map(|(k, v)| (k.clone(), v.clone())).collect()).to_string()
        };
        let lines: Vec<String> = ours.flat_map(|(_, e)| &e.lines).map(short).collect();
        format!("{}\nagent log:\n{}", lines.join("\n"), self.said())
    }

    /// A counter of its last words, which `--stats` asks for.
    pub fn counter(&self, name: &str) -> u64 {
        let said = self.said();
        let line = said.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        let line = line.unwrap_or_else(|| panic!("no {name} in:\n{said}"));
        line.trim().parse().expect("a number")
    }

    /// Keeps the agent from running until [`resume`](Self::resume).
    pub fn hold(&self) {
        self.child.signal(libc::SIGSTOP);
    }

    /// Ends [`hold`](Self::hold).
    pub fn resume(&self) {
        self.child.signal(libc::SIGCONT);
    }

    /// Reads nothing of what the agent prints until [`read_on`](Self::read_on): a line at most, and what the pipe takes.
    pub fn leave_unread(&self) {
        *self.log.unread.lock().unwrap() = true;
    }

    /// Ends [`leave_unread`](Self::leave_unread).
    pub fn read_on(&self) {
        *self.log.unread.lock().unwrap() = false;
        self.log.read_on.notify_all();
    }

    /// Ends the agent as the kernel does when memory is short: it learns nothing of it.
    pub fn kill(&self) {
        self.child.signal(libc::SIGKILL);
        self.child.finish(ENDED_WITHIN);
    }

    /// Stops the agent as a user does (SIGINT) and checks that it ends well and leaves nothing attached.
    pub fn stop(&self) -> Result<(), String> {
        self.child.signal(libc::SIGINT);
        let ended = self.child.finish(ENDED_WITHIN);
        if !ended.status.success() {
            return Err(format!("the agent ended with {}:\n{}", ended.status, ended.text));
        }
        if ended.text.contains("panicked") {
            return Err(format!("the agent panicked:\n{}", ended.text));
        }
        Ok(())
    }
}

fn tuple(object: &Object) -> Option<Tuple> {
    let end = |which: &str| {
        let address: IpAddr = object.get(&format!("network.{which}.address"))?.as_str()?.parse().ok()?;
        let port = object.get(&format!("network.{which}.port"))?.as_u64()?;
        Some(SocketAddr::new(address, u16::try_from(port).ok()?))
    };
    Some(Tuple { local: end("local")?, peer: end("peer")? })
}

static SHARED: OnceLock<Option<Agent>> = OnceLock::new();

/// The agent all cases of this test binary share; `None` when the peers run alone (`TLSIGHT_TESTS_PEERS_ONLY=1`), which
/// is how to tell a fault of a peer from one of the agent.
pub fn shared() -> Option<&'static Agent> {
    SHARED
        .get_or_init(|| {
            let is_wanted = std::env::var_os("TLSIGHT_TESTS_PEERS_ONLY").is_none();
            is_wanted.then(|| Agent::start(&["--ring-buffer", &ROOM.to_string()]))
        })
        .as_ref()
}

/// Stops the shared agent, if it was started.
pub fn stop_shared() -> Result<(), String> {
    SHARED.get().and_then(Option::as_ref).map_or(Ok(()), Agent::stop)
}
