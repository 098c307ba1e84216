//! Certificate of TLS <= 1.2 (RFC 5246 section 7.4.2).

use super::codec::{Reader, field};
use super::error::TlsError;

/// DER certificates, leaf first; empty where a client declines.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Vec<u8>>, TlsError> {
    let mut r = Reader::new(body);
    let mut list = Reader::new(r.vec24(field!("certificate_list"))?);
    r.expect_empty(field!("certificate_list"))?;
    let mut certificates = Vec::new();
    while !list.is_empty() {
        let der = list.vec24(field!("certificate"))?;
        if der.is_empty() {
            return Err(TlsError::Invalid(field!("certificate")));
        }
        certificates.push(der.to_vec());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_chain_in_order() {
        let body = [0, 0, 9, 0, 0, 2, 7, 8, 0, 0, 1, 9];
        assert_eq!(parse(&body), Ok(vec![vec![7, 8], vec![9]]));
        assert_eq!(parse(&[0, 0, 0]), Ok(vec![]));
    }

    #[test]
    fn rejects_truncated_empty_and_trailing_certificates() {
        let reason = |body: &[u8]| parse(body).unwrap_err().reason();
        assert_eq!(reason(&[0, 0]), "truncated_certificate_list");
        assert_eq!(reason(&[0, 0, 4, 0, 0, 2, 7]), "truncated_certificate");
        assert_eq!(reason(&[0, 0, 3, 0, 0, 0]), "invalid_certificate");
        assert_eq!(reason(&[0, 0, 0, 1]), "trailing_bytes_in_certificate_list");
    }
}
