//! NNTP (RFC 3977) and its STARTTLS (RFC 4642).

use std::collections::VecDeque;

use super::lines::{LineSession, Lines, verb};
use crate::recognize::prefix::{contains_no_case, line, starts, starts_any_no_case};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// NNTP.
pub(in crate::recognize) struct Nntp;

/// Commands a client may send ahead of their answers.
const MAX_PIPELINED: usize = 32;

/// Commands that tell, behind a greeting with 200 or 201.
const OWN: [&[u8]; 13] = [
    b"CAPABILITIES",
    b"MODE READER",
    b"MODE STREAM",
    b"GROUP ",
    b"LISTGROUP",
    b"STARTTLS\r\n",
    b"AUTHINFO ",
    b"ARTICLE",
    b"XOVER ",
    b"NEWGROUPS ",
    b"IHAVE <",
    b"CHECK <",
    b"TAKETHIS <",
];

const OTHERS: [&[u8]; 6] = [b"LIST", b"DATE\r\n", b"HELP\r\n", b"QUIT\r\n", b"STAT", b"HEAD"];

impl Protocol for Nntp {
    fn name(&self) -> &'static str {
        "nntp"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        starts_any_no_case(prefix, &OWN).or(starts_any_no_case(prefix, &OTHERS)).unsure()
    }

    /// Many greet with a number: the banner must name the protocol, or the client's command tells.
    fn server(&self, prefix: &[u8]) -> Detection {
        let codes: [&[u8]; 4] = [b"200 ", b"201 ", b"400 ", b"502 "];
        let code = codes.iter().fold(Detection::NotThis, |d, c| d.or(starts(prefix, c)));
        match (code, line(prefix)) {
            (Detection::Is, Some((banner, _)))
                if contains_no_case(banner, b"NNTP") || contains_no_case(banner, b"INTERNETNEWS") =>
            {
                Detection::Is
            }
            _ => code.unsure(),
        }
    }

    fn both(&self, client: &[u8], server: &[u8]) -> Detection {
        let each = self.client(client).and(self.server(server));
        let greeted = line(server).is_some() && server.starts_with(b"20");
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    Other,
    StartTls,
}

/// Commands and their answers in order; of the commands that may come before STARTTLS these answer with a block of lines.
const BLOCKS: [&[u8]; 4] = [b"100", b"101", b"215", b"231"];

#[derive(Default)]
struct Session {
    client: Lines,
    server: Lines,
    greeted: bool,
    pending: VecDeque<Pending>,
    /// Inside an answer that ends with a dot alone.
    in_block: bool,
    asked: Option<u64>,
}

impl LineSession for Session {
    fn client(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while self.asked.is_none() {
            let Some((line, end)) = self.client.next(&mut bytes) else { break };
            let pending = match verb(&line).0.as_slice() {
                b"STARTTLS" => {
                    self.asked = Some(end);
                    Pending::StartTls
                }
                b"CAPABILITIES" | b"MODE" | b"LIST" | b"DATE" | b"HELP" | b"NEWGROUPS" | b"QUIT" => {
                    Pending::Other
                }
                // News, a secret, or another layer in plaintext. What is not a command is answered with 500.
                b"GROUP" | b"LISTGROUP" | b"ARTICLE" | b"HEAD" | b"BODY" | b"STAT" | b"NEXT" | b"LAST"
                | b"OVER" | b"XOVER" | b"HDR" | b"XHDR" | b"NEWNEWS" | b"POST" | b"IHAVE" | b"CHECK"
                | b"TAKETHIS" | b"AUTHINFO" | b"COMPRESS" => return UpgradeStatus::NotUsed,
                _ => Pending::Other,
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
            if self.in_block {
                self.in_block = line != b".";
                continue;
            }
            if !self.greeted {
                self.greeted = true;
                continue;
            }
            match self.pending.pop_front() {
                // RFC 4642 section 2.2.1: 382 continues, 502 and 580 refuse.
                Some(Pending::StartTls) => {
                    return match self.asked {
                        Some(client) if line.starts_with(b"382") => {
                            UpgradeStatus::Upgraded { client, server: end }
                        }
                        _ => UpgradeStatus::Refused,
                    };
                }
                Some(Pending::Other) => self.in_block = BLOCKS.iter().any(|code| line.starts_with(code)),
                // A goodbye unasked.
                None if line.starts_with(b"400") => {}
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
    let banner = b"200 news.example ready\r\n";
    let inn = b"200 news.example InterNetNews server INN 2.7.1 ready\r\n";
    let capabilities = b"101 Capability list:\r\nVERSION 2\r\nSTARTTLS\r\n382 no\r\n.\r\n";
    vec![
        upgraded("nntp", &[S(banner), C(b"STARTTLS\r\n"), S(b"382 Continue with TLS\r\n"), C(HELLO)]),
        upgraded(
            "nntp",
            &[
                S(inn),
                C(b"CAPABILITIES\r\nMODE READER\r\n"),
                S(capabilities),
                S(b"200 posting\r\n"),
                C(b"starttls\r\n"),
                S(b"382 go\r\n"),
                C(HELLO),
            ],
        ),
        upgraded(
            "nntp",
            &[
                S(banner),
                C(&[b"CAPABILITIES\r\nSTARTTLS\r\n", HELLO].concat()),
                S(capabilities),
                S(b"382 go\r\n"),
            ],
        ),
        starttls("nntp", REFUSED, &[S(banner), C(b"STARTTLS\r\n"), S(b"580 Can not\r\n")]),
        starttls(
            "nntp",
            NOT_USED,
            &[S(banner), C(b"MODE READER\r\n"), S(b"200 ok\r\n"), C(b"GROUP a.b\r\n")],
        ),
        starttls("nntp", NOT_USED, &[S(b"201 hi\r\n"), C(b"AUTHINFO USER a\r\n"), S(b"381 pw\r\n")]),
        plain("nntp", &[S(b"400 NNTP service is closed\r\n")]),
        text(&[S(b"200 who is there today?\r\n")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Side;

    #[test]
    fn gives_up_on_too_many_pipelined_commands() {
        let mut s = Session::default();
        let many = b"DATE\r\n".repeat(MAX_PIPELINED + 1);
        assert_eq!(s.data(Side::Client, &many), UpgradeStatus::Unknown("too_many_pipelined"));
    }

    #[test]
    fn gives_up_on_an_answer_that_nothing_asked_for() {
        let mut s = Session::default();
        let status = s.data(Side::Server, b"200 hi\r\n400 going down\r\n382 go\r\n");
        assert_eq!(status, UpgradeStatus::Unknown("reply_without_command"));
    }

    #[test]
    fn a_number_alone_is_not_nntp() {
        assert_eq!(Nntp.server(b"200 hello\r\n"), Detection::NeedMore);
        assert_eq!(Nntp.server(b"220 NNTP\r\n"), Detection::NotThis);
        assert_eq!(Nntp.both(b"QUIT\r\n", b"200 hello\r\n"), Detection::NeedMore);
    }
}
