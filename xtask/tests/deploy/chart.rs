//! The Helm chart.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::tools::{Scratch, helm, output, python, refused, repository, xtask};

fn chart() -> PathBuf {
    repository().join("deploy/chart/tlsight")
}

/// Everything that can be switched on at once.
const EVERYTHING: &str = r#"
image: {repository: registry.example:5000/acme/tlsight, digest: "sha256:0123456789012345678901234567890123456789012345678901234567890123"}
imagePullSecrets: [registry]
config:
  trust: {bundles: {shop: [/etc/tlsight/bundles/shop.pem]}}
  findings: {certificate_expiring: {warning_days: 21}}
policies: {shop.yaml: "apiVersion: tlsight.dev/v1alpha1\nkind: TlsightPolicy\n"}
rules: {own.rego: "package own\n"}
metrics: {port: 19465, tlsSecret: tlsight-tls, requireClientCertificate: true, bearerTokenSecret: tlsight-token}
socket: {hostPath: /run/tlsight}
seccompProfile: {type: Localhost, localhostProfile: tlsight.json}
seLinuxType: spc_t
hostNetwork: true
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [amd64]}]}]}}}
priorityClassName: system-node-critical
podLabels: {team: platform}
podAnnotations: {example.org/note: "yes"}
extraEnv: [{name: OTEL_EXPORTER_OTLP_HEADERS, valueFrom: {secretKeyRef: {name: otlp, key: headers}}}]
extraArgs: [--no-system-roots]
extraVolumes: [{name: bundles, configMap: {name: bundles}}]
extraVolumeMounts: [{name: bundles, mountPath: /etc/tlsight/bundles, readOnly: true}]
serviceAccount: {annotations: {example.org/role: reader}}
"#;

/// The documents of a YAML file.
fn yaml(text: &str) -> Vec<Value> {
    let mut yaml = python("python3");
    yaml.args([
        "-c",
        "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(open(sys.argv[1])) if d]))",
    ]);
    let scratch = Scratch::new();
    let text = output(yaml.arg(scratch.file("some.yaml", text)));
    serde_json::from_str(&text).expect("JSON")
}

/// What is rendered, document by document, by kind and name.
fn documents(rendered: &str) -> BTreeMap<String, Value> {
    let all = yaml(rendered);
    let name = |d: &Value| {
        format!("{}/{}", d["kind"].as_str().expect("kind"), d["metadata"]["name"].as_str().expect("name"))
    };
    all.into_iter().map(|document| (name(&document), document)).collect()
}

fn render(values: &str, more: &[&str]) -> String {
    let scratch = Scratch::new();
    let values = scratch.file("values.yaml", values);
    let mut helm = helm();
    helm.args(["template", "tlsight", "--namespace", "watch", "--values"]).arg(values).args(more);
    output(helm.arg(chart()))
}

/// Kubernetes' own schemas have nothing against what is rendered.
fn validate(rendered: &str, version: &str) {
    let scratch = Scratch::new();
    let file = scratch.file("rendered.yaml", rendered);
    let mut validate = python("kubernetes-validate");
    output(validate.args(["--strict", "--quiet", "-k", version]).arg(file));
}

#[test]
fn helm_finds_nothing_wrong_with_it() {
    let scratch = Scratch::new();
    let values = scratch.file("values.yaml", EVERYTHING);
    for values in [None, Some(values)] {
        let mut helm = helm();
        helm.args(["lint", "--strict"]).arg(chart());
        if let Some(values) = values {
            helm.arg("--values").arg(values);
        }
        output(&mut helm);
    }
}

#[test]
fn kubernetes_takes_what_it_renders() {
    for version in ["1.25", "1.30", "1.37"] {
        let kubernetes = ["--kube-version", version];
        for values in ["", EVERYTHING, "tls13: {certificates: false}"] {
            validate(&render(values, &kubernetes), version);
        }
    }
    // Older than any schema there is to hold it against: no field that came later.
    let old = render(EVERYTHING, &["--kube-version", "1.20.2"]);
    assert!(old.contains("container.apparmor.security.beta.kubernetes.io/tlsight: unconfined"), "{old}");
    assert!(!old.contains("appArmorProfile"), "{old}");
    let new = render(EVERYTHING, &["--kube-version", "1.30.0"]);
    assert!(new.contains("appArmorProfile") && !new.contains("container.apparmor"), "{new}");
}

#[test]
fn wrong_values_are_named() {
    for (value, what) in [
        ("metrics.prot=9465", "prot"),
        ("metrics.port=0", "/metrics/port"),
        ("metrics.requireClientCertificate=true", "tlsSecret"),
        ("capabilities={CAP_BPF}", "/capabilities/0"),
        ("capabilities={ALL}", "/capabilities/0"),
        ("privileged=true", "privileged"),
        ("config.findigns.x=1", "findigns"),
        ("image.pullPolicy=always", "/image/pullPolicy"),
        ("seccompProfile.type=Localhost", "localhostProfile"),
        ("seccompProfile.type=None", "/seccompProfile/type"),
        ("tls13.certificates=maybe", "/tls13/certificates"),
        ("resources.limits.memory=lots", "/resources/limits/memory"),
        ("updateStrategy.type=Recreate", "/updateStrategy/type"),
        ("podMonitor.interval=often", "/podMonitor/interval"),
        ("cgroupPath=sys", "/cgroupPath"),
    ] {
        let mut helm = helm();
        helm.args(["template", "tlsight", "--set", value]).arg(chart());
        let said = refused(&mut helm);
        assert!(said.contains("schema") && said.contains(what), "{value}: {said}");
    }
    let said = refused(helm().args(["template", "tlsight", "--kube-version", "1.19.0"]).arg(chart()));
    assert!(said.contains("1.19.0"), "{said}");
}

#[test]
fn a_container_has_the_rights_it_needs_and_no_others() {
    let container = |values: &str| {
        let all = documents(&render(values, &[]));
        let pod = all["DaemonSet/tlsight"]["spec"]["template"]["spec"].clone();
        (pod["containers"][0]["securityContext"].clone(), pod)
    };
    let base = ["BPF", "PERFMON", "NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"];
    for (values, expected) in
        [("", [&["SYS_ADMIN"], &base[..]].concat()), ("tls13: {certificates: false}", base.to_vec())]
    {
        let (context, pod) = container(values);
        let expected = serde_json::json!({
            "privileged": false, "runAsUser": 0, "runAsGroup": 0, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"], "add": expected},
            "seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "Unconfined"},
        });
        assert_eq!(context, expected);
        assert_eq!((&pod["hostPID"], pod.get("hostNetwork")), (&Value::Bool(true), None));
        assert_eq!(pod["tolerations"], serde_json::json!([{"operator": "Exists"}]));
        let volumes = pod["volumes"].as_array().expect("volumes");
        let of_host: Vec<&Value> = volumes.iter().filter_map(|v| v.get("hostPath")).collect();
        assert_eq!(of_host, [&serde_json::json!({"path": "/sys/fs/cgroup", "type": "Directory"})]);
        let mounts = pod["containers"][0]["volumeMounts"].as_array().expect("mounts");
        let writable: Vec<&Value> =
            mounts.iter().filter(|m| m["readOnly"] != true).map(|m| &m["mountPath"]).collect();
        assert_eq!(writable, ["/run/tlsight"]);
    }
}

/// The agent's own list of kinds, in its sources.
fn kinds() -> Vec<(String, String)> {
    let source = |name: &str| {
        let path = repository().join("agent/src/enrich/kubernetes").join(name);
        std::fs::read_to_string(path).expect(name)
    };
    let words = |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let delta = source("delta.rs");
    let watched = delta.lines().filter(|line| line.trim().starts_with("Kind::") && line.contains("=> (\""));
    let watched = watched.map(|line| (words(line)[0].clone(), words(line)[1].clone()));
    let policies = source("policies/kinds.rs");
    let policy = policies.lines().filter(|line| line.contains("policy(") && line.contains(", &["));
    let policy = policy.map(|line| {
        let list = line.split_once("policy(").expect("a kind").1;
        let group = match list.split(',').next().expect("a group") {
            "LINKERD" => "policy.linkerd.io".to_owned(),
            "GATEWAY" => "gateway.networking.k8s.io".to_owned(),
            quoted => quoted.trim_matches('"').to_owned(),
        };
        let plural = words(list).into_iter().nth_back(1).expect("a plural");
        (group, plural)
    });
    watched.chain(policy).collect()
}

#[test]
fn its_role_permits_what_the_agent_reads_and_nothing_else() {
    let role = &documents(&render("", &[]))["ClusterRole/tlsight"];
    let mut permitted = Vec::new();
    for rule in role["rules"].as_array().expect("rules") {
        assert_eq!(rule["verbs"], serde_json::json!(["list", "watch"]), "{rule}");
        let words = |key: &str| {
            let all = rule[key].as_array().expect(key);
            all.iter().map(|word| word.as_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        for group in words("apiGroups") {
            permitted.extend(words("resources").into_iter().map(|resource| (group.clone(), resource)));
        }
    }
    let mut read = kinds();
    assert!(read.len() > 20, "{read:?}");
    read.sort();
    permitted.sort();
    assert_eq!(permitted, read);
}

#[test]
fn its_role_may_be_left_to_others() {
    let all = documents(&render("{rbac: {create: false}, serviceAccount: {create: false, name: mine}}", &[]));
    assert_eq!(all.keys().collect::<Vec<_>>(), ["ConfigMap/tlsight", "DaemonSet/tlsight"]);
    let pod = &all["DaemonSet/tlsight"]["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "mine");
}

#[test]
fn the_pods_are_replaced_only_for_settings_that_need_it() {
    let checksum = |values: &str| {
        let all = documents(&render(values, &[]));
        all["DaemonSet/tlsight"]["spec"]["template"]["metadata"]["annotations"]["checksum/config"].clone()
    };
    let before = checksum("");
    assert!(before.is_string());
    assert_eq!(
        checksum(
            "config: {findings: {certificate_expiring: {warning_days: 21}}, policy: {cluster_domain: a}}"
        ),
        before
    );
    assert_ne!(checksum("config: {capture: {max_connections: 1000}}"), before);
}

#[test]
fn the_configuration_of_values_counts_for_more_than_the_charts() {
    let all = documents(&render(
        "{policies: {a.yaml: x}, config: {policy: {files: [/other]}, otlp: {endpoint: 'http://c:4317'}}}",
        &[],
    ));
    let text = all["ConfigMap/tlsight"]["data"]["tlsight.yaml"].as_str().expect("text");
    let expected = serde_json::json!({
        "tls13": {"certificates": "on"}, "policy": {"files": ["/other"]}, "otlp": {"endpoint": "http://c:4317"},
    });
    assert_eq!(yaml(text), [expected]);
}

#[test]
fn it_is_scraped_under_the_job_that_dashboards_ask_for() {
    let values = "{podMonitor: {enabled: true, labels: {release: prometheus}}, metrics: {tlsSecret: t, bearerTokenSecret: b}}";
    let all = documents(&render(values, &[]));
    let monitor = &all["PodMonitor/tlsight"];
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(monitor["spec"]["jobLabel"], "app.kubernetes.io/name");
    let labels = &all["DaemonSet/tlsight"]["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/name"], "tlsight");
    assert_eq!(monitor["spec"]["selector"], all["DaemonSet/tlsight"]["spec"]["selector"]);
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!((&endpoint["scheme"], &endpoint["port"]), (&"https".into(), &"metrics".into()));
    assert_eq!(endpoint["bearerTokenSecret"], serde_json::json!({"name": "b", "key": "token"}));
}

#[test]
fn dashboards_and_rules_are_those_of_the_repository() {
    let none = documents(&render("", &[]));
    let is_of_monitoring = |name: &&String| name.contains("dashboard") || name.starts_with("PrometheusRule");
    assert_eq!(none.keys().find(is_of_monitoring), None);
    let all = documents(&render("{dashboards: {enabled: true}, prometheusRule: {enabled: true}}", &[]));

    let folder = repository().join("dashboards");
    let files = |folder: PathBuf, ending: &str| {
        let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
        files.sort();
        assert!(!files.is_empty());
        files
    };
    let text = |path: &PathBuf| std::fs::read_to_string(path).expect("a file");
    let boards = files(folder.clone(), ".json");
    for board in &boards {
        let file = board.file_name().expect("a name").to_string_lossy().into_owned();
        let name = file.trim_start_matches("tlsight-").trim_end_matches(".json");
        let map = &all[&format!("ConfigMap/tlsight-dashboard-{name}")];
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(read(map["data"][&file].as_str().expect("a dashboard")), read(&text(board)), "{file}");
    }
    assert_eq!(all.keys().filter(|name| name.contains("-dashboard-")).count(), boards.len());

    let mut expected = Vec::new();
    for file in files(folder.join("prometheus"), ".yaml") {
        if !file.to_string_lossy().ends_with("_test.yaml") {
            expected.extend(yaml(&text(&file))[0]["groups"].as_array().expect("groups").clone());
        }
    }
    assert_eq!(all["PrometheusRule/tlsight"]["spec"]["groups"], Value::Array(expected));
}

#[test]
fn the_plain_manifests_are_what_the_chart_comes_to() {
    output(xtask().args(["manifests", "--check"]));
    let name = "tlsight.yaml";
    let text = std::fs::read_to_string(repository().join("deploy/manifests").join(name)).expect(name);
    validate(&text, "1.37");
}
