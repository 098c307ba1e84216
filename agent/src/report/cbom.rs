//! A report as a cryptography bill of materials: CycloneDX 1.6.

mod algorithms;
mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::{Value, json};

use self::algorithms::Algorithm;
use super::document::{Certificate, Report};

/// Components by their reference, and which depends on which: both in the order of references, so that the same report
/// gives the same document.
#[derive(Default)]
struct Bom {
    components: BTreeMap<String, Value>,
    services: BTreeMap<String, Value>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

/// The report as CycloneDX 1.6.
pub fn cbom(report: &Report) -> Value {
    let mut bom = Bom::default();
    for suite in &report.algorithms.suites {
        bom.suite(&suite.suite.version, &suite.suite.name);
    }
    // A version of which no suite is known.
    for version in &report.algorithms.versions {
        bom.protocol(&version.name);
    }
    for group in &report.algorithms.groups {
        bom.group(&group.name);
    }
    for certificate in &report.certificates {
        bom.certificate(certificate);
    }
    bom.protocols(report);
    bom.services(report);
    let dependencies: Vec<Value> = bom
        .components
        .keys()
        .chain(bom.services.keys())
        .map(|of| json!({"ref": of, "dependsOn": bom.dependencies.get(of).cloned().unwrap_or_default()}))
        .collect();
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": report.timestamp,
            "lifecycles": [{"phase": "operations"}],
            "tools": {"components": [{"type": "application", "name": "tlsight", "version": report.program}]},
            "properties": properties(report),
        },
        "components": bom.components.into_values().collect::<Vec<_>>(),
        "services": bom.services.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    });
    let number = serial_number(&document);
    set(&mut document, "serialNumber", number);
    document
}

/// What the document does not say otherwise: how much it rests on, and what is missing.
fn properties(report: &Report) -> Vec<Value> {
    let mut all = vec![property("tlsight:connections", report.connections.total)];
    if let Some(period) = &report.period {
        all.push(property("tlsight:first_seen", &period.first_seen));
        all.push(property("tlsight:last_seen", &period.last_seen));
    }
    if let Some(share) = report.algorithms.key_exchange.post_quantum_share {
        all.push(property("tlsight:post_quantum_share", format!("{share:.4}")));
    }
    for (n, what) in report.limits.words() {
        if n > 0 {
            all.push(property("tlsight:incomplete", format!("{n} {what}")));
        }
    }
    all
}

fn property(name: &str, value: impl ToString) -> Value {
    json!({"name": name, "value": value.to_string()})
}

/// A UUID that only this content has (RFC 9562 section 5.8, version 8).
fn serial_number(document: &Value) -> String {
    // FNV-1a, twice, over the text: told apart have to be documents, not attackers.
    let hash = |basis: u64| {
        let mut hash = basis;
        for byte in document.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash
    };
    let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142));
    let high = high & !0xf000 | 0x8000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "urn:uuid:{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

impl Bom {
    fn depends(&mut self, of: &str, on: impl IntoIterator<Item = String>) {
        self.dependencies.entry(of.to_owned()).or_default().extend(on);
    }

    fn algorithm(&mut self, algorithm: &Algorithm) -> String {
        let reference = format!("crypto/algorithm/{}", algorithm.name);
        self.components.entry(reference.clone()).or_insert_with(|| algorithm.component(&reference));
        let parts: Vec<String> = algorithm.parts().iter().map(|part| self.algorithm(part)).collect();
        self.depends(&reference, parts);
        reference
    }

    fn group(&mut self, name: &str) -> String {
        self.algorithm(&algorithms::group(name))
    }

    /// A protocol version, without its cipher suites: they come when all are known.
    fn protocol(&mut self, version: &str) -> String {
        let reference = format!("crypto/protocol/{version}");
        self.components.entry(reference.clone()).or_default();
        reference
    }

    fn suite(&mut self, version: &str, name: &str) {
        let protocol = self.protocol(version);
        let parts: Vec<String> = suite::parts(name).iter().map(|part| self.algorithm(part)).collect();
        self.depends(&protocol, parts);
    }

    fn protocols(&mut self, report: &Report) {
        for version in self
            .components
            .keys()
            .filter_map(|r| r.strip_prefix("crypto/protocol/"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
        {
            let mut names: Vec<&str> = report
                .algorithms
                .suites
                .iter()
                .filter(|used| used.suite.version == version)
                .map(|used| used.suite.name.as_str())
                .collect();
            names.sort_unstable();
            let suites: Vec<Value> = names.into_iter().map(suite::cipher_suite).collect();
            let reference = format!("crypto/protocol/{version}");
            let component = json!({
                "type": "cryptographic-asset",
                "bom-ref": reference,
                "name": version,
                "cryptoProperties": {
                    "assetType": "protocol",
                    "protocolProperties": {
                        // The schema has no word for SSL: it is what TLS was called before.
                        "type": "tls",
                        "version": version.rsplit(' ').next().unwrap_or_default(),
                        "cipherSuites": suites,
                    },
                },
            });
            self.components.insert(reference, component);
        }
    }

    fn certificate(&mut self, c: &Certificate) {
        let digest = c.sha256.to_lowercase();
        let reference = certificate_reference(&c.sha256);
        let mut fields = serde_json::Map::new();
        let mut field = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(key.to_owned(), value.into());
            }
        };
        field("subjectName", c.subject.clone());
        field("issuerName", c.issuer.clone());
        field("notValidBefore", c.not_before.clone());
        field("notValidAfter", c.not_after.clone());
        field("certificateFormat", Some("X.509".to_owned()));
        let signature =
            c.signature_algorithm.as_deref().map(|name| self.algorithm(&algorithms::signature(name)));
        field("signatureAlgorithmRef", signature.clone());
        let key = self.key(c, &digest);
        field("subjectPublicKeyRef", key.clone());
        let mut properties = vec![property("tlsight:sides", c.sides.join(","))];
        for (name, value) in
            [("tlsight:serial", &c.serial), ("tlsight:last_seen", &Some(c.last_seen.clone()))]
        {
            properties.extend(value.as_ref().map(|value| property(name, value)));
        }
        properties.extend(c.days_left.map(|days| property("tlsight:days_left", days)));
        properties.extend(c.san.iter().map(|san| property("tlsight:san", san)));
        properties.extend(c.shown_by.iter().map(|place| property("tlsight:shown_by", place)));
        let mut component = json!({
            "type": "cryptographic-asset",
            "bom-ref": reference,
            "name": c.subject.clone().filter(|subject| !subject.is_empty()).unwrap_or_else(|| digest.clone()),
            "cryptoProperties": {"assetType": "certificate", "certificateProperties": fields},
            "properties": properties,
        });
        // Only a digest that is one: the JSON of a file may say anything.
        if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            set(&mut component, "hashes", json!([{"alg": "SHA-256", "content": digest}]));
        }
        self.components.insert(reference.clone(), component);
        self.depends(&reference, signature.into_iter().chain(key));
    }

    /// The public key of a certificate.
    fn key(&mut self, c: &Certificate, digest: &str) -> Option<String> {
        let name = c.key()?;
        let algorithm =
            self.algorithm(&algorithms::key(c.key_algorithm.as_deref()?, &name, c.key_curve.as_deref()));
        let reference = format!("crypto/key/{digest}");
        let mut properties = json!({"type": "public-key", "algorithmRef": algorithm});
        if let Some(bits) = c.key_bits {
            set(&mut properties, "size", bits);
        }
        let component = json!({
            "type": "cryptographic-asset",
            "bom-ref": reference,
            "name": format!("{name} public key"),
            "cryptoProperties": {
                "assetType": "related-crypto-material",
                "relatedCryptoMaterialProperties": properties,
            },
        });
        self.components.insert(reference.clone(), component);
        self.depends(&reference, [algorithm]);
        Some(reference)
    }

    fn services(&mut self, report: &Report) {
        for service in &report.services {
            let reference = format!("service/{}", service.name);
            let mut properties = vec![property("tlsight:readiness", readiness(service.readiness))];
            properties
                .extend(service.mixed_security.iter().map(|kind| property("tlsight:mixed_security", kind)));
            let endpoints: Vec<String> = service.endpoints.iter().map(|at| iri(at)).collect();
            let mut value = json!({
                "bom-ref": reference,
                "name": service.name.to_string(),
                "endpoints": endpoints,
                "properties": properties,
            });
            if let Some(namespace) = &service.name.name.namespace {
                set(&mut value, "group", namespace.clone());
            }
            self.services.insert(reference.clone(), value);
            let mut on: Vec<String> = Vec::new();
            for suite in &service.suites {
                on.push(format!("crypto/protocol/{}", suite.version));
            }
            on.extend(
                service
                    .groups
                    .iter()
                    .map(|group| format!("crypto/algorithm/{}", algorithms::group(group).name)),
            );
            on.extend(service.certificates.iter().map(|sha256| certificate_reference(sha256)));
            // What was beyond a bound elsewhere has no component to point to.
            on.retain(|reference| self.components.contains_key(reference));
            self.depends(&reference, on);
        }
    }
}

/// Adds a key to an object.
fn set(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value.into());
    }
}

/// An endpoint as the IRI that the schema asks for. Validators are known that do not take the short form of IPv6 addresses.
fn iri(endpoint: &str) -> String {
    match endpoint.parse() {
        Ok(SocketAddr::V6(at)) => {
            let groups = at.ip().segments().map(|group| format!("{group:x}")).join(":");
            format!("tcp://[{groups}]:{}", at.port())
        }
        _ => format!("tcp://{endpoint}"),
    }
}

fn certificate_reference(sha256: &str) -> String {
    format!("crypto/certificate/{}", sha256.to_lowercase())
}

fn readiness(readiness: super::document::Readiness) -> String {
    match serde_json::to_value(readiness) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
