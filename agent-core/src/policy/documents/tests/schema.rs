//! docs/policy.schema.json accepts what the reader accepts, and refuses what it refuses.

use serde_json::{Value, json};

use crate::policy::documents::{Documents, Severity};

fn reader_accepts(value: &Value) -> bool {
    let mut documents = Documents::default();
    documents.add_json("p", value);
    let loaded = documents.finish();
    loaded.problems.iter().all(|problem| problem.severity != Severity::Error)
}

fn policy(spec: Value) -> Value {
    json!({"apiVersion": "tlsight.dev/v1alpha1", "kind": "TlsightPolicy", "metadata": {"name": "p"}, "spec": spec})
}

#[test]
fn schema_and_reader_agree() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.schema.json"));
    let schema = jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap();
    let good = [
        json!({"expect": "tls"}),
        json!({"selector": {}, "expect": "disable"}),
        json!({"selector": {"namespaces": ["a"], "workload": {"kind": "Deployment", "name": "w*"}, "services": ["s"],
            "podLabels": {"matchLabels": {"a": ""}, "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["c"]}]},
            "ports": [80, "9000-9010", "http"], "processes": ["nginx"], "systemdUnits": ["a.service"],
            "containers": ["c"], "addresses": ["10.0.0.0/8"]}, "expect": "strict"}),
        json!({"ports": {"80": {"expect": "tls"}, "90-91": {"expect": "strict"}, "http": {"expect": "permissive"}}}),
        json!({"expect": "strict", "trust": "t", "allowedClients": {"subjects": ["a"], "sans": ["b"], "spiffeIds": ["spiffe://a/b"]}}),
        json!({"expect": "strict", "exceptions": [{"from": {"namespaces": ["m"], "addresses": ["::1"]}, "reason": "r"},
            {"ports": [1], "expect": "tls"}]}),
    ];
    for spec in good {
        let value = policy(spec);
        assert_eq!((schema.is_valid(&value), reader_accepts(&value)), (true, true), "{value}");
    }
    let bad = [
        json!({}),
        json!({"expect": "STRICT"}),
        json!({"expect": 1}),
        json!({"expect": "tls", "selector": {"namespace": "a"}}),
        json!({"expect": "tls", "selector": {"namespaces": []}}),
        json!({"expect": "tls", "selector": {"namespaces": [""]}}),
        json!({"expect": "tls", "selector": {"ports": [0]}}),
        json!({"expect": "tls", "selector": {"ports": [65536]}}),
        json!({"expect": "tls", "selector": {"ports": ["HTTP"]}}),
        json!({"expect": "tls", "selector": {"workload": {}}}),
        json!({"expect": "tls", "selector": {"podLabels": {}}}),
        json!({"expect": "tls", "selector": {"podLabels": {"matchLabels": {"a": 1}}}}),
        json!({"expect": "tls", "selector": {"podLabels": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
        json!({"expect": "tls", "selector": {"podLabels": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}}),
        json!({"expect": "tls", "ports": {"0": {}}}),
        json!({"expect": "tls", "ports": {"80": {"mode": "tls"}}}),
        json!({"expect": "tls", "allowedClients": {}}),
        json!({"expect": "tls", "allowedClients": {"sans": []}}),
        json!({"expect": "tls", "allowedClients": {"spiffeIds": ["a"]}}),
        json!({"expect": "tls", "exceptions": [{"reason": "r"}]}),
        json!({"expect": "tls", "exceptions": [{"from": {"services": ["a"]}}]}),
        json!({"expect": "tls", "more": 1}),
    ];
    for spec in bad {
        let value = policy(spec);
        assert_eq!((schema.is_valid(&value), reader_accepts(&value)), (false, false), "{value}");
    }
    let mut nameless = policy(json!({"expect": "tls"}));
    nameless["metadata"] = json!({});
    assert_eq!((schema.is_valid(&nameless), reader_accepts(&nameless)), (false, false));
}

#[test]
fn examples_of_the_documentation_are_valid() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.md"));
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        assert_eq!(super::problems(block), [] as [&str; 0], "{block}");
    }
}
