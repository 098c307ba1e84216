//! SMTP (RFC 5321, STARTTLS in RFC 3207) and LMTP (RFC 2033), which differs in the name of its greeting.

use super::lines::{Coded, Command, verb};
use crate::recognize::prefix::{contains_no_case, line, starts, starts_any_no_case};
use crate::recognize::{Detection, Protocol, Upgrade};

/// SMTP or LMTP.
pub(in crate::recognize) struct Smtp {
    name: &'static str,
    word: &'static [u8],
    hello: &'static [&'static [u8]],
}

/// SMTP.
pub(in crate::recognize) static SMTP: Smtp =
    Smtp { name: "smtp", word: b"SMTP", hello: &[b"EHLO ", b"HELO "] };
/// LMTP.
pub(in crate::recognize) static LMTP: Smtp = Smtp { name: "lmtp", word: b"LMTP", hello: &[b"LHLO "] };

impl Protocol for Smtp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        let idle: [&[u8]; 3] = [b"QUIT\r\n", b"NOOP\r\n", b"RSET\r\n"];
        starts_any_no_case(prefix, self.hello).or(starts_any_no_case(prefix, &idle).unsure())
    }

    /// A 220 greets in FTP and others too: only the word in the banner, or the client's greeting, tells.
    fn server(&self, prefix: &[u8]) -> Detection {
        let codes: [&[u8]; 3] = [b"220", b"421", b"554"];
        let code = codes.iter().fold(Detection::NotThis, |d, c| d.or(starts(prefix, c)));
        match (code, prefix.get(3), line(prefix)) {
            (Detection::NotThis, ..) | (_, Some(0..=31 | 33..=44 | 46..), _) => Detection::NotThis,
            (_, _, Some((banner, _))) if contains_no_case(banner, self.word) => Detection::Is,
            (_, _, Some((banner, _))) if contains_no_case(banner, b"FTP") => Detection::NotThis,
            _ => Detection::NeedMore,
        }
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Coded::new(command, b"220")))
    }
}

fn command(line: &[u8]) -> Command {
    match verb(line).0.as_slice() {
        b"STARTTLS" => Command::StartTls,
        // A transaction, or a secret, in plaintext.
        b"MAIL" | b"AUTH" | b"RCPT" | b"DATA" | b"BDAT" | b"SEND" | b"SOML" | b"SAML" | b"ETRN" | b"TURN" => {
            Command::GoesOn
        }
        _ => Command::Neutral,
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let banner = b"220 mail.example ESMTP Postfix\r\n";
    let offers = b"250-mail.example\r\n250-SIZE 10\r\n250 STARTTLS\r\n";
    vec![
        upgraded(
            "smtp",
            &[
                S(banner),
                C(b"EHLO a\r\n"),
                S(offers),
                C(b"STARTTLS\r\n"),
                S(b"220 2.0.0 Ready\r\n"),
                C(HELLO),
            ],
        ),
        // Bytes slipped in behind STARTTLS, and a client that does not wait.
        upgraded(
            "smtp",
            &[
                S(banner),
                C(b"EHLO a\r\n"),
                S(offers),
                C(&[b"starttls\r\n", HELLO].concat()),
                S(b"220-a\r\n220 go\r\n"),
            ],
        ),
        upgraded(
            "smtp",
            &[
                S(b"220-mail says\r\n220 hello\r\n"),
                C(b"EHLO a\r\nNOOP\r\nSTARTTLS\r\n"),
                S(offers),
                S(b"250 ok\r\n220 go\r\n"),
                C(HELLO),
            ],
        ),
        starttls(
            "smtp",
            REFUSED,
            &[S(banner), C(b"EHLO a\r\n"), S(offers), C(b"STARTTLS\r\n"), S(b"454 no\r\n")],
        ),
        starttls(
            "smtp",
            NOT_USED,
            &[S(banner), C(b"HELO a\r\n"), S(b"250 a\r\n"), C(b"MAIL FROM:<a@b>\r\n")],
        ),
        starttls(
            "smtp",
            NOT_USED,
            &[S(b"220 a\r\n"), C(b"EHLO a\r\n"), S(offers), C(b"AUTH PLAIN AAA=\r\n")],
        ),
        plain("smtp", &[S(banner), C(b"QUIT\r\n"), S(b"221 bye\r\n")]),
        starttls(
            "lmtp",
            NOT_USED,
            &[S(b"220 a LMTP\r\n"), C(b"LHLO a\r\n"), S(b"250 a\r\n"), C(b"MAIL FROM:<>\r\n")],
        ),
        text(&[S(b"220 who is there today?\r\n")]),
    ]
}
