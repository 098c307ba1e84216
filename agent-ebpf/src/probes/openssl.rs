//! Certificates that OpenSSL parses.
//!
//! It hands a pointer into the handshake message to the function that parses one certificate. So at the first certificate of
//! a Certificate message of TLS 1.3 (RFC 8446 section 4.4.2) the whole list lies there, and the bytes before the
//! certificate say how long it is:
//!
//! ```text
//! msg_type                      u8 = 11
//! length                        u24
//! certificate_request_context   u8 length = 0
//! certificate_list              u24 length
//!   cert_data                   u24 length, DER
//!   extensions                  u16 length, extensions
//!   ...
//! ```
//!
//! What does not have that frame is none: the messages of TLS up to 1.2 have no extensions in the list, certificates out of
//! files have nothing before them, and the second of a list has another certificate's end there. Then nothing is copied but
//! the few bytes that tell. A context is only there in post-handshake authentication, which is not followed.
//!
//! A message that was compressed (RFC 8879) has no header where it is parsed, nor has one of DTLS its own there. Without it the
//! end of the list must be where its length says: the end of one certificate in 256 looks like the beginning of a list.

use agent_common::{
    CERTIFICATES_CUT, CERTIFICATES_HAVE_EXTENSIONS, Counter, MAX_CERTIFICATES, MAX_CHAIN, library, peer,
};
use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use crate::{
    last_read,
    maps::{Scratch, count},
    scratch, user,
};

/// `HandshakeType` certificate (RFC 8446 section 4).
const CERTIFICATE: u8 = 11;

/// `d2i_X509(X509 **a, const unsigned char **in, long len)`, where libssl calls it.
#[uprobe]
pub fn openssl_cert(ctx: ProbeContext) -> u32 {
    count(Counter::ProbeHitsOpenSsl);
    let [_, input, len] = user::c_arguments(&ctx);
    let result = match user::word(input) {
        Some(first) => message(first, len),
        None => Err(Counter::ProbeUnreadable),
    };
    scratch::outcome(result, Counter::CertificatesOpenSsl)
}

#[inline(always)]
fn u24(b: [u8; 3]) -> u32 {
    u32::from(b[0]) << 16 | u32::from(b[1]) << 8 | u32::from(b[2])
}

/// A list of certificates in the process's memory.
struct List {
    /// Address of its first entry.
    at: u64,
    /// Its length.
    len: u32,
    /// Bytes of it that are wanted.
    take: u32,
    /// More than [`MAX_CHAIN`] entries, or longer than [`MAX_CERTIFICATES`].
    cut: bool,
}

/// Hands over the Certificate message whose first certificate is at `first`, if it is one.
#[inline(always)]
fn message(first: u64, len: u64) -> Result<(), Counter> {
    let list = find(first, len)?;
    scratch::emit(&last_read::get(), |scratch| fill(scratch, &list))
}

/// The list around the certificate of `len` bytes at `first`.
#[inline(always)]
fn find(first: u64, len: u64) -> Result<List, Counter> {
    let frame = user::bytes::<7>(first.wrapping_sub(7)).ok_or(Counter::ProbeOther)?;
    let list_len = u24([frame[1], frame[2], frame[3]]);
    let cert_len = u24([frame[4], frame[5], frame[6]]);
    if frame[0] != 0 || cert_len == 0 || u64::from(cert_len) != len || list_len < cert_len + 5 {
        return Err(Counter::ProbeOther);
    }
    let has_header = match user::bytes::<4>(first.wrapping_sub(11)) {
        Some(header) => header[0] == CERTIFICATE && u24([header[1], header[2], header[3]]) == list_len + 4,
        None => false,
    };
    let at = first.wrapping_sub(3);
    let mut walked = 0u32;
    for _ in 0..MAX_CHAIN {
        let entry = at.wrapping_add(u64::from(walked));
        let cert_len = u24(user::bytes::<3>(entry).ok_or(Counter::ProbeOther)?);
        if cert_len == 0 {
            return Err(Counter::ProbeOther);
        }
        let behind = entry.wrapping_add(3 + u64::from(cert_len));
        let ext_len = u16::from_be_bytes(user::bytes::<2>(behind).ok_or(Counter::ProbeOther)?);
        walked += 3 + cert_len + 2 + u32::from(ext_len);
        if walked >= list_len {
            break;
        }
    }
    if walked > list_len || walked < list_len && !has_header {
        return Err(Counter::ProbeOther);
    }
    let take = if walked > MAX_CERTIFICATES { MAX_CERTIFICATES } else { walked };
    Ok(List { at, len: list_len, take, cut: take < list_len })
}

#[inline(always)]
fn fill(scratch: &mut Scratch, list: &List) -> Result<u32, Counter> {
    scratch::copy(scratch, 0, list.take, list.at)?;
    scratch.event = scratch::blank(library::OPENSSL, peer::UNKNOWN);
    scratch.event.list_len = list.len;
    scratch.event.cap_len = list.take;
    scratch.event.flags = CERTIFICATES_HAVE_EXTENSIONS;
    if list.cut {
        scratch.event.flags |= CERTIFICATES_CUT;
        count(Counter::CertificatesCut);
    }
    Ok(list.take)
}
