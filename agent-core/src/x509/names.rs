//! Strings for what certificates hold as object identifiers and attribute values.

use x509_parser::asn1_rs::{Oid, Tag};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::ExtendedKeyUsage;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Upper-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(HEX.get(usize::from(n)).copied().unwrap_or(b'0'));
    let mut text = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| text.extend([digit(byte >> 4), digit(byte & 15)]));
    text
}

/// The dotted form of an object identifier's contents.
pub(super) fn dotted(oid: &[u8]) -> String {
    Oid::new(oid.into()).to_id_string()
}

/// RFC 4514: relative names in reverse order, no blanks. Attribute types outside the table of section 3 get the short
/// names everybody knows from openssl.
pub(super) fn rfc4514(name: &X509Name<'_>) -> String {
    // All attributes in reverse order; those of one multi-valued name too, as openssl does (the RFC leaves it open).
    let mut rdns: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let mut attributes: Vec<String> = rdn.iter().map(attribute).collect();
            attributes.reverse();
            attributes.join("+")
        })
        .collect();
    rdns.reverse();
    rdns.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let value = attribute.attr_value();
    match (attribute_name(&oid), text(value.tag(), value.data)) {
        (Some(name), Some(text)) => format!("{name}={}", escape(&text)),
        // Section 2.4: what is not a string, or of a type without a name, is '#' and the hex of its DER encoding.
        (name, _) => format!("{}=#{}", name.unwrap_or(&oid), hex(&encode(value.tag(), value.data))),
    }
}

fn encode(tag: Tag, data: &[u8]) -> Vec<u8> {
    let mut out = vec![tag.0 as u8];
    let len = data.len().to_be_bytes();
    let significant: Vec<u8> = len.into_iter().skip_while(|b| *b == 0).collect();
    if data.len() >= 0x80 {
        out.push(0x80 | significant.len() as u8);
        out.extend(significant);
    } else {
        out.push(data.len() as u8);
    }
    out.extend_from_slice(data);
    out
}

fn text(tag: Tag, data: &[u8]) -> Option<String> {
    match tag {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(data).ok().map(str::to_owned)
        }
        // TeletexString is Latin-1 in practice.
        Tag::T61String => Some(data.iter().map(|b| char::from(*b)).collect()),
        Tag::BmpString => {
            let units = data.chunks(2).map(|unit| Some(u16::from_be_bytes(unit.try_into().ok()?)));
            String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()
        }
        Tag::UniversalString => {
            data.chunks(4).map(|unit| char::from_u32(u32::from_be_bytes(unit.try_into().ok()?))).collect()
        }
        _ => None,
    }
}

/// RFC 4514 section 2.4; control characters too, so that a name can never break a line of output.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (i, c) in text.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', c]),
            '#' if i == 0 => out.push_str("\\#"),
            ' ' if i == 0 || i == last => out.push_str("\\ "),
            c if c.is_control() => {
                let mut utf8 = [0; 4];
                for b in c.encode_utf8(&mut utf8).bytes() {
                    out.push('\\');
                    out.push_str(&hex(&[b]));
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn attribute_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.15" => "businessCategory",
        "2.5.4.17" => "postalCode",
        "2.5.4.41" => "name",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "2.5.4.97" => "organizationIdentifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "1.2.840.113549.1.9.2" => "unstructuredName",
        "1.3.6.1.4.1.311.60.2.1.1" => "jurisdictionL",
        "1.3.6.1.4.1.311.60.2.1.2" => "jurisdictionST",
        "1.3.6.1.4.1.311.60.2.1.3" => "jurisdictionC",
        _ => return None,
    })
}

/// Name and, where the algorithm fixes it, size in bits of a public key algorithm.
pub(super) fn key_algorithm(oid: &str) -> Option<(&'static str, Option<u32>)> {
    Some(match oid {
        "1.2.840.113549.1.1.1" => ("RSA", None),
        "1.2.840.113549.1.1.7" => ("RSA-OAEP", None),
        "1.2.840.113549.1.1.10" => ("RSA-PSS", None),
        "1.2.840.10040.4.1" => ("DSA", None),
        "1.2.840.10046.2.1" => ("DH", None),
        "1.2.840.10045.2.1" => ("EC", None),
        "1.3.101.110" => ("X25519", Some(256)),
        "1.3.101.111" => ("X448", Some(448)),
        "1.3.101.112" => ("Ed25519", Some(256)),
        "1.3.101.113" => ("Ed448", Some(456)),
        _ => return signature_only(oid).map(|name| (name, None)),
    })
}

/// FIPS 204 and 205: one object identifier for the key and its signatures.
fn signature_only(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        "2.16.840.1.101.3.4.3.20" => "SLH-DSA-SHA2-128s",
        "2.16.840.1.101.3.4.3.21" => "SLH-DSA-SHA2-128f",
        "2.16.840.1.101.3.4.3.22" => "SLH-DSA-SHA2-192s",
        "2.16.840.1.101.3.4.3.23" => "SLH-DSA-SHA2-192f",
        "2.16.840.1.101.3.4.3.24" => "SLH-DSA-SHA2-256s",
        "2.16.840.1.101.3.4.3.25" => "SLH-DSA-SHA2-256f",
        "2.16.840.1.101.3.4.3.26" => "SLH-DSA-SHAKE-128s",
        "2.16.840.1.101.3.4.3.27" => "SLH-DSA-SHAKE-128f",
        "2.16.840.1.101.3.4.3.28" => "SLH-DSA-SHAKE-192s",
        "2.16.840.1.101.3.4.3.29" => "SLH-DSA-SHAKE-192f",
        "2.16.840.1.101.3.4.3.30" => "SLH-DSA-SHAKE-256s",
        "2.16.840.1.101.3.4.3.31" => "SLH-DSA-SHAKE-256f",
        _ => return None,
    })
}

/// Name of a signature algorithm, as in the RFC that defines it.
pub(super) fn signature_algorithm(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "1.2.840.113549.1.1.2" => "md2WithRSAEncryption",
        "1.2.840.113549.1.1.4" => "md5WithRSAEncryption",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "rsassaPss",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.113549.1.1.14" => "sha224WithRSAEncryption",
        "1.2.840.10040.4.3" => "dsaWithSHA1",
        "2.16.840.1.101.3.4.3.1" => "dsa_with_SHA224",
        "2.16.840.1.101.3.4.3.2" => "dsa_with_SHA256",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.1" => "ecdsa-with-SHA224",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "2.16.840.1.101.3.4.3.10" => "ecdsa-with-SHA3-256",
        "2.16.840.1.101.3.4.3.11" => "ecdsa-with-SHA3-384",
        "2.16.840.1.101.3.4.3.12" => "ecdsa-with-SHA3-512",
        "2.16.840.1.101.3.4.3.14" => "RSA-SHA3-256",
        "2.16.840.1.101.3.4.3.15" => "RSA-SHA3-384",
        "2.16.840.1.101.3.4.3.16" => "RSA-SHA3-512",
        "1.2.156.10197.1.501" => "SM2-with-SM3",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        _ => return signature_only(oid),
    })
}

/// Name and size in bits of a named curve.
pub(super) fn curve(oid: &str) -> Option<(&'static str, u32)> {
    Some(match oid {
        "1.2.840.10045.3.1.1" => ("P-192", 192),
        "1.3.132.0.33" => ("P-224", 224),
        "1.2.840.10045.3.1.7" => ("P-256", 256),
        "1.3.132.0.34" => ("P-384", 384),
        "1.3.132.0.35" => ("P-521", 521),
        "1.3.132.0.10" => ("secp256k1", 256),
        "1.3.36.3.3.2.8.1.1.7" => ("brainpoolP256r1", 256),
        "1.3.36.3.3.2.8.1.1.11" => ("brainpoolP384r1", 384),
        "1.3.36.3.3.2.8.1.1.13" => ("brainpoolP512r1", 512),
        "1.2.156.10197.1.301" => ("SM2", 256),
        _ => return None,
    })
}

pub(super) fn extended_key_usage(oid: &[u8]) -> ExtendedKeyUsage {
    match dotted(oid).as_str() {
        "2.5.29.37.0" => ExtendedKeyUsage::Any,
        "1.3.6.1.5.5.7.3.1" => ExtendedKeyUsage::ServerAuth,
        "1.3.6.1.5.5.7.3.2" => ExtendedKeyUsage::ClientAuth,
        "1.3.6.1.5.5.7.3.3" => ExtendedKeyUsage::CodeSigning,
        "1.3.6.1.5.5.7.3.4" => ExtendedKeyUsage::EmailProtection,
        "1.3.6.1.5.5.7.3.8" => ExtendedKeyUsage::TimeStamping,
        "1.3.6.1.5.5.7.3.9" => ExtendedKeyUsage::OcspSigning,
        other => ExtendedKeyUsage::Other(other.to_owned()),
    }
}
