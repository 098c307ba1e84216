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

/// Says what the client's first application_data record behind the ServerHello holds: `length` is its length field,
/// `suite` what the ServerHello chose. With accepted early data the first one to ask about is the EndOfEarlyData record,
/// and the answer that counts is that of the record behind it.
pub fn classify_first_client_record(suite: CipherSuite, length: u16) -> FirstRecord {
    if !suite.is_tls13() {
        return FirstRecord::Unknown;
    }
    let (Some(hash), Some(tag)) = (suite.hash_len(), suite.tag_len()) else { return FirstRecord::Unknown };
    let finished = FINISHED_HEADER + hash;
    let record = |messages: usize| messages + 1 + tag;
    let length_is = |len: usize| usize::from(length) == len;
    // JSSE has no CCM suites, coalesces nothing and sends no early data.
    let pads = matches!(
        suite,
        CipherSuite::TLS_AES_128_GCM_SHA256
            | CipherSuite::TLS_AES_256_GCM_SHA384
            | CipherSuite::TLS_CHACHA20_POLY1305_SHA256
    );
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
    fn suites_of_other_versions_and_unknown_ones_say_nothing() {
        for suite in [CipherSuite::TLS_RSA_WITH_AES_128_GCM_SHA256, CipherSuite(0x13EE)] {
            assert_eq!(classify_first_client_record(suite, 69), Unknown);
            assert_eq!(classify_first_client_record(suite, 404), Unknown);
        }
    }
}
