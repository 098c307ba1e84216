//! POP3 (RFC 1939) and its STLS (RFC 2595).

use std::collections::VecDeque;

use super::lines::{LineSession, Lines, verb};
use crate::recognize::prefix::{contains_no_case, line, starts, starts_any_no_case};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// POP3.
pub(in crate::recognize) struct Pop3;

/// Commands a client may send ahead of their answers.
const MAX_PIPELINED: usize = 32;

const OWN: [&[u8]; 11] = [
    b"USER ",
    b"CAPA\r\n",
    b"STLS\r\n",
    b"APOP ",
    b"AUTH\r\n",
    b"AUTH PLAIN",
    b"AUTH LOGIN",
    b"AUTH XOAUTH2",
    b"AUTH CRAM-",
    b"AUTH SCRAM-",
    b"AUTH GSSAPI",
];

impl Protocol for Pop3 {
    fn name(&self) -> &'static str {
        "pop3"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        let idle: [&[u8]; 3] = [b"QUIT\r\n", b"NOOP\r\n", b"AUTH "];
        starts_any_no_case(prefix, &OWN).or(starts_any_no_case(prefix, &idle)).unsure()
    }

    /// `+OK` answers in Redis too: a banner that names POP3 or carries an APOP timestamp tells, or the client's command.
    fn server(&self, prefix: &[u8]) -> Detection {
        match (starts(prefix, b"+OK").or(starts(prefix, b"-ERR")), line(prefix)) {
            (Detection::Is, Some((banner, _))) => {
                if contains_no_case(banner, b"POP3") || apop(banner) {
                    Detection::Is
                } else {
                    Detection::NeedMore
                }
            }
            (d, _) => d.unsure(),
        }
    }

    fn both(&self, client: &[u8], server: &[u8]) -> Detection {
        let each = self.client(client).and(self.server(server));
        let greeted = line(server).is_some() && starts(server, b"+OK") == Detection::Is;
        if each == Detection::NeedMore && greeted && starts_any_no_case(client, &OWN) == Detection::Is {
            Detection::Is
        } else {
            each
        }
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Session::default()))
    }
}

/// `<process.clock@host>` at the end of the banner (RFC 1939 section 7).
fn apop(banner: &[u8]) -> bool {
    let Some(open) = banner.iter().rposition(|b| *b == b'<') else { return false };
    banner.ends_with(b">") && banner.get(open..).is_some_and(|t| t.contains(&b'@') && t.contains(&b'.'))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    OneLine,
    /// `+OK`, lines, and a dot.
    List,
    StartTls,
}

#[derive(Default)]
struct Session {
    client: Lines,
    server: Lines,
    greeted: bool,
    pending: VecDeque<Pending>,
    in_list: bool,
    asked: Option<u64>,
}

impl LineSession for Session {
    fn client(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while self.asked.is_none() {
            let Some((line, end)) = self.client.next(&mut bytes) else { break };
            let (verb, argument) = verb(&line);
            let pending = match verb.as_slice() {
                b"STLS" => {
                    self.asked = Some(end);
                    Pending::StartTls
                }
                b"CAPA" => Pending::List,
                b"LANG" | b"AUTH" if argument.is_empty() => Pending::List,
                b"USER" | b"PASS" | b"APOP" | b"AUTH" | b"STAT" | b"LIST" | b"RETR" => {
                    return UpgradeStatus::NotUsed;
                }
                _ => Pending::OneLine,
            };
            if self.pending.len() >= MAX_PIPELINED {
                return UpgradeStatus::Unknown("too_many_pipelined");
            }
            self.pending.push_back(pending);
        }
        UpgradeStatus::Continue
    }

    fn server(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while let Some((line, end)) = self.server.next(&mut bytes) {
            if self.in_list {
                self.in_list = line != b".";
                continue;
            }
            if !self.greeted {
                self.greeted = true;
                continue;
            }
            let ok = line.starts_with(b"+OK");
            match self.pending.pop_front() {
                Some(Pending::StartTls) => {
                    return match self.asked {
                        Some(client) if ok => UpgradeStatus::Upgraded { client, server: end },
                        _ => UpgradeStatus::Refused,
                    };
                }
                Some(Pending::List) => self.in_list = ok,
                Some(Pending::OneLine) => {}
                // A goodbye unasked.
                None if !ok => {}
                None => return UpgradeStatus::Unknown("reply_without_command"),
            }
        }
        UpgradeStatus::Continue
    }

    fn asked(&self) -> Option<u64> {
        self.asked
    }

    fn lines(&self) -> [&Lines; 2] {
        [&self.client, &self.server]
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let banner = b"+OK Dovecot ready.\r\n";
    vec![
        upgraded(
            "pop3",
            &[
                S(banner),
                C(b"CAPA\r\n"),
                S(b"+OK\r\nSTLS\r\nUSER\r\n.\r\n"),
                C(b"STLS\r\n"),
                S(b"+OK Begin\r\n"),
                C(HELLO),
            ],
        ),
        upgraded(
            "pop3",
            &[S(banner), C(&[b"CAPA\r\nstls\r\n", HELLO].concat()), S(b"+OK\r\nSTLS\r\n.\r\n+OK go\r\n")],
        ),
        starttls("pop3", REFUSED, &[S(b"+OK POP3 <1.2@a>\r\n"), C(b"STLS\r\n"), S(b"-ERR no\r\n")]),
        starttls("pop3", NOT_USED, &[S(banner), C(b"USER a\r\n"), S(b"+OK\r\n")]),
        plain("pop3", &[S(b"+OK <1896.697170952@dbc.mtview.ca.us>\r\n"), C(b"QUIT\r\n"), S(b"+OK\r\n")]),
        text(&[S(b"+OK hello there friend\r\n")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Side;

    #[test]
    fn gives_up_on_too_many_pipelined_commands() {
        let mut s = Session::default();
        let many = b"NOOP\r\n".repeat(MAX_PIPELINED + 1);
        assert_eq!(s.data(Side::Client, &many), UpgradeStatus::Unknown("too_many_pipelined"));
    }

    #[test]
    fn an_inline_redis_password_is_not_pop3() {
        assert_eq!(Pop3.both(b"AUTH secret\r\n", b"+OK\r\n"), Detection::NeedMore);
    }
}
