//! Reading, in general; each dialect has its own cases.

use super::*;
use crate::policy::expectation::Mode;
use crate::policy::target::Target;
use crate::policy::testing::{pod, read};

mod appmesh;
mod istio;
mod kuma;
mod linkerd;
mod schema;
mod tlsight;

/// What `tlsight policy check` prints.
pub(super) fn problems(text: &str) -> Vec<String> {
    let mut documents = Documents::default();
    documents.add_text("p.yaml", text);
    documents.finish().problems.iter().map(ToString::to_string).collect()
}

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

#[test]
fn json_text_lists_and_api_values_are_the_same_documents() {
    let value = serde_json::json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "shop"}, "spec": {"mtls": {"mode": "STRICT"}},
    });
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [value.clone()]});
    let text = |text: &str| {
        let mut documents = Documents::default();
        documents.add_text("d", text);
        documents.finish()
    };
    let mut from_api = Documents::default();
    from_api.add_json("kubernetes", &value);
    let loaded = [
        text(STRICT),
        text(&value.to_string()),
        text(&serde_json::to_string_pretty(&list).unwrap()),
        text(&format!("---\n# nothing\n---\n{STRICT}...\n")),
        from_api.finish(),
    ];
    let server = pod("shop", "web", &[]);
    let lines: Vec<_> = loaded
        .iter()
        .map(|loaded| {
            assert_eq!((loaded.problems.as_slice(), loaded.counters.resources), (&[] as &[_], 1));
            let expectation = loaded.set.decide(&Target::new(&server, 80)).unwrap();
            assert_eq!(
                (expectation.mode, expectation.origin.field.as_str()),
                (Mode::Strict, "spec.mtls.mode")
            );
            expectation.origin.line
        })
        .collect();
    assert_eq!((lines[0], lines[1], lines[4]), (Some(4), Some(1), None));
}

#[test]
fn other_kinds_are_passed_over_and_named_once() {
    let mut documents = Documents::default();
    let deployment = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
    documents.add_text("d", &format!("{deployment}{deployment}---\n{STRICT}"));
    let loaded = documents.finish();
    assert_eq!(loaded.ignored, ["apps/v1 Deployment"]);
    assert_eq!((loaded.counters.resources, loaded.counters.resources_ignored), (1, 2));
    assert_eq!(loaded.problems, []);
}

#[test]
fn what_is_no_resource_is_said_to_be_none_and_the_rest_is_read() {
    let text = format!("just words\n---\na: 1\n---\nkind: Pod\n---\nkind: 7\napiVersion: v1\n---\n{STRICT}");
    assert_eq!(
        problems(&text),
        [
            "p.yaml:1:1: error: must be a mapping, not a string",
            "p.yaml:3:1: error: is no resource: it has no `apiVersion` and `kind`",
            "p.yaml:5:1: error: has a `kind` but no `apiVersion`",
            "p.yaml:7:7: error: kind: must be a string, not a number: put it in quotes",
        ]
    );
    let server = pod("shop", "web", &[]);
    assert!(read(&text).decide(&Target::new(&server, 80)).is_some());
}

#[test]
fn text_that_is_no_yaml_is_told_with_line_and_column() {
    let found = problems(&format!("{STRICT}---\na: [1, 2\nb: }}\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("p.yaml:"), "{found:?}");
    let found = problems("a: 1\na: 2\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("p.yaml:2:1: error: ") && found[0].contains("duplicate"), "{found:?}");
    assert_eq!(found, ["p.yaml:2:1: error: duplicate mapping key: a: which of its values counts?"]);
}

#[test]
fn a_bomb_that_bursts_while_it_is_recorded_is_told_as_one_and_counted() {
    let line = |n: u8| {
        let (this, before) = (char::from(b'b' + n), char::from(b'a' + n));
        format!("{this}: &{this} [{}]\n", vec![format!("*{before}"); 9].join(","))
    };
    let text: String =
        std::iter::once("a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()).chain((0..9).map(line)).collect();
    let mut documents = Documents::default();
    documents.add_text("bomb.yaml", &text);
    let loaded = documents.finish();
    let told: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["bomb.yaml:6:8: error: has too many anchors and aliases"]);
    assert_eq!(loaded.counters, Counters { documents_too_large: 1, ..Counters::default() });
}

#[test]
fn every_bound_is_reached_counted_and_told() {
    let limits = Limits {
        bytes: 2_000,
        documents: 3,
        nodes: 60,
        depth: 8,
        aliases: 4,
        resources: 2,
        problems: 6,
        rules: 1,
    };
    let mut documents = Documents::new(PolicySettings::default(), limits);
    let other = STRICT.replace("name: default", "name: other");
    documents.add_text("long", &"x".repeat(2_001));
    documents.add_text("deep", &"[".repeat(40));
    documents.add_text("wide", &format!("[{}]", "1, ".repeat(100)));
    documents
        .add_text("bomb", "a: &a [1,1,1,1]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n");
    documents.add_text("many", &["a: 1"; 5].join("\n---\n"));
    documents.add_text("three", &[STRICT, &other, STRICT].join("---\n"));
    let deep = (0..20).fold(serde_json::Value::Null, |inner, _| serde_json::json!([inner]));
    documents.add_json("json", &deep);
    let loaded = documents.finish();
    let expected = Counters {
        resources: 2,
        resources_ignored: 0,
        texts_too_long: 1,
        documents_over_limit: 1,
        documents_too_large: 4,
        resources_over_limit: 1,
        problems_over_limit: 4,
        rules_over_limit: 1,
    };
    assert_eq!(loaded.counters, expected, "{:#?}", loaded.problems);
    let reasons: Vec<&str> = loaded.problems.iter().map(|p| p.reason.as_str()).collect();
    assert_eq!(
        reasons[..4],
        [
            "is longer than 2000 bytes: split it",
            "nests too deep",
            "has too many values",
            "has too many anchors and aliases"
        ]
    );
    assert_eq!(reasons.len(), 6);
    assert_eq!(loaded.set.rules().len(), 1);
    assert_eq!(loaded.counters.named().map(|(_, n)| n), [2, 0, 1, 1, 4, 1, 4, 1]);
}
