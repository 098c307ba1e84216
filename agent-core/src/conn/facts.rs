//! From hello messages to the facts an observation carries.

use crate::observation::TlsFacts;
use crate::tls::codepoints::ProtocolVersion;
use crate::tls::fingerprint::Fingerprints;
use crate::tls::{ClientHello, ServerHello};

/// Is this TLS 1.3, or one of its drafts (which browsers and servers of 2017 and 2018 still speak)?
pub(super) fn is_tls13(version: ProtocolVersion) -> bool {
    version == ProtocolVersion::TLS_1_3 || version.0 >> 8 == 0x7f
}

/// Cipher suites, and groups, that are kept of what a client offers: IANA has fewer of either.
const MAX_OFFERED: usize = 512;
/// Versions that are kept.
const MAX_VERSIONS: usize = 32;
/// Bytes that are kept of the protocols that a client offers (ALPN).
const MAX_PROTOCOL_BYTES: usize = 1024;

/// The first ClientHello; a second one (after a HelloRetryRequest) repeats it with little changed. Gives the number of
/// offered values that are not kept: a hello may have tens of thousands, and facts stay for as long as the connection does.
pub(super) fn client_hello(facts: &mut TlsFacts, hello: &ClientHello) -> u64 {
    facts.sslv2_hello = hello.sslv2;
    facts.server_name.clone_from(&hello.server_name);
    facts.offered_versions = hello.offered_versions();
    facts.offered_ciphers = hello.cipher_suites.iter().copied().filter(|c| !c.is_grease()).collect();
    facts.offered_groups = hello.supported_groups.iter().copied().filter(|g| !g.is_grease()).collect();
    facts.offered_protocols = hello
        .alpn
        .iter()
        // A GREASE protocol is two equal bytes (RFC 8701 section 3).
        .filter(|name| !matches!(name.as_slice(), [a, b] if a == b && a & 0x0f == 0x0a))
        .map(|name| protocol_name(name))
        .collect();
    facts.ech_offered = hello.encrypted_client_hello;
    facts.early_data_offered = hello.early_data;
    facts.fingerprints = Some(Box::new(Fingerprints::of(hello)));
    // A client that speaks TLS 1.3 fills the session id for the sake of middleboxes (RFC 8446 appendix D.4).
    let session_id_counts =
        !hello.session_id.is_empty() && !facts.offered_versions.iter().any(|v| is_tls13(*v));
    facts.resumption_offered = hello.psk_identities.is_some()
        || hello.session_ticket_len.is_some_and(|len| len > 0)
        || session_id_counts;
    note(facts, hello.malformed);
    cut(&mut facts.offered_versions, MAX_VERSIONS)
        + cut(&mut facts.offered_ciphers, MAX_OFFERED)
        + cut(&mut facts.offered_groups, MAX_OFFERED)
        + cut_bytes(&mut facts.offered_protocols)
}

fn cut<T>(values: &mut Vec<T>, max: usize) -> u64 {
    let over = values.len().saturating_sub(max);
    if over > 0 {
        values.truncate(max);
        values.shrink_to_fit();
    }
    over as u64
}

fn cut_bytes(names: &mut Vec<String>) -> u64 {
    // An empty name takes its place all the same.
    let mut left = MAX_PROTOCOL_BYTES;
    let mut fits = |name: &String| {
        let bytes = name.len().max(8);
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    let kept = names.iter().map_while(|name| Some(name).filter(|name| fits(name))).count();
    cut(names, kept)
}

pub(super) fn server_hello(facts: &mut TlsFacts, hello: &ServerHello) {
    facts.negotiated_version = Some(hello.negotiated_version());
    facts.cipher = Some(hello.cipher_suite);
    if hello.key_share_group.is_some() {
        facts.group = hello.key_share_group;
    }
    facts.next_protocol = hello.alpn.as_deref().map(protocol_name);
    note(facts, hello.malformed);
}

/// The first thing that was not well-formed.
pub(super) fn note(facts: &mut TlsFacts, malformed: Option<&'static str>) {
    facts.malformed = facts.malformed.or(malformed);
}

/// ALPN names are bytes; all but a handful are ASCII. What is not is shown escaped.
fn protocol_name(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// Facts stay for as long as the connection does.
pub(super) fn shrink(facts: &mut TlsFacts) {
    facts.offered_versions.shrink_to_fit();
    facts.offered_ciphers.shrink_to_fit();
    facts.offered_groups.shrink_to_fit();
    facts.offered_protocols.shrink_to_fit();
    facts.server_chain.shrink_to_fit();
    facts.client_chain.shrink_to_fit();
}
