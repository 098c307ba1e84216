//! CertificateStatus (RFC 6066 section 8, RFC 6961 section 2.2).

use super::codec::{Reader, field};
use super::error::TlsError;

/// The DER OCSP response for the leaf.
pub(super) fn parse(body: &[u8]) -> Result<Vec<u8>, TlsError> {
    const OCSP: u8 = 1;
    const OCSP_MULTI: u8 = 2;
    let mut r = Reader::new(body);
    match r.u8(field!("certificate_status_type"))? {
        OCSP => {
            let response = r.vec24(field!("ocsp_response"))?;
            r.expect_empty(field!("certificate_status"))?;
            Ok(response.to_vec())
        }
        OCSP_MULTI => {
            let mut list = Reader::new(r.vec24(field!("ocsp_response_list"))?);
            r.expect_empty(field!("certificate_status"))?;
            // One response a certificate, in the chain's order.
            Ok(list.vec24(field!("ocsp_response"))?.to_vec())
        }
        _ => Err(TlsError::Invalid(field!("certificate_status_type"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_response_and_the_first_of_several() {
        assert_eq!(parse(&[1, 0, 0, 2, 7, 8]), Ok(vec![7, 8]));
        assert_eq!(parse(&[2, 0, 0, 9, 0, 0, 2, 7, 8, 0, 0, 1, 9]), Ok(vec![7, 8]));
    }

    #[test]
    fn rejects_unknown_types_and_truncated_responses() {
        let reason = |body: &[u8]| parse(body).unwrap_err().reason();
        assert_eq!(reason(&[]), "truncated_certificate_status_type");
        assert_eq!(reason(&[3, 0, 0, 0]), "invalid_certificate_status_type");
        assert_eq!(reason(&[1, 0, 0, 2, 7]), "truncated_ocsp_response");
        assert_eq!(reason(&[1, 0, 0, 0, 7]), "trailing_bytes_in_certificate_status");
    }
}
