//! The agent under test, in the node's network as a DaemonSet on the host's network would be.

use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tlsight_tests::agent::{Object, binary};
use tlsight_tests::child::{Child, command};
use tlsight_tests::tools;

use crate::node::node;

/// The agent may take so long to start, and to end: most of it is the kernel's.
const STARTED: Duration = Duration::from_secs(60);
const ENDED: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Object>>,
    changed: Condvar,
}

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    log: Arc<Log>,
}

/// A point in what an agent says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(usize);

/// The agent of all cases.
pub(crate) fn agent() -> &'static Agent {
    AGENT.get_or_init(|| {
        let policy = tools::repository().join("tests/kube/manifests/policy.yaml");
        let [for_servers, for_clients] = bundles();
        let policy = policy.to_string_lossy();
        Agent::start(
            "admin",
            &["--policy", &policy, "--ca-bundle", &for_servers, "--ca-bundle", &for_clients],
        )
    })
}

static AGENT: OnceLock<Agent> = OnceLock::new();

/// The authority of the pods' certificates, by the names that count for servers and for clients with an identity.
pub(crate) fn bundles() -> [String; 2] {
    let authority = crate::pki::dir().join("ca.pem");
    [format!("shop={}", authority.display()), format!("spiffe://shop.test={}", authority.display())]
}

/// Ends it, if it runs.
pub(crate) fn end() {
    if let Some(agent) = AGENT.get().filter(|agent| agent.child.is_running()) {
        agent.stop();
    }
}

/// A command that runs the agent in the node's network. In the host's own process and mount namespaces: those are the ones
/// that the kernel's process ids are of.
pub(crate) fn tlsight(words: &[&str]) -> std::process::Command {
    let network = format!("--net=/proc/{}/ns/net", node().pid());
    let mut agent = command("nsenter", [network.as_str(), "--"]);
    agent.arg(binary()).args(words);
    agent
}

impl Agent {
    /// Starts it as a user of the API.
    pub(crate) fn start(user: &str, more: &[&str]) -> Agent {
        let kubeconfig = node().kubeconfig(user);
        let words = ["watch", "-o", "json", "--stats", "--node-name", "node-a", "--kubeconfig", &kubeconfig];
        let log = Arc::new(Log::default());
        let to = Arc::clone(&log);
        let child = Child::spawn_with_input(tlsight(&[&words, more].concat()), None, move |line| {
            let object = serde_json::from_str::<Object>(line).ok()?;
            to.lines.lock().unwrap().push(object);
            to.changed.notify_all();
            Some(())
        });
        child.wait_for_line("tlsight: watching", STARTED);
        Agent { child, log }
    }

    /// Now.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.log.lines.lock().unwrap().len())
    }

    /// Waits until `found` finds what it wants among the lines since then.
    pub(crate) fn wait<T>(
        &self,
        since: Mark,
        limit: Duration,
        mut found: impl FnMut(&[Object]) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(found) = found(&lines[since.0..]) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            // Not at every line: there are hundreds in a second.
            lines = self.log.changed.wait_timeout(lines, left.min(Duration::from_millis(200))).unwrap().0;
        }
    }

    /// The lines since then.
    pub(crate) fn since(&self, mark: Mark) -> Vec<Object> {
        self.log.lines.lock().unwrap()[mark.0..].to_vec()
    }

    /// What it said on standard error.
    pub(crate) fn said(&self) -> String {
        self.child.text()
    }

    /// Resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.pid)).expect("the agent runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Ends it, and gives its last words: every counter.
    pub(crate) fn stop(&self) -> String {
        self.child.signal(libc::SIGINT);
        let ended = self.child.finish(ENDED);
        assert!(ended.status.success(), "the agent ended with {}:\n{}", ended.status, ended.text);
        ended.text
    }
}

/// A counter of the agent's last words.
pub(crate) fn counter(said: &str, name: &str) -> u64 {
    let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{said}")).trim().parse().expect("a number")
}

/// A value of a line as text; nothing where there is none.
pub(crate) fn text<'a>(line: &'a Object, key: &str) -> &'a str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}
