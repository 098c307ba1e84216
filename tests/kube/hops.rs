//! Who calls whom on the node, and everything that has to be said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tlsight_tests::agent::Object;

use crate::agent::{agent, text};
use crate::node::node;

/// A container of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    namespace: &'static str,
    kind: &'static str,
    name: &'static str,
    container: &'static str,
}

/// What a client calls.
#[derive(Clone, Copy, Debug)]
enum Dialled {
    At(&'static str),
    /// The pod with this `app` label.
    Pod(&'static str),
}

/// A call, and what has to be said of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    name: &'static str,
    client: Who,
    server: Who,
    dialled: (Dialled, u16),
    /// The port it is answered at.
    answered: u16,
    service: Option<&'static str>,
    security: &'static str,
    scope: &'static str,
    /// The client's address is translated on the way: the server's end sees the node's, and its own table tells who called.
    is_masqueraded: bool,
    expectation: Option<&'static str>,
    findings: &'static [&'static str],
}

const fn who(
    namespace: &'static str,
    kind: &'static str,
    name: &'static str,
    container: &'static str,
) -> Who {
    Who { namespace, kind, name, container }
}

const CLIENT: Who = who("shop", "Deployment", "client", "client");
const WEB_PLAIN: Who = who("shop", "Deployment", "web-plain", "web");
const NODE_AGENT: Who = who("office", "DaemonSet", "node-agent", "agent");
const CALLER: Who = who("shop", "Deployment", "caller", "proxy");
const CALLEE: Who = who("shop", "Deployment", "callee", "proxy");

const HOP: Hop = Hop {
    name: "",
    client: CLIENT,
    server: WEB_PLAIN,
    dialled: (Dialled::At("10.97.0.80"), 80),
    answered: 8080,
    service: Some("web-plain"),
    security: "plaintext",
    scope: "node",
    is_masqueraded: false,
    expectation: Some("strict"),
    findings: &["plaintext_traffic"],
};

/// All calls that are made.
const HOPS: &[Hop] = &[
    Hop { name: "plaintext to a ClusterIP", ..HOP },
    Hop {
        name: "plaintext to a NodePort",
        dialled: (Dialled::At("10.99.0.1"), 30080),
        is_masqueraded: true,
        ..HOP
    },
    Hop {
        name: "TLS to a ClusterIP",
        server: who("shop", "Deployment", "web-tls", "web"),
        dialled: (Dialled::At("10.97.0.81"), 443),
        answered: 8443,
        service: Some("web-tls"),
        security: "tls",
        expectation: Some("tls"),
        findings: &[],
        ..HOP
    },
    Hop {
        name: "TLS where mutual TLS is expected",
        server: who("shop", "Deployment", "web-optional", "web"),
        dialled: (Dialled::At("10.97.0.82"), 443),
        answered: 8443,
        service: Some("web-optional"),
        security: "tls",
        findings: &["mtls_missing"],
        ..HOP
    },
    Hop {
        name: "mutual TLS to a pod behind a headless Service",
        server: who("shop", "StatefulSet", "db", "db"),
        dialled: (Dialled::Pod("db"), 9443),
        answered: 9443,
        service: Some("db"),
        security: "mtls",
        findings: &[],
        ..HOP
    },
    Hop {
        name: "plaintext to a pod on the node's network",
        server: NODE_AGENT,
        dialled: (Dialled::At("10.99.0.1"), 9100),
        answered: 9100,
        service: None,
        expectation: Some("permissive"),
        findings: &[],
        ..HOP
    },
    Hop {
        name: "plaintext from a pod on the node's network",
        client: NODE_AGENT,
        is_masqueraded: true,
        ..HOP
    },
    Hop { name: "plaintext from a CronJob", client: who("office", "CronJob", "nightly", "nightly"), ..HOP },
    Hop {
        name: "plaintext that no policy speaks of",
        server: who("annex", "Deployment", "api", "api"),
        dialled: (Dialled::At("10.97.0.95"), 80),
        service: Some("api"),
        expectation: None,
        findings: &["plaintext_traffic"],
        ..HOP
    },
    Hop {
        name: "an application to its own sidecar",
        client: Who { container: "app", ..CALLER },
        server: CALLER,
        dialled: (Dialled::At("10.97.0.90"), 80),
        answered: 15001,
        service: Some("callee"),
        scope: "pod",
        findings: &[],
        ..HOP
    },
    Hop {
        name: "a sidecar to another",
        client: CALLER,
        server: CALLEE,
        dialled: (Dialled::At("10.97.0.90"), 80),
        answered: 15006,
        service: Some("callee"),
        security: "mtls",
        findings: &[],
        ..HOP
    },
    Hop {
        name: "a sidecar to its own application",
        client: CALLEE,
        server: Who { container: "app", ..CALLEE },
        dialled: (Dialled::Pod("callee"), 8080),
        service: None,
        scope: "pod",
        findings: &[],
        ..HOP
    },
];

/// Where the workloads of the table are.
const NAMESPACES: [&str; 3] = ["shop", "office", "annex"];

/// Whether an address of a line is the node's, which it gives to callers whose own it hides.
fn is_masqueraded(line: &Object, key: &str) -> bool {
    const NODE: [&str; 2] = ["10.98.0.1", "10.99.0.1"];
    NODE.contains(&text(line, key))
}

/// Ends of connections of the table's workloads, which are over.
pub(crate) fn ends(lines: &[Object]) -> impl Iterator<Item = &Object> {
    lines.iter().filter(|line| {
        text(line, "tlsight.phase") == "final"
            && NAMESPACES.contains(&text(line, "k8s.namespace.name"))
            && !text(line, "k8s.pod.name").starts_with("extra-")
    })
}

fn number(line: &Object, key: &str) -> Option<u64> {
    line.get(key).and_then(serde_json::Value::as_u64)
}

impl Who {
    fn is_local(self, line: &Object) -> bool {
        let is = |key, value| text(line, key) == value;
        is("k8s.namespace.name", self.namespace)
            && is("tlsight.k8s.workload.kind", self.kind)
            && is("tlsight.k8s.workload.name", self.name)
            && is("k8s.container.name", self.container)
    }

    fn is_peer(self, line: &Object, with_container: bool) -> bool {
        let is = |key, value| text(line, key) == value;
        is("tlsight.peer.k8s.namespace.name", self.namespace)
            && is("tlsight.peer.k8s.workload.kind", self.kind)
            && is("tlsight.peer.k8s.workload.name", self.name)
            && (!with_container || is("tlsight.peer.k8s.container.name", self.container))
    }
}

/// The table, with addresses of pods filled in.
pub(crate) struct Table(Vec<(Hop, IpAddr)>);

impl Table {
    pub(crate) fn new() -> Self {
        let address = |dialled: &Dialled| -> IpAddr {
            let text = match dialled {
                Dialled::At(at) => (*at).to_owned(),
                Dialled::Pod(app) => node().address("shop", app),
            };
            text.parse().expect("an address")
        };
        Self(HOPS.iter().map(|hop| (*hop, address(&hop.dialled.0))).collect())
    }

    /// The call that a line is about, seen from the client; everything that is wrong with it.
    fn of_client(&self, line: &Object) -> Option<(&Hop, Vec<String>)> {
        let (hop, _) = self.0.iter().find(|(hop, address)| {
            hop.client.is_local(line)
                && text(line, "network.peer.address").parse() == Ok(*address)
                && number(line, "network.peer.port") == Some(hop.dialled.1.into())
                // A sidecar calls what its application called.
                && (hop.scope != "pod" || text(line, "tlsight.role") == "client")
        })?;
        let mut wrong = hop.wrong(line);
        if !hop.server.is_peer(line, true) {
            wrong.push("the server is not named, or not right".to_owned());
        }
        if text(line, "tlsight.peer.k8s.service.name") != hop.service.unwrap_or_default() {
            wrong.push("the Service is not named, or not right".to_owned());
        }
        Some((hop, wrong))
    }

    /// The same, seen from the server.
    fn of_server(&self, line: &Object) -> Option<(&Hop, Vec<String>)> {
        let of_port = |hop: &Hop| {
            hop.server.is_local(line) && number(line, "network.local.port") == Some(hop.answered.into())
        };
        // Where a caller makes several calls that are answered at one port, what it dialled tells which it is.
        let dialled = |hop: &Hop, address: &IpAddr| {
            let (ip, port) = (text(line, "tlsight.dialled.address"), number(line, "tlsight.dialled.port"));
            ip.is_empty() || (ip.parse() == Ok(*address) && port == Some(hop.dialled.1.into()))
        };
        let is_it = |hop: &Hop, address: &IpAddr| {
            of_port(hop) && hop.client.is_peer(line, true) && dialled(hop, address)
        };
        let (hop, address) = self.0.iter().find(|(hop, address)| is_it(hop, address))?;
        let mut wrong = hop.wrong(line);
        // The application's own sidecar is not what a Service stands for.
        let service = hop.service.filter(|_| hop.scope != "pod");
        if text(line, "tlsight.k8s.service.name") != service.unwrap_or_default() {
            wrong.push("the Service is not named, or not right".to_owned());
        }
        if hop.is_masqueraded {
            if !is_masqueraded(line, "network.peer.address") {
                wrong.push("the caller's address is not translated".to_owned());
            }
            if text(line, "tlsight.dialled.address").parse() != Ok(*address) {
                wrong.push("what was dialled is not told".to_owned());
            }
            // A process on the node's network has the node's address, whatever is translated.
            let is_own = hop.client.container == NODE_AGENT.container;
            if is_masqueraded(line, "client.address") != is_own {
                wrong.push("the caller's own address is not told".to_owned());
            }
        }
        Some((hop, wrong))
    }

    /// Everything that is wrong with these lines, and how often each call was seen from either end.
    pub(crate) fn check(&self, lines: &[Object]) -> (BTreeSet<String>, BTreeMap<&'static str, (u32, u32)>) {
        let mut wrong = BTreeSet::new();
        let mut seen: BTreeMap<&'static str, (u32, u32)> =
            self.0.iter().map(|(hop, _)| (hop.name, (0, 0))).collect();
        let mut late = Vec::new();
        let mut masqueraded = 0;
        for line in ends(lines) {
            let is_server = text(line, "tlsight.role") == "server";
            let found = if is_server { self.of_server(line) } else { self.of_client(line) };
            let is_translated = is_server && is_masqueraded(line, "network.peer.address");
            masqueraded += usize::from(is_translated);
            let Some((hop, what)) = found else {
                // On a busy machine the node's table may answer when the line is written already.
                if is_translated && !line.contains_key("tlsight.dialled.address") {
                    late.push(format!("the caller is not named: {}", brief(line)));
                    continue;
                }
                wrong.insert(format!("nobody makes this connection: {}", brief(line)));
                continue;
            };
            let counts = seen.entry(hop.name).or_default();
            *(if is_server { &mut counts.1 } else { &mut counts.0 }) += 1;
            wrong.extend(what.into_iter().map(|what| format!("{}: {what}: {}", hop.name, brief(line))));
        }
        if late.len() * 10 > masqueraded {
            wrong.extend(late);
        }
        (wrong, seen)
    }
}

impl Hop {
    fn wrong(&self, line: &Object) -> Vec<String> {
        [("tlsight.security", self.security), ("tlsight.scope", self.scope)]
            .into_iter()
            .filter(|(key, expected)| text(line, key) != *expected)
            .map(|(key, expected)| format!("{key} is not {expected}"))
            .collect()
    }

    /// What is expected and found, where either is not as it should be.
    fn wrong_findings(&self, line: &Object) -> Option<String> {
        let expectation = text(line, "tlsight.expectation");
        let found = line.get("tlsight.findings").map(|found| found.to_string()).unwrap_or_default();
        let expected = serde_json::json!(self.findings).to_string();
        let is_right = expectation == self.expectation.unwrap_or_default() && found == expected;
        (!is_right)
            .then(|| format!("{}: expected {:?} {expected}: {}", self.name, self.expectation, brief(line)))
    }
}

/// What of a line a failure's message needs.
pub(crate) fn brief(line: &Object) -> String {
    const KEYS: [&str; 9] = [
        "timestamp",
        "tls.protocol.version",
        "tlsight.scope",
        "tlsight.security",
        "tlsight.security.reason",
        "tlsight.role",
        "tlsight.close",
        "tlsight.expectation",
        "tlsight.findings",
    ];
    let keep = |key: &str| {
        key.starts_with("network.") || key.contains("k8s.") || key.ends_with(".path") || KEYS.contains(&key)
    };
    let kept = line.iter().filter(|(key, _)| keep(key)).map(|(key, value)| (key.clone(), value.clone()));
    serde_json::Value::Object(kept.collect()).to_string()
}

/// A message with the first of them: one mistake shows in hundreds of lines.
pub(crate) fn first<'a>(wrong: impl IntoIterator<Item = &'a String>) -> String {
    let all: Vec<&String> = wrong.into_iter().collect();
    let shown: Vec<&str> = all.iter().take(12).map(|text| text.as_str()).collect();
    format!("{} in all:\n{}", all.len(), shown.join("\n"))
}

/// Waits until each call was seen `times` from both ends.
fn observe(table: &Table, times: u32) -> Vec<Object> {
    let since = agent().mark();
    let all = |lines: &[Object]| {
        let (_, seen) = table.check(lines);
        seen.values().all(|(client, server)| *client >= times && *server >= times).then(|| lines.to_vec())
    };
    agent().wait(since, Duration::from_secs(60), all).unwrap_or_else(|| {
        let lines = agent().since(since);
        let (wrong, seen) = table.check(&lines);
        panic!("not all calls are seen: {seen:#?}\n{}\n{}", first(&wrong), agent().said())
    })
}

pub(crate) fn names_and_scopes() {
    let table = Table::new();
    let lines = observe(&table, 5);
    let (wrong, _) = table.check(&lines);
    assert!(wrong.is_empty(), "{}", first(&wrong));
}

pub(crate) fn findings() {
    let table = Table::new();
    let lines = observe(&table, 5);
    let mut wrong = BTreeSet::new();
    for line in ends(&lines) {
        let is_server = text(line, "tlsight.role") == "server";
        let Some((hop, _)) = (if is_server { table.of_server(line) } else { table.of_client(line) }) else {
            continue;
        };
        wrong.extend(hop.wrong_findings(line));
    }
    assert!(wrong.is_empty(), "{}", first(&wrong));
}
