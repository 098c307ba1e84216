//! Stapled OCSP responses (RFC 6960): what the issuer says of a certificate, if it was the issuer who said it.

use der::Decode;
use ring::digest;
use x509_ocsp::{BasicOcspResponse, CertId, CertStatus, OcspResponse, OcspResponseStatus, SingleResponse};

use crate::x509::signed::{PublicKey, SignatureCheck, Signed, SignedResponse};
use crate::x509::{CertificateSummary, ExtendedKeyUsage, summarize};

/// What a response says of the leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspVerdict {
    /// The status.
    pub status: OcspStatus,
    /// From when on it holds, Unix time.
    pub this_update: Option<i64>,
    /// Until when it holds.
    pub next_update: Option<i64>,
    /// When the responder's own certificate, where it came along, ends. Before that it begins at the second value.
    pub responder_validity: Option<(i64, i64)>,
}

/// Status of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked.
    Good,
    /// Revoked at that time, for that reason (RFC 5280 section 5.3.1) where one is given.
    Revoked(i64, Option<&'static str>),
    /// The responder does not know the certificate.
    Unknown,
    /// The response proves nothing.
    Unusable(&'static str),
    /// It cannot be told whether the issuer signed it.
    NotJudged(&'static str),
}

impl OcspStatus {
    /// `good`, `revoked`, `unknown`, `unusable` or `not_judged`.
    pub const fn as_str(self) -> &'static str {
        match self {
            OcspStatus::Good => "good",
            OcspStatus::Revoked(..) => "revoked",
            OcspStatus::Unknown => "unknown",
            OcspStatus::Unusable(_) => "unusable",
            OcspStatus::NotJudged(_) => "not_judged",
        }
    }
}

/// Reads a response (DER) about this leaf. `issuers` are certificates among which its issuer may be.
pub fn verdict<'a>(
    response: &[u8],
    leaf: &CertificateSummary,
    issuers: impl Iterator<Item = &'a [u8]>,
) -> OcspVerdict {
    match read(response, leaf, issuers) {
        Ok(verdict) => verdict,
        Err(status) => OcspVerdict { status, this_update: None, next_update: None, responder_validity: None },
    }
}

fn read<'a>(
    response: &[u8],
    leaf: &CertificateSummary,
    issuers: impl Iterator<Item = &'a [u8]>,
) -> Result<OcspVerdict, OcspStatus> {
    let malformed = OcspStatus::Unusable("malformed");
    let outer = OcspResponse::from_der(response).map_err(|_| malformed)?;
    match outer.response_status {
        OcspResponseStatus::Successful => {}
        OcspResponseStatus::MalformedRequest => return Err(OcspStatus::Unusable("malformed_request")),
        OcspResponseStatus::InternalError => return Err(OcspStatus::Unusable("internal_error")),
        OcspResponseStatus::TryLater => return Err(OcspStatus::Unusable("try_later")),
        OcspResponseStatus::SigRequired => return Err(OcspStatus::Unusable("sig_required")),
        OcspResponseStatus::Unauthorized => return Err(OcspStatus::Unusable("unauthorized")),
    }
    let bytes = outer.response_bytes.ok_or(malformed)?;
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(|_| malformed)?;
    let signed = SignedResponse::read(bytes.response.as_bytes()).ok_or(malformed)?;
    let certificate = Signed::read(&leaf.der).ok_or(OcspStatus::NotJudged("malformed_certificate"))?;

    let mut issuer = None;
    for der in issuers {
        let Some(candidate) = Signed::read(der).filter(|c| c.subject == certificate.issuer) else { continue };
        if certificate.signed_by(&candidate.key) != SignatureCheck::Bad {
            issuer = Some(candidate);
            break;
        }
    }
    let issuer = issuer.ok_or(OcspStatus::NotJudged("unknown_issuer"))?;
    let mut answers = basic.tbs_response_data.responses.iter();
    let answer = answers
        .find(|answer| is_about(&answer.cert_id, &certificate, &issuer))
        .ok_or(OcspStatus::Unusable("other_certificate"))?;
    let responder_validity = signature(&signed, &issuer)?;
    Ok(OcspVerdict {
        status: status(answer),
        this_update: Some(secs(&answer.this_update)),
        next_update: answer.next_update.as_ref().map(secs),
        responder_validity,
    })
}

/// Signed by the issuer, or by somebody whom the issuer made a responder (section 4.2.2.2)? Gives the latter's validity.
fn signature(response: &SignedResponse<'_>, issuer: &Signed<'_>) -> Result<Option<(i64, i64)>, OcspStatus> {
    let verify = |key: &PublicKey<'_>| key.verify(response.algorithm, response.tbs, response.signature);
    let by_issuer = verify(&issuer.key);
    if by_issuer == SignatureCheck::Good {
        return Ok(None);
    }
    let mut unsupported = by_issuer == SignatureCheck::Unsupported;
    for der in &response.certificates {
        let Some(responder) = Signed::read(der) else { continue };
        let by_responder = verify(&responder.key);
        if by_responder == SignatureCheck::Bad {
            continue;
        }
        let summary = summarize(der);
        let may_sign = summary
            .extended_key_usage
            .as_ref()
            .is_some_and(|usages| usages.contains(&ExtendedKeyUsage::OcspSigning));
        if responder.issuer != issuer.subject || !may_sign {
            continue;
        }
        match (by_responder, responder.signed_by(&issuer.key)) {
            (SignatureCheck::Good, SignatureCheck::Good) => {
                return Ok(summary.not_before.zip(summary.not_after));
            }
            (SignatureCheck::Unsupported, _) | (_, SignatureCheck::Unsupported) => unsupported = true,
            _ => {}
        }
    }
    // An issuer's key of an unsupported kind is "unsupported" for every signature that is not of its own kind, too.
    Err(if unsupported {
        OcspStatus::NotJudged("unsupported_signature_algorithm")
    } else {
        OcspStatus::Unusable("bad_signature")
    })
}

fn is_about(id: &CertId, leaf: &Signed<'_>, issuer: &Signed<'_>) -> bool {
    let algorithm = match id.hash_algorithm.oid.to_string().as_str() {
        "1.3.14.3.2.26" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "2.16.840.1.101.3.4.2.1" => &digest::SHA256,
        "2.16.840.1.101.3.4.2.2" => &digest::SHA384,
        "2.16.840.1.101.3.4.2.3" => &digest::SHA512,
        _ => return false,
    };
    id.issuer_name_hash.as_bytes() == digest::digest(algorithm, issuer.subject).as_ref()
        && id.issuer_key_hash.as_bytes() == digest::digest(algorithm, issuer.key.bits).as_ref()
        && without_zeros(id.serial_number.as_bytes()) == without_zeros(leaf.serial)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let at = number.iter().position(|octet| *octet != 0).unwrap_or(number.len());
    number.get(at..).unwrap_or_default()
}

fn status(answer: &SingleResponse) -> OcspStatus {
    match &answer.cert_status {
        CertStatus::Good(_) => OcspStatus::Good,
        CertStatus::Unknown(_) => OcspStatus::Unknown,
        CertStatus::Revoked(info) => OcspStatus::Revoked(
            secs(&info.revocation_time),
            info.revocation_reason.map(|reason| {
                // CRLReason of RFC 5280 section 5.3.1.
                match reason as u32 {
                    1 => "keyCompromise",
                    2 => "cACompromise",
                    3 => "affiliationChanged",
                    4 => "superseded",
                    5 => "cessationOfOperation",
                    6 => "certificateHold",
                    8 => "removeFromCRL",
                    9 => "privilegeWithdrawn",
                    10 => "aACompromise",
                    _ => "unspecified",
                }
            }),
        ),
    }
}

fn secs(time: &x509_ocsp::OcspGeneralizedTime) -> i64 {
    i64::try_from(time.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}
