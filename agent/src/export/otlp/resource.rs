//! Who sends: attributes of the resource.

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{ResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use super::options::Options;

/// The version of the semantic conventions that names are from.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// What makes the records.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("tlsight")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
}

/// What is found out, below what somebody said.
pub(super) fn resource(options: &Options) -> Resource {
    let mut attributes = vec![
        KeyValue::new("service.name", "tlsight"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance_id()),
    ];
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if !host.is_empty() {
        attributes.push(KeyValue::new("host.name", host));
    }
    if let Some(node) = &options.node_name {
        attributes.push(KeyValue::new("k8s.node.name", node.clone()));
    }
    let said = options.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    attributes.extend(said);
    let sdk = TelemetryResourceDetector.detect();
    let sdk = sdk.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_attributes(sdk).with_schema_url(attributes, SCHEMA_URL).build()
}

/// A random UUID (RFC 9562 section 5.4): another one with each start.
fn instance_id() -> String {
    let random = u128::from_be_bytes(RandomIdGenerator::default().new_trace_id().to_bytes());
    let versioned = random & !(0xf << 76) | 0x4 << 76;
    let id = versioned & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{id:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn attributes(options: &Options) -> BTreeMap<String, String> {
        resource(options).iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn says_who_sends_and_lets_itself_be_corrected() {
        let mut found = attributes(&Options { node_name: Some("node-a".to_owned()), ..Options::default() });
        let instance = found.remove("service.instance.id").unwrap();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert!(found.remove("telemetry.sdk.version").is_some());
        let expected = [
            ("service.name", "tlsight"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("host.name", host.as_str()),
            ("k8s.node.name", "node-a"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", "opentelemetry"),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let said = [("service.name", "mine"), ("service.instance.id", "7"), ("team", "a")];
        let resource = said.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let found = attributes(&Options { resource, ..Options::default() });
        assert_eq!(
            [&found["service.name"], &found["service.instance.id"], &found["team"]],
            ["mine", "7", "a"]
        );
        // 8-4-4-4-12, version 4, variant 10.
        let lengths: Vec<usize> = instance.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&instance[14..15], "4");
        assert!("89ab".contains(&instance[19..20]), "{instance}");
    }
}
