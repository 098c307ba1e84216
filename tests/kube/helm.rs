//! The chart on a real node: installed from the image that `cargo xtask image` makes, it watches the node without being
//! privileged, is scraped, changed, and taken away, and nothing of it stays in the kernel or in the cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tlsight_tests::child::{command, output};
use tlsight_tests::tools;

use crate::api;
use crate::node::{node, state, wait};

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

/// Waits until the metrics have a series of that name with all these labels.
fn wait_for_series(running: &Running, name: &str, labels: &[&str]) {
    let mut last = String::new();
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let found = |line: &str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        if last.lines().any(found) {
            return;
        }
        let like: Vec<&str> = last.lines().filter(|line| line.starts_with(name)).collect();
        assert!(std::time::Instant::now() < deadline, "no {name} {labels:?} in:\n{}", like.join("\n"));
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

pub(crate) fn life() {
    let image = std::env::var_os(IMAGE).map(PathBuf::from);
    let image = image.unwrap_or_else(|| panic!("{IMAGE} is not set: run `cargo xtask kube`"));
    let image = image.display().to_string();
    output(command(
        tools::repository().join("tests/kube/node.sh"),
        ["load", &state().display().to_string(), &image],
    ));
    let chart = tools::repository().join("deploy/chart/tlsight").display().to_string();
    let (before, pinned_before) = (api::get("/apis/rbac.authorization.k8s.io/v1/clusterroles"), pinned());

    helm(&[
        "install",
        RELEASE,
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "5m",
    ]);
    let first = Running::wait_for(None);
    first.check_rights(BASE | SYS_ADMIN);
    check_sight(&first);
    let checked = first.exec(&["check"]);
    assert!(checked.contains("/host/cgroup") && checked.contains("Everything required is here"), "{checked}");
    assert!(checked.contains("pods services nodes endpointslices replicasets jobs"), "{checked}");
    let report = first.exec(&["report"]);
    assert!(report.contains("shop/web-plain") || report.contains("web-plain"), "{report}");
    let health = |running: &Running| wait_for_series(running, "tlsight_build_info{", &["version="]);
    health(&first);
    let held = first.holds();
    assert!(held.iter().any(|(kind, _)| *kind == "prog"), "{held:?}");
    assert!(held.iter().any(|(kind, _)| *kind == "link"), "{held:?}");

    // Other values: the pod is replaced by one with fewer rights, which sees the same.
    let change = ["--reuse-values", "--set", "tls13.certificates=false", "--wait", "--timeout", "5m"];
    helm(&[&["upgrade", RELEASE, &chart, "--namespace", NAMESPACE], &change[..]].concat());
    let second = Running::wait_for(Some(&first));
    second.check_rights(BASE);
    check_sight(&second);
    let left: Vec<_> = in_kernel().intersection(&held).copied().collect();
    assert!(left.is_empty(), "left of the first agent: {left:?}");

    let held = second.holds();
    helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "5m"]);
    wait("the pod to be gone", SOON, || api::get(PODS)["items"].as_array().is_some_and(Vec::is_empty));
    wait("the kernel to let go", SOON, || in_kernel().is_disjoint(&held));
    assert_eq!(pinned(), pinned_before);
    let count = |roles: &Value| roles["items"].as_array().map(Vec::len);
    assert_eq!(count(&api::get("/apis/rbac.authorization.k8s.io/v1/clusterroles")), count(&before));
    let label = "labelSelector=app.kubernetes.io%2Finstance%3Dtlsight";
    for path in [
        "/api/v1/configmaps",
        "/api/v1/serviceaccounts",
        "/apis/apps/v1/daemonsets",
        "/apis/apps/v1/controllerrevisions",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ] {
        let left = api::get(&format!("{path}?{label}"));
        assert!(left["items"].as_array().is_some_and(Vec::is_empty), "{left}");
    }
    api::delete(&format!("/api/v1/namespaces/{NAMESPACE}"));
    node().wait_until_ready();
}
