//! A report as one JSON document: what `-o json` prints, what a running agent answers, and what the other formats are made
//! from. docs/report.md describes it.

use serde::{Deserialize, Serialize};

use super::limits::Cut;
use super::name::{Name, ServiceName};
use super::protection::Counts;

/// Version of the document: grows when a key changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    #[serde(rename = "tlsight.report.version")]
    pub version: u32,
    /// Version of the tlsight that made it.
    #[serde(rename = "tlsight.version")]
    pub program: String,
    /// When it was made, RFC 3339 in UTC; days left are counted from then.
    pub timestamp: String,
    /// From the first to the last thing seen; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Connections with mutual TLS that a service must have had to be called ready.
    pub min_connections: u64,
    /// All connections.
    pub connections: Connections,
    /// Services, in the order of how far they are from being ready.
    pub services: Vec<Service>,
    /// Connections to services beyond the bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_services: Option<Counts>,
    /// Certificates, those that end first first.
    pub certificates: Vec<Certificate>,
    /// Algorithms in use.
    pub algorithms: Algorithms,
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
    /// What was not kept because a bound was reached.
    pub limits: Cut,
}

/// From when to when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// RFC 3339 in UTC.
    pub first_seen: String,
    /// RFC 3339 in UTC.
    pub last_seen: String,
}

/// All connections, each once however many of its ends were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Sum of what follows, up to `unknown`.
    pub total: u64,
    /// By protection.
    #[serde(flatten)]
    pub counts: Counts,
    /// Hops inside a pod, which count nowhere else.
    pub in_pod: u64,
    /// Connections of which it is not known who the client is, which count nowhere else.
    pub without_role: u64,
}

/// Whether a service could insist on mutual TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Some callers would be refused.
    NotReady,
    /// Nothing speaks against it, and too little for it.
    NotEnoughSeen,
    /// Every caller was seen with mutual TLS, and nothing else.
    Ready,
    /// It is outside: what it insists on is up to others.
    NotApplicable,
}

impl Readiness {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Readiness::NotReady => "not ready",
            Readiness::NotEnoughSeen => "not enough seen",
            Readiness::Ready => "ready",
            Readiness::NotApplicable => "outside",
        }
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// What it is called.
    #[serde(flatten)]
    pub name: ServiceName,
    /// Kubernetes Services that were dialled to get there: `namespace/name`.
    #[serde(rename = "k8s.service.name", default, skip_serializing_if = "Vec::is_empty")]
    pub dialled: Vec<String>,
    /// Names that clients asked for (SNI).
    #[serde(rename = "tlsight.server_name", default, skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<String>,
    /// Addresses and ports that clients reached it at.
    pub endpoints: Vec<String>,
    /// Protocols, of plaintext or before an upgrade.
    #[serde(rename = "network.protocol.name", default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<String>,
    /// How far its callers are.
    #[serde(rename = "tlsight.scope", default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Could it insist on mutual TLS?
    pub readiness: Readiness,
    /// Why not, or why that is not known: words of `connections`, and `few_connections`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Protections that contradict each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mixed_security: Vec<String>,
    /// Its connections.
    pub connections: Counts,
    /// First and last time.
    #[serde(flatten)]
    pub period: Period,
    /// Who calls it: those that would be refused first.
    pub callers: Vec<Caller>,
    /// Connections of callers beyond the bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_callers: Option<Counts>,
    /// Cipher suites of its connections: `TLS 1.3 TLS_AES_128_GCM_SHA256`.
    #[serde(rename = "tls.cipher", default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<SuiteName>,
    /// Key exchange groups of its connections.
    #[serde(rename = "tls.curve", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Certificates that it showed.
    #[serde(rename = "tls.server.hash.sha256", default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
}

/// Somebody who calls a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Caller {
    /// What it is called.
    #[serde(flatten)]
    pub name: Name,
    /// How it would be refused: `plaintext`, `tls` (without a client certificate), `encrypted_not_tls`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<String>,
    /// How many of its connections would have been refused.
    pub breaking_connections: u64,
    /// When the last of them was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_breaking: Option<String>,
    /// Its connections.
    pub connections: Counts,
    /// Protocols, of plaintext or before an upgrade.
    #[serde(rename = "network.protocol.name", default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<String>,
    /// First and last time.
    #[serde(flatten)]
    pub period: Period,
}

/// A version and a cipher suite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SuiteName {
    /// `TLS 1.3`
    pub version: String,
    /// IANA name.
    pub name: String,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whole days until it ends, or negative since it ended; 0 on its last day and the first one after. Absent where its end could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_left: Option<i64>,
    /// Who showed it: `server`, `client`, `peer`.
    pub sides: Vec<String>,
    /// Subject, RFC 4514.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Issuer, RFC 4514.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Serial number, upper-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// SHA-256 of the DER encoding, upper-case hex.
    #[serde(rename = "hash.sha256")]
    pub sha256: String,
    /// Subject alternative names, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub san: Vec<String>,
    /// Kind of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_algorithm: Option<String>,
    /// Size of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_bits: Option<u32>,
    /// Named curve of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_curve: Option<String>,
    /// How it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_algorithm: Option<String>,
    /// It looks self-signed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_signed: bool,
    /// Services, callers and processes that showed it.
    pub shown_by: Vec<String>,
    /// Connections (and, of processes, sightings) that it was shown in.
    pub connections: u64,
    /// RFC 3339 in UTC.
    pub last_seen: String,
}

/// Something and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// IANA name; of keys and signatures that of the certificate's RFC.
    pub name: String,
    /// Of versions, suites and groups: connections. Of keys and signatures: certificates.
    pub count: u64,
}

/// A cipher suite and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedSuite {
    /// Which.
    #[serde(flatten)]
    pub suite: SuiteName,
    /// Connections.
    pub count: u64,
}

/// Algorithms in use, the most used first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Algorithms {
    /// Protocol versions.
    #[serde(rename = "tls.protocol.version")]
    pub versions: Vec<Used>,
    /// Cipher suites.
    #[serde(rename = "tls.cipher")]
    pub suites: Vec<UsedSuite>,
    /// Key exchange groups.
    #[serde(rename = "tls.curve")]
    pub groups: Vec<Used>,
    /// How keys were agreed on.
    pub key_exchange: KeyExchange,
    /// Signatures on certificates.
    pub signature_algorithms: Vec<Used>,
    /// Keys of certificates: `RSA 2048`, `EC P-256`.
    pub keys: Vec<Used>,
}

/// How the keys of TLS connections were agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyExchange {
    /// By ML-KEM or a hybrid with it: safe from quantum computers.
    pub post_quantum: u64,
    /// By something that a quantum computer breaks.
    pub classical: u64,
    /// By a pre-shared key alone.
    pub pre_shared_key: u64,
    /// Not known: sessions of TLS 1.2 that were resumed.
    pub unknown: u64,
    /// `post_quantum` of `post_quantum` and `classical`, between 0 and 1; absent where there was neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_quantum_share: Option<f64>,
}

/// Findings of one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule.
    pub rule: String,
    /// `critical`, `warning`, `information`: the worst of those that stand, else what the rule says by itself; absent where
    /// neither is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Connections that had it.
    pub connections: u64,
    /// Services whose connections these were.
    pub services: Vec<String>,
    /// RFC 3339 in UTC.
    pub last_seen: String,
    /// Those that stand; of files, only where they have news of findings (`--findings`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<ActiveFinding>,
}

/// A finding that stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveFinding {
    /// What it is about.
    pub about: String,
    /// `critical`, `warning`, `information`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Connections on which it was seen, as of the last news of it.
    pub count: u64,
    /// RFC 3339 in UTC.
    pub first_seen: String,
    /// RFC 3339 in UTC.
    pub last_seen: String,
}
