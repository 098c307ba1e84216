//! ServerKeyExchange: the group of an elliptic-curve exchange (RFC 8422 section 5.4, RFC 5489 section 2).

use super::codec::{Reader, field};
use super::codepoints::{CipherSuite, KeyExchange, NamedGroup};
use super::error::TlsError;

const NAMED_CURVE: u8 = 3;

/// The named curve; `None` for every other kind of exchange. The message does not say of which kind it is, the suite the
/// server chose does; where that is not known the bytes must leave no doubt.
pub(super) fn parse(body: &[u8], suite: Option<CipherSuite>) -> Result<Option<NamedGroup>, TlsError> {
    let mut r = Reader::new(body);
    match suite.map_or(KeyExchange::Unknown, CipherSuite::key_exchange) {
        KeyExchange::Ecdhe => ecdh_params(&mut r),
        KeyExchange::EcdhePsk => {
            r.vec16(field!("psk_identity_hint"))?;
            ecdh_params(&mut r)
        }
        KeyExchange::Unknown => Ok(only_reading(body)),
        KeyExchange::Tls13 | KeyExchange::Dhe | KeyExchange::Other => Ok(None),
    }
}

fn ecdh_params(r: &mut Reader<'_>) -> Result<Option<NamedGroup>, TlsError> {
    if r.u8(field!("curve_type"))? != NAMED_CURVE {
        return Ok(None);
    }
    let group = NamedGroup(r.u16(field!("named_curve"))?);
    r.vec8(field!("ecdh_public"))?;
    Ok(Some(group))
}

/// A named curve known here, a point, and a signature that ends where the message ends.
fn only_reading(body: &[u8]) -> Option<NamedGroup> {
    let mut r = Reader::new(body);
    let group = ecdh_params(&mut r).ok()??;
    group.name()?;
    let is_signature = |mut r: Reader<'_>, scheme_len| {
        r.take(scheme_len, field!("signature")).is_ok()
            && r.vec16(field!("signature")).is_ok_and(|signature| !signature.is_empty())
            && r.is_empty()
    };
    // TLS 1.2 names the signature scheme before it, earlier versions do not.
    (is_signature(r, 2) || is_signature(r, 0)).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECDHE: CipherSuite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    const SIGNED_X25519: [u8; 12] = [3, 0, 29, 2, 7, 8, 4, 1, 0, 2, 9, 9];

    #[test]
    fn reads_the_named_curve() {
        assert_eq!(parse(&SIGNED_X25519, Some(ECDHE)), Ok(Some(NamedGroup::X25519)));
        let psk = [0, 1, 65, 3, 0, 23, 1, 7];
        let suite = CipherSuite::TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA;
        assert_eq!(parse(&psk, Some(suite)), Ok(Some(NamedGroup::SECP256R1)));
    }

    #[test]
    fn takes_no_finite_field_exchange_for_a_curve() {
        let dhe = CipherSuite::TLS_DHE_RSA_WITH_AES_128_CBC_SHA;
        assert_eq!(parse(&SIGNED_X25519, Some(dhe)), Ok(None));
    }

    #[test]
    fn without_a_suite_reads_only_what_leaves_no_doubt() {
        assert_eq!(parse(&SIGNED_X25519, None), Ok(Some(NamedGroup::X25519)));
        assert_eq!(parse(&SIGNED_X25519[..11], None), Ok(None));
        assert_eq!(parse(&[3, 0xEE, 29, 2, 7, 8, 4, 1, 0, 2, 9, 9], None), Ok(None));
    }

    #[test]
    fn rejects_truncated_parameters() {
        let reason = |body: &[u8]| parse(body, Some(ECDHE)).unwrap_err().reason();
        assert_eq!(reason(&[]), "truncated_curve_type");
        assert_eq!(reason(&[3, 0]), "truncated_named_curve");
        assert_eq!(reason(&[3, 0, 29, 2, 7]), "truncated_ecdh_public");
    }
}
