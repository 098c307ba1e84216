//! A role that does not permit everything: what is lost is told, and the rest works.

use std::time::Duration;

use serde_json::json;
use tlsight_tests::agent::Object;

use crate::agent::{Agent, counter, text};
use crate::api;
use crate::node::wait;
use crate::policies::{check, install, uninstall};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

fn rule(group: &str, resources: &[&str]) -> serde_json::Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]})
}

/// Outcome and text of what `tlsight check` says of Kubernetes, by name.
fn outcome<'a>(checks: &'a [Object], name: &str) -> Option<(&'a str, &'a str)> {
    let check = checks.iter().find(|check| text(check, "name") == name)?;
    Some((text(check, "outcome"), text(check, "found")))
}

pub(crate) fn told() {
    install("security.istio.io", "v1beta1", "peerauthentications", "PeerAuthentication");
    let rules = [
        rule("", &["pods", "services"]),
        rule("apps", &["replicasets"]),
        rule("batch", &["jobs"]),
        rule("discovery.k8s.io", &["endpointslices"]),
    ];
    api::create(
        ROLES,
        &json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "limited"}, "rules": rules,
        }),
    );
    api::create(
        BINDINGS,
        &json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "limited"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "limited"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}],
        }),
    );
    let checks = check("limited");
    assert_eq!(outcome(&checks, "Kubernetes API"), Some(("ok", "v1.20.2")));
    let readable = "pods services endpointslices replicasets jobs";
    assert_eq!(outcome(&checks, "Kubernetes: may read"), Some(("ok", readable)));
    for refused in ["nodes", "peerauthentications"] {
        let found = outcome(&checks, &format!("Kubernetes: {refused}"));
        assert_eq!(found, Some(("degraded", "not permitted: list, watch")), "{refused}");
    }

    let agent = Agent::start("limited", &[]);
    let names = agent.wait(agent.mark(), Duration::from_secs(20), |lines| {
        let is_named = |line: &Object| text(line, "tlsight.peer.k8s.workload.name") == "db";
        lines.iter().any(is_named).then_some(())
    });
    assert!(names.is_some(), "no names although pods may be read:\n{}", agent.said());
    for refused in ["nodes", "peerauthentications"] {
        let line = format!("the Kubernetes API does not permit to read {refused}: ");
        wait("what is refused to be told", Duration::from_secs(20), || agent.said().contains(&line));
    }
    let said = agent.stop();
    assert_eq!(said.matches("does not permit to read").count(), 2, "each once:\n{said}");
    assert!(counter(&said, "enrich.kubernetes.forbidden") >= 2);

    api::delete(&format!("{BINDINGS}/limited"));
    api::delete(&format!("{ROLES}/limited"));
    uninstall("security.istio.io", "peerauthentications");
}
