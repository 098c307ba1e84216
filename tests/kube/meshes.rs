//! Kinds of every mesh, from the API to the verdict on real connections: plaintext to `annex/api`, mutual TLS to `shop/db`.

use serde_json::{Value, json};
use tlsight_tests::agent::Object;

use crate::agent::{Agent, bundles, text};
use crate::api;
use crate::pki::CLIENT_ID;
use crate::policies::{SEEN, install_in, uninstall};

/// Scope, group, version, plural and kind.
const KINDS: [[&str; 5]; 6] = [
    ["Namespaced", "networking.istio.io", "v1beta1", "destinationrules", "DestinationRule"],
    ["Namespaced", "policy.linkerd.io", "v1beta1", "servers", "Server"],
    ["Namespaced", "policy.linkerd.io", "v1alpha1", "meshtlsauthentications", "MeshTLSAuthentication"],
    ["Namespaced", "policy.linkerd.io", "v1alpha1", "authorizationpolicies", "AuthorizationPolicy"],
    ["Cluster", "kuma.io", "v1alpha1", "meshes", "Mesh"],
    ["Namespaced", "appmesh.k8s.aws", "v1beta2", "virtualnodes", "VirtualNode"],
];

/// A resource of one of the kinds, and where it is.
struct Resource {
    list: String,
    name: &'static str,
    body: Value,
}

fn resource(kind: &str, namespace: &str, name: &'static str, spec: &Value) -> Resource {
    let [scope, group, version, plural, _] =
        KINDS.into_iter().find(|row| row[4] == kind).expect("one of the kinds");
    let mut metadata = json!({"name": name});
    let mut list = format!("/apis/{group}/{version}/{plural}");
    if scope == "Namespaced" {
        metadata["namespace"] = json!(namespace);
        list = format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}");
    }
    let body =
        json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": metadata, "spec": spec});
    Resource { list, name, body }
}

impl Resource {
    fn create(&self) {
        api::create(&self.list, &self.body);
    }

    fn patch(&self, spec: &Value) {
        api::patch(&format!("{}/{}", self.list, self.name), &json!({"spec": spec}));
    }

    fn delete(&self) {
        api::delete(&format!("{}/{}", self.list, self.name));
    }
}

/// An agent that has no policies but those of the API.
struct Watched(Agent);

impl Watched {
    /// Waits until the server's end of connections to a workload is judged so: by this mode of this document, with these
    /// findings.
    fn wait_for(&self, workload: &str, mode: &str, origin: &str, findings: &[&str]) {
        let since = self.0.mark();
        let findings = json!(findings);
        let is_of = |line: &&Object| {
            text(line, "tlsight.phase") == "final" && text(line, "tlsight.k8s.workload.name") == workload
        };
        let is_so = |line: &Object| {
            text(line, "tlsight.expectation") == mode
                && text(line, "tlsight.expectation.source").starts_with(origin)
                && line.get("tlsight.findings") == Some(&findings)
        };
        let found = self
            .0
            .wait(since, SEEN, |lines| lines.iter().rev().take(2000).filter(is_of).any(is_so).then_some(()));
        found.unwrap_or_else(|| {
            let lines = self.0.since(since);
            let seen = lines.iter().rev().find(is_of).map(crate::hops::brief).unwrap_or_default();
            panic!("{workload} is not {mode} by {origin} with {findings}: {seen}\n{}", self.0.said())
        });
    }
}

pub(crate) fn all() {
    for [scope, group, version, plural, kind] in KINDS {
        install_in(scope, group, version, plural, kind);
    }
    let [for_servers, for_clients] = bundles();
    let watched = Watched(Agent::start("admin", &["--ca-bundle", &for_servers, "--ca-bundle", &for_clients]));
    watched.wait_for("api", "", "", &["plaintext_traffic"]);
    watched.wait_for("db", "", "", &[]);
    istio(&watched);
    linkerd(&watched);
    kuma(&watched);
    app_mesh(&watched);
    for [_, group, _, plural, _] in KINDS {
        uninstall(group, plural);
    }
    watched.wait_for("api", "", "", &["plaintext_traffic"]);
    assert!(!watched.0.said().contains("spec."), "something is wrong with these: {}", watched.0.said());
    watched.0.stop();
}

/// What clients are told to do counts at both ends.
fn istio(watched: &Watched) {
    let tls =
        |mode: &str| json!({"host": "api.annex.svc.cluster.local", "trafficPolicy": {"tls": {"mode": mode}}});
    let rule = resource("DestinationRule", "annex", "api", &tls("ISTIO_MUTUAL"));
    rule.create();
    watched.wait_for("api", "strict", "DestinationRule annex/api", &["plaintext_traffic"]);
    rule.patch(&tls("SIMPLE"));
    watched.wait_for("api", "tls", "DestinationRule annex/api", &["plaintext_traffic"]);
    rule.patch(&tls("DISABLE"));
    watched.wait_for("api", "disable", "DestinationRule annex/api", &[]);
    rule.delete();
    watched.wait_for("api", "", "", &["plaintext_traffic"]);
}

fn linkerd(watched: &Watched) {
    let selector = json!({"matchLabels": {"app": "api"}});
    let open = resource(
        "Server",
        "annex",
        "api",
        &json!({"podSelector": selector, "port": 8080, "accessPolicy": "all-authenticated"}),
    );
    open.create();
    watched.wait_for("api", "strict", "Server annex/api", &["plaintext_traffic"]);
    open.patch(&json!({"accessPolicy": "all-unauthenticated"}));
    watched.wait_for("api", "permissive", "Server annex/api", &[]);
    open.delete();

    // A Server that nobody is let through to; then somebody else is; then everybody with an identity; then this client.
    let server = resource(
        "Server",
        "shop",
        "db",
        &json!({"podSelector": {"matchLabels": {"app": "db"}}, "port": 9443}),
    );
    server.create();
    watched.wait_for("db", "strict", "Server shop/db", &["client_identity_not_allowed"]);
    let others = json!({"identities": ["other.shop.serviceaccount.identity.linkerd.cluster.local"]});
    let authentication = resource("MeshTLSAuthentication", "shop", "clients", &others);
    authentication.create();
    let policy = resource(
        "AuthorizationPolicy",
        "shop",
        "db",
        &json!({
            "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": "db"},
            "requiredAuthenticationRefs": [
                {"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": "clients"},
            ],
        }),
    );
    policy.create();
    watched.wait_for("db", "strict", "AuthorizationPolicy shop/db", &["client_identity_not_allowed"]);
    authentication.patch(&json!({"identities": ["*"]}));
    watched.wait_for("db", "strict", "AuthorizationPolicy shop/db", &[]);
    authentication.patch(&json!({"identities": ["spiffe://shop.test/ns/shop/sa/another"]}));
    watched.wait_for("db", "strict", "AuthorizationPolicy shop/db", &["client_identity_not_allowed"]);
    authentication.patch(&json!({"identities": [CLIENT_ID]}));
    watched.wait_for("db", "strict", "AuthorizationPolicy shop/db", &[]);
    policy.delete();
    authentication.delete();
    server.delete();
    watched.wait_for("db", "", "", &[]);
}

fn kuma(watched: &Watched) {
    let mtls = |mode: &str| json!({"mtls": {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin", "mode": mode}]}});
    let mesh = resource("Mesh", "", "default", &mtls("STRICT"));
    mesh.create();
    watched.wait_for("api", "strict", "Mesh default", &["plaintext_traffic"]);
    watched.wait_for("db", "strict", "Mesh default", &[]);
    mesh.patch(&mtls("PERMISSIVE"));
    watched.wait_for("api", "permissive", "Mesh default", &[]);
    mesh.delete();
    watched.wait_for("api", "", "", &["plaintext_traffic"]);
}

fn app_mesh(watched: &Watched) {
    let listener =
        |tls: Value| json!({"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}, "tls": tls}]});
    let with = |tls: Value| {
        let mut spec = listener(tls);
        spec["podSelector"] = json!({"matchLabels": {"app": "api"}});
        spec
    };
    let certificate =
        json!({"file": {"certificateChain": "/pki/server.pem", "privateKey": "/pki/server.key"}});
    let node =
        resource("VirtualNode", "annex", "api", &with(json!({"mode": "STRICT", "certificate": certificate})));
    node.create();
    watched.wait_for("api", "tls", "VirtualNode annex/api", &["plaintext_traffic"]);
    let validation = json!({"trust": {"file": {"certificateChain": "/pki/ca.pem"}}});
    node.patch(&listener(json!({"mode": "STRICT", "certificate": certificate, "validation": validation})));
    watched.wait_for("api", "strict", "VirtualNode annex/api", &["plaintext_traffic"]);
    node.patch(&listener(json!({"mode": "PERMISSIVE", "certificate": certificate})));
    watched.wait_for("api", "permissive", "VirtualNode annex/api", &[]);
    node.patch(&listener(json!({"mode": "DISABLED", "certificate": certificate})));
    watched.wait_for("api", "disable", "VirtualNode annex/api", &[]);
    node.delete();
    watched.wait_for("api", "", "", &["plaintext_traffic"]);
}
