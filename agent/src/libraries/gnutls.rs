//! GnuTLS 3.6 to 3.8.
//!
//! `gnutls_x509_crt_import` parses every certificate, those of a CA bundle included. A handshake comes to it through
//! `gnutls_pcert_import_x509_raw`, which bundles and the re-reading of a chain for verification do not use: the call in there
//! is the place. Where that way cannot be proved nothing is probed: at the entry of the parser the re-reading of a chain's
//! rest looks like a chain of its own.

use super::code::{branches, candidates};
use super::elf::Elf;
use super::functions::Functions;
use super::image::Found;
use super::symbols::{Symbols, functions_around};
use super::{ProbeKind, ProbePoint, Unprobed};

const PARSE: &str = "gnutls_x509_crt_import";
const FROM_PEER: &str = "gnutls_pcert_import_x509_raw";

/// Names to look for.
pub(super) const NAMES: &[&str] = &["gnutls_handshake", PARSE, FROM_PEER];

/// The call to probe, if this is GnuTLS.
pub(super) fn points(elf: &Elf<'_>, symbols: &Symbols) -> Found<Option<Vec<ProbePoint>>> {
    if symbols.defined("gnutls_handshake").is_none() {
        return Ok(None);
    }
    let place = call(elf, symbols)?.ok_or(Unprobed::GnuTlsUnknownLayout)?;
    let offset = elf.code_offset(place).ok_or(Unprobed::GnuTlsUnknownLayout)?;
    Ok(Some(vec![ProbePoint { kind: ProbeKind::GnuTlsCertificate, offset }]))
}

/// The one call of the parser on a peer's way.
fn call(elf: &Elf<'_>, symbols: &Symbols) -> Found<Option<u64>> {
    let Some(function) = symbols.defined(FROM_PEER) else { return Ok(None) };
    let range = function.address..function.address.saturating_add(function.size);
    let Some(branches) = branches(elf, &range) else { return Ok(None) };
    let mut parse = symbols.callee(elf, PARSE)?;
    parse.add_stubs(elf)?;
    let calls: Vec<u64> = branches.iter().filter(|b| parse.is_called_by(b)).map(|b| b.at).collect();
    let &[call] = calls.as_slice() else { return Ok(None) };
    // Handshakes must come through this function, and not have been given a copy of it by an optimizer.
    Ok(is_called_inside(elf, symbols)?.then_some(call))
}

/// Whether a function that is not exported calls it: those of handshakes are not.
fn is_called_inside(elf: &Elf<'_>, symbols: &Symbols) -> Found<bool> {
    let mut from_peer = symbols.callee(elf, FROM_PEER)?;
    from_peer.add_stubs(elf)?;
    let candidates = candidates(elf, &from_peer)?;
    let around = functions_around(elf, &candidates)?;
    let Some(functions) = Functions::of(elf) else { return Ok(false) };
    let calls = |at: u64| {
        let branches = functions.around(at).and_then(|function| branches(elf, &function)).unwrap_or_default();
        branches.iter().any(|branch| branch.at == at && from_peer.is_called_by(branch))
    };
    let exported = |at: u64| around.iter().any(|(place, bounds)| *place == at && bounds.exported);
    Ok(candidates.into_iter().any(|at| !exported(at) && calls(at)))
}
