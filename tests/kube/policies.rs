//! Policies that the API has: none at first, then Istio's kinds are installed, used, and removed.

use std::time::Duration;

use serde_json::{Value, json};
use tlsight_tests::agent::Object;
use tlsight_tests::child::output;

use crate::agent::{Agent, agent, text, tlsight};
use crate::api;
use crate::node::{node, wait};
use crate::pki::SERVER_NAME;

/// The agent looks for new kinds every ten seconds, and believes that one is gone when it is not there twice.
pub(crate) const SEEN: Duration = Duration::from_secs(45);

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A kind, as meshes install them: everything is accepted, so that wrong resources can be made.
pub(crate) fn install(group: &str, version: &str, plural: &str, kind: &str) {
    install_in("Namespaced", group, version, plural, kind);
}

/// The same where the kind may be one of the whole cluster.
pub(crate) fn install_in(scope: &str, group: &str, version: &str, plural: &str, kind: &str) {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": scope,
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    api::create(CRDS, &crd);
    let list = format!("/apis/{group}/{version}/{plural}");
    wait("the kind to be served", SEEN, || api::try_get(&list).is_some_and(|(code, _)| code == 200));
}

pub(crate) fn uninstall(group: &str, plural: &str) {
    api::delete(&format!("{CRDS}/{plural}.{group}"));
}

fn peer_authentication(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": "annex"}, "spec": spec,
    })
}

/// Waits until connections to `annex/api` are judged so: by this mode of this document, with these findings.
fn wait_for(mode: &str, origin: &str, findings: &[&str]) {
    let since = agent().mark();
    let findings = json!(findings);
    let is_so = |line: &Object| {
        text(line, "tlsight.phase") == "final"
            && text(line, "tlsight.k8s.workload.name") == "api"
            && text(line, "tlsight.expectation") == mode
            && text(line, "tlsight.expectation.source").starts_with(origin)
            && line.get("tlsight.findings") == Some(&findings)
    };
    let found = agent().wait(since, SEEN, |lines| lines.iter().rev().take(2000).any(is_so).then_some(()));
    found.unwrap_or_else(|| {
        let lines = agent().since(since);
        let of_api = lines.iter().rev().find(|line| text(line, "tlsight.k8s.workload.name") == "api");
        let seen = of_api.map(crate::hops::brief).unwrap_or_default();
        panic!("annex/api is not {mode} by {origin} with {findings}: {seen}\n{}", agent().said())
    });
}

pub(crate) fn come_and_go() {
    const POLICIES: &str = "/apis/security.istio.io/v1beta1/namespaces/annex/peerauthentications";
    // Nothing of this kind is there, and nobody is told so.
    assert!(!agent().said().contains("peerauthentications"), "{}", agent().said());
    wait_for("", "", &["plaintext_traffic"]);

    install("security.istio.io", "v1beta1", "peerauthentications", "PeerAuthentication");
    api::create(POLICIES, &peer_authentication("default", json!({"mtls": {"mode": "PERMISSIVE"}})));
    wait_for("permissive", "PeerAuthentication annex/default", &[]);

    // Narrower: about the workload.
    let strict = json!({"selector": {"matchLabels": {"app": "api"}}, "mtls": {"mode": "STRICT"}});
    api::create(POLICIES, &peer_authentication("api", strict));
    wait_for("strict", "PeerAuthentication annex/api", &["plaintext_traffic"]);
    api::patch(&format!("{POLICIES}/api"), &json!({"spec": {"mtls": {"mode": "DISABLE"}}}));
    wait_for("disable", "PeerAuthentication annex/api", &[]);

    // Invalid resources do not count, and are told once.
    api::create(POLICIES, &peer_authentication("wrong", json!({"mtls": {"mode": "SOMETIMES"}})));
    let told = "PeerAuthentication annex/wrong: spec.mtls.mode: ";
    wait("the invalid resource to be told", SEEN, || agent().said().contains(told));
    api::patch(&format!("{POLICIES}/api"), &json!({"spec": {"mtls": {"mode": "STRICT"}}}));
    wait_for("strict", "PeerAuthentication annex/api", &["plaintext_traffic"]);
    assert_eq!(agent().said().matches(told).count(), 1, "{}", agent().said());

    api::delete(&format!("{POLICIES}/wrong"));
    api::delete(&format!("{POLICIES}/api"));
    wait_for("permissive", "PeerAuthentication annex/default", &[]);
    // The kind goes, and with it what it said.
    uninstall("security.istio.io", "peerauthentications");
    wait_for("", "", &["plaintext_traffic"]);
}

pub(crate) fn issued() {
    // An agent that gives rollouts no time.
    let config = tlsight_tests::tools::scratch_dir("config").join("tlsight.yaml");
    std::fs::write(&config, "findings: {certificate_stale: {grace_minutes: 0}}\n")
        .expect("write a configuration");
    install("cert-manager.io", "v1", "certificates", "Certificate");
    let other = Agent::start("admin", &["--config", &config.to_string_lossy()]);
    let of_db = |line: &Object| {
        text(line, "tlsight.phase") == "final" && text(line, "tlsight.k8s.workload.name") == "db"
    };
    let wait_until = |is_stale: bool| {
        let stale = json!("certificate_stale");
        let has = |line: &Object| line["tlsight.findings"].as_array().is_some_and(|all| all.contains(&stale));
        let since = other.mark();
        let is_so =
            |lines: &[Object]| lines.iter().any(|line| of_db(line) && has(line) == is_stale).then_some(());
        let found = other.wait(since, SEEN, is_so);
        assert!(found.is_some(), "is stale: {is_stale} is not seen\n{}", other.said());
    };
    wait_until(false);
    let issued = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": "db-tls", "namespace": "shop"},
        "spec": {"secretName": "db-tls", "dnsNames": [SERVER_NAME], "privateKey": {"algorithm": "ECDSA"}},
        "status": {"revision": 2, "notBefore": "2126-01-01T00:00:00Z", "notAfter": "2126-03-01T00:00:00Z"},
    });
    api::create("/apis/cert-manager.io/v1/namespaces/shop/certificates", &issued);
    wait_until(true);
    other.stop();
    uninstall("cert-manager.io", "certificates");
}

/// `tlsight check` names what may not be read.
pub(crate) fn check(user: &str) -> Vec<Object> {
    let told = output(tlsight(&["check", "-o", "json", "--kubeconfig", &node().kubeconfig(user)]));
    told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
