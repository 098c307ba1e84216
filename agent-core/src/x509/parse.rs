//! From DER to [`CertificateSummary`], one field after the other (RFC 5280 section 4.1).

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::der::{BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, Tlv};
use super::{CertificateSummary, San, names};

/// Extensions that are looked at; certificates in use have a dozen.
const MAX_EXTENSIONS: usize = 64;
/// Alternative names that are kept; authorities that everybody trusts put in some hundreds at most.
const MAX_NAMES: usize = 1000;
/// Purposes in extKeyUsage; certificates in use have a few.
const MAX_USAGES: usize = 64;

/// Reads a DER certificate as far as it can be read.
pub fn summarize(der: &[u8]) -> CertificateSummary {
    with_sha256(der, Sha256::digest(der).into())
}

/// The same for a caller who has the hash already.
pub(super) fn with_sha256(der: &[u8], sha256: [u8; 32]) -> CertificateSummary {
    let mut summary = CertificateSummary { sha256, der: der.into(), ..CertificateSummary::default() };
    if let Err(problem) = certificate(der, &mut summary) {
        summary.problems.push(problem);
    }
    summary
}

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
fn certificate(der: &[u8], out: &mut CertificateSummary) -> Result<(), &'static str> {
    let mut outer = Reader::new(der);
    let whole = outer.next_if(SEQUENCE).ok_or("truncated_or_not_a_certificate")?;
    if !outer.is_empty() {
        out.problems.push("trailing_bytes");
    }
    let mut parts = Reader::new(whole.body);
    let tbs = parts.next_if(SEQUENCE).ok_or("no_tbs_certificate")?;
    tbs_certificate(tbs.body, out)?;
    let algorithm = parts.next_if(SEQUENCE).ok_or("no_signature_algorithm")?;
    let (oid, _) = algorithm_identifier(algorithm).ok_or("bad_signature_algorithm")?;
    let name = names::signature_algorithm(&oid).map(str::to_owned).unwrap_or(oid);
    if out.signature_algorithm.replace(name.clone()).is_some_and(|inner| inner != name) {
        // Section 4.1.1.2: must be the same as inside the signed part.
        out.problems.push("signature_algorithm_mismatch");
    }
    parts.next_if(BIT_STRING).ok_or("no_signature")?;
    if !parts.is_empty() {
        out.problems.push("trailing_bytes");
    }
    Ok(())
}

fn tbs_certificate(tbs: &[u8], out: &mut CertificateSummary) -> Result<(), &'static str> {
    let mut fields = Reader::new(tbs);
    let _version = fields.next_if(0xa0);
    let serial = fields.next_if(INTEGER).ok_or("no_serial")?;
    out.serial = serial_hex(serial.body);
    if out.serial.is_none() {
        out.problems.push("bad_serial");
    }
    let algorithm = fields.next_if(SEQUENCE).ok_or("no_inner_signature_algorithm")?;
    match algorithm_identifier(algorithm) {
        Some((oid, _)) => {
            out.signature_algorithm =
                Some(names::signature_algorithm(&oid).map(str::to_owned).unwrap_or(oid));
        }
        None => out.problems.push("bad_inner_signature_algorithm"),
    }
    let issuer = fields.next_if(SEQUENCE).ok_or("no_issuer")?;
    out.issuer = name(issuer);
    if out.issuer.is_none() {
        out.problems.push("bad_issuer");
    }
    let validity = fields.next_if(SEQUENCE).ok_or("no_validity")?;
    let mut times = Reader::new(validity.body);
    out.not_before = times.next().and_then(time);
    if out.not_before.is_none() {
        out.problems.push("bad_not_before");
    }
    out.not_after = times.next().and_then(time);
    if out.not_after.is_none() {
        out.problems.push("bad_not_after");
    }
    let subject = fields.next_if(SEQUENCE).ok_or("no_subject")?;
    out.subject = name(subject);
    if out.subject.is_none() {
        out.problems.push("bad_subject");
    }
    let key = fields.next_if(SEQUENCE).ok_or("no_public_key")?;
    if public_key(key, out).is_none() {
        out.problems.push("bad_public_key");
    }
    out.self_issued = subject.raw == issuer.raw;
    out.self_signed_hint = out.self_issued;
    let _issuer_unique_id = fields.next_if(0x81);
    let _subject_unique_id = fields.next_if(0x82);
    if let Some(wrapped) = fields.next_if(0xa3) {
        let list = Reader::new(wrapped.body).next_if(SEQUENCE).ok_or("bad_extensions")?;
        extensions(list.body, out)?;
    }
    if !fields.is_empty() {
        out.problems.push("trailing_fields");
    }
    Ok(())
}

fn name(tlv: Tlv<'_>) -> Option<String> {
    match X509Name::from_der(tlv.raw) {
        Ok(([], name)) => Some(names::rfc4514(&name)),
        _ => None,
    }
}

fn time(tlv: Tlv<'_>) -> Option<i64> {
    match ASN1Time::from_der(tlv.raw) {
        Ok((_, time)) => Some(time.timestamp()),
        Err(_) => None,
    }
}

fn serial_hex(body: &[u8]) -> Option<String> {
    let (first, rest) = body.split_first()?;
    if *first & 0x80 == 0 {
        // One zero octet in front only says "not negative".
        let shown = if *first == 0 && !rest.is_empty() { rest } else { body };
        return Some(names::hex(shown));
    }
    // Negative numbers are forbidden (section 4.1.2.2) and met: two's complement, least octet first.
    let mut magnitude: Vec<u8> = body.iter().map(|b| !b).collect();
    for b in magnitude.iter_mut().rev() {
        let (sum, carry) = b.overflowing_add(1);
        *b = sum;
        if !carry {
            break;
        }
    }
    Some(format!("-{}", names::hex(&magnitude)))
}

/// AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
fn algorithm_identifier(tlv: Tlv<'_>) -> Option<(String, Option<Tlv<'_>>)> {
    let mut parts = Reader::new(tlv.body);
    let oid = parts.next_if(OID).filter(|oid| !oid.body.is_empty())?;
    Some((names::dotted(oid.body), parts.next()))
}

/// SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
fn public_key(tlv: Tlv<'_>, out: &mut CertificateSummary) -> Option<()> {
    let mut parts = Reader::new(tlv.body);
    let (oid, parameters) = algorithm_identifier(parts.next_if(SEQUENCE)?)?;
    let known = names::key_algorithm(&oid);
    let (algorithm, bits) = known.map_or((None, None), |(name, bits)| (Some(name), bits));
    out.key_algorithm = Some(algorithm.map_or(oid, str::to_owned));
    out.key_bits = bits;
    let (_unused_bits, key) = parts.next_if(BIT_STRING)?.body.split_first()?;
    match algorithm {
        Some("RSA" | "RSA-PSS" | "RSA-OAEP") => {
            // RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017 appendix A.1.1)
            let numbers = Reader::new(key).next_if(SEQUENCE)?;
            out.key_bits = Some(integer_bits(Reader::new(numbers.body).next_if(INTEGER)?.body)?);
        }
        Some("DSA") => {
            // Dss-Parms ::= SEQUENCE { p, q, g } (RFC 3279 section 2.3.2); may be inherited from the issuer.
            if let Some(parms) = parameters.filter(|tlv| tlv.tag == SEQUENCE) {
                out.key_bits = Some(integer_bits(Reader::new(parms.body).next_if(INTEGER)?.body)?);
            }
        }
        Some("EC") => {
            let curve = parameters.filter(|tlv| tlv.tag == OID && !tlv.body.is_empty())?;
            let oid = names::dotted(curve.body);
            match names::curve(&oid) {
                Some((name, bits)) => {
                    out.curve = Some(name.to_owned());
                    out.key_bits = Some(bits);
                }
                None => out.curve = Some(oid),
            }
        }
        _ => {}
    }
    Some(())
}

fn integer_bits(body: &[u8]) -> Option<u32> {
    let significant: &[u8] = body.get(body.iter().position(|b| *b != 0)?..)?;
    let bits = u32::try_from(significant.len()).ok()?.checked_mul(8)?;
    Some(bits - significant.first()?.leading_zeros())
}

/// Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
pub(super) fn extensions(list: &[u8], out: &mut CertificateSummary) -> Result<(), &'static str> {
    let mut list = Reader::new(list);
    let (mut subject_key_id, mut authority_key_id) = (None, None);
    let mut seen: Vec<&[u8]> = Vec::new();
    while !list.is_empty() {
        let extension = list.next_if(SEQUENCE).ok_or("bad_extensions")?;
        let mut parts = Reader::new(extension.body);
        let oid = parts.next_if(OID).ok_or("bad_extensions")?.body;
        let _critical = parts.next_if(BOOLEAN);
        let value = parts.next_if(OCTET_STRING).ok_or("bad_extensions")?.body;
        if seen.contains(&oid) {
            // Section 4.2: at most one of each. The first one counts.
            note(out, "duplicate_extension");
            continue;
        }
        if seen.len() >= MAX_EXTENSIONS {
            return Err("too_many_extensions");
        }
        seen.push(oid);
        // id-ce (2.5.29) and its number.
        let [0x55, 0x1d, number] = oid else { continue };
        match number {
            14 => subject_key_id = Reader::new(value).next_if(OCTET_STRING).map(|tlv| tlv.body),
            17 => match SubjectAlternativeName::from_der(value) {
                Ok((_, san)) => alternative_names(&san, out),
                Err(_) => out.problems.push("bad_subject_alternative_name"),
            },
            19 => match Reader::new(value).next_if(SEQUENCE) {
                Some(constraints) => {
                    let ca = Reader::new(constraints.body).next_if(BOOLEAN);
                    out.is_ca = ca.is_some_and(|ca| ca.body.first().is_some_and(|b| *b != 0));
                }
                None => out.problems.push("bad_basic_constraints"),
            },
            35 => {
                // AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] OCTET STRING OPTIONAL, ... }
                let parts = Reader::new(value).next_if(SEQUENCE);
                authority_key_id =
                    parts.and_then(|tlv| Reader::new(tlv.body).next_if(0x80)).map(|tlv| tlv.body);
            }
            37 => match extended_key_usage(value) {
                Some(usages) => out.extended_key_usage = Some(usages),
                None => out.problems.push("bad_extended_key_usage"),
            },
            _ => {}
        }
    }
    if let (Some(subject), Some(authority)) = (subject_key_id, authority_key_id) {
        out.self_signed_hint &= subject == authority;
    }
    Ok(())
}

/// What may be wrong many times is told once.
fn note(out: &mut CertificateSummary, problem: &'static str) {
    if !out.problems.contains(&problem) {
        out.problems.push(problem);
    }
}

fn extended_key_usage(value: &[u8]) -> Option<Vec<super::ExtendedKeyUsage>> {
    let mut list = Reader::new(Reader::new(value).next_if(SEQUENCE)?.body);
    let mut usages = Vec::new();
    while !list.is_empty() {
        let oid = list.next_if(OID).filter(|oid| !oid.body.is_empty() && usages.len() < MAX_USAGES)?;
        usages.push(names::extended_key_usage(oid.body));
    }
    Some(usages)
}

fn alternative_names(san: &SubjectAlternativeName<'_>, out: &mut CertificateSummary) {
    for name in &san.general_names {
        if out.sans.len() >= MAX_NAMES {
            note(out, "too_many_alternative_names");
            return;
        }
        match name {
            GeneralName::DNSName(s) => out.sans.push(San::Dns((*s).to_owned())),
            GeneralName::URI(s) => out.sans.push(San::Uri((*s).to_owned())),
            GeneralName::RFC822Name(s) => out.sans.push(San::Email((*s).to_owned())),
            GeneralName::IPAddress(bytes) => match ip(bytes) {
                Some(ip) => out.sans.push(San::Ip(ip)),
                None => note(out, "bad_ip_name"),
            },
            GeneralName::Invalid(..) => note(out, "bad_alternative_name"),
            _ => {}
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
