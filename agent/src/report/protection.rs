//! How connections were protected, as far as readiness for mutual TLS goes.

use serde::{Deserialize, Serialize};

/// What is proven of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protection {
    /// No payload, or too little for any verdict.
    NoData,
    /// Nothing, for reasons that say nothing about what it was.
    Unknown,
    /// Bytes cross readable.
    Plaintext,
    /// Encrypted by something that is not TLS.
    EncryptedNotTls,
    /// TLS; whether the client showed a certificate cannot be told.
    ClientIdentityUnknown,
    /// TLS without a certificate of the client.
    Tls,
    /// Mutual TLS.
    Mtls,
    /// A handshake that failed, or was not finished: nothing was exchanged under it.
    HandshakeFailed,
}

impl Protection {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Protection; 8] = [
        Protection::NoData,
        Protection::Unknown,
        Protection::Plaintext,
        Protection::EncryptedNotTls,
        Protection::ClientIdentityUnknown,
        Protection::Tls,
        Protection::Mtls,
        Protection::HandshakeFailed,
    ];

    /// What `tlsight.security` and its reason say.
    pub fn of(security: Option<&str>, reason: Option<&str>) -> Self {
        match (security, reason) {
            (Some("plaintext"), _) => Protection::Plaintext,
            (Some("tls"), Some("client_identity_unknown")) => Protection::ClientIdentityUnknown,
            (Some("tls"), _) => Protection::Tls,
            (Some("mtls"), _) => Protection::Mtls,
            (_, Some("handshake_failed" | "handshake_incomplete")) => Protection::HandshakeFailed,
            (_, Some("no_data" | "too_few_bytes")) => Protection::NoData,
            (_, Some("encrypted_not_tls")) => Protection::EncryptedNotTls,
            _ => Protection::Unknown,
        }
    }

    /// Its place in arrays.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A service that insists on mutual TLS would refuse it.
    pub const fn breaks(self) -> bool {
        matches!(self, Protection::Plaintext | Protection::Tls | Protection::EncryptedNotTls)
    }

    /// It may or may not be refused.
    pub const fn is_unproven(self) -> bool {
        matches!(self, Protection::ClientIdentityUnknown | Protection::Unknown)
    }

    /// It is TLS, and application data crossed under it.
    pub const fn is_tls(self) -> bool {
        matches!(self, Protection::Tls | Protection::Mtls | Protection::ClientIdentityUnknown)
    }

    /// The word of a report: `plaintext`, `tls` ...
    pub const fn as_str(self) -> &'static str {
        match self {
            Protection::NoData => "no_data",
            Protection::Unknown => "unknown",
            Protection::Plaintext => "plaintext",
            Protection::EncryptedNotTls => "encrypted_not_tls",
            Protection::ClientIdentityUnknown => "client_identity_unknown",
            Protection::Tls => "tls",
            Protection::Mtls => "mtls",
            Protection::HandshakeFailed => "handshake_failed",
        }
    }

    /// The same for people.
    pub const fn words(self) -> &'static str {
        match self {
            Protection::NoData => "without data",
            Protection::Unknown => "unknown",
            Protection::Plaintext => "plaintext",
            Protection::EncryptedNotTls => "encrypted, not by TLS",
            Protection::ClientIdentityUnknown => "TLS, client unknown (resumed ...)",
            Protection::Tls => "TLS without client certificate",
            Protection::Mtls => "mutual TLS",
            Protection::HandshakeFailed => "failed handshake",
        }
    }
}

/// How many connections of each protection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Application bytes crossed readable.
    pub plaintext: u64,
    /// TLS without a certificate of the client.
    pub tls: u64,
    /// Mutual TLS.
    pub mtls: u64,
    /// TLS; whether the client showed a certificate cannot be told.
    pub client_identity_unknown: u64,
    /// Encrypted by something that is not TLS.
    pub encrypted_not_tls: u64,
    /// The handshake failed or was not finished.
    pub handshake_failed: u64,
    /// No payload, or too little for any verdict.
    pub no_data: u64,
    /// Nothing is proven.
    pub unknown: u64,
}

impl Counts {
    /// How many of one protection.
    pub const fn get(&self, protection: Protection) -> u64 {
        match protection {
            Protection::NoData => self.no_data,
            Protection::Unknown => self.unknown,
            Protection::Plaintext => self.plaintext,
            Protection::EncryptedNotTls => self.encrypted_not_tls,
            Protection::ClientIdentityUnknown => self.client_identity_unknown,
            Protection::Tls => self.tls,
            Protection::Mtls => self.mtls,
            Protection::HandshakeFailed => self.handshake_failed,
        }
    }

    /// The counter of one protection.
    pub const fn of(&mut self, protection: Protection) -> &mut u64 {
        match protection {
            Protection::NoData => &mut self.no_data,
            Protection::Unknown => &mut self.unknown,
            Protection::Plaintext => &mut self.plaintext,
            Protection::EncryptedNotTls => &mut self.encrypted_not_tls,
            Protection::ClientIdentityUnknown => &mut self.client_identity_unknown,
            Protection::Tls => &mut self.tls,
            Protection::Mtls => &mut self.mtls,
            Protection::HandshakeFailed => &mut self.handshake_failed,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.sum(|_| true)
    }

    /// Those that `which` picks.
    pub fn sum(&self, which: impl Fn(Protection) -> bool) -> u64 {
        let picked = Protection::ALL.into_iter().filter(|protection| which(*protection));
        picked.fold(0, |sum, protection| sum.saturating_add(self.get(protection)))
    }

    /// The protections that contradict each other, where some do: plaintext next to TLS, or mutual TLS next to TLS without a
    /// client certificate. TLS whose client may have shown one contradicts plaintext only.
    pub fn mixed(&self) -> Vec<Protection> {
        let has = |protection| self.get(protection) > 0;
        let encrypted = self.sum(Protection::is_tls) > 0;
        let is_mixed =
            has(Protection::Plaintext) && encrypted || has(Protection::Tls) && has(Protection::Mtls);
        let kinds =
            [Protection::Plaintext, Protection::ClientIdentityUnknown, Protection::Tls, Protection::Mtls];
        kinds.into_iter().filter(|kind| is_mixed && has(*kind)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(Protection, u64)]) -> Counts {
        let mut counts = Counts::default();
        for (protection, n) in of {
            *counts.of(*protection) = *n;
        }
        counts
    }

    #[test]
    fn verdicts_and_reasons_become_protections() {
        for (security, reason, expected) in [
            ("plaintext", Some("null_cipher"), Protection::Plaintext),
            ("tls", None, Protection::Tls),
            ("tls", Some("anonymous"), Protection::Tls),
            ("tls", Some("client_identity_unknown"), Protection::ClientIdentityUnknown),
            ("mtls", None, Protection::Mtls),
            ("unknown", Some("handshake_incomplete"), Protection::HandshakeFailed),
            ("unknown", Some("too_few_bytes"), Protection::NoData),
            ("unknown", Some("encrypted_not_tls"), Protection::EncryptedNotTls),
            ("unknown", Some("started_before_agent"), Protection::Unknown),
            ("something_new", None, Protection::Unknown),
        ] {
            assert_eq!(Protection::of(Some(security), reason), expected, "{security} {reason:?}");
        }
    }

    #[test]
    fn resumed_sessions_contradict_plaintext_only() {
        use Protection::{ClientIdentityUnknown, Mtls, Plaintext, Tls};
        assert_eq!(counts(&[(ClientIdentityUnknown, 1), (Mtls, 2)]).mixed(), []);
        assert_eq!(counts(&[(Tls, 1), (Mtls, 2)]).mixed(), [Tls, Mtls]);
        let both = counts(&[(ClientIdentityUnknown, 1), (Plaintext, 2)]);
        assert_eq!(both.mixed(), [Plaintext, ClientIdentityUnknown]);
        assert_eq!(both.total(), 3);
    }
}
