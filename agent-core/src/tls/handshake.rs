//! Putting handshake messages together: several in a record, one over several records (RFC 8446 section 5.1), and what
//! can still be told apart behind lost bytes.

use std::borrow::Cow;

use super::codepoints::HandshakeType;
use super::record::take;

/// Length of a message header.
const HEADER_LEN: usize = 4;

/// What came of the bytes.
#[derive(Debug)]
pub(super) enum Joined<'a> {
    /// A whole message.
    Message(HandshakeType, Cow<'a, [u8]>),
    /// A message of this length, longer than the limit; it is skipped.
    TooLong(u32),
    /// The first record of the direction does not begin with a handshake message: it is encrypted.
    NotClear,
}

#[derive(Debug)]
enum State {
    /// At the start of a record, where a message may or may not begin: nothing was seen of this direction before
    /// (`first`), or a gap hid where the message under way ends.
    Unsure { first: bool },
    /// Between messages or inside a header.
    Header,
    /// Inside a message.
    Body { message: HandshakeType, len: usize },
    /// Inside a message that is skipped.
    Skip { left: u64 },
    /// In the rest of a record whose message boundaries are not known.
    SkipRecord,
}

/// Joins fragments of one direction.
#[derive(Debug)]
pub(super) struct Joiner {
    state: State,
    bytes: Vec<u8>,
    record_len: u16,
    max_message: u32,
    /// Messages lost to gaps and interruptions.
    pub(super) lost: u64,
}

impl Joiner {
    pub(super) fn new(max_message: u32) -> Self {
        Self { state: State::Unsure { first: true }, bytes: Vec::new(), record_len: 0, max_message, lost: 0 }
    }

    /// A handshake record of `len` bytes begins.
    pub(super) fn start_record(&mut self, len: u16) {
        self.record_len = len;
        if let State::SkipRecord = self.state {
            self.state = State::Unsure { first: false };
        }
    }

    /// The handshake record is over.
    pub(super) fn end_record(&mut self) {
        if let State::Unsure { first: false } = self.state {
            // Too short to tell; the next one may be better.
            self.bytes = Vec::new();
        }
    }

    /// The next outcome that `input`, a part of the record's body, allows.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Joined<'a>> {
        loop {
            match self.state {
                State::Unsure { first } => {
                    let header = self.header(input)?;
                    if self.is_plausible(header, first) {
                        if let Some(too_long) = self.begin(header) {
                            return Some(too_long);
                        }
                    } else {
                        self.state = State::SkipRecord;
                        if first {
                            return Some(Joined::NotClear);
                        }
                    }
                }
                State::Header => {
                    let header = self.header(input)?;
                    if let Some(too_long) = self.begin(header) {
                        return Some(too_long);
                    }
                }
                State::Body { message, len } => {
                    // A message that lies in one piece is not copied.
                    if self.bytes.is_empty() && input.len() >= len {
                        self.state = State::Header;
                        return Some(Joined::Message(message, Cow::Borrowed(take(input, len as u64))));
                    }
                    let missing = len.saturating_sub(self.bytes.len());
                    self.bytes.extend_from_slice(take(input, missing as u64));
                    if self.bytes.len() < len {
                        return None;
                    }
                    self.state = State::Header;
                    return Some(Joined::Message(message, Cow::Owned(std::mem::take(&mut self.bytes))));
                }
                State::Skip { left } => {
                    let skipped = take(input, left).len() as u64;
                    if skipped < left {
                        self.state = State::Skip { left: left - skipped };
                        return None;
                    }
                    self.state = State::Header;
                }
                State::SkipRecord => {
                    *input = &[];
                    return None;
                }
            }
        }
    }

    /// `len` bytes of the record's body are lost. What lies behind a lost message whose length is known can be read.
    pub(super) fn lose(&mut self, mut len: u64) {
        while len > 0 {
            let left = match self.state {
                State::Body { len, .. } => {
                    self.lost += 1;
                    len.saturating_sub(self.bytes.len()) as u64
                }
                State::Skip { left } => left,
                State::SkipRecord => return,
                State::Unsure { .. } | State::Header => {
                    self.lost += 1;
                    self.bytes = Vec::new();
                    self.state = State::SkipRecord;
                    return;
                }
            };
            self.bytes = Vec::new();
            let gone = left.min(len);
            len -= gone;
            self.state = if gone < left { State::Skip { left: left - gone } } else { State::Header };
        }
    }

    /// A record of another type comes, which must not interrupt a message (RFC 8446 section 5.1); says whether it did.
    pub(super) fn interrupt(&mut self) -> bool {
        if self.is_at_boundary() {
            return false;
        }
        self.lost += 1;
        self.bytes = Vec::new();
        self.state = State::Header;
        true
    }

    /// Bytes held of a message that is not whole yet; a header alone does not count.
    pub(super) fn held_bytes(&self) -> usize {
        match self.state {
            State::Body { .. } => self.bytes.capacity(),
            _ => 0,
        }
    }

    /// Skips the message under way.
    pub(super) fn give_up_message(&mut self) {
        if let State::Body { len, .. } = self.state {
            self.lost += 1;
            self.state = State::Skip { left: len.saturating_sub(self.bytes.len()) as u64 };
            self.bytes = Vec::new();
        }
    }

    /// Between two messages?
    pub(super) fn is_at_boundary(&self) -> bool {
        matches!(self.state, State::Header | State::Unsure { .. } | State::SkipRecord)
            && self.bytes.is_empty()
    }

    fn header(&mut self, input: &mut &[u8]) -> Option<[u8; HEADER_LEN]> {
        let missing = HEADER_LEN.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(take(input, missing as u64));
        let header = self.bytes.first_chunk::<HEADER_LEN>().copied()?;
        self.bytes.clear();
        Some(header)
    }

    fn begin(&mut self, [message, a, b, c]: [u8; HEADER_LEN]) -> Option<Joined<'static>> {
        let len = u32::from_be_bytes([0, a, b, c]);
        if len > self.max_message {
            self.state = State::Skip { left: u64::from(len) };
            return Some(Joined::TooLong(len));
        }
        self.state = State::Body { message: HandshakeType(message), len: usize::try_from(len).unwrap_or(0) };
        None
    }

    /// Encrypted or cut bytes look like the header of a known message once in thousands of times; being whole in its
    /// record makes that rarer still, but a first hello may span records.
    fn is_plausible(&self, [message, a, b, c]: [u8; HEADER_LEN], first: bool) -> bool {
        let len = u32::from_be_bytes([0, a, b, c]);
        let message = HandshakeType(message);
        let is_hello = matches!(message, HandshakeType::CLIENT_HELLO | HandshakeType::SERVER_HELLO);
        let is_whole = len.saturating_add(4) <= u32::from(self.record_len);
        message.name().is_some() && (is_whole || (first && (is_hello || len <= self.max_message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(joiner: &mut Joiner, record: &[u8]) -> Vec<String> {
        joiner.start_record(u16::try_from(record.len()).unwrap());
        let mut input = record;
        let found = std::iter::from_fn(|| joiner.next(&mut input)).map(|found| match found {
            Joined::Message(message, body) => format!("{message} {body:?}"),
            other => format!("{other:?}"),
        });
        let found = found.collect();
        joiner.end_record();
        found
    }

    #[test]
    fn several_messages_in_a_record_and_one_over_several() {
        let mut joiner = Joiner::new(100);
        assert_eq!(
            joined(&mut joiner, &[2, 0, 0, 1, 7, 14, 0, 0, 0, 11, 0]),
            ["server_hello [7]", "server_hello_done []"]
        );
        assert_eq!(joined(&mut joiner, &[0, 3, 1]), [""; 0]);
        assert_eq!(joined(&mut joiner, &[2]), [""; 0]);
        assert_eq!(joined(&mut joiner, &[3, 14, 0, 0, 0]), ["certificate [1, 2, 3]", "server_hello_done []"]);
        assert!(joiner.is_at_boundary());
    }

    #[test]
    fn a_message_over_the_limit_is_skipped_and_the_next_one_read() {
        let mut joiner = Joiner::new(3);
        assert_eq!(joined(&mut joiner, &[2, 0, 0, 3, 1, 2, 3]), ["server_hello [1, 2, 3]"]);
        assert_eq!(joined(&mut joiner, &[11, 0, 0, 4, 1]), ["TooLong(4)"]);
        assert_eq!(joined(&mut joiner, &[2, 3, 4, 14, 0, 0, 0]), ["server_hello_done []"]);
    }

    #[test]
    fn behind_a_lost_part_of_a_message_of_known_length_the_next_one_is_read() {
        let mut joiner = Joiner::new(100);
        joined(&mut joiner, &[2, 0, 0, 5, 1]);
        joiner.lose(2);
        assert_eq!(joined(&mut joiner, &[9, 9, 14, 0, 0, 0]), ["server_hello_done []"]);
        assert_eq!(joiner.lost, 1);
    }

    #[test]
    fn behind_a_lost_message_header_only_a_record_that_begins_with_a_whole_message_is_read() {
        let mut joiner = Joiner::new(100);
        joined(&mut joiner, &[2, 0, 0, 1, 1]);
        joiner.lose(3);
        assert_eq!(joined(&mut joiner, &[0, 0, 7, 7, 14, 0, 0, 0]), [""; 0]);
        assert_eq!(joined(&mut joiner, &[11, 0, 0, 9, 1, 1]), [""; 0]);
        assert_eq!(joined(&mut joiner, &[14, 0]), [""; 0]);
        assert_eq!(joined(&mut joiner, &[14, 0, 0, 0]), ["server_hello_done []"]);
    }

    #[test]
    fn a_first_record_that_begins_with_no_message_is_not_clear() {
        assert_eq!(joined(&mut Joiner::new(100), &[99, 1, 2, 3, 4]), ["NotClear"]);
        assert_eq!(joined(&mut Joiner::new(100), &[20, 200, 2, 3, 4]), ["NotClear"]);
        assert_eq!(joined(&mut Joiner::new(100), &[1, 200, 2, 3, 4]), ["TooLong(13107715)"]);
    }
}
