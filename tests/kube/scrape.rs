//! A real Prometheus, configured as docs/install-kubernetes.md says. Debian's is built without the discovery of pods by the
//! Kubernetes API: what that would say of a pod is told in a file.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::host::{free_port, wait_until_listening};
use tlsight_tests::tools;

use crate::node::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// A running Prometheus; ends with the value.
pub(crate) struct Prometheus {
    child: Child,
    at: SocketAddr,
    targets: PathBuf,
}

/// The manual's configuration, with a file in place of the API.
fn configuration(targets: &Path) -> String {
    let manual =
        fs::read_to_string(tools::repository().join("docs/install-kubernetes.md")).expect("the manual");
    let block = manual.split("```yaml\n# prometheus.yml\n").nth(1).and_then(|rest| rest.split("```").next());
    let block = block.expect("a configuration in the manual");
    let told = "kubernetes_sd_configs: [{role: pod, namespaces: {names: [tlsight]}}]";
    assert!(block.contains(told), "{block}");
    let here = format!("file_sd_configs: [{{files: ['{}']}}]", targets.display());
    format!("global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n{}", block.replace(told, &here))
}

impl Prometheus {
    /// Starts one that knows this pod.
    pub(crate) fn start(pod: &Value) -> Prometheus {
        let dir = tools::scratch_dir("prometheus");
        let targets = dir.join("targets.json");
        let file = dir.join("prometheus.yml");
        fs::write(&file, configuration(&targets)).expect("write");
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut prometheus = command("prometheus", ["--log.level=warn"]);
        prometheus.arg(format!("--config.file={}", file.display()));
        prometheus.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        prometheus.arg(format!("--web.listen-address={at}"));
        let prometheus = Prometheus { child: Child::spawn(prometheus), at, targets };
        prometheus.discover(pod);
        let is_up = wait_until_listening(at, LIMIT, || prometheus.child.is_running());
        assert!(is_up, "it does not listen:\n{}", prometheus.child.text());
        prometheus
    }

    /// From now on there is this pod and no other: a target a port, as `role: pod` makes them.
    pub(crate) fn discover(&self, pod: &Value) {
        let ip = pod["status"]["podIP"].as_str().expect("an address");
        let ports = pod["spec"]["containers"][0]["ports"].as_array().expect("ports");
        let groups: Vec<Value> = ports
            .iter()
            .map(|port| {
                json!({"targets": [format!("{ip}:{}", port["containerPort"])], "labels": {
                    "__meta_kubernetes_pod_container_port_name": port["name"],
                    "__meta_kubernetes_pod_node_name": pod["spec"]["nodeName"],
                }})
            })
            .collect();
        // Renamed, so that no half of it is read.
        let new = self.targets.with_extension("new");
        fs::write(&new, Value::from(groups).to_string()).expect("write");
        fs::rename(&new, &self.targets).expect("rename");
    }

    /// Waits until a query has an answer, and returns the labels of its series.
    pub(crate) fn wait_for(&self, query: &str) -> Vec<Value> {
        let mut found = Vec::new();
        wait(&format!("Prometheus to answer {query}"), LIMIT, || {
            assert!(self.child.is_running(), "{}", self.child.text());
            found = self.ask(query);
            !found.is_empty()
        });
        found
    }

    fn ask(&self, query: &str) -> Vec<Value> {
        let url = format!("http://{}/api/v1/query", self.at);
        let query = format!("query={query}");
        let words = ["--silent", "--noproxy", "*", "--max-time", "20", "--data-urlencode", &query, &url];
        let answer: Value = serde_json::from_str(&output(command("curl", words))).unwrap_or_default();
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        series.into_iter().map(|one| one["metric"].clone()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.stop();
    }
}
