//! One chain against the roots of one bundle, by webpki.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};

use super::{Bundle, ChainVerdict, Trust, not_judged};
use crate::net::Side;
use crate::policy::about::short;
use crate::x509::CertificateSummary;
use crate::x509::signed::{ALGORITHMS, SignatureCheck, Signed};

/// Purposes do not matter for whether a chain leads to a root.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        purposes.try_for_each(|purpose| purpose.map(drop))
    }
}

/// No purposes at all, any purpose, or this one.
struct Usage(Side);

impl ExtendedKeyUsageValidator for Usage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut is_restricted = false;
        let mut is_fit = false;
        for purpose in purposes {
            is_restricted = true;
            is_fit |= match purpose?.to_decoded_oid().as_slice() {
                [2, 5, 29, 37, 0] => true,
                [1, 3, 6, 1, 5, 5, 7, 3, 1] => self.0 == Side::Server,
                [1, 3, 6, 1, 5, 5, 7, 3, 2] => self.0 == Side::Client,
                // Server gated crypto of Netscape and Microsoft: issuing certificates of long ago stand for TLS with it.
                [2, 16, 840, 1, 113730, 4, 1] | [1, 3, 6, 1, 4, 1, 311, 10, 3, 3] => true,
                _ => false,
            };
        }
        // The kind of error does not matter here.
        if is_restricted && !is_fit { Err(Error::EmptyEkuExtension) } else { Ok(()) }
    }
}

/// The verdict on a leaf that signed itself, or that cannot be read.
pub(super) fn self_signed(chain: &[Arc<CertificateSummary>]) -> Option<ChainVerdict> {
    let leaf = chain.first()?;
    let Some(signed) = Signed::read(&leaf.der) else { return Some(not_judged("malformed")) };
    match signed.signed_itself() {
        SignatureCheck::Good => Some(ChainVerdict::of(Trust::SelfSigned)),
        SignatureCheck::Unsupported if leaf.self_signed_hint => Some(ChainVerdict::of(Trust::SelfSigned)),
        SignatureCheck::Unsupported | SignatureCheck::Bad => None,
    }
}

/// A chain, leaf first, against one bundle at this second of Unix time.
pub(super) fn chain(
    chain: &[Arc<CertificateSummary>],
    side: Side,
    bundle: &Bundle,
    name: Option<&Arc<str>>,
    at: i64,
) -> ChainVerdict {
    let Some(leaf) = chain.first() else { return not_judged("no_certificate") };
    let trusted = || Trust::Trusted { bundle: name.cloned() };
    if bundle.certificates.iter().any(|root| root.der == leaf.der) {
        // Somebody configured this very certificate.
        return ChainVerdict { issuers: Some(Vec::new()), ..ChainVerdict::of(trusted()) };
    }
    if let Some(verdict) = self_signed(chain) {
        return verdict;
    }
    if has_too_many_ways(chain) {
        return not_judged("too_many_ways");
    }
    let der = CertificateDer::from(&*leaf.der);
    let end_entity = match EndEntityCert::try_from(&der) {
        Ok(end_entity) => end_entity,
        Err(error) => return ChainVerdict::of(trust_of(&error)),
    };
    let sent: Vec<CertificateDer<'_>> =
        chain.iter().skip(1).map(|certificate| CertificateDer::from(&*certificate.der)).collect();
    let run = Run { end_entity: &end_entity, anchors: &bundle.anchors, bundle, sent: &sent };
    match run.path(AnyUsage, at) {
        Ok(path) => {
            // webpki does not look at the validity of roots; OpenSSL, GnuTLS and Go do. Another root may do instead.
            let ended = run.root(&path).filter(|root| !holds(root, at));
            let valid: Vec<TrustAnchor<'_>> = match &ended {
                Some(_) => bundle.valid_anchors(at).cloned().collect(),
                None => Vec::new(),
            };
            let around = Run { anchors: &valid, ..run };
            let (run, path, invalid_issuer) = match ended.is_some().then(|| around.path(AnyUsage, at)) {
                Some(Ok(path)) => (around, path, None),
                _ => (run, path, ended),
            };
            let wrong_usage_of_issuer = leaf_fits(leaf, side) && run.path(Usage(side), at).is_err();
            let issuers = Some(on_the_way(&path, chain));
            return ChainVerdict {
                trust: trusted(),
                root: run.root(&path),
                issuers,
                invalid_issuer,
                wrong_usage_of_issuer,
            };
        }
        Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }) => {}
        Err(error) => return ChainVerdict::of(trust_of(&error)),
    }
    // Somewhere on the way a certificate is not valid now. Is it the right way, apart from that?
    let then = common_time(chain, at);
    match run.path(AnyUsage, then) {
        Ok(path) => {
            let invalid_issuer = path.intermediate_certificates().find_map(|issuer| {
                let der = issuer.der();
                let sent = chain.iter().find(|certificate| *certificate.der == *der)?;
                (!holds(sent, at)).then(|| Arc::new(brief(sent)))
            });
            let wrong_usage_of_issuer = leaf_fits(leaf, side) && run.path(Usage(side), then).is_err();
            let issuers = Some(on_the_way(&path, chain));
            ChainVerdict {
                trust: trusted(),
                root: run.root(&path),
                issuers,
                invalid_issuer,
                wrong_usage_of_issuer,
            }
        }
        // No time fits all of the chain, so that it cannot be verified; but its own issuer is known, and not valid.
        Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }) => {
            let invalid_issuer = own_issuer(chain).filter(|issuer| !holds(issuer, at));
            ChainVerdict { invalid_issuer, ..not_judged("no_common_validity") }
        }
        Err(error) => ChainVerdict::of(trust_of(&error)),
    }
}

impl Bundle {
    fn valid_anchors(&self, at: i64) -> impl Iterator<Item = &TrustAnchor<'static>> {
        let both = self.anchors.iter().zip(&self.certificates);
        both.filter(move |(_, certificate)| holds(certificate, at)).map(|(anchor, _)| anchor)
    }
}

/// Is it valid at this time, as far as it says?
fn holds(certificate: &CertificateSummary, at: i64) -> bool {
    certificate.not_before.is_none_or(|first| first <= at)
        && certificate.not_after.is_none_or(|last| at <= last)
}

/// Certificates that may have issued each other in so many ways that to try them all would take long: a chain in use has one way,
/// or a few where authorities signed each other's.
fn has_too_many_ways(chain: &[Arc<CertificateSummary>]) -> bool {
    const MOST: usize = 40;
    let ways = |from: &CertificateSummary| {
        chain
            .iter()
            .skip(1)
            .filter(|to| !std::ptr::eq(&raw const ***to, from) && to.subject == from.issuer)
            .count()
    };
    chain.iter().map(|from| ways(from)).sum::<usize>() > MOST
}

/// The only certificate of the chain that issued the leaf.
fn own_issuer(chain: &[Arc<CertificateSummary>]) -> Option<Arc<CertificateSummary>> {
    let leaf = Signed::read(&chain.first()?.der)?;
    let mut issuers = chain.iter().skip(1).filter(|sent| {
        Signed::read(&sent.der).is_some_and(|issuer| {
            issuer.subject == leaf.issuer && leaf.signed_by(&issuer.key) == SignatureCheck::Good
        })
    });
    let issuer = issuers.next()?;
    // Verdicts are remembered for long, and nobody trusts what was sent.
    issuers.next().is_none().then(|| Arc::new(brief(issuer)))
}

/// The certificates that were sent along and that a path goes through.
fn on_the_way(path: &VerifiedPath<'_>, chain: &[Arc<CertificateSummary>]) -> Vec<Arc<CertificateSummary>> {
    let sent = |issuer: &webpki::Cert<'_>| {
        let der = issuer.der();
        let sent = chain.iter().find(|certificate| *certificate.der == *der)?;
        Some(Arc::new(brief(sent)))
    };
    path.intermediate_certificates().filter_map(sent).collect()
}

/// What is said of a certificate, without its encoding and its names: verdicts are remembered for long.
fn brief(certificate: &CertificateSummary) -> CertificateSummary {
    let text = |text: &Option<String>| text.clone().map(short);
    CertificateSummary {
        sha256: certificate.sha256,
        subject: text(&certificate.subject),
        issuer: text(&certificate.issuer),
        serial: text(&certificate.serial),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        key_algorithm: text(&certificate.key_algorithm),
        key_bits: certificate.key_bits,
        curve: text(&certificate.curve),
        signature_algorithm: text(&certificate.signature_algorithm),
        is_ca: certificate.is_ca,
        self_issued: certificate.self_issued,
        self_signed_hint: certificate.self_signed_hint,
        ..CertificateSummary::default()
    }
}

#[derive(Clone, Copy)]
struct Run<'a> {
    end_entity: &'a EndEntityCert<'a>,
    bundle: &'a Bundle,
    /// Those of the bundle's that count.
    anchors: &'a [TrustAnchor<'a>],
    sent: &'a [CertificateDer<'a>],
}

impl<'a> Run<'a> {
    fn path(&self, usage: impl ExtendedKeyUsageValidator, at: i64) -> Result<VerifiedPath<'a>, Error> {
        self.end_entity.verify_for_usage(ALGORITHMS, self.anchors, self.sent, seconds(at), usage, None, None)
    }
}

impl Run<'_> {
    /// The certificate of the anchor that a path leads to.
    fn root(&self, path: &VerifiedPath<'_>) -> Option<Arc<CertificateSummary>> {
        let at = self.bundle.anchors.iter().position(|anchor| anchor == path.anchor())?;
        self.bundle.certificates.get(at).map(Arc::clone)
    }
}

fn seconds(at: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap_or(0)))
}

/// Is the leaf itself for this side? If not, that is the defect, whatever its issuers say.
fn leaf_fits(leaf: &CertificateSummary, side: Side) -> bool {
    crate::policy::rules::usage_fits(leaf, side)
}

/// A time at which all certificates of the chain are valid, the nearest to `at`; the leaf's own where there is none.
fn common_time(chain: &[Arc<CertificateSummary>], at: i64) -> i64 {
    let first = chain.iter().filter_map(|certificate| certificate.not_before).max().unwrap_or(i64::MIN);
    let last = chain.iter().filter_map(|certificate| certificate.not_after).min().unwrap_or(i64::MAX);
    if first <= last {
        return at.clamp(first, last);
    }
    let leaf = chain.first();
    let first = leaf.and_then(|leaf| leaf.not_before).unwrap_or(i64::MIN);
    let last = leaf.and_then(|leaf| leaf.not_after).unwrap_or(i64::MAX);
    if first <= last { at.clamp(first, last) } else { at }
}

fn trust_of(error: &Error) -> Trust {
    match error {
        Error::UnknownIssuer => Trust::UnknownIssuer,
        Error::InvalidSignatureForPublicKey => Trust::Rejected("bad_signature"),
        Error::SignatureAlgorithmMismatch => Trust::Rejected("signature_algorithm_mismatch"),
        Error::NameConstraintViolation => Trust::Rejected("name_constraint"),
        Error::PathLenConstraintViolated => Trust::Rejected("path_length"),
        Error::EndEntityUsedAsCa => Trust::Rejected("issuer_is_no_ca"),
        Error::CertDistrusted => Trust::Rejected("distrusted"),
        Error::InvalidCertValidity => Trust::Rejected("invalid_validity"),
        Error::CaUsedAsEndEntity => Trust::NotJudged("ca_as_end_entity"),
        Error::UnsupportedCertVersion => Trust::NotJudged("old_certificate_version"),
        Error::UnsupportedCriticalExtension => Trust::NotJudged("unknown_critical_extension"),
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Trust::NotJudged("unsupported_signature_algorithm")
        }
        Error::MaximumSignatureChecksExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => Trust::NotJudged("too_complex"),
        _ => Trust::NotJudged("malformed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(subject: &str, issuer: &str) -> Arc<CertificateSummary> {
        let (subject, issuer) = (Some(subject.to_owned()), Some(issuer.to_owned()));
        Arc::new(CertificateSummary { subject, issuer, ..CertificateSummary::default() })
    }

    #[test]
    fn chains_in_use_have_few_ways_and_those_of_one_name_have_too_many() {
        let chain = [
            certificate("leaf", "a"),
            certificate("a", "b"),
            certificate("b", "root"),
            certificate("root", "root"),
        ];
        assert!(!has_too_many_ways(&chain));
        // Authorities that signed each other's.
        let crossed: Vec<_> =
            (0..8).map(|n| certificate(&format!("ca{}", n / 2), &format!("ca{}", n / 2 + 1))).collect();
        assert!(!has_too_many_ways(&crossed));
        let same: Vec<_> = (0..8).map(|_| certificate("ca", "ca")).collect();
        assert!(has_too_many_ways(&same));
    }
}
