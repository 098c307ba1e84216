//! Kuma's documents, as Kubernetes objects and in the universal form.

use super::problems;
use crate::policy::expectation::Mode;
use crate::policy::permission::Admission;
use crate::policy::target::Target;
use crate::policy::testing::{pod, read, read_well, served};

fn mesh(name: &str, mtls: &str) -> String {
    format!(
        "---\napiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata: {{name: {name}}}\nspec: {{mtls: {mtls}}}\n"
    )
}

fn tls(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: kuma.io/v1alpha1\nkind: MeshTLS\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn decide(text: &str, target: &Target<'_>) -> Option<(Mode, String)> {
    let set = read_well(text);
    let decided = set.decide(target).cloned();
    assert_eq!(set.explain(target).expectation, decided);
    decided.map(|e| (e.mode, e.origin.name.clone()))
}

#[test]
fn enabled_backend_says_what_a_mesh_expects() {
    let web = pod("shop", "web", &[]);
    let backend = |mode: &str| {
        format!(
            "{{enabledBackend: a, backends: [{{name: b, type: builtin, mode: PERMISSIVE}}, {{name: a, type: builtin{mode}}}]}}"
        )
    };
    let cases = [
        (backend(""), Some(Mode::Strict)),
        (backend(", mode: STRICT"), Some(Mode::Strict)),
        (backend(", mode: PERMISSIVE"), Some(Mode::Permissive)),
        (String::from("{backends: [{name: a, type: builtin}]}"), None),
        (String::from("{enabledBackend: '', backends: [{name: a, type: builtin}]}"), None),
    ];
    for (mtls, mode) in cases {
        let kubernetes = decide(&mesh("default", &mtls), &Target::new(&web, 80));
        assert_eq!(kubernetes, mode.map(|mode| (mode, String::from("default"))), "{mtls}");
        let universal = decide(&format!("type: Mesh\nname: default\nmtls: {mtls}\n"), &Target::new(&web, 80));
        assert_eq!(universal, kubernetes);
    }
    assert_eq!(decide("type: Mesh\nname: default\n", &Target::new(&web, 80)), None);
}

#[test]
fn pods_are_in_the_mesh_of_their_label_else_in_the_default_one() {
    let on = "{enabledBackend: a, backends: [{name: a, type: builtin}]}";
    let text = [mesh("default", on), mesh("other", on)].concat();
    let of = |text: &str, labels: &[(&str, &str)]| {
        decide(text, &Target::new(&pod("shop", "web", labels), 80)).map(|(_, name)| name)
    };
    assert_eq!(of(&text, &[]).as_deref(), Some("default"));
    assert_eq!(of(&text, &[("kuma.io/mesh", "other")]).as_deref(), Some("other"));
    assert_eq!(of(&text, &[("kuma.io/mesh", "third")]).as_deref(), Some("default"));
    assert_eq!(of(&mesh("only", on), &[]).as_deref(), Some("only"));
}

#[test]
fn mesh_tls_narrows_a_mesh_with_mtls() {
    let on = mesh("default", "{enabledBackend: a, backends: [{name: a, type: builtin}]}");
    let web = served("shop", "web", &[("app", "web")]);
    let target = Target::new(&web, 8080);
    let permissive = "rules: [{default: {mode: Permissive}}]";
    let cases = [
        ("kuma-system", format!("{{{permissive}}}"), true),
        ("kuma-system", format!("{{targetRef: {{kind: Mesh}}, {permissive}}}"), true),
        (
            "kuma-system",
            String::from("{from: [{targetRef: {kind: Mesh}, default: {mode: Permissive}}]}"),
            true,
        ),
        ("shop", format!("{{{permissive}}}"), true),
        ("other", format!("{{{permissive}}}"), false),
        (
            "kuma-system",
            format!("{{targetRef: {{kind: MeshSubset, tags: {{app: web}}}}, {permissive}}}"),
            true,
        ),
        (
            "kuma-system",
            format!("{{targetRef: {{kind: MeshSubset, tags: {{app: api}}}}, {permissive}}}"),
            false,
        ),
        (
            "kuma-system",
            format!(
                "{{targetRef: {{kind: MeshSubset, tags: {{k8s.kuma.io/namespace: shop}}}}, {permissive}}}"
            ),
            true,
        ),
        (
            "kuma-system",
            format!("{{targetRef: {{kind: MeshService, name: web_shop_svc_8080}}, {permissive}}}"),
            true,
        ),
        (
            "kuma-system",
            format!("{{targetRef: {{kind: MeshService, name: api_shop_svc_8080}}, {permissive}}}"),
            false,
        ),
        (
            "kuma-system",
            format!(
                "{{targetRef: {{kind: Dataplane, labels: {{app: web}}, sectionName: '8080'}}, {permissive}}}"
            ),
            true,
        ),
        (
            "kuma-system",
            format!(
                "{{targetRef: {{kind: Dataplane, labels: {{app: web}}, sectionName: '9090'}}, {permissive}}}"
            ),
            false,
        ),
        ("kuma-system", String::from("{rules: [{default: {tlsVersion: {min: TLS12}}}]}"), false),
    ];
    for (namespace, spec, applies) in cases {
        let got = decide(&[on.clone(), tls(namespace, "p", &spec)].concat(), &target);
        let expected = if applies { (Mode::Permissive, "p") } else { (Mode::Strict, "default") };
        assert_eq!(got, Some((expected.0, expected.1.to_owned())), "{namespace} {spec}");
    }
    let universal =
        "---\ntype: MeshTLS\nname: p\nmesh: default\nspec: {rules: [{default: {mode: Permissive}}]}\n";
    assert_eq!(decide(&[&on, universal].concat(), &target), Some((Mode::Permissive, String::from("p"))));
    let off = mesh("default", "{backends: [{name: a, type: builtin}]}");
    assert_eq!(decide(&[&off, universal].concat(), &target), None);
}

fn permission(namespace: &str, name: &str, spec: &str) -> String {
    tls(namespace, name, spec).replace("MeshTLS", "MeshTrafficPermission")
}

/// Whether a client gets in to pod `shop/web`, port 8080; by which document it does not.
fn admission(documents: &[String], id: &str) -> Option<Result<(), String>> {
    let on = mesh("default", "{enabledBackend: a, backends: [{name: a, type: builtin}]}");
    let web = served("shop", "web", &[("app", "web")]);
    let target = Target::new(&web, 8080);
    let set = read_well(&[on, documents.concat()].concat());
    let allowed = set.decide(&target).expect("an expectation").allowed_clients.clone()?;
    match allowed.permissions.admits(&target, Some(id)) {
        Admission::Unspoken | Admission::Unknown => None,
        Admission::Admitted => Some(Ok(())),
        Admission::Refused(origin) => Some(Err(origin.name.clone())),
    }
}

const CART: &str = "spiffe://default.mesh.local/ns/shop/sa/cart";
const TO_WEB: &str = "targetRef: {kind: Dataplane, labels: {app: web}}";

/// Entries of one list.
fn listed(list: &str, kind: &str, value: &str) -> String {
    format!("{list}: [{{spiffeID: {{type: {kind}, value: '{value}'}}}}]")
}

fn refused(name: &str) -> Option<Result<(), String>> {
    Some(Err(name.to_owned()))
}

#[test]
fn permissions_by_identity_are_denied_first_and_closed_by_default() {
    let namespace = "spiffe://default.mesh.local/ns/shop";
    let rules = |list: String| format!("rules: [{{default: {{{list}}}}}]");
    let policy = |name: &str, spec: String| permission("kuma-system", name, &format!("{{{spec}}}"));
    let allow = policy("all", rules(listed("allow", "Prefix", namespace)));
    let deny = policy("not-cart", format!("{TO_WEB}, {}", rules(listed("deny", "Exact", CART))));
    let shadow = policy("shadow", rules(listed("allowWithShadowDeny", "Exact", CART)));
    let to_db = "targetRef: {kind: Dataplane, labels: {app: db}}";
    let db = policy("db", format!("{to_db}, {}", rules(listed("deny", "Prefix", "s"))));
    assert_eq!(admission(&[], CART), None);
    assert_eq!(admission(std::slice::from_ref(&allow), CART), Some(Ok(())));
    assert_eq!(
        admission(std::slice::from_ref(&allow), "spiffe://default.mesh.local/ns/other/sa/cart"),
        refused("all")
    );
    for documents in [[allow.clone(), deny.clone()], [deny.clone(), allow.clone()]] {
        assert_eq!(admission(&documents, CART), refused("not-cart"));
        assert_eq!(admission(&documents, "spiffe://default.mesh.local/ns/shop/sa/db"), Some(Ok(())));
    }
    assert_eq!(admission(&[shadow], CART), Some(Ok(())));
    assert_eq!(admission(std::slice::from_ref(&db), CART), None, "about somebody else");
    assert_eq!(admission(&[allow, db], CART), Some(Ok(())));
    let sni = "rules: [{default: {deny: [{sni: {type: Exact, value: a}}], allow: [{spiffeID: {type: Prefix, value: s}}]}}]";
    assert_eq!(admission(&[policy("sni", sni.to_owned())], CART), None, "an identity does not tell");
}

#[test]
fn permissions_by_proxy_are_in_order_and_the_narrower_wins() {
    let from = |entries: &[(&str, &str)]| {
        let entry = |(target, action): &(&str, &str)| {
            format!("{{targetRef: {{{target}}}, default: {{action: {action}}}}}")
        };
        format!("from: [{}]", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
    };
    let everybody = "kind: Mesh";
    let orders = "kind: MeshSubset, tags: {kuma.io/service: orders}";
    let zone = "kind: MeshSubset, tags: {kuma.io/zone: east}";
    let (me, other) = ("spiffe://default/orders", "spiffe://default/cart");
    let wide =
        |entries: &[(&str, &str)]| permission("kuma-system", "wide", &format!("{{{}}}", from(entries)));
    let narrow = |entries: &[(&str, &str)]| {
        permission("kuma-system", "narrow", &format!("{{{TO_WEB}, {}}}", from(entries)))
    };
    let only_orders = wide(&[(everybody, "Deny"), (orders, "Allow")]);
    assert_eq!(admission(std::slice::from_ref(&only_orders), me), Some(Ok(())));
    assert_eq!(admission(&[only_orders], other), refused("wide"));
    let last_wins = wide(&[(orders, "Allow"), (everybody, "DENY")]);
    assert_eq!(admission(&[last_wins], me), refused("wide"));
    let by_name = wide(&[("kind: MeshService, name: orders", "AllowWithShadowDeny")]);
    assert_eq!(admission(std::slice::from_ref(&by_name), me), Some(Ok(())));
    assert_eq!(admission(&[by_name], other), refused("wide"), "who is not named is kept out");
    for documents in [
        [wide(&[(everybody, "Allow")]), narrow(&[(orders, "Deny")])],
        [narrow(&[(orders, "Deny")]), wide(&[(everybody, "Allow")])],
    ] {
        assert_eq!(admission(&documents, me), refused("narrow"));
        assert_eq!(admission(&documents, other), Some(Ok(())));
    }
    let by_zone = wide(&[(everybody, "Deny"), (zone, "Allow")]);
    assert_eq!(admission(&[by_zone], me), None, "certificates do not tell zones");
    let universal = "---\ntype: MeshTrafficPermission\nname: p\nmesh: default\nspec: {from: [{targetRef: {kind: Mesh}, default: {action: Allow}}]}\n";
    assert_eq!(admission(&[universal.to_owned()], other), Some(Ok(())));
}

#[test]
fn what_is_wrong_is_told_with_place_field_and_reason() {
    let cases = [
        (
            mesh("m", "{enabledBackend: x, backends: [{name: a}]}"),
            "5:31: error: Mesh m: spec.mtls.enabledBackend: names none of the `backends`",
        ),
        (
            mesh("m", "{backends: [{name: a, mode: strict}]}"),
            "5:42: error: Mesh m: spec.mtls.backends[0].mode: must be STRICT or PERMISSIVE",
        ),
        (tls("a", "p", "{}"), "5:7: error: MeshTLS a/p: spec: needs `rules` or `from`"),
        (
            tls("a", "p", "{rules: [{default: {mode: STRICT}}]}"),
            "5:33: error: MeshTLS a/p: spec.rules[0].default.mode: must be Strict or Permissive",
        ),
        (
            tls("a", "p", "{from: [{targetRef: {kind: MeshSubset}, default: {mode: Strict}}]}"),
            "5:15: error: MeshTLS a/p: spec.from[0]: must have a `targetRef` of kind Mesh: who calls makes no difference",
        ),
        (
            tls("a", "p", "{targetRef: {kind: Pod}, rules: [{default: {mode: Strict}}]}"),
            "5:19: error: MeshTLS a/p: spec.targetRef: needs a `kind`: Mesh, MeshSubset, MeshService, MeshServiceSubset or Dataplane",
        ),
        (
            tls(
                "a",
                "p",
                "{targetRef: {kind: MeshSubset, tags: {kuma.io/zone: z}}, rules: [{default: {mode: Strict}}]}",
            ),
            "5:19: warning: MeshTLS a/p: spec.targetRef: which pods have the tag kuma.io/zone cannot be told here: it applies to nothing",
        ),
        (permission("a", "p", "{}"), "5:7: error: MeshTrafficPermission a/p: spec: needs `rules` or `from`"),
        (
            permission("a", "p", "{rules: [{default: {allow: [{spiffeID: {type: Regex, value: a}}]}}]}"),
            "5:46: error: MeshTrafficPermission a/p: spec.rules[0].default.allow[0].spiffeID: needs a `type`: Exact or Prefix",
        ),
        (
            permission("a", "p", "{from: [{targetRef: {kind: Mesh}, default: {action: Maybe}}]}"),
            "5:59: error: MeshTrafficPermission a/p: spec.from[0].default.action: must be an `action`: Allow, Deny or AllowWithShadowDeny",
        ),
        (
            permission("a", "p", "{from: [{targetRef: {kind: Pod}, default: {action: Deny}}]}"),
            "5:27: error: MeshTrafficPermission a/p: spec.from[0].targetRef: needs a `kind`: Mesh, MeshSubset, MeshService or MeshServiceSubset",
        ),
        (
            mesh("m", "{}").replace("v1alpha1", "v2"),
            "2:13: error: Mesh m: apiVersion: unknown version; there is kuma.io/v1alpha1",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&text), [format!("p.yaml:{expected}")], "{text}");
        assert!(read(&text).is_empty());
    }
}
