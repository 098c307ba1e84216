//! X.509 certificates (RFC 5280) as they appear in handshakes: read once per distinct certificate, never trusted, never
//! a reason to fail. The only user of `x509-parser`.

mod budget;
mod cache;
mod der;
mod matching;
mod name_set;
mod names;
mod parse;
mod response;
pub(crate) mod signed;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

pub use budget::Held;
pub use cache::{CertificateCache, CertificateCounters};
pub(crate) use cache::{MAX_CERTIFICATES, USUAL_CHAIN};
pub use name_set::{Made, NameSet};
pub use parse::summarize;
pub use response::OcspResponse;

/// What a certificate says. A field that could not be read is absent and `problems` says why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateSummary {
    /// SHA-256 of the DER encoding.
    pub sha256: [u8; 32],
    /// The DER encoding as it was sent: signatures are verified over it.
    pub der: Arc<[u8]>,
    /// Subject as an RFC 4514 string. The empty string is a certificate with an empty subject (RFC 5280 allows it where
    /// subjectAltName names the subject).
    pub subject: Option<String>,
    /// Issuer as an RFC 4514 string.
    pub issuer: Option<String>,
    /// Subject alternative names, in order.
    pub sans: Vec<San>,
    /// Serial number in upper-case hex, two digits an octet, as `openssl x509 -serial` prints it.
    pub serial: Option<String>,
    /// First second of validity, Unix time.
    pub not_before: Option<i64>,
    /// Last second of validity, Unix time.
    pub not_after: Option<i64>,
    /// `RSA`, `EC`, `Ed25519`, `ML-DSA-65` ...; the dotted object identifier where it has no name here.
    pub key_algorithm: Option<String>,
    /// Key size in bits, where the algorithm has one.
    pub key_bits: Option<u32>,
    /// Named curve of an EC key: `P-256`, `secp256k1` ...; the dotted object identifier where it has no name here.
    pub curve: Option<String>,
    /// `sha256WithRSAEncryption`, `ecdsa-with-SHA384`, `Ed25519` ...; the dotted object identifier where it has no name
    /// here.
    pub signature_algorithm: Option<String>,
    /// Extended key usages, `None` when the certificate does not restrict them.
    pub extended_key_usage: Option<Vec<ExtendedKeyUsage>>,
    /// basicConstraints says cA.
    pub is_ca: bool,
    /// Issuer and subject are the same name.
    pub self_issued: bool,
    /// Issuer and subject are the same name and the key identifiers do not speak against the certificate having signed
    /// itself. A hint: the signature is not verified.
    pub self_signed_hint: bool,
    /// Payload-free names of what is not well-formed, in the order found, each once.
    pub problems: Vec<&'static str>,
    /// Counts its memory for as long as it is held, where a cache made it.
    pub held: Held,
    /// The set of its names, once it was asked for.
    pub made: Made,
}

impl CertificateSummary {
    /// The SPIFFE id (X.509-SVID: the one URI name with the `spiffe` scheme), if it has one.
    pub fn spiffe_id(&self) -> Option<&str> {
        self.sans.iter().find_map(|san| match san {
            San::Uri(uri) if uri.get(..9).is_some_and(|s| s.eq_ignore_ascii_case("spiffe://")) => {
                Some(uri.as_str())
            }
            _ => None,
        })
    }

    /// Bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        // What the allocator adds to each piece.
        const PIECE: usize = 16;
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| text.len() + PIECE);
        let texts = [
            &self.subject,
            &self.issuer,
            &self.serial,
            &self.key_algorithm,
            &self.curve,
            &self.signature_algorithm,
        ];
        let san = |san: &San| {
            size_of::<San>()
                + match san {
                    San::Dns(name) | San::Uri(name) | San::Email(name) => name.len() + PIECE,
                    San::Ip(_) => 0,
                }
        };
        let usages = self.extended_key_usage.as_ref().map_or(0, Vec::len);
        size_of::<Self>()
            + self.der.len()
            + texts.into_iter().map(text).sum::<usize>()
            + self.sans.iter().map(san).sum::<usize>()
            + usages * (size_of::<ExtendedKeyUsage>() + PIECE)
    }

    /// A copy without its encoding, for those who remember it for long: it counts for nobody but them.
    pub(crate) fn without_der(&self) -> Self {
        Self { der: Arc::default(), held: Held::default(), ..self.clone() }
    }

    /// SHA-256 of the DER encoding in upper-case hex.
    pub fn sha256_hex(&self) -> String {
        names::hex(&self.sha256)
    }
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum San {
    /// dNSName as sent; may be a wildcard.
    Dns(String),
    /// iPAddress.
    Ip(IpAddr),
    /// uniformResourceIdentifier.
    Uri(String),
    /// rfc822Name.
    Email(String),
}

impl std::fmt::Display for San {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            San::Dns(s) | San::Uri(s) | San::Email(s) => f.write_str(s),
            San::Ip(ip) => ip.fmt(f),
        }
    }
}

/// A purpose of extKeyUsage (RFC 5280 section 4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExtendedKeyUsage {
    /// anyExtendedKeyUsage
    Any,
    /// id-kp-serverAuth
    ServerAuth,
    /// id-kp-clientAuth
    ClientAuth,
    /// id-kp-codeSigning
    CodeSigning,
    /// id-kp-emailProtection
    EmailProtection,
    /// id-kp-timeStamping
    TimeStamping,
    /// id-kp-OCSPSigning
    OcspSigning,
    /// Another purpose: its dotted object identifier.
    Other(String),
}

impl ExtendedKeyUsage {
    /// Name as in RFC 5280, or the dotted object identifier.
    pub fn as_str(&self) -> &str {
        match self {
            ExtendedKeyUsage::Any => "anyExtendedKeyUsage",
            ExtendedKeyUsage::ServerAuth => "serverAuth",
            ExtendedKeyUsage::ClientAuth => "clientAuth",
            ExtendedKeyUsage::CodeSigning => "codeSigning",
            ExtendedKeyUsage::EmailProtection => "emailProtection",
            ExtendedKeyUsage::TimeStamping => "timeStamping",
            ExtendedKeyUsage::OcspSigning => "OCSPSigning",
            ExtendedKeyUsage::Other(oid) => oid,
        }
    }
}
