//! AWS App Mesh's documents, as Kubernetes objects and as the API gives them.

use super::problems;
use crate::identity::Party;
use crate::policy::expectation::Mode;
use crate::policy::target::Target;
use crate::policy::testing::{pod, read, read_well};

fn node(kind: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: appmesh.k8s.aws/v1beta2\nkind: {kind}\nmetadata: {{name: web, namespace: shop}}\nspec: {spec}\n"
    )
}

fn listener(tls: &str) -> String {
    format!("listeners: [{{portMapping: {{port: 8080, protocol: http}}{tls}}}]")
}

const PODS: &str = "podSelector: {matchLabels: {app: web}}";

#[test]
fn every_mode_means_what_app_mesh_says() {
    let web = pod("shop", "web", &[("app", "web")]);
    let validated = "validation: {trust: {file: {certificateChain: /ca.pem}}, subjectAlternativeNames: {match: {exact: [a.b, 'spiffe://t/c']}}}";
    let cases = [
        (String::from(", tls: {mode: STRICT}"), Some((Mode::Tls, 0))),
        (format!(", tls: {{mode: STRICT, {validated}}}"), Some((Mode::Strict, 2))),
        (String::from(", tls: {mode: PERMISSIVE}"), Some((Mode::Permissive, 0))),
        (String::from(", tls: {mode: DISABLED}"), Some((Mode::Disable, 0))),
        (String::new(), None),
    ];
    for (tls, expected) in cases {
        for kind in ["VirtualNode", "VirtualGateway"] {
            let set = read_well(&node(kind, &format!("{{{PODS}, {}}}", listener(&tls))));
            let got = set.decide(&Target::new(&web, 8080));
            let names = |e: &crate::policy::expectation::Expectation| {
                e.allowed_clients.as_deref().map_or(0, |a| a.sans.len() + a.spiffe_ids.len())
            };
            assert_eq!(got.map(|e| (e.mode, names(e))), expected, "{tls}");
            assert!(
                got.is_none_or(|e| e.origin.kind == kind && e.origin.field == "spec.listeners[0].tls.mode")
            );
            assert!(set.decide(&Target::new(&web, 8081)).is_none());
            assert!(set.decide(&Target::new(&pod("shop", "api", &[("app", "api")]), 8080)).is_none());
        }
    }
}

#[test]
fn api_form_is_known_by_its_dns_name() {
    let spec = r#""spec": {"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}, "tls": {"mode": "STRICT"}}],
        "serviceDiscovery": {"dns": {"hostname": "web.shop.local"}}}"#;
    let inner = format!(r#"{{"meshName": "m", "virtualNodeName": "web", {spec}}}"#);
    let nobody = Party::default();
    let target = Target { host: Some("web.shop.local"), ..Target::new(&nobody, 8080) };
    for text in [inner.clone(), format!(r#"{{"virtualNode": {inner}}}"#)] {
        let set = read_well(&text);
        let expectation = set.decide(&target).unwrap();
        assert_eq!((expectation.mode, expectation.origin.name.as_str()), (Mode::Tls, "web"));
        assert!(set.decide(&Target { host: Some("other.local"), ..target }).is_none());
    }
}

#[test]
fn empty_selector_is_all_pods_of_the_namespace_and_a_missing_one_is_none() {
    let text = node("VirtualNode", &format!("{{podSelector: {{}}, {}}}", listener(", tls: {mode: STRICT}")));
    assert!(read_well(&text).decide(&Target::new(&pod("shop", "x", &[]), 8080)).is_some());
    let text = text.replace("podSelector: {}, ", "");
    assert!(read(&text).is_empty());
    assert_eq!(
        problems(&text),
        [
            "p.yaml:5:7: warning: VirtualNode shop/web: spec: has no `podSelector` and no DNS name: which pods it is about cannot be told"
        ]
    );
}

#[test]
fn what_is_wrong_is_told_with_place_field_and_reason() {
    let title = "VirtualNode shop/web";
    let cases = [
        (listener(", tls: {}"), "spec.listeners[0].tls: needs a `mode`: STRICT, PERMISSIVE or DISABLED"),
        (
            listener(", tls: {mode: strict}"),
            "spec.listeners[0].tls.mode: must be STRICT, PERMISSIVE or DISABLED",
        ),
        (String::from("listeners: [{tls: {mode: STRICT}}]"), "spec.listeners[0]: needs a `portMapping.port`"),
        (
            listener("").replace("8080", "0"),
            "spec.listeners[0].portMapping.port: must be a port number from 1 to 65535",
        ),
    ];
    for (spec, expected) in cases {
        let found = problems(&node("VirtualNode", &format!("{{{PODS}, {spec}}}")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("p.yaml:5:") && found[0].ends_with(&format!("error: {title}: {expected}")),
            "{found:?}"
        );
    }
}
