use serde_json::json;

use super::*;
use crate::enrich::kubernetes::policies::kinds::KINDS;

fn kind(plural: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.plural == plural).expect("a kind")
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}

fn applied(kind: usize, key: &str, text: &str) -> Change {
    Change::Applied(kind, key.to_owned(), Some(text.into()))
}

fn texts(store: &Store) -> Vec<&str> {
    store.texts().collect()
}

#[test]
fn an_object_is_kept_as_the_document_that_it_is() {
    let object = object(json!({
        "metadata": {
            "name": "default", "namespace": "shop", "uid": "x", "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"a": "b"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {"mtls": {"mode": "STRICT"}},
        "status": {"conditions": []},
    }));
    let text = text(kind("peerauthentications"), "security.istio.io/v1", object).expect("a policy");
    let expected = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {
            "name": "default", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"},
        },
        "spec": {"mtls": {"mode": "STRICT"}},
    });
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), expected);
}

#[test]
fn routes_and_namespaces_count_only_where_linkerd_is_meant() {
    let route = |parent: &str| {
        let object = object(json!({
            "metadata": {"name": "r", "namespace": "shop"}, "spec": {"parentRefs": [{"kind": parent, "name": "p"}]},
        }));
        text(kind("httproutes"), "policy.linkerd.io/v1beta3", object).is_some()
    };
    assert!(route("Server") && !route("Gateway"));
    let namespace = |annotation: &str| {
        let object = object(json!({"metadata": {"name": "shop", "annotations": {annotation: "deny"}}}));
        text(kind("namespaces"), "v1", object)
    };
    let said = namespace("config.linkerd.io/default-inbound-policy").expect("a policy");
    assert!(said.contains("default-inbound-policy"), "{said}");
    assert_eq!(namespace("example.org/else"), None);
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let mut store = Store::new(10);
    store.expect(0);
    assert!(!store.is_complete());
    assert!(!store.take(Change::Listing(0)));
    assert!(store.take(applied(0, "a/x", "1")));
    assert!(store.take(applied(0, "a/y", "2")));
    assert!(store.take(Change::Listed(0)) && store.is_complete());
    assert!(store.take(applied(1, "a/x", "other kind")));
    assert!(!store.take(Change::Listing(0)));
    assert!(!store.take(applied(0, "a/y", "2")), "nothing new");
    assert!(store.take(Change::Listed(0)));
    assert_eq!(texts(&store), ["2", "other kind"]);
}

#[test]
fn a_kind_that_is_gone_or_forbidden_says_nothing_and_is_not_waited_for() {
    for end in [Change::Gone(0), Change::Failed(0)] {
        let mut store = Store::new(10);
        store.expect(0);
        store.take(applied(0, "a/x", "1"));
        assert!(store.take(end.clone()) && store.is_complete(), "{end:?}");
        assert_eq!(store.len(), 0);
        assert_eq!(store.bytes, 0);
        assert!(!store.take(end));
    }
}

#[test]
fn deleted_and_emptied_objects_are_forgotten() {
    let mut store = Store::new(10);
    store.take(applied(0, "a/x", "1"));
    store.take(applied(0, "a/y", "2"));
    assert!(store.take(Change::Deleted(0, "a/x".into())));
    assert!(!store.take(Change::Deleted(0, "a/x".into())));
    assert!(store.take(Change::Applied(0, "a/y".into(), None)));
    assert!(!store.take(Change::Applied(0, "a/y".into(), None)));
    assert_eq!(store.len(), 0);
}

#[test]
fn counts_what_there_is_no_room_for() {
    let mut store = Store::new(1);
    assert!(store.take(applied(0, "a/x", "1")));
    assert!(!store.take(applied(0, "a/y", "2")));
    assert!(store.take(applied(0, "a/x", "3")));
    assert_eq!((texts(&store), store.left_out()), (vec!["3"], 1));
    let mut store = Store::new(10);
    let long = "x".repeat(MAX_BYTES);
    assert!(store.take(applied(0, "a/x", &long)));
    assert!(!store.take(applied(0, "a/y", "2")));
    assert_eq!((store.len(), store.left_out()), (1, 1));
}
