//! The configuration file: YAML. What it leaves out is taken from the environment, the flags and the defaults, which
//! count for more, in this order, from flags down to the file.

mod agent;
mod capture;
mod kubernetes;
pub mod metrics;
pub mod otlp;
mod own;
mod place;

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};

use agent_core::policy::documents::PolicySettings;
use agent_core::policy::settings::Settings;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

pub use self::agent::{Agent, Sandbox};
pub use self::capture::Capture;
pub use self::kubernetes::Kubernetes;
pub use self::metrics::{Metrics, MetricsTls};
pub use self::otlp::Otlp;
pub use self::own::{Audit, Rules};
use crate::exit::{Exit, Failure};

/// Largest configuration file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// What a configuration file may say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The long-running agent itself.
    pub agent: Agent,
    /// How much is captured of each connection.
    #[serde(deserialize_with = "capture::checked")]
    pub capture: Capture,
    /// Where names of pods and Services come from.
    pub kubernetes: Kubernetes,
    /// Peer certificates in TLS 1.3.
    pub tls13: Tls13,
    /// What is expected of connections.
    pub policy: Policy,
    /// Which authorities are trusted.
    pub trust: Trust,
    /// What counts as wrong.
    #[serde(deserialize_with = "findings")]
    pub findings: Settings,
    /// Rules of one's own.
    pub rules: Rules,
    /// The audit log.
    pub audit: Audit,
    /// Metrics for Prometheus, and the endpoint that serves them.
    #[serde(deserialize_with = "metrics::checked")]
    pub metrics: Metrics,
    /// Where spans, logs and metrics go.
    pub otlp: Otlp,
}

/// What is expected of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Files and folders with policy documents.
    pub files: Vec<PathBuf>,
    /// Istio's root namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub istio_root_namespace: Option<String>,
    /// Namespace of Linkerd's control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linkerd_namespace: Option<String>,
    /// Linkerd's trust domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linkerd_trust_domain: Option<String>,
    /// Namespace of Kuma's control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kuma_system_namespace: Option<String>,
    /// The cluster's DNS domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_domain: Option<String>,
}

impl Policy {
    /// What the documents do not say themselves.
    pub fn settings(&self) -> PolicySettings {
        let or = |set: &Option<String>, default| set.clone().unwrap_or(default);
        let default = PolicySettings::default();
        PolicySettings {
            istio_root_namespace: or(&self.istio_root_namespace, default.istio_root_namespace),
            linkerd_namespace: or(&self.linkerd_namespace, default.linkerd_namespace),
            linkerd_trust_domain: or(&self.linkerd_trust_domain, default.linkerd_trust_domain),
            kuma_system_namespace: or(&self.kuma_system_namespace, default.kuma_system_namespace),
            cluster_domain: or(&self.cluster_domain, default.cluster_domain),
        }
    }
}

/// Which authorities are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Whether those that the system trusts are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_roots: Option<Switch>,
    /// Others, by the name that policies call them: PEM files, or folders of them.
    pub bundles: BTreeMap<String, Vec<PathBuf>>,
}

/// Peer certificates in TLS 1.3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls13 {
    /// Whether TLS libraries are probed for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Switch>,
    /// How long a library that nobody uses any more keeps its probes.
    #[serde(
        deserialize_with = "duration",
        serialize_with = "write_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub detach_after: Option<Duration>,
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

impl std::str::FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" | "true" => Ok(Switch::On),
            "off" | "false" => Ok(Switch::Off),
            _ => Err("expected on or off".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Switch {
    /// `on` is a word in YAML 1.2 and a truth value in 1.1; people write both.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Switch::On => "on",
            Switch::Off => "off",
        })
    }
}

/// As [`parse_duration`] reads it.
fn write_duration<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let signed = duration.map(|duration| jiff::SignedDuration::try_from(duration).unwrap_or_default());
    match signed {
        Some(signed) => serializer.serialize_str(&format!("{signed:#}")),
        None => serializer.serialize_none(),
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(D::Error::custom)
}

/// Settings within their bounds.
fn findings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Settings, D::Error> {
    let settings = Settings::deserialize(deserializer)?;
    settings.check().map_err(D::Error::custom)?;
    Ok(settings)
}

/// A number that is none, or none that fits, in words that say what is expected.
fn in_bounds(key: &str, what: String) -> String {
    let is_number = what.split_whitespace().any(|word| {
        let mut letters = word.chars();
        matches!(letters.next(), Some('u' | 'i')) && letters.as_str().parse::<u8>().is_ok() || word == "usize"
    });
    if !is_number {
        return what;
    }
    let of = |field| Settings::default().bounds_of(field);
    match key.strip_prefix("findings.").and_then(of) {
        Some((min, max)) => format!("expected a whole number from {min} to {max}"),
        None => "expected a whole number, and not too large a one".to_owned(),
    }
}

/// `10s`, `5m`, `1h30m`, `1.5 hours`.
///
/// # Errors
/// What was expected, when `text` is no time longer than zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration =
        text.parse().map_err(|_| "expected a time such as 10s, 5m or 1h30m".to_owned())?;
    match Duration::try_from(signed) {
        Ok(d) if !d.is_zero() => Ok(d),
        _ => Err("expected a time longer than zero".to_owned()),
    }
}

impl Config {
    /// Reads a configuration file; without one, everything is left to flags and defaults.
    ///
    /// # Errors
    /// [`Failure`] that names the file and, where something in it is wrong, line and column.
    pub fn load(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::default()) };
        let doing = || format!("read the configuration {}", path.display());
        let text = fs::metadata(path)
            .and_then(|m| match m.len() > MAX_BYTES {
                _ if !m.is_file() => Err(Error::new(ErrorKind::InvalidInput, "it is no regular file")),
                true => Err(Error::new(ErrorKind::FileTooLarge, "larger than 1 MiB")),
                false => fs::read_to_string(path),
            })
            .map_err(|e| Failure::new(Exit::InputUnreadable, doing(), e))?;
        Self::parse(&text).map_err(|e| Failure::new(Exit::Usage, doing(), e))
    }

    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A file of nothing but comments is no document, and leaves everything as it is.
        let config: Option<Self> = serde_saphyr::from_str(text).map_err(|e| match e.location() {
            Some(at) => {
                // Some say the place themselves, behind what is wrong.
                let place = format!("line {}, column {}", at.line(), at.column());
                let what = e.without_snippet().to_string().replace(&format!(" at {place}"), "");
                let (line, column) = (place::number(at.line()), place::number(at.column()));
                match place::key(text, line, column) {
                    Some(key) => format!("{place}: {key}: {}", in_bounds(&key, what)),
                    None => format!("{place}: {what}"),
                }
            }
            None => e.without_snippet().to_string(),
        })?;
        Ok(config.unwrap_or_default())
    }
}

impl fmt::Display for Config {
    /// As a configuration file says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_saphyr::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use agent_core::policy::finding::Severity;
    use agent_core::policy::settings::MinimumVersion;

    use super::*;

    #[test]
    fn reads_every_key() {
        let config = Config::parse(
            "tls13:\n  certificates: off\n  detach_after: 90s\n\
             policy:\n  files: [a.yaml, policies]\n  istio_root_namespace: mesh\n  linkerd_namespace: l\n  \
             linkerd_trust_domain: td\n  kuma_system_namespace: k\n  cluster_domain: example.org\n\
             trust:\n  system_roots: off\n  bundles:\n    shop: [shop.pem]\n    \"spiffe://td\": [a.pem, b.pem]\n\
             findings:\n  ledger: {settle_minutes: 0}\n  certificate_expiring: {warning_days: 14}\n  \
             weak_protocol: {minimum: \"1.3\"}\n  not_quantum_safe: {severity: warning}\n  \
             weak_cipher: {enabled: false, also: [TLS_AES_128_GCM_SHA256]}\n",
        );
        let tls13 = Tls13 { certificates: Some(Switch::Off), detach_after: Some(Duration::from_secs(90)) };
        let text = |text: &str| Some(text.to_owned());
        let policy = Policy {
            files: vec!["a.yaml".into(), "policies".into()],
            istio_root_namespace: text("mesh"),
            linkerd_namespace: text("l"),
            linkerd_trust_domain: text("td"),
            kuma_system_namespace: text("k"),
            cluster_domain: text("example.org"),
        };
        let bundles = [
            ("shop".to_owned(), vec!["shop.pem".into()]),
            ("spiffe://td".to_owned(), vec!["a.pem".into(), "b.pem".into()]),
        ];
        let trust = Trust { system_roots: Some(Switch::Off), bundles: bundles.into() };
        let mut findings = Settings::default();
        findings.ledger.settle_minutes = 0;
        findings.certificate_expiring.warning_days = 14;
        findings.weak_protocol.minimum = MinimumVersion::Tls13;
        findings.not_quantum_safe.severity = Some(Severity::Warning);
        findings.weak_cipher.enabled = false;
        findings.weak_cipher.also = vec!["TLS_AES_128_GCM_SHA256".to_owned()];
        assert_eq!(config, Ok(Config { tls13, policy, trust, findings, ..Config::default() }));
    }

    #[test]
    fn truth_values_switch_too() {
        for (text, expected) in
            [("on", Switch::On), ("true", Switch::On), ("\"off\"", Switch::Off), ("false", Switch::Off)]
        {
            let config = Config::parse(&format!("tls13: {{certificates: {text}}}")).expect(text);
            assert_eq!(config.tls13.certificates, Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_left_out_is_left_to_others() {
        for text in ["", "# nothing\n", "tls13: {}\n", "{}"] {
            assert_eq!(Config::parse(text), Ok(Config::default()), "{text:?}");
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, place, what) in [
            ("tls13:\n  certificate: on\n", "line 2, column 3", "certificate"),
            ("tls13:\n  certificates: perhaps\n", "line 2, column 17", "on or off"),
            ("tls13:\n  detach_after: soon\n", "line 2, column 17", "10s"),
            ("tls13: {certificates: on\n", "line", ""),
            ("- a\n", "line 1", ""),
            ("policy:\n  file: a.yaml\n", "line 2, column 3", "file"),
            ("trust:\n  bundles: shop.pem\n", "line 2, column 12", ""),
            ("findings:\n  weak_ciphers: {}\n", "line 2, column 3", "weak_ciphers"),
            ("findings:\n  weak_cipher: {enabled: maybe}\n", "line 2, column 26", ""),
            ("findings:\n  weak_protocol: {minimum: \"1.4\"}\n", "line 2, column 28", "1.4"),
            (
                "findings:\n  certificate_expiring: {critical_days: 31}\n",
                "line",
                "certificate_expiring.critical_days: 31 is not between 0 and 30",
            ),
        ] {
            let error = Config::parse(text).expect_err(text);
            assert!(error.contains(place) && error.contains(what), "{text:?}: {error}");
            assert!(error.matches("column").count() <= 1, "{text:?}: {error}");
        }
        let error = Config::parse("tls13:\n  certificates: perhaps\n");
        assert_eq!(error, Err("line 2, column 17: tls13.certificates: expected on or off".to_owned()));
        let error = Config::parse("findings:\n  ledger: {settle_minutes: 5, silence_hours: -3}\n");
        let wanted = "findings.ledger.silence_hours: expected a whole number from 1 to 8760";
        assert!(error.as_ref().is_err_and(|e| e.ends_with(wanted)), "{error:?}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = Config::load(Some(Path::new("/no/such.yaml"))).expect_err("no file");
        assert_eq!(failure.exit, Exit::InputUnreadable);
        assert!(failure.to_string().contains("/no/such.yaml"), "{failure}");
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_not_read() {
        for path in ["/dev/zero", "/tmp"] {
            let failure = Config::load(Some(Path::new(path))).expect_err(path);
            let expected = format!("cannot read the configuration {path}: it is no regular file");
            assert_eq!((failure.exit, failure.to_string()), (Exit::InputUnreadable, expected));
        }
    }

    #[test]
    fn reads_durations_as_people_write_them() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        for bad in ["", "10", "0s", "-5s", "soon"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
