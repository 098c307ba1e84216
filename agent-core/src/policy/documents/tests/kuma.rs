//! Kuma's documents, as Kubernetes objects and in the universal form.

use super::problems;
use crate::policy::expectation::Mode;
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
