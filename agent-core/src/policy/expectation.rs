//! The words in which an expectation is told, whatever document it comes from.

use std::fmt;
use std::sync::Arc;

use super::permission::Permissions;

/// How connections to a service must be protected, in Istio's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing but plaintext is expected: TLS is off.
    Disable,
    /// Anything goes.
    Permissive,
    /// At least TLS.
    Tls,
    /// Mutual TLS only.
    Strict,
}

impl Mode {
    /// `disable`, `permissive`, `tls` or `strict`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Disable => "disable",
            Mode::Permissive => "permissive",
            Mode::Tls => "tls",
            Mode::Strict => "strict",
        }
    }
}

/// The place in a document that an expectation comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// File name, or `kubernetes` for the API.
    pub document: Arc<str>,
    /// `PeerAuthentication`, `Server`, `Mesh` ...; tlsight's own: `TlsightPolicy`.
    pub kind: &'static str,
    /// Namespace, where the kind has one.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Path of the field that decided: `spec.portLevelMtls.8080.mode`.
    pub field: String,
    /// Line in the document, from 1, where it is a file.
    pub line: Option<u32>,
}

impl fmt::Display for Origin {
    /// `PeerAuthentication shop/default spec.mtls.mode (policies/shop.yaml:7)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{} {} ({}", self.name, self.field, self.document)?;
        match self.line {
            Some(line) => write!(f, ":{line})"),
            None => f.write_str(")"),
        }
    }
}

/// Which client identities may call a service. A client is allowed when any entry matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedClients {
    /// RFC 4514 subjects, compared as strings; `*` at the end matches any rest.
    pub subjects: Vec<String>,
    /// Subject alternative names (DNS, URI, e-mail, IP); `*` as in the dialect's own rules.
    pub sans: Vec<String>,
    /// SPIFFE ids; `*` at the end matches any rest.
    pub spiffe_ids: Vec<String>,
    /// What documents say that are each about targets of their own, in the place of the lists above: then those are empty.
    pub permissions: Permissions,
}

/// What is expected of connections to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// How they must be protected.
    pub mode: Mode,
    /// Who may call, where somebody says so.
    pub allowed_clients: Option<Arc<AllowedClients>>,
    /// Certificate authorities (names of configured bundles) that the service's certificates must chain to, where somebody
    /// says so; otherwise the system's and the configured ones do.
    pub trust: Option<Arc<str>>,
    /// Where it comes from.
    pub origin: Arc<Origin>,
}
