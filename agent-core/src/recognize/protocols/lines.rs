//! Lines, and the numbered replies of SMTP and FTP.

use crate::net::Side;
use crate::recognize::{Upgrade, UpgradeStatus};

/// Bytes kept of one line; what follows is stepped over.
pub(super) const MAX_LINE: usize = 512;

/// Cuts one direction into lines over any chunking.
#[derive(Debug, Default)]
pub(super) struct Lines {
    at: u64,
    line: Vec<u8>,
    /// Lines longer than [`MAX_LINE`].
    pub(super) cut: u64,
}

impl Lines {
    /// Takes bytes up to the next LF from `bytes`: the line without its end, and the stream offset behind it.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<(Vec<u8>, u64)> {
        let lf = bytes.iter().position(|b| *b == b'\n');
        let taken = lf.map_or(bytes.len(), |i| i.saturating_add(1));
        let (part, rest) = bytes.split_at_checked(taken)?;
        *bytes = rest;
        self.at = self.at.saturating_add(part.len() as u64);
        let room = MAX_LINE.saturating_sub(self.line.len());
        if part.len() > room && room > 0 {
            self.cut = self.cut.saturating_add(1);
        }
        self.line.extend_from_slice(part.get(..room).unwrap_or(part));
        lf?;
        let mut line = std::mem::take(&mut self.line);
        while matches!(line.last(), Some(b'\r' | b'\n')) {
            line.pop();
        }
        Some((line, self.at))
    }
}

/// An upgrade tracker that reads both directions line by line.
pub(super) trait LineSession: Send {
    /// Bytes of the client.
    fn client(&mut self, bytes: &[u8]) -> UpgradeStatus;
    /// Bytes of the server.
    fn server(&mut self, bytes: &[u8]) -> UpgradeStatus;
    /// The offset behind the client's request for TLS, once it was made.
    fn asked(&self) -> Option<u64>;
    /// Both directions.
    fn lines(&self) -> [&Lines; 2];
}

impl<T: LineSession> Upgrade for T {
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus {
        match side {
            Side::Client => self.client(bytes),
            Side::Server => self.server(bytes),
        }
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        match side {
            Side::Client => self.asked(),
            Side::Server => None,
        }
    }

    fn lines_cut(&self) -> u64 {
        self.lines().iter().fold(0, |sum, lines| sum.saturating_add(lines.cut))
    }
}

/// What a client's command line means for the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// May come before a request for TLS.
    Neutral,
    /// Asks for TLS.
    StartTls,
    /// The session goes on without TLS.
    GoesOn,
    /// Asks for protection that is not followed here.
    OtherProtection,
}

/// Follows a protocol whose server greets first and answers every command with one numbered reply
/// (RFC 5321 section 4.2, RFC 959 section 4.2).
pub(super) struct Coded {
    command: fn(&[u8]) -> Command,
    granted: &'static [u8],
    client: Lines,
    server: Lines,
    /// Code of the multi-line reply being read.
    multi: Option<[u8; 3]>,
    sent: u64,
    /// Final replies seen; the first one is the greeting.
    replies: u64,
    /// Number of the request for TLS, and the offset behind it.
    asked: Option<(u64, u64)>,
}

impl Coded {
    pub(super) fn new(command: fn(&[u8]) -> Command, granted: &'static [u8]) -> Self {
        Self {
            command,
            granted,
            client: Lines::default(),
            server: Lines::default(),
            multi: None,
            sent: 0,
            replies: 0,
            asked: None,
        }
    }

    fn reply(&mut self, line: &[u8]) -> Reply {
        let code: Option<[u8; 3]> = line.first_chunk().copied().filter(|c| c.iter().all(u8::is_ascii_digit));
        match (self.multi, code, line.get(3)) {
            (Some(open), Some(code), None | Some(b' ')) if open == code => {
                self.multi = None;
                Reply::last(code)
            }
            (Some(_), ..) => Reply::Partial,
            (None, Some(code), None | Some(b' ')) => Reply::last(code),
            (None, Some(code), Some(b'-')) => {
                self.multi = Some(code);
                Reply::Partial
            }
            (None, ..) => Reply::Malformed,
        }
    }
}

impl LineSession for Coded {
    fn client(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        // What follows the request waits for the answer.
        while self.asked.is_none() {
            let Some((line, end)) = self.client.next(&mut bytes) else { break };
            self.sent = self.sent.saturating_add(1);
            match (self.command)(&line) {
                Command::Neutral => {}
                Command::StartTls => self.asked = Some((self.sent, end)),
                Command::GoesOn => return UpgradeStatus::NotUsed,
                Command::OtherProtection => return UpgradeStatus::Unknown("other_protection"),
            }
        }
        UpgradeStatus::Continue
    }

    fn server(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while let Some((line, end)) = self.server.next(&mut bytes) {
            match self.reply(&line) {
                Reply::Partial => {}
                Reply::Malformed => return UpgradeStatus::Unknown("malformed_reply"),
                Reply::Final(code) => {
                    let answers = self.replies;
                    self.replies = self.replies.saturating_add(1);
                    match self.asked {
                        Some((number, client)) if number == answers => {
                            return if code == self.granted {
                                UpgradeStatus::Upgraded { client, server: end }
                            } else {
                                UpgradeStatus::Refused
                            };
                        }
                        // The server says goodbye unasked (timeout, shutdown).
                        _ if answers > self.sent && code == *b"421" => {}
                        _ if answers > self.sent => return UpgradeStatus::Unknown("reply_without_command"),
                        _ => {}
                    }
                }
            }
        }
        UpgradeStatus::Continue
    }

    fn asked(&self) -> Option<u64> {
        self.asked.map(|(_, end)| end)
    }

    fn lines(&self) -> [&Lines; 2] {
        [&self.client, &self.server]
    }
}

enum Reply {
    Partial,
    Final([u8; 3]),
    Malformed,
}

impl Reply {
    /// A preliminary reply (1xx) is followed by another one.
    const fn last(code: [u8; 3]) -> Reply {
        if code[0] == b'1' { Reply::Partial } else { Reply::Final(code) }
    }
}

/// The first word of a command line in capitals, and the rest.
pub(super) fn verb(line: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut words = line.splitn(2, |b| *b == b' ');
    (words.next().unwrap_or_default().to_ascii_uppercase(), words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_head_of_a_long_line_and_counts_it() {
        let mut lines = Lines::default();
        let long = [vec![b'a'; MAX_LINE + 9], b"\r\nb\n".to_vec()].concat();
        let mut rest = long.as_slice();
        let mut got = Vec::new();
        while let Some(l) = lines.next(&mut rest) {
            got.push(l);
        }
        assert_eq!(got, vec![(vec![b'a'; MAX_LINE], 523), (b"b".to_vec(), 525)]);
        assert_eq!(lines.cut, 1);
    }
}
