//! cert-manager's `Certificate`: its specification has the names, its status says which one was issued last.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use agent_core::policy::history::KnownCertificate;
use agent_core::x509::San;
use kube::api::DynamicObject;
use serde_json::Value;

use super::store::key;

/// Certificates that are kept in mind; what is told of others is told again whenever they change in any way.
const MAX_TOLD: usize = 20_000;
/// Names of one certificate.
const MAX_NAMES: usize = 1000;

/// What was told of each.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    told: HashMap<String, KnownCertificate>,
    named: Option<HashSet<String>>,
}

impl Certificates {
    pub(super) fn listing(&mut self) {
        self.named = Some(HashSet::new());
    }

    pub(super) fn listed(&mut self) {
        let Some(named) = self.named.take() else { return };
        self.told.retain(|key, _| named.contains(key));
    }

    /// What it says, where that is new.
    pub(super) fn applied(&mut self, object: &DynamicObject) -> Option<KnownCertificate> {
        let known = known(object)?;
        let key = key(object);
        if let Some(named) = &mut self.named {
            named.insert(key.clone());
        }
        if self.told.get(&key) == Some(&known) {
            return None;
        }
        if self.told.len() < MAX_TOLD || self.told.contains_key(&key) {
            self.told.insert(key, known.clone());
        }
        Some(known)
    }

    pub(super) fn deleted(&mut self, object: &DynamicObject) {
        self.told.remove(&key(object));
    }
}

/// The certificate that was issued last; `None` where none was, or it has no names to know it by.
fn known(object: &DynamicObject) -> Option<KnownCertificate> {
    let (spec, status) = (object.data.get("spec")?, object.data.get("status")?);
    let names = names(spec);
    if names.is_empty() {
        return None;
    }
    let mut source = format!("cert-manager {}", key(object));
    if let Some(revision) = status.get("revision").and_then(Value::as_u64) {
        source.push_str(&format!(" (revision {revision})"));
    }
    Some(KnownCertificate {
        names,
        key_algorithm: key_algorithm(spec),
        not_before: seconds(status.get("notBefore")?)?,
        not_after: seconds(status.get("notAfter")?)?,
        source: Arc::from(source),
    })
}

fn names(spec: &Value) -> Vec<San> {
    let list = |key: &str| {
        let list = spec.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|name| name.as_str().map(str::to_owned))
    };
    let ips = list("ipAddresses").filter_map(|ip| ip.parse::<IpAddr>().ok());
    let all = list("dnsNames").map(San::Dns).chain(ips.map(San::Ip));
    let all = all.chain(list("uris").map(San::Uri)).chain(list("emailAddresses").map(San::Email));
    all.take(MAX_NAMES).collect()
}

/// As X.509 names them; RSA is what cert-manager takes where nothing is said.
fn key_algorithm(spec: &Value) -> Option<String> {
    match spec.pointer("/privateKey/algorithm").map(|algorithm| algorithm.as_str()) {
        None | Some(Some("RSA")) => Some("RSA".to_owned()),
        Some(Some("ECDSA")) => Some("EC".to_owned()),
        Some(Some("Ed25519")) => Some("Ed25519".to_owned()),
        Some(_) => None,
    }
}

fn seconds(time: &Value) -> Option<i64> {
    Some(time.as_str()?.parse::<jiff::Timestamp>().ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("an object")
    }

    fn issued(revision: u64, not_before: &str) -> DynamicObject {
        object(json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
            "metadata": {"name": "db-tls", "namespace": "shop"},
            "spec": {
                "secretName": "db-tls", "dnsNames": ["db.shop.svc"], "ipAddresses": ["10.0.0.5"],
                "uris": ["spiffe://example.org/db"], "privateKey": {"algorithm": "ECDSA"},
            },
            "status": {"revision": revision, "notBefore": not_before, "notAfter": "2026-04-01T00:00:00Z"},
        }))
    }

    #[test]
    fn tells_what_was_issued_with_all_names() {
        let expected = KnownCertificate {
            names: vec![
                San::Dns("db.shop.svc".into()),
                San::Ip(IpAddr::from([10, 0, 0, 5])),
                San::Uri("spiffe://example.org/db".into()),
            ],
            key_algorithm: Some("EC".into()),
            not_before: 1_767_225_600,
            not_after: 1_775_001_600,
            source: "cert-manager shop/db-tls (revision 2)".into(),
        };
        assert_eq!(known(&issued(2, "2026-01-01T00:00:00Z")), Some(expected));
    }

    #[test]
    fn says_nothing_of_what_is_not_issued_or_has_no_names() {
        for (field, value) in
            [("/status", json!(null)), ("/status", json!({"revision": 1})), ("/spec", json!({}))]
        {
            let mut other = issued(1, "2026-01-01T00:00:00Z");
            *other.data.pointer_mut(field).expect(field) = value;
            assert_eq!(known(&other), None, "{field}");
        }
    }

    #[test]
    fn tells_a_certificate_again_only_when_it_was_issued_again() {
        let mut all = Certificates::default();
        let first = issued(1, "2026-01-01T00:00:00Z");
        assert!(all.applied(&first).is_some());
        assert_eq!(all.applied(&first), None);
        assert!(all.applied(&issued(2, "2026-02-01T00:00:00Z")).is_some());
        all.listing();
        all.listed();
        assert!(all.applied(&first).is_some(), "it was gone from the list");
    }
}
