//! Telling records apart over any segmentation, with holes (RFC 8446 section 5.1). Bodies are passed on as they come, so
//! nothing longer than a header is kept here.

use super::codepoints::{ContentType, ProtocolVersion};
use super::error::TlsError;

/// Length of a record header.
pub(super) const HEADER_LEN: usize = 5;

/// Longest record body of any version: TLS <= 1.2 allows 2048 bytes of expansion (RFC 5246 section 6.2.3), TLS 1.3 256.
pub(super) const MAX_RECORD_LEN: u16 = (1 << 14) + 2048;

/// Shortest ClientHello in SSL 2.0 format behind its length: type, version, three lengths, one cipher kind, and the least
/// challenge (RFC 5246 appendix E.2).
pub(super) const MIN_SSLV2_HELLO_LEN: u16 = 1 + 2 + 6 + 3 + 16;

/// A step in reading records.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A record begins.
    Header { content_type: ContentType, len: u16 },
    /// A ClientHello in SSL 2.0 format begins; these are its first bytes behind the length.
    Sslv2Header { start: [u8; 3] },
    /// The next bytes of its body.
    Body(&'a [u8]),
    /// The body is complete.
    End,
}

/// A step in passing over bytes that are not known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LostPart {
    /// This many bytes of the body.
    Body(u64),
    /// The body is over.
    End,
    /// A header: records cannot be told apart any more.
    Header,
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; HEADER_LEN], have: usize },
    Body { left: u64 },
    Dead,
}

const NEXT_HEADER: State = State::Header { bytes: [0; HEADER_LEN], have: 0 };

/// Splits a byte stream into records.
#[derive(Debug)]
pub(super) struct Deframer {
    state: State,
    /// No record has begun: the one place where SSL 2.0 format is looked for.
    at_start: bool,
}

impl Deframer {
    pub(super) fn new() -> Self {
        Self { state: NEXT_HEADER, at_start: true }
    }

    /// The next step that `input` allows; `None` when it is used up or records cannot be told apart any more. After an
    /// error nothing follows.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Result<Part<'a>, TlsError>> {
        match &mut self.state {
            State::Dead => None,
            State::Header { bytes, have } => {
                let room = bytes.get_mut(*have..).unwrap_or_default();
                let taken = take(input, room.len() as u64);
                for (place, byte) in room.iter_mut().zip(taken) {
                    *place = *byte;
                }
                *have += taken.len();
                if *have < HEADER_LEN {
                    return None;
                }
                let bytes = *bytes;
                Some(self.header(bytes))
            }
            State::Body { left: 0 } => {
                self.state = NEXT_HEADER;
                Some(Ok(Part::End))
            }
            State::Body { left } => {
                let taken = take(input, *left);
                *left -= taken.len() as u64;
                if taken.is_empty() { None } else { Some(Ok(Part::Body(taken))) }
            }
        }
    }

    /// The next step through `len` bytes that are not known; `None` when they are used up.
    pub(super) fn lose(&mut self, len: &mut u64) -> Option<LostPart> {
        match &mut self.state {
            State::Dead => None,
            State::Body { left: 0 } => {
                self.state = NEXT_HEADER;
                Some(LostPart::End)
            }
            _ if *len == 0 => None,
            State::Header { .. } => {
                self.stop();
                Some(LostPart::Header)
            }
            State::Body { left } => {
                let taken = (*left).min(*len);
                *left -= taken;
                *len -= taken;
                Some(LostPart::Body(taken))
            }
        }
    }

    /// Nothing more can be read.
    pub(super) fn stop(&mut self) {
        self.state = State::Dead;
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, State::Dead)
    }

    /// Between two records?
    pub(super) fn is_at_boundary(&self) -> bool {
        matches!(self.state, State::Header { have: 0, .. })
    }

    fn header(&mut self, bytes: [u8; HEADER_LEN]) -> Result<Part<'static>, TlsError> {
        let at_start = std::mem::replace(&mut self.at_start, false);
        let sslv2_len = if at_start { sslv2_client_hello(bytes) } else { None };
        if let Some(len) = sslv2_len {
            let [_, _, start @ ..] = bytes;
            self.state = State::Body { left: u64::from(len).saturating_sub(start.len() as u64) };
            return Ok(Part::Sslv2Header { start });
        }
        let [content_type, major, minor, len_high, len_low] = bytes;
        let len = u16::from_be_bytes([len_high, len_low]);
        let error = if !(20..=24).contains(&content_type) {
            TlsError::UnknownContentType(content_type)
        } else if major != 3 {
            TlsError::UnknownRecordVersion(u16::from_be_bytes([major, minor]))
        } else if len > MAX_RECORD_LEN {
            TlsError::RecordTooLong(len)
        } else {
            self.state = State::Body { left: u64::from(len) };
            return Ok(Part::Header { content_type: ContentType(content_type), len });
        };
        self.stop();
        Err(error)
    }
}

/// The length of the ClientHello in SSL 2.0 format that begins with `bytes`, if one does: a two-byte length with the high
/// bit set, message type 1, version.
pub(super) fn sslv2_client_hello(bytes: [u8; HEADER_LEN]) -> Option<u16> {
    let [len_high, len_low, msg_type, major, minor] = bytes;
    let len = u16::from_be_bytes([len_high & 0x7F, len_low]);
    let version = ProtocolVersion(u16::from_be_bytes([major, minor]));
    let is_hello = len_high & 0x80 != 0
        && msg_type == 1
        && (version == ProtocolVersion::SSL_2_0 || major == 3)
        && (MIN_SSLV2_HELLO_LEN..=MAX_RECORD_LEN).contains(&len);
    is_hello.then_some(len)
}

/// Takes up to `max` bytes off the front of `input`.
pub(super) fn take<'a>(input: &mut &'a [u8], max: u64) -> &'a [u8] {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let (taken, left) = input.split_at_checked(max).unwrap_or((*input, &[]));
    *input = left;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(deframer: &mut Deframer, mut input: &[u8]) -> Vec<String> {
        std::iter::from_fn(|| deframer.next(&mut input)).map(|part| format!("{part:?}")).collect()
    }

    #[test]
    fn an_empty_record_ends_at_once() {
        assert_eq!(
            parts(&mut Deframer::new(), &[23, 3, 3, 0, 0]),
            ["Ok(Header { content_type: application_data, len: 0 })", "Ok(End)"]
        );
    }

    #[test]
    fn a_bad_header_ends_the_direction() {
        for (header, error) in [
            ([19, 3, 3, 0, 1], TlsError::UnknownContentType(19)),
            ([25, 3, 3, 0, 1], TlsError::UnknownContentType(25)),
            ([22, 2, 3, 0, 1], TlsError::UnknownRecordVersion(0x0203)),
            ([22, 3, 3, 0x48, 1], TlsError::RecordTooLong(0x4801)),
        ] {
            let mut deframer = Deframer::new();
            assert_eq!(deframer.next(&mut &header[..]), Some(Err(error)));
            assert!(error.is_fatal() && deframer.is_stopped());
            assert_eq!(deframer.next(&mut &[22, 3, 3, 0, 1][..]), None);
        }
    }

    #[test]
    fn the_longest_record_is_accepted() {
        assert_eq!(
            Deframer::new().next(&mut &[23, 3, 3, 0x48, 0][..]),
            Some(Ok(Part::Header { content_type: ContentType::APPLICATION_DATA, len: MAX_RECORD_LEN }))
        );
    }

    #[test]
    fn sslv2_format_is_looked_for_at_the_start_only() {
        let hello = [0x80, 40, 1, 3, 1];
        assert_eq!(Deframer::new().next(&mut &hello[..]), Some(Ok(Part::Sslv2Header { start: [1, 3, 1] })));
        let mut deframer = Deframer::new();
        let after = [23, 3, 3, 0, 0, 0x80, 40, 1, 3, 1];
        assert_eq!(parts(&mut deframer, &after).last().unwrap(), "Err(UnknownContentType(128))");
    }
}
