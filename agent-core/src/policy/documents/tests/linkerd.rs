//! Linkerd's documents: a Server is as strict as the least that lets clients through to it.

use super::problems;
use crate::policy::expectation::Mode;
use crate::policy::target::Target;
use crate::policy::testing::{pod, read, read_well};

fn doc(version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: policy.linkerd.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: emoji}}\nspec: {spec}\n"
    )
}

fn server(extra: &str) -> String {
    doc(
        "v1beta3",
        "Server",
        "web",
        &format!("{{podSelector: {{matchLabels: {{app: web}}}}, port: 8080{extra}}}"),
    )
}

fn policy(name: &str, target: &str, refs: &str) -> String {
    doc(
        "v1alpha1",
        "AuthorizationPolicy",
        name,
        &format!("{{targetRef: {target}, requiredAuthenticationRefs: {refs}}}"),
    )
}

const TO_SERVER: &str = "{group: policy.linkerd.io, kind: Server, name: web}";
const BY_MESH: &str = "[{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: mesh}]";
const BY_NET: &str = "[{group: policy.linkerd.io, kind: NetworkAuthentication, name: net}]";

fn mesh(spec: &str) -> String {
    doc("v1alpha1", "MeshTLSAuthentication", "mesh", spec)
}

fn net() -> String {
    doc("v1alpha1", "NetworkAuthentication", "net", "{networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}")
}

/// Mode, deciding kind, and the names that may call (`None`: anybody).
type Answer = Option<(Mode, &'static str, Option<Vec<String>>)>;

fn at(text: &str, port: u16) -> Answer {
    let web = pod("emoji", "web", &[("app", "web")]);
    let target = Target::new(&web, port);
    let set = read_well(text);
    let decided = set.decide(&target).cloned();
    assert_eq!(set.explain(&target).expectation, decided);
    decided.map(|e| {
        let names = e.allowed_clients.as_deref();
        let names = names.map(|a| a.sans.iter().chain(&a.spiffe_ids).cloned().collect());
        (e.mode, e.origin.kind, names)
    })
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn server_alone_lets_nobody_through_unless_its_access_policy_does() {
    assert_eq!(at(&server(""), 8080), Some((Mode::Strict, "Server", names(&[]))));
    assert_eq!(at(&server(""), 9090), None);
    let cases = [
        ("deny", Mode::Strict, names(&[])),
        ("all-authenticated", Mode::Strict, None),
        ("cluster-authenticated", Mode::Strict, None),
        ("all-unauthenticated", Mode::Permissive, None),
        ("cluster-unauthenticated", Mode::Permissive, None),
        ("audit", Mode::Permissive, None),
    ];
    for (access, mode, clients) in cases {
        let text = server(&format!(", accessPolicy: {access}, proxyProtocol: HTTP/2"));
        assert_eq!(at(&text, 8080), Some((mode, "Server", clients)), "{access}");
    }
}

#[test]
fn mesh_tls_makes_a_server_strict_for_those_it_names() {
    let cases = [
        ("{identities: ['*']}", None),
        (
            "{identities: ['*.emoji.serviceaccount.identity.linkerd.cluster.local']}",
            names(&["*.emoji.serviceaccount.identity.linkerd.cluster.local"]),
        ),
        (
            "{identities: ['spiffe://root.linkerd.cluster.local/web']}",
            names(&["spiffe://root.linkerd.cluster.local/web"]),
        ),
        (
            "{identityRefs: [{kind: ServiceAccount, name: web}]}",
            names(&["web.emoji.serviceaccount.identity.linkerd.cluster.local"]),
        ),
        (
            "{identityRefs: [{kind: ServiceAccount, name: web, namespace: other}]}",
            names(&["web.other.serviceaccount.identity.linkerd.cluster.local"]),
        ),
        (
            "{identityRefs: [{kind: ServiceAccount}]}",
            names(&["*.emoji.serviceaccount.identity.linkerd.cluster.local"]),
        ),
        (
            "{identityRefs: [{kind: Namespace, name: other}]}",
            names(&["*.other.serviceaccount.identity.linkerd.cluster.local"]),
        ),
    ];
    for (spec, clients) in cases {
        let text = [server(""), policy("p", TO_SERVER, BY_MESH), mesh(spec)].concat();
        assert_eq!(at(&text, 8080), Some((Mode::Strict, "AuthorizationPolicy", clients)), "{spec}");
    }
    let account = "[{kind: ServiceAccount, name: api}]";
    let text = [server(""), policy("p", TO_SERVER, account)].concat();
    let expected = names(&["api.emoji.serviceaccount.identity.linkerd.cluster.local"]);
    assert_eq!(at(&text, 8080), Some((Mode::Strict, "AuthorizationPolicy", expected)));
}

#[test]
fn least_of_what_lets_clients_through_is_expected() {
    let strict = [server(""), policy("p", TO_SERVER, BY_MESH), mesh("{identities: [a.b]}"), net()].concat();
    let permissive = Some((Mode::Permissive, "AuthorizationPolicy", None));
    for refs in ["[]", BY_NET] {
        assert_eq!(at(&[strict.clone(), policy("q", TO_SERVER, refs)].concat(), 8080), permissive, "{refs}");
    }
    // Both have to hold: the network on top of the identity.
    let both = "[{kind: NetworkAuthentication, name: net}, {kind: MeshTLSAuthentication, name: mesh}]";
    let text = [server(""), policy("p", TO_SERVER, both), mesh("{identities: [a.b]}"), net()].concat();
    assert_eq!(at(&text, 8080), Some((Mode::Strict, "AuthorizationPolicy", names(&["a.b"]))));
    // Two policies let both through.
    let other = doc("v1alpha1", "MeshTLSAuthentication", "other", "{identities: [c.d]}");
    let by_other = "[{kind: MeshTLSAuthentication, name: other}]";
    let text = [strict, other, policy("q", TO_SERVER, by_other)].concat();
    assert_eq!(at(&text, 8080), Some((Mode::Strict, "AuthorizationPolicy", names(&["a.b", "c.d"]))));
}

#[test]
fn policies_of_namespaces_and_routes_count_for_their_servers() {
    let namespace = "{kind: Namespace, name: emoji}";
    let text = [server(""), policy("p", namespace, BY_MESH), mesh("{identities: ['*']}")].concat();
    assert_eq!(at(&text, 8080), Some((Mode::Strict, "AuthorizationPolicy", None)));
    let route = doc(
        "v1beta3",
        "HTTPRoute",
        "probe",
        "{parentRefs: [{group: policy.linkerd.io, kind: Server, name: web}]}",
    );
    let to_route = "{group: policy.linkerd.io, kind: HTTPRoute, name: probe}";
    let probe = policy("q", to_route, "[]");
    let permissive = Some((Mode::Permissive, "AuthorizationPolicy", None));
    assert_eq!(at(&[text.clone(), route.clone(), probe.clone()].concat(), 8080), permissive);
    let gateway_api = route.replace("policy.linkerd.io/v1beta3", "gateway.networking.k8s.io/v1");
    assert_eq!(at(&[text, gateway_api, probe].concat(), 8080), permissive);
}

#[test]
fn server_authorizations_mean_the_same() {
    let authorization = |client: &str| {
        let spec = format!("{{server: {{name: web}}, client: {client}}}");
        [server(""), doc("v1beta1", "ServerAuthorization", "a", &spec)].concat()
    };
    let cases = [
        ("{unauthenticated: true}", Mode::Permissive, None),
        ("{meshTLS: {unauthenticatedTLS: true}}", Mode::Tls, None),
        ("{meshTLS: {identities: ['*']}}", Mode::Strict, None),
        ("{meshTLS: {identities: [a.b]}, networks: [{cidr: 10.0.0.0/8}]}", Mode::Strict, names(&["a.b"])),
        (
            "{meshTLS: {serviceAccounts: [{name: web}]}}",
            Mode::Strict,
            names(&["web.emoji.serviceaccount.identity.linkerd.cluster.local"]),
        ),
    ];
    for (client, mode, clients) in cases {
        assert_eq!(
            at(&authorization(client), 8080),
            Some((mode, "ServerAuthorization", clients)),
            "{client}"
        );
    }
    let labelled = server("").replace("name: web, ", "name: web, labels: {role: admin}, ");
    let by_label = doc(
        "v1beta1",
        "ServerAuthorization",
        "a",
        "{server: {selector: {matchLabels: {role: admin}}}, client: {unauthenticated: true}}",
    );
    assert_eq!(
        at(&[labelled, by_label].concat(), 8080),
        Some((Mode::Permissive, "ServerAuthorization", None))
    );
}

#[test]
fn pods_and_ports_are_selected_as_kubernetes_does() {
    let select = |spec: &str| doc("v1beta1", "Server", "web", spec);
    let by_expression = select(
        "{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, api]}]}, port: 8080}",
    );
    assert!(at(&by_expression, 8080).is_some());
    let all = select("{podSelector: {}, port: '8080'}");
    assert!(at(&all, 8080).is_some());
    let named = read_well(&select("{podSelector: {}, port: http}"));
    let web = pod("emoji", "web", &[]);
    let target = Target::new(&web, 8080);
    assert!(named.decide(&target).is_none());
    assert!(named.decide(&Target { port_name: Some("http"), ..target }).is_some());
    assert!(named.decide(&Target { port_name: Some("admin"), ..target }).is_none());
}

#[test]
fn namespace_annotation_applies_to_ports_without_a_server() {
    let namespace = |access: &str| {
        format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: emoji, annotations: {{config.linkerd.io/default-inbound-policy: {access}}}}}\n"
        )
    };
    let text = [namespace("all-authenticated"), server(", accessPolicy: audit")].concat();
    assert_eq!(at(&text, 8080), Some((Mode::Permissive, "Server", None)));
    assert_eq!(at(&text, 9090), Some((Mode::Strict, "Namespace", None)));
    assert_eq!(at(&namespace("deny"), 9090), Some((Mode::Strict, "Namespace", names(&[]))));
    assert_eq!(at("apiVersion: v1\nkind: Namespace\nmetadata: {name: emoji}\n", 9090), None);
}

#[test]
fn what_is_wrong_is_told_with_place_field_and_reason() {
    let server = |spec: &str| doc("v1beta3", "Server", "s", spec);
    let cases = [
        (server("{port: 1}"), "5:7: error: Server emoji/s: spec: needs a `podSelector`"),
        (server("{podSelector: {}}"), "5:7: error: Server emoji/s: spec: needs a `port`"),
        (
            server("{podSelector: {}, port: 0}"),
            "5:31: error: Server emoji/s: spec.port: must be a port number from 1 to 65535",
        ),
        (
            server("{podSelector: {}, port: 1, proxyProtocol: http}"),
            "5:49: error: Server emoji/s: spec.proxyProtocol: must be one of unknown, HTTP/1, HTTP/2, gRPC, opaque, TLS",
        ),
        (
            server("{podSelector: {}, port: 1, accessPolicy: allow}"),
            "5:48: error: Server emoji/s: spec.accessPolicy: must be deny, all-authenticated, cluster-authenticated, all-unauthenticated, cluster-unauthenticated or audit",
        ),
        (
            mesh("{}"),
            "5:7: error: MeshTLSAuthentication emoji/mesh: spec: needs `identities` or `identityRefs`",
        ),
        (
            mesh("{identities: ['a.*']}"),
            "5:21: error: MeshTLSAuthentication emoji/mesh: spec.identities[0]: may have a wildcard only as its first label: *.shop.serviceaccount...",
        ),
        (
            net().replace("10.0.0.0/8", "ten"),
            "5:26: error: NetworkAuthentication emoji/net: spec.networks[0].cidr: must be an address or a network: 10.0.0.1, 10.0.0.0/8, 2001:db8::/32",
        ),
        (
            policy("p", "{kind: Pod, name: a}", "[]"),
            "5:19: error: AuthorizationPolicy emoji/p: spec.targetRef: needs a `kind`: Server, HTTPRoute, GRPCRoute or Namespace",
        ),
        (
            policy("p", "{kind: Namespace, name: a}", "[]"),
            "5:19: error: AuthorizationPolicy emoji/p: spec.targetRef: must be the namespace that the policy is in",
        ),
        (
            policy("p", TO_SERVER, "[{kind: Pod, name: a}]"),
            "5:101: error: AuthorizationPolicy emoji/p: spec.requiredAuthenticationRefs[0]: needs a `kind`: MeshTLSAuthentication, NetworkAuthentication or ServiceAccount",
        ),
        (
            doc("v1alpha1", "AuthorizationPolicy", "p", "{targetRef: {kind: Server, name: a}}"),
            "5:7: error: AuthorizationPolicy emoji/p: spec: needs `requiredAuthenticationRefs`; an empty list lets everybody through",
        ),
        (
            doc("v1beta1", "ServerAuthorization", "a", "{server: {name: s}, client: {}}"),
            "5:35: error: ServerAuthorization emoji/a: spec.client: needs `unauthenticated: true` or `meshTLS`",
        ),
        (
            doc("v9", "Server", "s", "{}"),
            "2:13: error: Server emoji/s: apiVersion: unknown version; there are: v1alpha1, v1beta1, v1beta2, v1beta3",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&text), [format!("p.yaml:{expected}")], "{text}");
    }
}

#[test]
fn what_is_named_and_not_there_is_told_and_nothing_is_guessed() {
    let text = [server(""), policy("p", TO_SERVER, BY_MESH)].concat();
    assert_eq!(
        problems(&text),
        ["p.yaml:10:100: warning: AuthorizationPolicy emoji/p: spec.requiredAuthenticationRefs: \
          MeshTLSAuthentication emoji/mesh is not among the documents: whom it lets through is not known"]
    );
    let web = pod("emoji", "web", &[("app", "web")]);
    let set = read(&text);
    let expectation = set.decide(&Target::new(&web, 8080)).unwrap();
    assert_eq!((expectation.mode, &expectation.allowed_clients), (Mode::Strict, &None));
    assert_eq!(
        problems(&policy("p", TO_SERVER, "[]")),
        [
            "p.yaml:5:19: warning: AuthorizationPolicy emoji/p: spec.targetRef: no such Server is among the documents: this lets nobody through"
        ]
    );
}
