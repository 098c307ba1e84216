//! OpenSSL 1.1.0 to 3.x, shared or linked into a program.
//!
//! `d2i_X509` parses every certificate: those of the peer, our own, and a CA bundle's 140. libcrypto parses bundles by
//! itself, so a probe on the *calls of it in libssl* costs nothing there. Of these there are six; two of them are in the
//! functions that process a peer's Certificate message, `tls_process_server_certificate` and
//! `tls_process_client_certificate`. The others parse what a program has loaded as its own (`SSL_use_certificate_ASN1`,
//! `SSL_CTX_use_certificate_ASN1`), a TLSA record (`dane_tlsa_add`), or print a message, our own included
//! (`ssl_print_certificate`).
//!
//! Where symbols name the two functions, they are taken at their word. Stripped libraries do not; there the two are
//! recognized by what else they call: they collect the certificates in a stack (`OPENSSL_sk_push`), are not exported, do not
//! parse a lone public key as DANE does and do not print.

use super::code::{Branch, branches, candidates};
use super::elf::Elf;
use super::functions::Functions;
use super::image::Found;
use super::symbols::{Bounds, Callee, Symbols, functions_around};
use super::{ProbeKind, ProbePoint, Unprobed};

/// The functions that process a peer's Certificate message, in all versions.
pub(super) const HANDSHAKE_FUNCTIONS: &[&str] =
    &["tls_process_server_certificate", "tls_process_client_certificate"];

const PARSE: &str = "d2i_X509";
const COLLECT: &str = "OPENSSL_sk_push";
/// Called by functions that parse certificates for other ends.
const OTHER_ENDS: &[&str] = &["X509_print_ex", "BIO_printf", "d2i_PUBKEY", "OPENSSL_sk_insert"];
/// Only BoringSSL and AWS-LC have these; they export OpenSSL's names too.
const BORING: &[&str] = &["SSL_CTX_set_custom_verify", "SSL_CTX_set0_buffer_pool", "BORINGSSL_self_test"];

/// Names to look for.
pub(super) const NAMES: &[&str] = &[
    "SSL_do_handshake",
    "OPENSSL_init_ssl",
    PARSE,
    COLLECT,
    "X509_print_ex",
    "BIO_printf",
    "d2i_PUBKEY",
    "OPENSSL_sk_insert",
    "SSL_CTX_set_custom_verify",
    "SSL_CTX_set0_buffer_pool",
    "BORINGSSL_self_test",
    "tls_process_server_certificate",
    "tls_process_client_certificate",
];

/// More calls than this in functions that look right: then they are not what they look like.
const MAX_POINTS: usize = 8;

/// The calls to probe, if this is OpenSSL's libssl or a program with one inside.
pub(super) fn points(elf: &Elf<'_>, symbols: &Symbols) -> Found<Option<Vec<ProbePoint>>> {
    if symbols.defined("SSL_do_handshake").is_none() {
        return Ok(None);
    }
    if BORING.iter().any(|name| symbols.defined(name).is_some()) {
        return Err(Unprobed::BoringSsl);
    }
    // Missing in OpenSSL 1.0.2, which has no TLS 1.3: its certificates are on the wire.
    if symbols.defined("OPENSSL_init_ssl").is_none() {
        return Ok(None);
    }
    let parse = callee(elf, symbols, PARSE)?;
    let named = named(elf, symbols, &parse);
    let calls = match named {
        Some(calls) => calls,
        // Where libcrypto is in the same file, its functions look like those of libssl.
        None if symbols.defined(PARSE).is_none() => recognized(elf, symbols, &parse)?,
        None => Vec::new(),
    };
    if calls.is_empty() || calls.len() > MAX_POINTS {
        return Err(Unprobed::OpenSslUnknownLayout);
    }
    let point =
        |call| Some(ProbePoint { kind: ProbeKind::OpenSslCertificate, offset: elf.code_offset(call)? });
    calls.into_iter().map(point).collect::<Option<Vec<_>>>().map(Some).ok_or(Unprobed::OpenSslUnknownLayout)
}

fn callee(elf: &Elf<'_>, symbols: &Symbols, name: &str) -> Found<Callee> {
    let mut callee = symbols.callee(elf, name)?;
    callee.add_stubs(elf)?;
    Ok(callee)
}

/// Calls in the functions that have the right names; nothing unless both roles are there.
fn named(elf: &Elf<'_>, symbols: &Symbols, parse: &Callee) -> Option<Vec<u64>> {
    let mut calls = Vec::new();
    for name in HANDSHAKE_FUNCTIONS {
        let before = calls.len();
        for symbol in symbols.functions(name) {
            let function = symbol.address..symbol.address.checked_add(symbol.size)?;
            calls.extend(calls_of(parse, &branches(elf, &function)?));
        }
        if calls.len() == before {
            return None;
        }
    }
    // Both symbol tables name the same functions.
    calls.sort_unstable();
    calls.dedup();
    Some(calls)
}

fn calls_of<'a>(callee: &'a Callee, branches: &'a [Branch]) -> impl Iterator<Item = u64> + 'a {
    branches.iter().filter(|branch| callee.is_called_by(branch)).map(|branch| branch.at)
}

/// Calls in functions that do what the two functions do.
fn recognized(elf: &Elf<'_>, symbols: &Symbols, parse: &Callee) -> Found<Vec<u64>> {
    let Some(functions) = Functions::of(elf) else { return Ok(Vec::new()) };
    let collect = callee(elf, symbols, COLLECT)?;
    let other_ends = OTHER_ENDS.iter().map(|name| callee(elf, symbols, name)).collect::<Found<Vec<_>>>()?;
    let candidates = candidates(elf, parse)?;
    let around = functions_around(elf, &candidates)?;
    let exported =
        |at: u64| around.iter().any(|(place, bounds): &(u64, Bounds)| *place == at && bounds.exported);
    let mut calls = Vec::new();
    for candidate in candidates {
        let Some(function) = functions.around(candidate).filter(|_| !exported(candidate)) else { continue };
        let Some(branches) = branches(elf, &function) else { continue };
        let does = |callee: &Callee| branches.iter().any(|branch| callee.is_called_by(branch));
        if does(&collect) && !other_ends.iter().any(does) {
            calls.extend(calls_of(parse, &branches));
        }
    }
    calls.sort_unstable();
    calls.dedup();
    Ok(calls)
}
