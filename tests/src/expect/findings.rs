//! The findings that a connection should raise, told from what is expected of it. No policy speaks of the cases here;
//! the agent that watches them trusts the root of this run and nobody else. Two rules look beyond one connection and are
//! switched off for it: `mixed_security` and `certificate_stale`. `findings.rs` of the live tests asserts them apart.

use super::{Expect, Tls};
use crate::pki::{Identity, STRANGER};

/// What the agent is configured with.
pub const CONFIGURATION: &str =
    "findings:\n  mixed_security: {enabled: false}\n  certificate_stale: {enabled: false}\n";

/// The rules that have something against it, in the order of docs/findings.md.
pub(super) fn findings(expect: &Expect<'_>) -> Vec<&'static str> {
    let mut rules = Vec::new();
    let Some(tls) = &expect.tls else { return rules };
    let shown = [tls.server_chain, tls.client_chain];
    let shows = |is_wrong: &dyn Fn(&Identity) -> bool| shown.iter().flatten().any(|(i, _)| is_wrong(i));
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    if shows(&|i| i.not_after < now) {
        rules.push("certificate_expired");
    }
    // Nobody configured the authority of the trust domain that these identities are of.
    let is_spiffe = |i: &Identity| i.san.iter().any(|san| san.starts_with("spiffe://"));
    if shows(&|i| i.issuer == STRANGER && !is_spiffe(i)) {
        rules.push("certificate_untrusted");
    }
    let is_for = |i: &Identity, name: &str| i.san.iter().any(|san| san.eq_ignore_ascii_case(name));
    if tls.server_chain.zip(tls.server_name).is_some_and(|((i, _), name)| !is_for(i, name)) {
        rules.push("certificate_name_mismatch");
    }
    if tls.established != Some(false) {
        rules.extend(handshake(tls));
    }
    if expect.reason == Some("handshake_failed") {
        rules.push("handshake_failed");
    }
    rules
}

fn handshake(tls: &Tls<'_>) -> Vec<&'static str> {
    let mut rules = Vec::new();
    let (Some(version), Some(cipher)) = (tls.version, tls.cipher.as_deref()) else { return rules };
    let is_old = matches!(version, "1.0" | "1.1");
    let is_null =
        cipher.contains("_WITH_NULL_") || ["TLS_SHA256_SHA256", "TLS_SHA384_SHA384"].contains(&cipher);
    let is_broken =
        ["_RC4_", "_3DES_", "_DES_", "_anon_", "_EXPORT"].iter().any(|part| cipher.contains(part));
    if is_old {
        rules.push("weak_protocol");
    }
    if is_null || is_broken {
        rules.push("weak_cipher");
    }
    if is_null {
        return rules;
    }
    let is_tls13 = version == "1.3";
    let lasting = ["TLS_RSA_", "TLS_PSK_WITH_", "TLS_ECDH_"].iter().any(|start| cipher.starts_with(start));
    let is_lasting = if is_tls13 { tls.group.is_none() } else { lasting };
    if is_lasting {
        rules.push("no_forward_secrecy");
    }
    let is_classical = match tls.group.as_deref() {
        Some(group) => !group.contains("MLKEM"),
        None => !is_tls13 && !cipher.contains("_PSK_"),
    };
    if is_classical {
        rules.push("not_quantum_safe");
    }
    rules
}
