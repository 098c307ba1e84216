//! Certificates that GnuTLS parses.
//!
//! It copies each certificate of a Certificate message out of it, keeps an array of them with the session, and parses the
//! first when it checks a signature by its key. What the parser is given is an item of that array, which the others follow.
//! That holds for every version of TLS, and a program may have its own certificates parsed the same way. So the wire is
//! asked: certificates are encrypted where records of the peer were, before this one was parsed, and those of other
//! handshakes are seen there.

use agent_common::{CERTIFICATES_CUT, Counter, library, peer, phase};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use crate::{
    last_read,
    maps::{CONNS, Scratch, count},
    scratch, user,
};

/// GNUTLS_X509_FMT_DER
const DER: u32 = 0;
/// `gnutls_datum_t` is a pointer and a 32-bit length, padded.
const DATUM: u64 = 16;

/// `gnutls_x509_crt_import(crt, const gnutls_datum_t *data, format)`.
#[uprobe]
pub fn gnutls_cert(ctx: ProbeContext) -> u32 {
    count(Counter::ProbeHitsGnuTls);
    let [_, datum, format] = user::c_arguments(&ctx);
    let last = last_read::get();
    let result = if format as u32 == DER && is_encrypted(last.cookie) {
        scratch::emit(&last, |scratch| fill(scratch, datum))
    } else {
        Err(Counter::ProbeOther)
    };
    scratch::outcome(result, Counter::CertificatesGnuTls)
}

/// Encrypted records have come in on this connection, or that cannot be told because segments were out of order, or so
/// short that no record's start was seen in one.
#[inline(always)]
fn is_encrypted(cookie: u64) -> bool {
    let Some(conn) = CONNS.get_ptr(cookie) else { return false };
    // SAFETY: the entry lives until this program ends (RCU). It may change meanwhile, but what has come stays so.
    let [egress, ingress] = unsafe { &(*conn).dirs };
    ingress.encrypted > 0
        || ingress.phase == phase::RAW
        || ingress.phase == phase::PLAIN && egress.phase == phase::TLS
}

#[inline(always)]
fn fill(scratch: &mut Scratch, datum: u64) -> Result<u32, Counter> {
    let gathered = scratch::gather(scratch, datum, DATUM, None)?;
    if gathered.used == 0 && !gathered.cut {
        return Err(Counter::ProbeOther);
    }
    scratch.event = scratch::blank(library::GNUTLS, peer::UNKNOWN);
    scratch.event.cap_len = gathered.used;
    if gathered.cut {
        scratch.event.flags |= CERTIFICATES_CUT;
        count(Counter::CertificatesCut);
    }
    Ok(gathered.used)
}
