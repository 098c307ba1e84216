//! The keys of a certificate.

use std::io;

use agent_core::x509::CertificateSummary;

use super::{Fields, rfc3339};

/// Keys of one side's certificate.
pub(super) struct CertificateKeys {
    subject: &'static str,
    issuer: &'static str,
    not_before: &'static str,
    not_after: &'static str,
    sha256: &'static str,
    serial: &'static str,
    san: &'static str,
    key_algorithm: &'static str,
    key_bits: &'static str,
    key_curve: &'static str,
    signature_algorithm: &'static str,
    extended_key_usage: &'static str,
    ca: &'static str,
    self_signed: &'static str,
    problems: &'static str,
    chain_length: &'static str,
}

macro_rules! certificate_keys {
    ($tls:literal, $own:literal) => {
        CertificateKeys {
            subject: concat!($tls, ".subject"),
            issuer: concat!($tls, ".issuer"),
            not_before: concat!($tls, ".not_before"),
            not_after: concat!($tls, ".not_after"),
            sha256: concat!($tls, ".hash.sha256"),
            serial: concat!($own, ".serial"),
            san: concat!($own, ".san"),
            key_algorithm: concat!($own, ".key_algorithm"),
            key_bits: concat!($own, ".key_bits"),
            key_curve: concat!($own, ".key_curve"),
            signature_algorithm: concat!($own, ".signature_algorithm"),
            extended_key_usage: concat!($own, ".extended_key_usage"),
            ca: concat!($own, ".ca"),
            self_signed: concat!($own, ".self_signed"),
            problems: concat!($own, ".problems"),
            chain_length: concat!($own, ".chain_length"),
        }
    };
}

/// Of the server.
pub(super) const SERVER: CertificateKeys = certificate_keys!("tls.server", "tlsight.server");
/// Of the client.
pub(super) const CLIENT: CertificateKeys = certificate_keys!("tls.client", "tlsight.client");
/// Of whichever of them a process spoke to.
pub(super) const PEER: CertificateKeys = certificate_keys!("tlsight.peer", "tlsight.peer");

pub(super) fn chain<F: Fields, C: AsRef<CertificateSummary>>(
    object: &mut F,
    keys: &CertificateKeys,
    chain: &[C],
) -> io::Result<()> {
    let Some(leaf) = chain.first() else { return Ok(()) };
    let leaf = leaf.as_ref();
    object.optional(keys.subject, leaf.subject.as_deref())?;
    object.optional(keys.issuer, leaf.issuer.as_deref())?;
    let date = |secs: Option<i64>| secs.and_then(|s| rfc3339(i128::from(s) * 1_000_000_000, 0));
    object.optional(keys.not_before, date(leaf.not_before).as_deref())?;
    object.optional(keys.not_after, date(leaf.not_after).as_deref())?;
    object.text(keys.sha256, &leaf.sha256_hex())?;
    object.optional(keys.serial, leaf.serial.as_deref())?;
    object.list(keys.san, leaf.sans.iter().map(ToString::to_string))?;
    object.optional(keys.key_algorithm, leaf.key_algorithm.as_deref())?;
    object.optional_number(keys.key_bits, leaf.key_bits.map(u64::from))?;
    object.optional(keys.key_curve, leaf.curve.as_deref())?;
    object.optional(keys.signature_algorithm, leaf.signature_algorithm.as_deref())?;
    let usages = leaf.extended_key_usage.as_deref().unwrap_or_default();
    object.list(keys.extended_key_usage, usages.iter().map(|u| u.as_str()))?;
    object.flag(keys.ca, leaf.is_ca)?;
    object.flag(keys.self_signed, leaf.self_signed_hint)?;
    object.list(keys.problems, leaf.problems.iter())?;
    object.number(keys.chain_length, chain.len() as u64)
}
