//! The chart on a real node: installed from the image that `cargo xtask image` makes, it watches the node without being
//! privileged, is scraped, changed, and taken away, and nothing of it stays in the kernel or in the cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tlsight_tests::child::{command, output};
use tlsight_tests::tools;

use crate::api;
use crate::node::{node, state, wait};
use crate::scrape::Prometheus;

/// Set by `cargo xtask kube`: the archive.
const IMAGE: &str = "TLSIGHT_IMAGE";
const RELEASE: &str = "tlsight";
const NAMESPACE: &str = "watch";
const PODS: &str = "/api/v1/namespaces/watch/pods";
const SOON: Duration = Duration::from_secs(180);

/// Of `SYS_ADMIN`, in CapEff.
const SYS_ADMIN: u64 = 1 << 21;
/// `DAC_READ_SEARCH`, `NET_ADMIN`, `SYS_PTRACE`, `PERFMON`, `BPF`.
const BASE: u64 = 1 << 2 | 1 << 12 | 1 << 19 | 1 << 38 | 1 << 39;

/// Runs Helm on the node.
fn helm(words: &[&str]) -> String {
    let unpacked = tools::tools().join("helm/helm");
    let program = if unpacked.is_file() { unpacked } else { PathBuf::from("helm") };
    let own = |name: &str| format!("{name}={}", tools::scratch().join("helm").display());
    let program = program.display().to_string();
    let homes = [own("HELM_CACHE_HOME"), own("HELM_CONFIG_HOME"), own("HELM_DATA_HOME")];
    let mut all = vec!["env", &homes[0], &homes[1], &homes[2], &program];
    all.extend(words);
    node().run(&all)
}

/// The agent that the chart runs: its pod, and its process as this host sees it.
struct Running {
    pod: Value,
    pid: u32,
}

impl Running {
    /// Waits for one that is ready and is not the one before.
    fn wait_for(before: Option<&Running>) -> Running {
        let old = before.map(|running| running.pod["metadata"]["uid"].clone());
        let mut found = None;
        wait("the agent's pod", SOON, || {
            let list = api::get(PODS);
            let mut pods = list["items"].as_array().cloned().unwrap_or_default();
            pods.retain(|pod| pod["metadata"].get("deletionTimestamp").is_none());
            let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
            found = pods.into_iter().find(|pod| Some(&pod["metadata"]["uid"]) != old.as_ref() && ready(pod));
            found.is_some()
        });
        let pod = found.expect("waited for");
        let container = pod["status"]["containerStatuses"][0]["containerID"].as_str().expect("an id");
        let id = container.rsplit('/').next().expect("a name");
        Running { pid: process(id), pod }
    }

    fn name(&self) -> &str {
        self.pod["metadata"]["name"].as_str().expect("a name")
    }

    fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    }

    /// It has these rights and no others, and cannot get more.
    fn check_rights(&self, capabilities: u64) {
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(u64::from_str_radix(&self.status(set), 16), Ok(capabilities), "{set}");
        }
        assert_eq!((self.status("NoNewPrivs").as_str(), self.status("Seccomp").as_str()), ("1", "2"));
        let context = &self.pod["spec"]["containers"][0]["securityContext"];
        assert_eq!(
            (&context["privileged"], &context["readOnlyRootFilesystem"]),
            (&false.into(), &true.into())
        );
        assert_eq!(self.pod["status"]["containerStatuses"][0]["restartCount"], 0);
    }

    /// Runs the program once more in its container.
    fn exec(&self, words: &[&str]) -> String {
        let program = ["kubectl", "--namespace", NAMESPACE, "exec", self.name(), "--", "/tlsight"];
        node().run(&[&program, words].concat())
    }

    /// `tlsight check` in its container says so: lines by how they begin and go on.
    fn check_finds(&self, lines: &[(&str, &str)]) {
        let told = self.exec(&["check"]);
        for (start, rest) in lines {
            let is_it = |line: &str| {
                line.strip_prefix(start).is_some_and(|found| found.trim_start().starts_with(rest))
            };
            assert!(told.lines().any(is_it), "no {start} {rest} in:\n{told}");
        }
    }

    /// What Prometheus would read, by the pod's address.
    fn scrape(&self) -> String {
        let ip = self.pod["status"]["podIP"].as_str().expect("an address");
        let url = format!("http://{ip}:9465/metrics");
        output(command("curl", ["--silent", "--fail", "--noproxy", "*", "--max-time", "20", &url]))
    }

    /// Ids of programs and links that it holds, as `bpftool` names them.
    fn holds(&self) -> BTreeSet<(&'static str, u64)> {
        let files = fs::read_dir(format!("/proc/{}/fdinfo", self.pid)).into_iter().flatten().flatten();
        let text: String = files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect();
        let ids = |kind, key: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.trim().parse().ok());
            lines.map(|id| (kind, id)).collect::<Vec<(&'static str, u64)>>()
        };
        ["prog", "link", "map"].into_iter().flat_map(|kind| ids(kind, &format!("{kind}_id:"))).collect()
    }
}

/// The first process of a container, by its control group.
fn process(container: &str) -> u32 {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_of = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(container))
    };
    ids.find(is_of).unwrap_or_else(|| panic!("no process of {container}"))
}

/// Everything of these kinds that the kernel has.
fn in_kernel() -> BTreeSet<(&'static str, u64)> {
    let of = |kind: &'static str| {
        let text = output(command("bpftool", ["--json", kind, "list"]));
        let all: Value = serde_json::from_str(&text).expect("JSON");
        let ids = all.as_array().into_iter().flatten().filter_map(|one| one["id"].as_u64());
        ids.map(|id| (kind, id)).collect::<Vec<_>>()
    };
    ["prog", "link", "map"].into_iter().flat_map(of).collect()
}

/// What is pinned on this host.
fn pinned() -> String {
    output(command("find", ["/sys/fs/bpf", "-mindepth", "1"]))
}

/// Every object of the cluster, of whatever kind, as `kind/name`; but for reports of what happened.
fn objects() -> BTreeSet<String> {
    let kinds = node().run(&["kubectl", "api-resources", "--verbs=list", "--output=name"]);
    let is_kept = |kind: &&str| !kind.starts_with("events") && *kind != "componentstatuses";
    let kinds = kinds.lines().filter(is_kept).collect::<Vec<_>>().join(",");
    let all = node().run(&["kubectl", "get", &kinds, "--all-namespaces", "--output=name"]);
    all.lines().map(str::to_owned).collect()
}

/// Does one step, and says how long it took.
fn step<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let value = run();
    println!("{what}: {:.1?}", started.elapsed());
    value
}

/// Waits until the metrics have a series of that name with all these labels.
fn wait_for_series(running: &Running, name: &str, labels: &[&str]) {
    let mut last = String::new();
    let deadline = Instant::now() + SOON;
    loop {
        let found = |line: &str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        if last.lines().any(found) {
            return;
        }
        let like: Vec<&str> = last.lines().filter(|line| line.starts_with(name)).collect();
        if Instant::now() >= deadline {
            let said = node().run(&["kubectl", "--namespace", NAMESPACE, "logs", running.name()]);
            panic!("no {name} {labels:?} in:\n{}\nthe agent said:\n{said}", like.join("\n"));
        }
        tlsight_tests::host::pause(Duration::from_millis(500));
        last = running.scrape();
    }
}

/// The pods' connections, by the names of both ends.
fn check_sight(running: &Running) {
    let of = |security: &str, workload: &str| {
        let labels = [
            format!("security=\"{security}\""),
            "client_namespace=\"shop\"".to_owned(),
            "client_workload=\"client\"".to_owned(),
            "server_namespace=\"shop\"".to_owned(),
            format!("server_workload=\"{workload}\""),
        ];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        wait_for_series(running, "tlsight_connections_total{", &labels);
    };
    of("plaintext", "web-plain");
    of("tls", "web-tls");
}

/// A namespace, with what every namespace has.
fn make_namespace() {
    node().run(&["kubectl", "create", "namespace", NAMESPACE]);
    node().run(&[
        "kubectl",
        "label",
        "namespace",
        NAMESPACE,
        "pod-security.kubernetes.io/enforce=privileged",
    ]);
    let has = |kind: &str| {
        let list = api::get(&format!("/api/v1/namespaces/{NAMESPACE}/{kind}"));
        list["items"].as_array().is_some_and(|all| !all.is_empty())
    };
    wait("the namespace's own objects", SOON, || {
        ["serviceaccounts", "secrets", "configmaps"].into_iter().all(has)
    });
}

/// The node has the image from now on.
fn load_image() {
    let image = std::env::var_os(IMAGE).map(PathBuf::from);
    let image = image.unwrap_or_else(|| panic!("{IMAGE} is not set: run `cargo xtask kube`"));
    let script = tools::repository().join("tests/kube/node.sh");
    output(command(script, ["load", &state().display().to_string(), &image.display().to_string()]));
}

pub(crate) fn life() {
    step("image loaded", load_image);
    let chart = tools::repository().join("deploy/chart/tlsight").display().to_string();
    make_namespace();
    let (before, pinned_before) = (objects(), pinned());
    let on = |verb: &str, more: &[&str]| {
        let words = [verb, RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "5m"];
        step(&format!("helm {verb}"), || helm(&[&words, more].concat()));
    };

    on("install", &[&chart]);
    let first = Running::wait_for(None);
    first.check_rights(BASE | SYS_ADMIN);
    step("connections of other pods", || check_sight(&first));
    let prometheus = Prometheus::start(&first.pod);
    let scraped = step("scraped by Prometheus", || prometheus.wait_for("up{job=\"tlsight\"} == 1"));
    assert_eq!(scraped.iter().map(|labels| &labels["instance"]).collect::<Vec<_>>(), ["node-a"]);
    prometheus.wait_for(
        "tlsight_connections_total{job=\"tlsight\", security=\"plaintext\", client_workload=\"client\", \
         server_workload=\"web-plain\"} > 0",
    );
    first.check_finds(&[
        ("cgroup v2 root", "ok         /host/cgroup"),
        ("probes in TLS libraries", "ok"),
        ("Kubernetes: may read", "ok         pods services nodes endpointslices replicasets jobs"),
        ("Everything", "required is here"),
    ]);
    let report = first.exec(&["report"]);
    assert!(report.contains("web-plain"), "{report}");
    let held = first.holds();
    assert!(["prog", "link", "map"].iter().all(|kind| held.iter().any(|(of, _)| of == kind)), "{held:?}");

    // Other values: the pod is replaced by one with fewer rights, which sees the same.
    on("upgrade", &[&chart, "--reuse-values", "--set", "tls13.certificates=false"]);
    let second = Running::wait_for(Some(&first));
    second.check_rights(BASE);
    step("connections of other pods again", || check_sight(&second));
    let left: Vec<_> = in_kernel().intersection(&held).copied().collect();
    assert!(left.is_empty(), "left of the first agent: {left:?}");
    second.check_finds(&[
        ("CAP_SYS_ADMIN", "degraded   missing"),
        ("cgroup v2 root", "ok         /host/cgroup"),
        ("Everything", "required is here"),
    ]);
    prometheus.discover(&second.pod);
    prometheus.wait_for("tlsight_build_info{job=\"tlsight\", instance=\"node-a\"}");

    let held = second.holds();
    on("uninstall", &[]);
    let deadline = Instant::now() + SOON;
    loop {
        let left: Vec<String> = objects().difference(&before).cloned().collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "left in the cluster: {left:?}");
    }
    step("the kernel let go", || wait("the kernel to let go", SOON, || in_kernel().is_disjoint(&held)));
    assert_eq!(pinned(), pinned_before);
    drop(prometheus);
    api::delete(&format!("/api/v1/namespaces/{NAMESPACE}"));
    node().wait_until_ready();
}
