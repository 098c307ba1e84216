//! Where spans, logs and metrics go. Names and meanings are those of OpenTelemetry's own configuration; what the file leaves
//! out is taken from the environment, and the environment counts for more.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::{Switch, duration, write_duration};

/// What is spoken with the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Protocol {
    /// gRPC
    #[serde(rename = "grpc")]
    #[value(name = "grpc")]
    Grpc,
    /// Protobuf over HTTP
    #[default]
    #[serde(rename = "http/protobuf")]
    #[value(name = "http/protobuf")]
    HttpProtobuf,
    /// JSON over HTTP
    #[serde(rename = "http/json")]
    #[value(name = "http/json")]
    HttpJson,
}

/// How requests are made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
}

/// Which handshakes become spans. Spans have no parents here, so that the samplers that follow a parent are those of roots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Every one.
    #[default]
    #[serde(alias = "parentbased_always_on")]
    AlwaysOn,
    /// None.
    #[serde(alias = "parentbased_always_off")]
    AlwaysOff,
    /// The share that is given as `ratio`.
    #[serde(rename = "traceidratio", alias = "parentbased_traceidratio")]
    TraceIdRatio,
}

/// Headers of requests. Their values are secrets as a rule: they are read, sent, and never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub BTreeMap<String, String>);

/// What is shown in place of a value.
const HIDDEN: &str = "(hidden)";

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, HIDDEN))).finish()
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let headers = BTreeMap::<String, String>::deserialize(deserializer)?;
        match headers.iter().find(|(_, value)| *value == HIDDEN) {
            // Sent as it is, it would be refused far from here, and nobody would know why.
            Some((name, _)) => Err(D::Error::custom(format!(
                "{name}: {HIDDEN} is what is shown in place of a value; expected the value"
            ))),
            None => Ok(Self(headers)),
        }
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.keys().map(|name| (name, HIDDEN)))
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// URL of the collector. For all signals together, and over HTTP: without `/v1/traces` and the like.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub endpoint: Option<String>,
            /// What is spoken with it.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub protocol: Option<Protocol>,
            /// Headers of requests.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub headers: Option<Headers>,
            /// PEM file of the authorities that the collector's certificate is held against, in place of the system's.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub certificate: Option<PathBuf>,
            /// PEM file of the certificate that is shown to the collector.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub client_certificate: Option<PathBuf>,
            /// PEM file of its key.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub client_key: Option<PathBuf>,
            /// An endpoint of gRPC without a scheme is plaintext.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub insecure: Option<Switch>,
            /// How requests are made smaller.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub compression: Option<Compression>,
            /// Time that the collector has to take a batch, all attempts together.
            #[serde(
                deserialize_with = "duration",
                serialize_with = "write_duration",
                skip_serializing_if = "Option::is_none"
            )]
            pub timeout: Option<Duration>,
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        impl $name {
            /// What it says of the connection to the collector.
            pub fn connection(&self) -> Connection<'_> {
                Connection {
                    endpoint: self.endpoint.as_deref(),
                    protocol: self.protocol,
                    headers: self.headers.as_ref(),
                    certificate: self.certificate.as_ref(),
                    client_certificate: self.client_certificate.as_ref(),
                    client_key: self.client_key.as_ref(),
                    insecure: self.insecure,
                    compression: self.compression,
                    timeout: self.timeout,
                }
            }
        }
    };
}

/// What a section says of the connection to the collector.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// URL.
    pub endpoint: Option<&'a str>,
    /// What is spoken.
    pub protocol: Option<Protocol>,
    /// Headers.
    pub headers: Option<&'a Headers>,
    /// Authorities.
    pub certificate: Option<&'a PathBuf>,
    /// Own certificate.
    pub client_certificate: Option<&'a PathBuf>,
    /// Own key.
    pub client_key: Option<&'a PathBuf>,
    /// Plaintext where no scheme is given.
    pub insecure: Option<Switch>,
    /// Compression.
    pub compression: Option<Compression>,
    /// Time for a batch.
    pub timeout: Option<Duration>,
}

section! {
    /// Where spans, logs and metrics go. Each signal may have a connection of its own.
    Otlp {
        /// Off: nothing is sent, whatever else is said.
        #[serde(skip_serializing_if = "Option::is_none")]
        enabled: Option<Switch>,
        /// A span for each TLS handshake.
        traces: Traces,
        /// Log records.
        logs: Logs,
        /// Metrics.
        metrics: Metrics,
        /// Attributes of the resource, beside those that are found out.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        resource: BTreeMap<String, String>,
        /// Attributes that a span or a log record may have.
        #[serde(skip_serializing_if = "AttributeLimits::is_empty")]
        attribute_limits: AttributeLimits,
    }
}

section! {
    /// A span for each TLS handshake.
    Traces {
        /// On or off; without a word on it: on when there is an endpoint.
        #[serde(skip_serializing_if = "Option::is_none")]
        enabled: Option<Switch>,
        /// Which handshakes become spans.
        #[serde(skip_serializing_if = "Option::is_none")]
        sampler: Option<Sampler>,
        /// Their share, from 0 to 1, where the sampler is `traceidratio`.
        #[serde(skip_serializing_if = "Option::is_none")]
        ratio: Option<Ratio>,
        /// Spans on their way.
        #[serde(skip_serializing_if = "Queue::is_empty")]
        queue: Queue,
        /// Attributes that a span may have, where that is another number than of log records.
        #[serde(skip_serializing_if = "AttributeLimits::is_empty")]
        attribute_limits: AttributeLimits,
    }
}

section! {
    /// Log records.
    Logs {
        /// On or off; without a word on it: on when there is an endpoint.
        #[serde(skip_serializing_if = "Option::is_none")]
        enabled: Option<Switch>,
        /// An event for each plaintext connection; on unless said otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        plaintext: Option<Switch>,
        /// A record for each piece of news of a finding; on unless said otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        findings: Option<Switch>,
        /// A record for each certificate that a client showed, as in the audit log; on unless said otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        audit: Option<Switch>,
        /// Records on their way.
        #[serde(skip_serializing_if = "Queue::is_empty")]
        queue: Queue,
        /// Attributes that a log record may have, where that is another number than of spans.
        #[serde(skip_serializing_if = "AttributeLimits::is_empty")]
        attribute_limits: AttributeLimits,
    }
}

section! {
    /// Metrics.
    Metrics {
        /// On or off; off unless said otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        enabled: Option<Switch>,
        /// How often they are sent.
        #[serde(
            deserialize_with = "duration",
            serialize_with = "write_duration",
            skip_serializing_if = "Option::is_none"
        )]
        interval: Option<Duration>,
        /// What sums count from.
        #[serde(skip_serializing_if = "Option::is_none")]
        temporality: Option<Temporality>,
    }
}

/// What sums count from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// The start of the agent.
    #[default]
    Cumulative,
    /// The request before.
    Delta,
    /// As `delta`, but sums that go up and down as `cumulative`.
    LowMemory,
}

/// Records on their way to the collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Records that wait at most; more are dropped and counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<usize>,
    /// Bytes that those that wait hold at most, about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
    /// Records in a request at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<usize>,
    /// How long a batch that is not full waits for more.
    #[serde(
        deserialize_with = "duration",
        serialize_with = "write_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub delay: Option<Duration>,
    /// Time for a batch on the side of the queue, whatever the connection says.
    #[serde(
        deserialize_with = "duration",
        serialize_with = "write_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub export_timeout: Option<Duration>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Attributes that a span or a log record may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributeLimits {
    /// How many; the rest is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Characters of a text; the rest is cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_length: Option<usize>,
}

impl AttributeLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A share from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Ratio(f64);

// It is always a number.
impl Eq for Ratio {}

impl Ratio {
    /// All.
    pub const ALL: Ratio = Ratio(1.0);
    /// None.
    pub const NONE: Ratio = Ratio(0.0);

    /// As a number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = &'static str;

    fn try_from(ratio: f64) -> Result<Self, Self::Error> {
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err("expected a share from 0 to 1") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn reads_every_key() {
        let text = "otlp:\n  endpoint: https://collector:4317\n  protocol: grpc\n  headers: {authorization: Bearer abc}\n  \
                    certificate: ca.pem\n  client_certificate: me.pem\n  client_key: me.key\n  insecure: off\n  \
                    compression: gzip\n  timeout: 5s\n  enabled: on\n  \
                    traces: {enabled: on, sampler: traceidratio, ratio: 0.25, \
                    queue: {max_size: 10, max_bytes: 100000, max_batch: 5, delay: 1s, export_timeout: 20s}, attribute_limits: {count: 100}}\n  \
                    logs: {protocol: http/json, plaintext: off, findings: on, audit: off, attribute_limits: {value_length: 9}}\n  \
                    metrics: {enabled: on, interval: 30s, temporality: lowmemory}\n  resource: {deployment.environment.name: test}\n  \
                    attribute_limits: {count: 64, value_length: 256}\n";
        let config = Config::parse(text).expect("a configuration").otlp;
        let expected = Otlp {
            endpoint: Some("https://collector:4317".to_owned()),
            protocol: Some(Protocol::Grpc),
            headers: Some(Headers([("authorization".to_owned(), "Bearer abc".to_owned())].into())),
            certificate: Some("ca.pem".into()),
            client_certificate: Some("me.pem".into()),
            client_key: Some("me.key".into()),
            insecure: Some(Switch::Off),
            compression: Some(Compression::Gzip),
            timeout: Some(Duration::from_secs(5)),
            enabled: Some(Switch::On),
            traces: Traces {
                enabled: Some(Switch::On),
                sampler: Some(Sampler::TraceIdRatio),
                ratio: Some(Ratio(0.25)),
                queue: Queue {
                    max_size: Some(10),
                    max_bytes: Some(100_000),
                    max_batch: Some(5),
                    delay: Some(Duration::from_secs(1)),
                    export_timeout: Some(Duration::from_secs(20)),
                },
                attribute_limits: AttributeLimits { count: Some(100), value_length: None },
                ..Traces::default()
            },
            logs: Logs {
                protocol: Some(Protocol::HttpJson),
                plaintext: Some(Switch::Off),
                findings: Some(Switch::On),
                audit: Some(Switch::Off),
                attribute_limits: AttributeLimits { count: None, value_length: Some(9) },
                ..Logs::default()
            },
            metrics: Metrics {
                enabled: Some(Switch::On),
                interval: Some(Duration::from_secs(30)),
                temporality: Some(Temporality::LowMemory),
                ..Metrics::default()
            },
            resource: [("deployment.environment.name".to_owned(), "test".to_owned())].into(),
            attribute_limits: AttributeLimits { count: Some(64), value_length: Some(256) },
        };
        assert_eq!(config, expected);
        // What is printed can be read again, but for what nobody may see.
        let printed = serde_saphyr::to_string(&config).expect("YAML");
        assert!(!printed.contains("abc"), "{printed}");
        assert!(!format!("{config:?}").contains("abc"));
        let refused = serde_saphyr::from_str::<Otlp>(&printed).expect_err("a value that nobody meant");
        let what = "authorization: (hidden) is what is shown in place of a value; expected the value";
        assert!(refused.to_string().contains(what), "{refused}");
        let again = serde_saphyr::from_str::<Otlp>(&printed.replace(HIDDEN, "Bearer abc"));
        assert_eq!(again.expect("YAML that it wrote itself"), expected);
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, what) in [
            ("otlp: {endpoints: x}", "endpoints"),
            ("otlp: {protocol: http}", "http"),
            ("otlp: {compression: zstd}", "zstd"),
            ("otlp: {timeout: 5}", "10s"),
            ("otlp: {traces: {ratio: 1.5}}", "from 0 to 1"),
            ("otlp: {traces: {sampler: jaeger_remote}}", "jaeger_remote"),
            ("otlp: {metrics: {plaintext: on}}", "plaintext"),
            ("otlp: {logs: {queue: {size: 1}}}", "size"),
        ] {
            let error = Config::parse(text).expect_err(text);
            assert!(error.contains("line 1") && error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn samplers_that_follow_a_parent_are_those_of_roots() {
        let sampler = |text: &str| {
            let config = Config::parse(&format!("otlp: {{traces: {{sampler: {text}}}}}"));
            config.expect(text).otlp.traces.sampler
        };
        assert_eq!(sampler("parentbased_always_on"), Some(Sampler::AlwaysOn));
        assert_eq!(sampler("parentbased_always_off"), Some(Sampler::AlwaysOff));
        assert_eq!(sampler("parentbased_traceidratio"), Some(Sampler::TraceIdRatio));
    }
}
