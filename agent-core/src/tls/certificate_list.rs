//! Entries of the Certificate message of TLS 1.3 (RFC 8446 section 4.4.2), as probes hand them over: encrypted on the wire.

use super::certificate_status;
use super::codec::{Reader, field};
use super::codepoints::ExtensionType;
use super::error::TlsError;
use crate::x509::MAX_CERTIFICATES;

/// What is well-formed of the entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateList<'a> {
    /// DER certificates, leaf first.
    pub(crate) certificates: Vec<&'a [u8]>,
    /// The DER OCSP response stapled to the leaf.
    pub(crate) ocsp_response: Option<Vec<u8>>,
    /// What ended the reading early, or was left out.
    pub(crate) malformed: Option<TlsError>,
    /// There are more certificates than are looked at.
    pub(crate) is_long: bool,
}

/// Reads entries with or without extensions; what is not well-formed ends the list.
pub(crate) fn parse(entries: &[u8], has_extensions: bool) -> CertificateList<'_> {
    let mut list = CertificateList::default();
    let mut reader = Reader::new(entries);
    while !reader.is_empty() {
        if list.certificates.len() == MAX_CERTIFICATES {
            list.is_long = true;
            break;
        }
        if let Err(error) = entry(&mut reader, has_extensions, &mut list) {
            list.malformed = Some(error);
            break;
        }
    }
    list
}

fn entry<'a>(
    reader: &mut Reader<'a>,
    has_extensions: bool,
    list: &mut CertificateList<'a>,
) -> Result<(), TlsError> {
    let der = reader.vec24(field!("cert_data"))?;
    if der.is_empty() {
        return Err(TlsError::Invalid(field!("cert_data")));
    }
    let is_leaf = list.certificates.is_empty();
    list.certificates.push(der);
    if has_extensions {
        let extensions = reader.vec16(field!("certificate_extensions"))?;
        if is_leaf {
            list.ocsp_response = stapled(extensions)?;
        }
    }
    Ok(())
}

/// The body of `status_request` is a CertificateStatus (section 4.4.2.1).
fn stapled(extensions: &[u8]) -> Result<Option<Vec<u8>>, TlsError> {
    let mut reader = Reader::new(extensions);
    while !reader.is_empty() {
        let extension = ExtensionType(reader.u16(field!("extension_type"))?);
        let data = reader.vec16(field!("extension_data"))?;
        if extension == ExtensionType::STATUS_REQUEST {
            return certificate_status::parse(data).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(list: &CertificateList<'_>) -> Option<&'static str> {
        list.malformed.map(|error| error.reason())
    }

    #[test]
    fn reads_certificates_with_and_without_extensions() {
        let plain = parse(&[0, 0, 2, 7, 8, 0, 0, 1, 9], false);
        assert_eq!(
            plain,
            CertificateList { certificates: vec![&[7, 8], &[9]], ..CertificateList::default() }
        );
        let with = [
            &[0, 0, 2, 7, 8, 0, 17][..],
            &[0, 18, 0, 2, 1, 1],               // signed_certificate_timestamp
            &[0, 5, 0, 7, 1, 0, 0, 3, 4, 5, 6], // status_request
            &[0, 0, 1, 9, 0, 0],
        ]
        .concat();
        let list = parse(&with, true);
        assert_eq!(list.certificates, [&[7, 8][..], &[9]]);
        assert_eq!((list.ocsp_response, list.malformed), (Some(vec![4, 5, 6]), None));
    }

    #[test]
    fn only_the_leafs_response_counts() {
        let list = parse(&[0, 0, 1, 7, 0, 0, 0, 0, 1, 9, 0, 9, 0, 5, 0, 5, 1, 0, 0, 1, 4], true);
        assert_eq!((list.certificates.len(), list.ocsp_response, list.malformed), (2, None, None));
    }

    #[test]
    fn keeps_what_comes_before_a_cut() {
        let whole = [0, 0, 2, 7, 8, 0, 0, 0, 0, 1, 9, 0, 0];
        for len in 0..whole.len() {
            let list = parse(&whole[..len], true);
            assert_eq!(list.certificates.len(), usize::from(len >= 5) + usize::from(len >= 11), "{len}");
            assert_eq!(list.malformed.is_some(), ![0, 7, 13].contains(&len), "{len}");
        }
        assert_eq!(reason(&parse(&[0, 0, 2, 7], false)), Some("truncated_cert_data"));
        assert_eq!(reason(&parse(&[0, 0, 0], false)), Some("invalid_cert_data"));
        assert_eq!(reason(&parse(&[0, 0, 1, 7, 0, 3, 0], true)), Some("truncated_certificate_extensions"));
        assert_eq!(
            reason(&parse(&[0, 0, 1, 7, 0, 5, 0, 5, 0, 1, 9], true)),
            Some("invalid_certificate_status_type")
        );
    }

    #[test]
    fn a_list_without_end_ends() {
        let entries = [0, 0, 1, 7].repeat(100);
        let list = parse(&entries, false);
        assert_eq!((list.certificates.len(), list.is_long, list.malformed), (32, true, None));
    }
}
