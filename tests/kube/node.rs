//! The node: `tests/kube/node.sh`, and what runs on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::{host, tools};

use crate::{api, pki};

/// The directory with `bin`, as `cargo xtask kube` made it.
const KUBE: &str = "TLSIGHT_KUBE";

/// Everything has to be there within this; a minute on two cores.
const READY: Duration = Duration::from_secs(240);

/// The running node.
pub(crate) struct Node {
    child: Child,
}

fn dir() -> Option<PathBuf> {
    std::env::var_os(KUBE).map(PathBuf::from)
}

fn file(name: &str) -> PathBuf {
    tools::repository().join("tests/kube").join(name)
}

/// Configuration, logs and images of the node.
pub(crate) fn state() -> PathBuf {
    dir().expect("looked at before").join("state")
}

fn script(words: &[&str]) -> Command {
    let mut script = command(file("node.sh"), &words[..1]);
    script.arg(state()).args(&words[1..]);
    script
}

/// What is missing, if anything is.
pub(crate) fn preflight() -> Result<(), String> {
    let run = "run `cargo xtask kube`";
    let Some(dir) = dir() else { return Err(format!("{KUBE} is not set: {run}")) };
    if !dir.join("bin/complete").exists() {
        return Err(format!("there is no Kubernetes in {}: {run}", dir.display()));
    }
    // SAFETY: a plain system call without arguments.
    if unsafe { libc::geteuid() } != 0 {
        return Err(format!("a Kubernetes node takes root: {run}"));
    }
    Ok(())
}

/// The node, with all workloads; started on first use.
pub(crate) fn node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(Node::start)
}

/// Ends the node; whatever is left of it is an error.
pub(crate) fn remove() -> Result<(), String> {
    let state = state();
    output(script(&["clean"]));
    let mut left = Vec::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.filter(|p| p.file_name().to_string_lossy().starts_with(char::is_numeric)) {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&*state.to_string_lossy()) {
            left.push(format!("process {}", process.file_name().to_string_lossy()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    left.extend(mounts.lines().filter(|m| m.contains(&*state.to_string_lossy())).map(str::to_owned));
    let groups = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", "kubepods"]).output();
    left.extend(
        groups.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).ok().filter(|o| !o.is_empty()),
    );
    left.extend(state.exists().then(|| state.display().to_string()));
    let link = Path::new("/sys/class/net/tlsight-kube");
    left.extend(link.exists().then(|| link.display().to_string()));
    if left.is_empty() { Ok(()) } else { Err(format!("left of the node: {}", left.join("\n"))) }
}

impl Node {
    fn start() -> Node {
        let bin = dir().expect("looked at before").join("bin");
        let child = Child::spawn(script(&["serve", &bin.to_string_lossy()]));
        let images = images();
        child.wait_for_line("node.sh: ready", READY);
        let node = Node { child };
        for image in images {
            output(script(&["load", &image.to_string_lossy()]));
        }
        node.apply("servers.yaml", &[]);
        node.apply("mesh.yaml", &[]);
        node.wait_until_ready();
        // No DNS: what is behind a headless Service is dialled by its address.
        node.apply("clients.yaml", &[("@DB@", &node.address("shop", "db"))]);
        node.run_nightly();
        node.wait_until_ready();
        node
    }

    /// The first process of the node's namespaces.
    pub(crate) fn pid(&self) -> String {
        let pid = fs::read_to_string(state().join("pid")).expect("the node's process id");
        pid.trim().to_owned()
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_running()
    }

    /// A kubeconfig of `admin` or `limited`.
    pub(crate) fn kubeconfig(&self, user: &str) -> String {
        state().join(format!("kubeconfig-{user}")).to_string_lossy().into_owned()
    }

    /// Runs a program on the node.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        output(script(&[&["run"], words].concat()))
    }

    /// Ends the API server.
    pub(crate) fn stop_api(&self) {
        output(script(&["stop-api"]));
    }

    /// Starts the API server again, and waits until it answers.
    pub(crate) fn start_api(&self) {
        output(script(&["start-api"]));
        wait("the API server to answer", READY, || {
            api::try_get("/readyz").is_some_and(|(code, _)| code == 200)
        });
    }

    /// Applies a file of `manifests`.
    pub(crate) fn apply(&self, name: &str, with: &[(&str, &str)]) {
        let manifest = |name: &str| fs::read_to_string(file("manifests").join(name)).expect(name);
        let envoy = tools::envoy();
        let mut text = manifest(name).replace("@SIDECAR@", manifest("sidecar.yaml").trim_end());
        text = text.replace("@PKI@", &pki::dir().to_string_lossy());
        text = text.replace("@ENVOY@", &envoy.parent().expect("a directory").to_string_lossy());
        for (what, by) in with {
            text = text.replace(what, by);
        }
        let path = tools::scratch_dir("manifests").join(name);
        fs::write(&path, text).expect("write a manifest");
        self.run(&["kubectl", "apply", "-f", &path.to_string_lossy()]);
    }

    /// What kubectl's `create job --from` does, without a schedule to wait for.
    fn run_nightly(&self) {
        let cron = api::get("/apis/batch/v1beta1/namespaces/office/cronjobs/nightly");
        let job = serde_json::json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "nightly-1", "ownerReferences": [{
                "apiVersion": "batch/v1beta1", "kind": "CronJob", "name": "nightly", "controller": true,
                "uid": cron["metadata"]["uid"],
            }]},
            "spec": cron["spec"]["jobTemplate"]["spec"],
        });
        api::create("/apis/batch/v1/namespaces/office/jobs", &job);
    }

    /// Waits until all pods of this node are ready, and those that go are gone.
    pub(crate) fn wait_until_ready(&self) {
        let is_ready = |pod: &Value| {
            let conditions = pod["status"]["conditions"].as_array();
            let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
            pod["metadata"].get("deletionTimestamp").is_none()
                && conditions.is_some_and(|c| c.iter().any(ready))
        };
        let of_node = "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a";
        wait("all pods to be ready", READY, || {
            assert!(self.is_running(), "the node ended:\n{}", self.child.text());
            let wanted: u64 = api::get("/apis/apps/v1/deployments")["items"]
                .as_array()
                .map_or(0, |all| all.iter().filter_map(|d| d["spec"]["replicas"].as_u64()).sum());
            let pods = api::get(of_node);
            let pods = pods["items"].as_array().cloned().unwrap_or_default();
            pods.len() as u64 > wanted && pods.iter().all(is_ready)
        });
    }

    /// The address of a pod by its `app` label.
    pub(crate) fn address(&self, namespace: &str, app: &str) -> String {
        let list = api::get(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{app}"));
        let address = list["items"][0]["status"]["podIP"].as_str();
        address.unwrap_or_else(|| panic!("{app}: {list}")).to_owned()
    }
}

/// Waits until it is so.
pub(crate) fn wait(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        host::pause(Duration::from_millis(300));
    }
}

/// The pods' program, packed as the images that the node has.
fn images() -> [PathBuf; 2] {
    let dir = tools::scratch_dir("images");
    let program = dir.join("peer");
    tools::build_go(&file("peer"), &program, &["-ldflags", "-s -w"], None);
    let pack = |name: &str, links: &[&str]| {
        let tar = dir.join(format!("{}.tar", name.replace(['/', ':'], "-")));
        let mut image = command(tools::venv("python3"), [file("image.py")]);
        image.arg(name).arg(&tar).arg(format!("/peer={}", program.display())).args(links);
        output(image);
        tar
    };
    // Where /usr is mounted, its parts are found at their other names too.
    let merged = ["/bin->usr/bin", "/sbin->usr/sbin", "/lib->usr/lib", "/lib64->usr/lib64"];
    [pack("registry.k8s.io/pause:3.2", &[]), pack("local/peer:1", &merged)]
}
