//! A finding: one judgement on what was seen, with what it rests on and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::about::About;
use super::rules::Rule;
use crate::time::Timestamp;

macro_rules! rule_ids {
    ($($(#[$doc:meta])* $name:ident => $id:literal,)*) => {
        /// The name of a rule. The rules of tlsight itself are a closed set, usable as a label.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RuleId {
            $($(#[$doc])* $name,)*
            /// A rule that somebody else wrote.
            Own(Arc<str>),
        }

        impl RuleId {
            /// All rules of tlsight itself.
            pub const BUILT_IN: &[RuleId] = &[$(RuleId::$name),*];

            /// The name in snake case.
            pub fn as_str(&self) -> &str {
                match self {
                    $(RuleId::$name => $id,)*
                    RuleId::Own(name) => name,
                }
            }

            /// The rule of tlsight itself that has this name.
            pub fn built_in(name: &str) -> Option<RuleId> {
                match name {
                    $($id => Some(RuleId::$name),)*
                    _ => None,
                }
            }
        }
    };
}

rule_ids! {
    /// Application bytes cross readable where they should not.
    PlaintextTraffic => "plaintext_traffic",
    /// TLS where mutual TLS is expected.
    MtlsMissing => "mtls_missing",
    /// One service, several protections at once.
    MixedSecurity => "mixed_security",
    /// A protocol that can upgrade to TLS did not.
    StarttlsNotUsed => "starttls_not_used",
    /// A certificate ends soon.
    CertificateExpiring => "certificate_expiring",
    /// A certificate has ended.
    CertificateExpired => "certificate_expired",
    /// A certificate has not begun.
    CertificateNotYetValid => "certificate_not_yet_valid",
    /// A chain that leads to no root that is trusted.
    CertificateUntrusted => "certificate_untrusted",
    /// A certificate that only vouches for itself.
    CertificateSelfSigned => "certificate_self_signed",
    /// A certificate for other names than the one asked for.
    CertificateNameMismatch => "certificate_name_mismatch",
    /// A certificate for another purpose.
    CertificateWrongUsage => "certificate_wrong_usage",
    /// A certificate that is valid for longer than its kind may be.
    CertificateValidityTooLong => "certificate_validity_too_long",
    /// A key that is too short.
    CertificateWeakKey => "certificate_weak_key",
    /// A signature made with a broken hash.
    CertificateWeakSignature => "certificate_weak_signature",
    /// The stapled OCSP response speaks against the certificate.
    CertificateRevoked => "certificate_revoked",
    /// A newer certificate for the same names exists.
    CertificateStale => "certificate_stale",
    /// A client that is not on the list.
    ClientIdentityNotAllowed => "client_identity_not_allowed",
    /// An old protocol version.
    WeakProtocol => "weak_protocol",
    /// A weak cipher suite.
    WeakCipher => "weak_cipher",
    /// Who gets the server's key can read what was recorded.
    NoForwardSecrecy => "no_forward_secrecy",
    /// A quantum computer can read what was recorded.
    NotQuantumSafe => "not_quantum_safe",
    /// A TLS handshake failed.
    HandshakeFailed => "handshake_failed",
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know; nothing has to be done now.
    Information,
    /// Somebody should look at it during working hours.
    Warning,
    /// Traffic or identities are at risk now, or will be in days.
    Critical,
}

impl Severity {
    /// `information`, `warning` or `critical`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Information => "information",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// One value of the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Several texts.
    List(Vec<String>),
    /// A second, Unix time; written as RFC 3339 in UTC.
    #[serde(serialize_with = "super::evidence::rfc3339")]
    Time(i64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Number(number) => number.fmt(f),
            Value::Flag(flag) => flag.fmt(f),
            Value::List(list) => f.write_str(&list.join(" ")),
            Value::Time(secs) => super::evidence::date_time(*secs).fmt(f),
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(Cow::Owned(text))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Value::Number(i64::from(number))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Number(number)
    }
}

/// Bytes of a sentence or of one value of the evidence, and of one member of a list.
const MAX_TEXT: usize = 1024;
const MAX_LISTED: usize = 256;

/// Leaves the beginning of a text that is longer than that, marked as such.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        truncate(text, most.saturating_sub('…'.len_utf8()));
        text.push('…');
    }
}

/// Leaves so many bytes of a text, or as many fewer as make whole characters.
pub(super) fn truncate(text: &mut String, most: usize) {
    let mut at = most.min(text.len());
    while !text.is_char_boundary(at) {
        at = at.saturating_sub(1);
    }
    text.truncate(at);
}

/// Keys and values, each key once, in the order of the keys.
type Entries = Vec<(Cow<'static, str>, Value)>;

/// Evidence that several findings have in common: what is known of a connection is written down once, however many rules have
/// something against it.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Entries>);

/// What a finding rests on, under the same keys as in the JSON of an observation, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Counts for more than what is shared.
    own: Entries,
    /// Of the connection, and of a certificate.
    shared: [Option<Shared>; 2],
}

impl Evidence {
    /// Adds a value, in place of one there may be. Texts come from the wire, and may be as long as a certificate: of each
    /// only the beginning is kept.
    pub fn set(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let (key, mut value) = (key.into(), value.into());
        match &mut value {
            Value::Text(Cow::Owned(text)) => cut(text, MAX_TEXT),
            Value::List(list) => list.iter_mut().for_each(|text| cut(text, MAX_LISTED)),
            Value::Text(Cow::Borrowed(_)) | Value::Number(_) | Value::Flag(_) | Value::Time(_) => {}
        }
        match self.own.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => {
                if let Some((_, known)) = self.own.get_mut(at) {
                    *known = value;
                }
            }
            Err(at) => self.own.insert(at, (key, value)),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.parts().find_map(|part| {
            let at = part.binary_search_by(|(known, _)| known.as_ref().cmp(key)).ok()?;
            part.get(at).map(|(_, value)| value)
        })
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        let mut all: Vec<(&str, &Value)> =
            self.parts().flatten().map(|(key, value)| (key.as_ref(), value)).collect();
        // Of equal keys the first stays the first, and the others go.
        all.sort_by_key(|(key, _)| *key);
        all.dedup_by_key(|(key, _)| *key);
        all.into_iter()
    }

    /// With room for so many values.
    pub(super) fn with_capacity(values: usize) -> Self {
        Self { own: Vec::with_capacity(values), shared: [None, None] }
    }

    /// For several findings to have.
    pub(super) fn into_shared(self) -> Shared {
        Shared(Arc::new(self.own))
    }

    /// Adds what others have too. There is room for two of these.
    pub(super) fn share(&mut self, shared: &Shared) {
        if let Some(free) = self.shared.iter_mut().find(|known| known.is_none()) {
            *free = Some(shared.clone());
        }
    }

    /// What counts for more comes first.
    fn parts(&self) -> impl Iterator<Item = &Entries> {
        std::iter::once(&self.own).chain(self.shared.iter().rev().flatten().map(|shared| &*shared.0))
    }
}

impl PartialEq for Evidence {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Evidence {}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// A judgement: what rule spoke, how bad it is, about what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleId,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about. Two findings of one rule about the same are one finding.
    pub about: About,
    /// What it rests on.
    pub evidence: Evidence,
    /// What is wrong, in one sentence.
    pub summary: String,
    /// What to do about it.
    pub advice: Cow<'static, str>,
    /// What time alone makes of it.
    pub turn: Option<Box<Turn>>,
}

/// A point in time at which a finding stops to be true without anything being seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When.
    pub at: Timestamp,
    /// What is true from then on, if anything.
    pub into: Option<Finding>,
}

impl Finding {
    pub(super) fn new(rule: &Rule, about: About, mut summary: String) -> Self {
        cut(&mut summary, MAX_TEXT);
        Self {
            rule: rule.id.clone(),
            severity: rule.severity,
            about,
            evidence: Evidence::default(),
            summary,
            advice: Cow::Borrowed(rule.advice),
            turn: None,
        }
    }

    /// Adds to the evidence.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.evidence.set(key, value);
        self
    }

    /// Adds to the evidence what is known.
    #[must_use]
    pub fn with_some(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    #[must_use]
    pub(super) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same finding and everything it will turn into, of this severity.
    pub(super) fn set_severity(&mut self, severity: Severity) {
        self.severity = severity;
        if let Some(next) = self.turn.as_mut().and_then(|turn| turn.into.as_mut())
            && next.rule == self.rule
        {
            next.set_severity(severity);
        }
    }
}

/// What a rule says of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Something is wrong.
    Raised(Finding),
    /// This was looked at, and the rule has nothing against it.
    Good(About),
    /// The rule has nothing to say: it is about something else, or what it needs is not known.
    NotApplicable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_rule_is_found_by_its_name() {
        for id in RuleId::BUILT_IN {
            assert_eq!(RuleId::built_in(id.as_str()).as_ref(), Some(id));
        }
        assert_eq!(RuleId::built_in("no_such_rule"), None);
        assert_eq!(RuleId::BUILT_IN.len(), 22);
    }

    #[test]
    fn evidence_is_flat_json() {
        let mut evidence = Evidence::default();
        evidence.set("tls.server.not_after", Value::Time(1_767_225_600));
        evidence.set("server.port", 443u16);
        evidence.set("tlsight.server.san", Value::List(vec!["a.test".into()]));
        let json = serde_json::to_string(&evidence).expect("JSON");
        assert_eq!(
            json,
            r#"{"server.port":443,"tls.server.not_after":"2026-01-01T00:00:00Z","tlsight.server.san":["a.test"]}"#
        );
    }

    #[test]
    fn of_what_is_shared_the_later_counts_for_more_and_what_is_its_own_for_most() {
        let shared = |keys: &[&'static str], value: &'static str| {
            let mut evidence = Evidence::default();
            keys.iter().for_each(|key| evidence.set(*key, value));
            evidence.into_shared()
        };
        let mut evidence = Evidence::default();
        evidence.set("b", "own");
        evidence.share(&shared(&["a", "b", "c"], "first"));
        evidence.share(&shared(&["b", "c", "d"], "second"));
        let mut plain = Evidence::default();
        for (key, value) in [("d", "second"), ("c", "second"), ("b", "own"), ("a", "first")] {
            plain.set(key, value);
            assert_eq!(evidence.get(key), Some(&Value::from(value)));
        }
        assert_eq!(evidence.get("e"), None);
        assert_eq!(evidence, plain);
        let json = r#"{"a":"first","b":"own","c":"second","d":"second"}"#;
        assert_eq!(serde_json::to_string(&evidence).expect("JSON"), json);
    }
}
