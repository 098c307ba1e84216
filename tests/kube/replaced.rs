//! Addresses that go from one pod to another.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use tlsight_tests::agent::Object;
use tlsight_tests::child::{command, output};

use crate::agent::{Mark, agent, text};
use crate::api;
use crate::node::{node, state, wait};

const PODS: &str = "/api/v1/namespaces/annex/pods";
const SOON: Duration = Duration::from_secs(60);

fn pod(name: &str, args: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            // One that is deleted may be started again else, for a moment, and take an address.
            "restartPolicy": "Never",
            "containers": [{"name": "it", "image": "local/peer:1", "imagePullPolicy": "Never", "args": args}],
        },
    })
}

fn address(name: &str) -> Option<String> {
    let (code, pod) = api::try_get(&format!("{PODS}/{name}"))?;
    let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
    (code == 200 && ready).then(|| pod["status"]["podIP"].as_str().unwrap_or_default().to_owned())
}

fn remove(name: &str) {
    api::delete(&format!("{PODS}/{name}"));
    wait("the pod to be gone", SOON, || {
        api::try_get(&format!("{PODS}/{name}")).is_some_and(|(code, _)| code == 404)
    });
}

/// Whom the caller's lines since then name, in the order in which their connections were opened, each name once in a row;
/// connections that nobody answered included.
fn named(lines: &[Object], caller: &str) -> Vec<String> {
    let mut lines: Vec<&Object> = lines
        .iter()
        .filter(|line| text(line, "tlsight.phase") == "final" && text(line, "k8s.pod.name") == caller)
        .filter(|line| text(line, "tlsight.role") == "client")
        .collect();
    lines.sort_by_key(|line| text(line, "timestamp").to_owned());
    let mut names: Vec<String> = Vec::new();
    for line in lines {
        let name = text(line, "tlsight.peer.k8s.pod.name").to_owned();
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names
}

fn wait_for(since: Mark, caller: &str, name: &str) {
    let found =
        agent().wait(since, SOON, |lines| named(lines, caller).contains(&name.to_owned()).then_some(()));
    assert!(found.is_some(), "{caller} calls {:?} and not {name}", named(&agent().since(since), caller));
}

/// A pod on this node is replaced by one with the same address, while somebody calls it all the time.
pub(crate) fn pods() {
    api::create(PODS, &pod("extra-first", &["-plain", ":8080"]));
    wait("the first pod", SOON, || address("extra-first").is_some());
    let ip = address("extra-first").expect("ready");
    let caller = "extra-caller";
    let since = agent().mark();
    api::create(PODS, &pod(caller, &["-every", "100ms", "-dial", &format!("http://{ip}:8080")]));
    wait_for(since, caller, "extra-first");
    remove("extra-first");
    // The next address to be given is the one behind this.
    let last: std::net::Ipv4Addr = ip.parse().expect("an address");
    let before = std::net::Ipv4Addr::from(u32::from(last) - 1);
    wait("the address to be free", SOON, || !state().join("addresses/n").join(&ip).exists());
    std::fs::write(state().join("addresses/n/last_reserved_ip.0"), before.to_string())
        .expect("write an address");
    let replaced = agent().mark();
    api::create(PODS, &pod("extra-second", &["-plain", ":8080"]));
    wait("the second pod", SOON, || address("extra-second").is_some());
    assert_eq!(address("extra-second"), Some(ip), "the address is another one");
    wait_for(replaced, caller, "extra-second");
    remove("extra-second");
    remove(caller);
    // Nobody has the address for a while in between.
    let mut names = named(&agent().since(since), caller);
    names.retain(|name| !name.is_empty());
    names.dedup();
    assert_eq!(names, ["extra-first", "extra-second"]);
    let after: Vec<Object> = agent().since(replaced);
    let late: Vec<&Object> =
        after.iter().filter(|line| text(line, "k8s.pod.name") == "extra-second").collect();
    let is_right = |line: &&&Object| text(line, "tlsight.peer.k8s.pod.name") == caller;
    assert!(
        !late.is_empty() && late.iter().all(|line| is_right(&line)),
        "{:?}",
        late.first().map(|l| crate::hops::brief(l))
    );
    node().wait_until_ready();
}

/// A pod of another node, as the API tells of it.
fn create_elsewhere(name: &str, ip: &str) {
    let mut object = pod(name, &[]);
    object["spec"]["nodeName"] = json!("node-b");
    api::create(PODS, &object);
    let status = json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.99.0.3", "startTime": now(),
    }});
    api::patch(&format!("{PODS}/{name}/status"), &status);
}

/// Another node, which nobody runs.
pub(crate) fn add_node() {
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-b"}});
    api::create("/api/v1/nodes", &object);
    let addresses = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.99.0.3"}]}});
    api::patch("/api/v1/nodes/node-b/status", &addresses);
}

pub(crate) fn remove_node() {
    api::delete("/api/v1/nodes/node-b");
}

/// Now, as the API writes it.
pub(crate) fn now() -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time::OffsetDateTime::now_utc().format(format).expect("a time")
}

/// Answers on an address of this host.
fn serve(ip: &str) {
    output(command("ip", ["address", "add", &format!("{ip}/32"), "dev", "tlsight-kube"]));
    let listener = TcpListener::bind((ip, 8080)).expect("the address is this host's");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let mut request = BufReader::new(&stream).lines().map_while(Result::ok);
            let _ = request.find(String::is_empty);
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
}

/// Pods of a node that the agent is not on have the same address one after the other. Whoever answers for them is in no
/// pod's control group: the index alone knows who they are.
pub(crate) fn elsewhere() {
    const IP: &str = "10.98.1.7";
    add_node();
    serve(IP);
    let caller = "extra-caller";
    let since = agent().mark();
    api::create(PODS, &pod(caller, &["-every", "200ms", "-dial", &format!("http://{IP}:8080")]));
    wait("the caller", SOON, || address(caller).is_some());
    for name in ["extra-one", "extra-two"] {
        create_elsewhere(name, IP);
        wait_for(since, caller, name);
        remove(name);
        // Times of the API are whole seconds.
        tlsight_tests::host::pause(Duration::from_secs(3));
    }
    remove(caller);
    let mut names = named(&agent().since(since), caller);
    names.retain(|name| !name.is_empty());
    names.dedup();
    assert_eq!(names, ["extra-one", "extra-two"]);
    remove_node();
}
