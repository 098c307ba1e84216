//! Address translation by the node that the agent is on: both ends are named all the same, and what was dialled is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tlsight_tests::agent::{Agent, End, Object, Tuple, binary};
use tlsight_tests::child::{Child, command};
use tlsight_tests::host::free_port;
use tlsight_tests::netns::{Namespace, Pair};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerConfig, ServerStack, Version};
use tlsight_tests::run::case;

use crate::support::server_identity;

const LIMIT: Duration = Duration::from_secs(20);
/// What clients dial.
const PORT: u16 = 7443;

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("translation::masqueraded_and_redirected_by_iptables", || {
        both_ends(&|node, server| {
            let (to, port) = (server.to_string(), PORT.to_string());
            let nat = ["iptables", "-t", "nat", "-A"];
            let dialled =
                ["PREROUTING", "-p", "tcp", "--dport", &port, "-j", "DNAT", "--to-destination", &to];
            node.run(&[&nat[..], &dialled[..]].concat());
            node.run(&[&nat[..], &["POSTROUTING", "-o", "right", "-j", "MASQUERADE"]].concat());
        });
    }));
    trials.push(case("translation::masqueraded_and_redirected_by_nftables", || {
        both_ends(&|node, server| {
            for rule in [
                "add table ip t".to_owned(),
                "add chain ip t pre { type nat hook prerouting priority dstnat ; }".to_owned(),
                "add chain ip t post { type nat hook postrouting priority srcnat ; }".to_owned(),
                format!("add rule ip t pre tcp dport {PORT} dnat to {server}"),
                "add rule ip t post oifname right masquerade".to_owned(),
            ] {
                node.run(&[&["nft"], &rule.split(' ').collect::<Vec<_>>()[..]].concat());
            }
        });
    }));
    trials.push(case("translation::check_says_whether_the_table_can_be_read", check));
}

/// A client and a server on both sides of a node that translates, and the node's own address on either side.
struct Through {
    node: Namespace,
    pair: Pair,
    left: Ipv4Addr,
    right: Ipv4Addr,
}

impl Through {
    fn new() -> Self {
        let node = Namespace::new("n");
        let pair = Pair::through(&node);
        let beside = |address: Ipv4Addr, last: u8| {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, last)
        };
        let (left, right) = (beside(pair.client_address, 254), beside(pair.server_address, 253));
        for (device, own, other) in
            [("left", left, pair.client_address), ("right", right, pair.server_address)]
        {
            node.run(&["ip", "address", "add", &format!("{own}/32"), "dev", device]);
            node.run(&["ip", "route", "add", &format!("{other}/32"), "dev", device, "src", &own.to_string()]);
        }
        node.run(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
        Self { node, pair, left, right }
    }
}

/// The last line about an end that fits.
fn last(agent: &Agent, fits: impl Fn(&Tuple) -> bool) -> Object {
    let over = |(tuple, end): (&Tuple, &End)| fits(tuple).then(|| end.phase("final").cloned()).flatten();
    agent
        .wait(LIMIT, |ends| ends.iter().find_map(over))
        .unwrap_or_else(|| panic!("not seen:\n{}", agent.said()))
}

fn both_ends(translate: &dyn Fn(&Namespace, SocketAddr)) {
    let through = Through::new();
    let pair = &through.pair;
    let at = SocketAddr::from((pair.server_address, free_port()));
    translate(&through.node, at);
    let agent = Agent::start_within(
        Some(&through.node),
        &["--no-existing", "--no-system-roots", "--tls13-certificates", "off", "--stats"],
        |_| {},
    );
    let stack = ServerStack::Go;
    let config = ServerConfig::new(Ask::Never, server_identity(stack));
    let server = Child::spawn(pair.server.enter(&stack.command_line(&config, at.port())));
    server.wait_for_line("listening", LIMIT);
    let dialled = SocketAddr::from((through.left, PORT));
    let config = ClientConfig::new(dialled).version(Version::Tls12);
    let client = ClientStack::OpenSsl.run_in(Some(&pair.client), &config);

    let of_client = last(&agent, |tuple| tuple.peer == dialled);
    let of_server = last(&agent, |tuple| tuple.local == at);
    let port = of_client["network.local.port"].clone();
    let told =
        |line: &Object, keys: &[&str]| -> Value { keys.iter().map(|key| line.get(*key).cloned()).collect() };
    // The server sees the node.
    let seen = told(&of_server, &["network.peer.address", "tlsight.role", "tlsight.scope", "process.pid"]);
    assert_eq!(seen, json!([through.right, "server", "node", server.pid]), "{}", agent.said());
    let named = ["client.address", "client.port", "tlsight.peer.address", "tlsight.peer.port"];
    let client_address = pair.client_address.to_string();
    assert_eq!(told(&of_server, &named), json!([client_address, port, client_address, port]));
    let dialled = ["tlsight.dialled.address", "tlsight.dialled.port", "tlsight.peer.process.pid"];
    assert_eq!(told(&of_server, &dialled), json!([through.left, PORT, client.pid]));
    // The client sees what it dialled.
    let seen = told(&of_client, &["network.peer.address", "tlsight.role", "tlsight.scope", "process.pid"]);
    assert_eq!(seen, json!([through.left, "client", "node", client.pid]));
    let answered = ["tlsight.peer.address", "tlsight.peer.port", "tlsight.peer.process.pid"];
    assert_eq!(told(&of_client, &answered), json!([at.ip(), at.port(), server.pid]));
    assert_eq!(told(&of_client, &dialled[..2]), json!([null, null]));

    agent.stop().expect("it ends");
    let counters = ["asked", "translated", "failed", "dropped"];
    let counted = counters.map(|name| agent.counter(&format!("enrich.conntrack_{name}")));
    assert_eq!((counted[1], counted[2], counted[3]), (1, 0, 0), "{counted:?}");
}

fn check() {
    let through = Through::new();
    let check = |wrapper: &[&str]| {
        let mut check = command(wrapper[0], &wrapper[1..]);
        check.arg(binary()).args(["check", "-o", "json"]);
        // It fails where other rights are missing, which is not what is asked here.
        let told = check.output().expect("it starts");
        let lines = String::from_utf8_lossy(&told.stdout).into_owned();
        let checks = lines.lines().map(|line| serde_json::from_str::<Object>(line).expect("JSON"));
        let found: Vec<Object> = checks.filter(|check| check["name"] == "address translation").collect();
        assert_eq!(found.len(), 1, "{lines}");
        found[0].clone()
    };
    let network = format!("--net=/run/netns/{}", through.node.name);
    through.node.run(&["iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE"]);
    let there = check(&["nsenter", &network, "--"]);
    assert_eq!((&there["outcome"], &there["found"]), (&json!("ok"), &json!("conntrack, connections: 0")));
    let refused = check(&["nsenter", &network, "--", "setpriv", "--bounding-set=-net_admin", "--"]);
    assert_eq!(refused["outcome"], json!("degraded"), "{refused:?}");
    assert!(refused["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{refused:?}");
}
