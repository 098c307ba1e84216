//! What the view is drawn from: one bounded document, made in the same process or by a running agent. docs/top.md describes it.

use agent_core::policy::finding::Severity;
use serde::{Deserialize, Serialize};

use super::model::limits::Cut;

/// Version of the document: grows when a key changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// Everything that is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// [`VERSION`].
    #[serde(rename = "tlsight.top.version")]
    pub version: u32,
    /// Version of the tlsight that made it.
    #[serde(rename = "tlsight.version")]
    pub program: String,
    /// When it was made, nanoseconds of Unix time.
    pub now: u64,
    /// Since when it counts.
    pub since: u64,
    /// Sums over everything.
    pub totals: Totals,
    /// Per second, over the last ten seconds.
    pub rates: Rates,
    /// New connections of each of the last sixty seconds, oldest first.
    pub history: Vec<u64>,
    /// Services.
    pub services: Vec<Service>,
    /// Certificates.
    pub certificates: Vec<Certificate>,
    /// Findings that stand.
    pub findings: Vec<Finding>,
    /// Connections, the newest first.
    pub connections: Vec<Connection>,
    /// What was not kept because a bound was reached.
    pub limits: Cut,
    /// What was lost before it came here, and every other counter that says so; only those that are not zero.
    pub losses: Vec<Loss>,
}

/// Something was lost so often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The counter.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// How many connections of each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Readable.
    pub plaintext: u64,
    /// TLS; the client did not prove who it is.
    pub tls: u64,
    /// Mutual TLS.
    pub mtls: u64,
    /// None of these is proven.
    pub unknown: u64,
}

impl Counts {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.plaintext.saturating_add(self.tls).saturating_add(self.mtls).saturating_add(self.unknown)
    }
}

/// Sums since [`Snapshot::since`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Connections, each once however many of its ends were seen; hops inside a pod are not among them.
    #[serde(flatten)]
    pub counts: Counts,
    /// Hops inside a pod.
    pub in_pod: u64,
    /// Connections of which it is not known who the client is; they belong to no service.
    pub without_role: u64,
    /// Connections that are open now, as far as is known.
    pub open: u64,
    /// TLS handshakes that completed.
    pub handshakes: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
    /// Sessions that were resumed, of the handshakes that completed.
    pub resumed: u64,
    /// Payload bytes of connections that are over.
    pub bytes: u64,
    /// Certificates that took the place of others.
    pub certificates_replaced: u64,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// New connections.
    pub connections: f64,
    /// Handshakes that completed.
    pub handshakes: f64,
    /// Handshakes that failed.
    pub failures: f64,
    /// Payload bytes, counted when a connection ends.
    pub bytes: f64,
    /// New connections by verdict.
    pub plaintext: f64,
    /// The same.
    pub tls: f64,
    /// The same.
    pub mtls: f64,
    /// The same.
    pub unknown: f64,
}

/// How connections compare with what policy expects of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expectation {
    /// `strict`, `tls`, `permissive`, `disable`.
    pub mode: String,
    /// Where policy says so.
    pub source: String,
    /// Connections that meet it.
    pub met: u64,
    /// Connections that do not.
    pub unmet: u64,
    /// Connections of which it cannot be told.
    pub unproven: u64,
}

/// A service, or a listener without a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// What it is called.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Its connections.
    pub counts: Counts,
    /// Those that are open now.
    pub open: u64,
    /// New ones per second, over the last ten seconds.
    pub rate: f64,
    /// Handshakes that failed.
    pub failed: u64,
    /// Payload bytes of connections that are over.
    pub bytes: u64,
    /// What policy expects, as of the last connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expectation: Option<Expectation>,
    /// Severity of the worst finding about it that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst: Option<Severity>,
    /// Findings about it that stand, by their place in [`Snapshot::findings`].
    pub findings: Vec<usize>,
    /// Who calls it.
    pub callers: Vec<Caller>,
    /// Callers that were forgotten to make room.
    pub callers_forgotten: u64,
    /// Addresses and ports that it was reached at.
    pub endpoints: Vec<String>,
    /// Names that clients asked for (SNI).
    pub server_names: Vec<String>,
    /// Protocols of plaintext, or before an upgrade.
    pub protocols: Vec<String>,
    /// How far its callers are.
    pub scopes: Vec<String>,
    /// Versions of TLS.
    pub versions: Vec<String>,
    /// Cipher suites.
    pub ciphers: Vec<String>,
    /// Key exchange groups.
    pub groups: Vec<String>,
    /// SHA-256 of certificates that it showed.
    pub certificates: Vec<String>,
    /// First seen, nanoseconds of Unix time.
    pub first: u64,
    /// Last seen.
    pub last: u64,
}

/// Somebody who calls a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caller {
    /// What it is called.
    pub name: String,
    /// Its connections.
    pub counts: Counts,
    /// Those that are open now.
    pub open: u64,
    /// Connections that do not meet what policy expects.
    pub unmet: u64,
    /// Versions of TLS and protocols of plaintext, as last seen.
    pub versions: Vec<String>,
    /// Cipher suite, as last seen.
    pub cipher: Option<String>,
    /// Last seen, nanoseconds of Unix time.
    pub last: u64,
}

/// A certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// SHA-256 of the DER encoding, upper-case hex.
    pub sha256: String,
    /// Subject, RFC 4514.
    pub subject: Option<String>,
    /// Issuer, RFC 4514.
    pub issuer: Option<String>,
    /// Serial number, upper-case hex.
    pub serial: Option<String>,
    /// Subject alternative names, at most eight.
    pub san: Vec<String>,
    /// Unix time.
    pub not_before: Option<i64>,
    /// Unix time.
    pub not_after: Option<i64>,
    /// Kind and size of its key: `RSA 2048`, `EC P-256`.
    pub key: Option<String>,
    /// How it is signed.
    pub signature: Option<String>,
    /// It looks self-signed.
    pub self_signed: bool,
    /// Who showed it: `server`, `client`, `peer` where a probe does not tell.
    pub sides: Vec<String>,
    /// Services and callers that showed it.
    pub shown_by: Vec<String>,
    /// Connections that it was shown in.
    pub count: u64,
    /// Last seen, nanoseconds of Unix time.
    pub last: u64,
}

/// A finding that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub about: String,
    /// What is wrong.
    pub summary: String,
    /// What to do about it.
    pub advice: String,
    /// What it rests on.
    pub evidence: Vec<(String, String)>,
    /// Connections on which it was seen.
    pub count: u64,
    /// First seen, nanoseconds of Unix time.
    pub first: u64,
    /// Last seen.
    pub last: u64,
}

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// A number of its own, as long as it is kept.
    pub id: u64,
    /// When it came into view, nanoseconds of Unix time.
    pub time: u64,
    /// It is over.
    pub over: bool,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Whether it is known who the client is.
    pub has_role: bool,
    /// Who calls.
    pub caller: String,
    /// What is called.
    pub service: String,
    /// The client's address and port.
    pub client: String,
    /// The server's.
    pub server: String,
    /// The verdict.
    pub security: String,
    /// What it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why it is unknown, or what of it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Protocol of plaintext, or before an upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// SNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// `1.3`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Cipher suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// Key exchange group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A session was resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<bool>,
    /// Did the client send a certificate? `sent`, `declined`, `not_requested`, `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// How long the handshake took, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_us: Option<u64>,
    /// How far it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What policy expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expectation: Option<String>,
    /// Subject of the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_subject: Option<String>,
    /// Subject of the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_subject: Option<String>,
    /// Rules that have something against it.
    pub findings: Vec<String>,
    /// Payload bytes of both ends together, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How long it has been seen, nanoseconds.
    pub duration: u64,
}
