//! FTP (RFC 959), its control connection, and AUTH TLS (RFC 4217).

use super::lines::{Coded, Command, verb};
use crate::recognize::prefix::{contains_no_case, line, starts, starts_any_no_case};
use crate::recognize::{Detection, Protocol, Upgrade};

/// FTP's control connection.
pub(in crate::recognize) struct Ftp;

impl Protocol for Ftp {
    fn name(&self) -> &'static str {
        "ftp"
    }

    /// `USER` is POP3's too: it takes the server's greeting with a number.
    fn client(&self, prefix: &[u8]) -> Detection {
        let commands: [&[u8]; 13] = [
            b"USER ",
            b"AUTH TLS",
            b"AUTH SSL",
            b"FEAT\r\n",
            b"SYST\r\n",
            b"OPTS ",
            b"HOST ",
            b"CLNT ",
            b"ACCT ",
            b"PBSZ ",
            b"NOOP\r\n",
            b"QUIT\r\n",
            b"HELP",
        ];
        starts_any_no_case(prefix, &commands).unsure()
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        let codes: [&[u8]; 4] = [b"220", b"120", b"421", b"530"];
        let code = codes.iter().fold(Detection::NotThis, |d, c| d.or(starts(prefix, c)));
        match (code, prefix.get(3), line(prefix)) {
            (Detection::NotThis, ..) | (_, Some(0..=31 | 33..=44 | 46..), _) => Detection::NotThis,
            (_, _, Some((banner, _)))
                if contains_no_case(banner, b"SMTP") || contains_no_case(banner, b"LMTP") =>
            {
                Detection::NotThis
            }
            (_, _, Some((banner, _))) if contains_no_case(banner, b"FTP") => Detection::Is,
            _ => Detection::NeedMore,
        }
    }

    fn both(&self, client: &[u8], server: &[u8]) -> Detection {
        let each = self.client(client).and(self.server(server));
        let own: [&[u8]; 8] =
            [b"USER ", b"AUTH TLS", b"AUTH SSL", b"FEAT\r\n", b"SYST\r\n", b"OPTS ", b"HOST ", b"CLNT "];
        let greeted = line(server).is_some() && starts(server, b"220") == Detection::Is;
        if each == Detection::NeedMore && greeted && starts_any_no_case(client, &own) == Detection::Is {
            Detection::Is
        } else {
            each
        }
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Coded::new(command, b"234")))
    }
}

fn command(line: &[u8]) -> Command {
    let (verb, argument) = verb(line);
    match verb.as_slice() {
        b"AUTH" if contains_no_case(argument, b"TLS") || contains_no_case(argument, b"SSL") => {
            Command::StartTls
        }
        b"AUTH" | b"ADAT" => Command::OtherProtection,
        b"USER" | b"PASS" | b"ACCT" | b"CWD" | b"PASV" | b"EPSV" | b"PORT" | b"EPRT" | b"LIST" | b"RETR"
        | b"STOR" => Command::GoesOn,
        _ => Command::Neutral,
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let banner = b"220 (vsFTPd 3.0.5)\r\n";
    let features = b"211-Features:\r\n AUTH TLS\r\n UTF8\r\n211 End\r\n";
    vec![
        upgraded("ftp", &[S(banner), C(b"AUTH TLS\r\n"), S(b"234 Proceed\r\n"), C(HELLO)]),
        upgraded(
            "ftp",
            &[
                S(b"120 FTP soon\r\n220 hi\r\n"),
                C(b"FEAT\r\n"),
                S(features),
                C(b"auth ssl\r\n"),
                S(b"234 ok\r\n"),
                C(HELLO),
            ],
        ),
        starttls("ftp", REFUSED, &[S(banner), C(b"AUTH TLS\r\n"), S(b"530 Please login\r\n")]),
        starttls("ftp", NOT_USED, &[S(b"220-Welcome\r\n220 there\r\n"), C(b"USER a\r\n"), S(b"331 pw\r\n")]),
        plain("ftp", &[S(b"220 ProFTPD Server\r\n"), C(b"QUIT\r\n"), S(b"221 bye\r\n")]),
    ]
}
