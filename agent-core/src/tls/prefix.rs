//! Is this the start of a TLS stream? Answers for a recognizer that sees the first bytes of a connection.

use super::codepoints::{AlertDescription, AlertLevel, ContentType, HandshakeType};
use super::record::{HEADER_LEN, MAX_RECORD_LEN, sslv2_client_hello};

/// What a prefix of a stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Too short to tell; every byte so far fits.
    NeedMore,
    /// It is not.
    No,
    /// It is.
    Yes,
}

/// Shortest body of an application_data record: one byte with the shortest tag, that of the CCM_8 suites.
const MIN_APPLICATION_DATA_LEN: u16 = 1 + 8;

/// Is `prefix` the start of one direction of a TLS connection: a handshake record with a ClientHello or ServerHello, an
/// alert in the clear, or a ClientHello in SSL 2.0 format?
pub fn looks_like_tls(prefix: &[u8]) -> Prefix {
    match prefix.first() {
        None => Prefix::NeedMore,
        Some(first) if first & 0x80 != 0 => sslv2(prefix),
        Some(first) => match ContentType(*first) {
            ContentType::HANDSHAKE => {
                let hello = [HandshakeType::CLIENT_HELLO.0, HandshakeType::SERVER_HELLO.0];
                check(prefix, 1..=MAX_RECORD_LEN, &[&|byte| hello.contains(&byte)])
            }
            ContentType::ALERT => check(
                prefix,
                2..=2,
                &[&|level| AlertLevel(level).name().is_some(), &|alert| {
                    AlertDescription(alert).name().is_some()
                }],
            ),
            _ => Prefix::No,
        },
    }
}

/// Is `prefix`, seen from the middle of a connection but at the start of a record, a TLS record header?
pub fn looks_like_tls_record_midstream(prefix: &[u8]) -> Prefix {
    let Some(first) = prefix.first() else { return Prefix::NeedMore };
    let lengths = match ContentType(*first) {
        ContentType::CHANGE_CIPHER_SPEC => 1..=1,
        // The longest encrypted alert: explicit IV, MAC and padding of a CBC suite of TLS 1.2.
        ContentType::ALERT => 2..=16 + 2 + 48 + 256,
        ContentType::HANDSHAKE => 4..=MAX_RECORD_LEN,
        ContentType::APPLICATION_DATA => MIN_APPLICATION_DATA_LEN..=MAX_RECORD_LEN,
        _ => return Prefix::No,
    };
    check(prefix, lengths, &[])
}

/// A record header with a version SSL 3.0 to TLS 1.3 and a length in range, then bytes that pass one test each. Of a
/// prefix that ends inside, everything there is must fit.
fn check(prefix: &[u8], lengths: std::ops::RangeInclusive<u16>, tests: &[&dyn Fn(u8) -> bool]) -> Prefix {
    if prefix.get(1).is_some_and(|major| *major != 3) || prefix.get(2).is_some_and(|minor| *minor > 4) {
        return Prefix::No;
    }
    let [lowest_high, _] = lengths.start().to_be_bytes();
    let [highest_high, _] = lengths.end().to_be_bytes();
    let length_fits = match (prefix.get(3), prefix.get(4)) {
        (Some(high), Some(low)) => lengths.contains(&u16::from_be_bytes([*high, *low])),
        (Some(high), None) => (lowest_high..=highest_high).contains(high),
        _ => true,
    };
    let body = prefix.get(HEADER_LEN..).unwrap_or_default();
    if !length_fits || !body.iter().zip(tests).all(|(byte, test)| test(*byte)) {
        Prefix::No
    } else if prefix.len() < HEADER_LEN + tests.len() {
        Prefix::NeedMore
    } else {
        Prefix::Yes
    }
}

/// All lengths of an SSL 2.0 format hello stand in its first eleven bytes and must agree (RFC 5246 appendix E.2).
fn sslv2(prefix: &[u8]) -> Prefix {
    let Some((header, rest)) = prefix.split_first_chunk::<HEADER_LEN>() else {
        let msg_type_fits = prefix.get(2).is_none_or(|msg_type| *msg_type == 1);
        let major_fits = prefix.get(3).is_none_or(|major| *major == 0 || *major == 3);
        return if msg_type_fits && major_fits { Prefix::NeedMore } else { Prefix::No };
    };
    let Some(len) = sslv2_client_hello(*header) else { return Prefix::No };
    let Some(lengths) = rest.first_chunk::<6>() else { return Prefix::NeedMore };
    let [a, b, c, d, e, f] = lengths.map(u32::from);
    let (specs, session_id, challenge) = (a << 8 | b, c << 8 | d, e << 8 | f);
    let agrees = specs % 3 == 0
        && specs > 0
        && (session_id == 0 || session_id == 16)
        && (16..=32).contains(&challenge)
        && 9 + specs + session_id + challenge == u32::from(len);
    if agrees { Prefix::Yes } else { Prefix::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prefix up to `known` needs more, every longer one says yes.
    fn assert_known_after(stream: &[u8], known: usize, looks: fn(&[u8]) -> Prefix) {
        for len in 0..=stream.len() {
            let expected = if len < known { Prefix::NeedMore } else { Prefix::Yes };
            assert_eq!(looks(&stream[..len]), expected, "prefix of {len} of {stream:?}");
        }
    }

    /// No prefix says yes, and the whole says no.
    fn assert_not(stream: &[u8], looks: fn(&[u8]) -> Prefix) {
        assert_eq!(looks(stream), Prefix::No, "{stream:?}");
        for len in 0..stream.len() {
            assert_ne!(looks(&stream[..len]), Prefix::Yes, "prefix of {len} of {stream:?}");
        }
    }

    #[test]
    fn every_prefix_of_a_hello() {
        assert_known_after(&[22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3], 6, looks_like_tls);
        assert_known_after(&[22, 3, 3, 0, 122, 2, 0, 0, 118], 6, looks_like_tls);
        assert_known_after(&[22, 3, 0, 0, 1, 1], 6, looks_like_tls);
    }

    #[test]
    fn every_prefix_of_an_alert() {
        assert_known_after(&[21, 3, 1, 0, 2, 2, 40], 7, looks_like_tls);
        assert_not(&[21, 3, 1, 0, 2, 2, 39], looks_like_tls);
        assert_not(&[21, 3, 1, 0, 2, 3], looks_like_tls);
        assert_not(&[21, 3, 1, 0, 26], looks_like_tls);
    }

    #[test]
    fn every_prefix_of_an_sslv2_hello() {
        let hello = [&[0x80, 0x1F, 1, 3, 1, 0, 6, 0, 0, 0, 16, 0, 0, 47, 1, 0, 128][..], &[7; 16]].concat();
        assert_known_after(&hello, 11, looks_like_tls);
        assert_known_after(&[0x80, 0x1F, 1, 0, 2, 0, 6, 0, 0, 0, 16], 11, looks_like_tls);
        assert_not(&[0x80, 0x1F, 1, 3, 1, 0, 6, 0, 0, 0, 17], looks_like_tls);
        assert_not(&[0x80, 0x1F, 1, 0, 3], looks_like_tls);
        assert_not(&[0x80, 0x1F, 4], looks_like_tls);
    }

    #[test]
    fn what_is_no_hello_is_told_at_its_first_wrong_byte() {
        for stream in [
            &b"GET "[..],
            &b"SSH-"[..],
            &[22, 2],
            &[22, 3, 5],
            &[22, 3, 1, 0x49],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 9, 11],
            &[23, 3, 3, 0, 99],
            &[20, 3, 3, 0, 1, 1],
            &[0x80, 1, 2],
            &[0xFF, 0xFB, 0x25],
        ] {
            assert_not(stream, looks_like_tls);
        }
    }

    #[test]
    fn records_from_the_middle_of_a_connection() {
        assert_known_after(&[23, 3, 3, 0, 9, 0xAA], 5, looks_like_tls_record_midstream);
        assert_known_after(&[20, 3, 3, 0, 1, 1], 5, looks_like_tls_record_midstream);
        assert_known_after(&[21, 3, 3, 0, 26, 0xAA], 5, looks_like_tls_record_midstream);
        assert_known_after(&[22, 3, 3, 0, 40, 0xAA], 5, looks_like_tls_record_midstream);
        for stream in [
            &[23, 3, 3, 0, 8][..],
            &[23, 3, 3, 0x48, 1],
            &[20, 3, 3, 0, 2],
            &[21, 3, 3, 3],
            &[24, 3],
            &[19],
            &[23, 1],
            b"HTTP",
        ] {
            assert_not(stream, looks_like_tls_record_midstream);
        }
    }
}
