//! Did the client send a certificate? In TLS 1.3 its Certificate is encrypted, but the length of its first record behind
//! the ServerHello says which message that holds.
//!
//! The body of a TLS 1.3 record is the messages, one byte of inner content type, padding, and the AEAD tag (RFC 8446
//! section 5.2). OpenSSL, Go, GnuTLS and BoringSSL put one message in a record and do not pad; rustls puts its flight in
//! one record; Java's JSSE puts one message in a record and pads each with 16 bytes.

use super::codepoints::CipherSuite;

/// What the client's first encrypted record behind the ServerHello holds, where its length tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRecord {
    /// Finished alone: no client certificate was asked for.
    Finished,
    /// An empty Certificate: asked for, declined. Finished follows in a record of its own.
    EmptyCertificate,
    /// An empty Certificate and Finished in one record: asked for, declined.
    DeclinedFlight,
    /// A Certificate (whatever follows it in the record): sent.
    Certificate,
    /// EndOfEarlyData: the next record is the one to look at.
    EndOfEarlyData,
    /// An alert: the client gave up.
    Alert,
    /// Nothing of these.
    Unknown,
}

/// Lengths of whole messages (RFC 8446 section 4): a header of four bytes and the body.
const EMPTY_CERTIFICATE: usize = 4 + 1 + 3;
const END_OF_EARLY_DATA: usize = 4;
const FINISHED_HEADER: usize = 4;
/// An alert has no header (RFC 8446 section 6).
const ALERT: usize = 2;

/// What JSSE adds to every record.
const JSSE_PADDING: usize = 16;

/// No certificate makes a shorter record: the smallest X.509 certificates (Ed25519, a few bytes of name, no extensions) take
/// about 200 bytes of DER, to which the Certificate message adds 13 and the record 17 or 9. Below it, and above the
/// longest Finished (101 with padding), lie raw public keys (RFC 7250) and whatever else nobody has measured.
const MIN_CERTIFICATE_RECORD: u16 = 200;

/// Longest record of TLS 1.3 (RFC 8446 section 5.2).
const MAX_RECORD: u16 = (1 << 14) + 256;

/// What the client's flight holds, as far as the lengths of its first records tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFlight {
    /// Its first record begins with this.
    Is(FirstRecord),
    /// A Certificate, or Finished behind much padding: records to come tell, and if none comes, nothing does.
    CertificateOrPadding,
    /// Finished as JSSE pads it, or a fragment of a Certificate: a second record of that length, sent before the server
    /// answers, is another fragment.
    FinishedOrFragment,
}

/// Padding makes the inner plaintext (RFC 8446 section 5.4) a multiple of a block: OpenSSL's `record_padding`. These divide
/// every block that anybody would choose and that makes Finished as long as a Certificate.
const PADDING_BLOCKS: [u16; 2] = [32, 100];

/// No fragment makes a shorter record: the smallest limit (RFC 8449 section 4) and the shortest tag.
const MIN_FRAGMENT_RECORD: u16 = 64 + 8;

/// Certificate, CertificateVerify and Finished: records after the (first fragments of the) Certificate in which Finished must
/// show, one more if the Certificate's last fragment is a record of its own.
const FLIGHT_AFTER_CERTIFICATE: usize = 3;

/// Says what the client's flight holds: `lengths` are those of its records so far, as in [`classify_first_client_record`].
pub fn classify_client_flight(suite: CipherSuite, lengths: &[u16]) -> ClientFlight {
    let Some((first, more)) = lengths.split_first() else { return ClientFlight::Is(FirstRecord::Unknown) };
    match classify_first_client_record(suite, *first) {
        FirstRecord::Certificate => certificate_or_padding(suite, *first, more),
        FirstRecord::Finished
            if *first >= MIN_FRAGMENT_RECORD && classify_unpadded(suite, *first) != FirstRecord::Finished =>
        {
            match more.first() {
                None => ClientFlight::FinishedOrFragment,
                Some(next) if next == first => ClientFlight::Is(FirstRecord::Unknown),
                Some(_) => ClientFlight::Is(FirstRecord::Finished),
            }
        }
        kind => ClientFlight::Is(kind),
    }
}

/// A first record as long as one with a Certificate. A flight in one record is told from a padded Finished by its length,
/// which is a multiple of a block only by chance, and one of several records by the Finished that ends it.
fn certificate_or_padding(suite: CipherSuite, first: u16, more: &[u16]) -> ClientFlight {
    let tag = suite.tag_len().and_then(|tag| u16::try_from(tag).ok()).unwrap_or(0);
    let fills = |block: u16, length: u16| length.saturating_sub(tag).is_multiple_of(block);
    let looks_padded =
        |length| PADDING_BLOCKS.iter().any(|block| fills(*block, first) && fills(*block, length));
    // A long Certificate under a small limit is fragments of one length.
    let fragments = more.iter().take_while(|length| **length == first).count();
    let rest = more.iter().skip(fragments);
    if !looks_padded(first) || rest.clone().take(FLIGHT_AFTER_CERTIFICATE).any(|next| !looks_padded(*next)) {
        ClientFlight::Is(FirstRecord::Certificate)
    } else if rest.count() < FLIGHT_AFTER_CERTIFICATE {
        ClientFlight::CertificateOrPadding
    } else {
        ClientFlight::Is(FirstRecord::Unknown)
    }
}

/// Says what the client's first application_data record behind the ServerHello holds: `length` is its length field,
/// `suite` what the ServerHello chose. With accepted early data the first one to ask about is the EndOfEarlyData record,
/// and the answer that counts is that of the record behind it.
pub fn classify_first_client_record(suite: CipherSuite, length: u16) -> FirstRecord {
    // JSSE has no CCM suites, coalesces nothing and sends no early data.
    let pads = matches!(
        suite,
        CipherSuite::TLS_AES_128_GCM_SHA256
            | CipherSuite::TLS_AES_256_GCM_SHA384
            | CipherSuite::TLS_CHACHA20_POLY1305_SHA256
    );
    classify(suite, length, pads)
}

/// The same for a sender that is known not to pad.
pub fn classify_unpadded(suite: CipherSuite, length: u16) -> FirstRecord {
    classify(suite, length, false)
}

fn classify(suite: CipherSuite, length: u16, pads: bool) -> FirstRecord {
    if !suite.is_tls13() {
        return FirstRecord::Unknown;
    }
    let (Some(hash), Some(tag)) = (suite.hash_len(), suite.tag_len()) else { return FirstRecord::Unknown };
    let finished = FINISHED_HEADER + hash;
    let record = |messages: usize| messages + 1 + tag;
    let length_is = |len: usize| usize::from(length) == len;
    let holds =
        |messages| length_is(record(messages)) || (pads && length_is(record(messages) + JSSE_PADDING));

    if holds(finished) {
        FirstRecord::Finished
    } else if holds(EMPTY_CERTIFICATE) {
        FirstRecord::EmptyCertificate
    } else if length_is(record(EMPTY_CERTIFICATE + finished)) {
        FirstRecord::DeclinedFlight
    } else if length_is(record(END_OF_EARLY_DATA)) {
        FirstRecord::EndOfEarlyData
    } else if holds(ALERT) {
        FirstRecord::Alert
    } else if (MIN_CERTIFICATE_RECORD..=MAX_RECORD).contains(&length) {
        FirstRecord::Certificate
    } else {
        FirstRecord::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::FirstRecord::*;
    use super::*;

    const SHA256: CipherSuite = CipherSuite::TLS_AES_128_GCM_SHA256;
    const SHA384: CipherSuite = CipherSuite::TLS_AES_256_GCM_SHA384;
    const CCM_8: CipherSuite = CipherSuite::TLS_AES_128_CCM_8_SHA256;

    #[test]
    fn measured_lengths_of_real_clients() {
        let measured = [
            // OpenSSL, CPython, Node
            (SHA384, 69, Finished),
            (SHA384, 404, Certificate),
            (SHA384, 826, Certificate),
            (SHA384, 25, EmptyCertificate),
            (SHA256, 53, Finished),
            (CipherSuite::TLS_CHACHA20_POLY1305_SHA256, 53, Finished),
            (SHA256, 826, Certificate),
            (SHA256, 25, EmptyCertificate),
            (CCM_8, 45, Finished),
            (CCM_8, 17, EmptyCertificate),
            (SHA384, 21, EndOfEarlyData),
            // Go, GnuTLS
            (SHA256, 443, Certificate),
            // Java
            (SHA384, 85, Finished),
            (SHA384, 842, Certificate),
            (SHA384, 41, EmptyCertificate),
            // rustls
            (SHA384, 69, Finished),
            (SHA384, 573, Certificate),
            (SHA384, 77, DeclinedFlight),
            (SHA256, 61, DeclinedFlight),
            // a client that gives up
            (SHA384, 19, Alert),
            (SHA256, 35, Alert),
        ];
        for (suite, length, expected) in measured {
            assert_eq!(classify_first_client_record(suite, length), expected, "{suite} {length}");
        }
    }

    #[test]
    fn every_other_short_length_is_unknown() {
        let known = |suite| {
            let is_known = |length: &u16| classify_first_client_record(suite, *length) != Unknown;
            (0..=250).filter(is_known).filter(|length| *length < 200).collect::<Vec<u16>>()
        };
        assert_eq!(known(SHA384), [19, 21, 25, 35, 41, 69, 77, 85]);
        assert_eq!(known(SHA256), [19, 21, 25, 35, 41, 53, 61, 69]);
        assert_eq!(known(CCM_8), [11, 13, 17, 45, 53]);
        assert_eq!(classify_first_client_record(SHA384, 199), Unknown);
        assert_eq!(classify_first_client_record(SHA384, 200), Certificate);
        assert_eq!(classify_first_client_record(SHA384, MAX_RECORD), Certificate);
        assert_eq!(classify_first_client_record(SHA384, MAX_RECORD + 1), Unknown);
    }

    #[test]
    fn flights_of_several_records_end_in_finished_and_padded_records_in_nothing() {
        use ClientFlight::*;
        for (suite, lengths, expected) in [
            // OpenSSL; a Certificate that fills a block by chance; one in fragments
            (SHA384, &[404, 96, 69][..], Is(Certificate)),
            (SHA384, &[528], CertificateOrPadding),
            (SHA384, &[528, 96], Is(Certificate)),
            (SHA384, &[528, 272], CertificateOrPadding),
            (SHA384, &[528, 272, 69], Is(Certificate)),
            (SHA384, &[528, 528, 528, 272, 272, 69], Is(Certificate)),
            (SHA384, &[16_401, 3000, 96, 69], Is(Certificate)),
            // one record
            (SHA384, &[573], Is(Certificate)),
            (SHA384, &[528, 40], Is(Certificate)),
            // Finished and data, padded
            (SHA384, &[528, 528, 528, 1040, 528], CertificateOrPadding),
            (SHA384, &[528, 1040, 528, 528], Is(Unknown)),
            (SHA384, &[516, 516], CertificateOrPadding),
            (CCM_8, &[520, 520], CertificateOrPadding),
            // JSSE; fragments as long as its Finished
            (SHA384, &[85], FinishedOrFragment),
            (SHA384, &[85, 60], Is(Finished)),
            (SHA384, &[85, 85, 85], Is(Unknown)),
            (SHA256, &[69], Is(Finished)),
            (SHA384, &[69], Is(Finished)),
            (SHA384, &[25, 69], Is(EmptyCertificate)),
            (SHA384, &[], Is(Unknown)),
        ] {
            assert_eq!(classify_client_flight(suite, lengths), expected, "{suite} {lengths:?}");
        }
    }

    #[test]
    fn suites_of_other_versions_and_unknown_ones_say_nothing() {
        for suite in [CipherSuite::TLS_RSA_WITH_AES_128_GCM_SHA256, CipherSuite(0x13EE)] {
            assert_eq!(classify_first_client_record(suite, 69), Unknown);
            assert_eq!(classify_first_client_record(suite, 404), Unknown);
        }
    }
}
