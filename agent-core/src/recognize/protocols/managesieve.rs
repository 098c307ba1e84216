//! ManageSieve (RFC 5804) and its STARTTLS (section 2.2).

use super::lines::{LineSession, Lines, verb};
use crate::recognize::prefix::{contains_no_case, starts_any_no_case};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// ManageSieve.
pub(in crate::recognize) struct ManageSieve;

impl Protocol for ManageSieve {
    fn name(&self) -> &'static str {
        "managesieve"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        let commands: [&[u8]; 5] = [b"STARTTLS", b"AUTHENTICATE ", b"CAPABILITY", b"NOOP", b"LOGOUT"];
        starts_any_no_case(prefix, &commands).unsure()
    }

    /// The greeting lists capabilities, of which IMPLEMENTATION is mandatory and should come first (section 1.7).
    fn server(&self, prefix: &[u8]) -> Detection {
        let capabilities: [&[u8]; 10] = [
            b"\"IMPLEMENTATION\" ",
            b"\"SASL\"",
            b"\"SIEVE\" ",
            b"\"STARTTLS\"",
            b"\"MAXREDIRECTS\" ",
            b"\"NOTIFY\" ",
            b"\"LANGUAGE\" ",
            b"\"OWNER\" ",
            b"\"VERSION\" ",
            b"\"RENAME\"",
        ];
        match starts_any_no_case(prefix, &capabilities) {
            Detection::Is if contains_no_case(prefix, b"\"IMPLEMENTATION\" ") => Detection::Is,
            other => other.unsure(),
        }
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Session::default()))
    }
}

#[derive(Default)]
struct Session {
    client: Lines,
    server: Lines,
    sent: u64,
    /// Responses that are complete; the first one is the greeting.
    responses: u64,
    /// Number of the request for TLS, and the offset behind it.
    asked: Option<(u64, u64)>,
}

impl LineSession for Session {
    fn client(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while self.asked.is_none() {
            let Some((line, end)) = self.client.next(&mut bytes) else { break };
            self.sent = self.sent.saturating_add(1);
            match verb(&line).0.as_slice() {
                b"STARTTLS" => self.asked = Some((self.sent, end)),
                b"AUTHENTICATE" => return UpgradeStatus::NotUsed,
                // Without a login the server answers all others with NO.
                b"CAPABILITY" | b"NOOP" | b"LOGOUT" => {}
                _ => return UpgradeStatus::NotUsed,
            }
        }
        UpgradeStatus::Continue
    }

    fn server(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while let Some((line, end)) = self.server.next(&mut bytes) {
            // Capabilities begin with a quote, a response ends with OK, NO or BYE (section 1.2).
            let status =
                line.split(|b| !b.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_uppercase();
            let ok = status == b"OK";
            if !ok && status != b"NO" && status != b"BYE" {
                continue;
            }
            let answers = self.responses;
            self.responses = self.responses.saturating_add(1);
            match self.asked {
                Some((number, client)) if number == answers => {
                    return if ok {
                        UpgradeStatus::Upgraded { client, server: end }
                    } else {
                        UpgradeStatus::Refused
                    };
                }
                // A goodbye unasked.
                _ if answers > self.sent && status == b"BYE" => {}
                _ if answers > self.sent => return UpgradeStatus::Unknown("reply_without_command"),
                _ => {}
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

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let greeting = b"\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SIEVE\" \"fileinto\"\r\n\"STARTTLS\"\r\nOK \"ready.\"\r\n";
    vec![
        upgraded("managesieve", &[S(greeting), C(b"STARTTLS\r\n"), S(b"OK \"Begin TLS.\"\r\n"), C(HELLO)]),
        upgraded(
            "managesieve",
            &[
                S(b"\"SASL\" \"\"\r\n\"implementation\" \"x\"\r\n\"STARTTLS\"\r\n"),
                S(b"OK\r\n"),
                C(b"CAPABILITY\r\n"),
                S(greeting),
                C(&[b"starttls\r\n", HELLO].concat()),
                S(b"ok\r\n"),
            ],
        ),
        starttls("managesieve", REFUSED, &[S(greeting), C(b"STARTTLS\r\n"), S(b"NO (TRYLATER) \"no\"\r\n")]),
        starttls("managesieve", NOT_USED, &[S(greeting), C(b"AUTHENTICATE \"PLAIN\" \"AAA=\"\r\n")]),
        plain("managesieve", &[S(greeting), C(b"LOGOUT\r\n"), S(b"OK\r\n"), S(b"BYE \"bye\"\r\n")]),
        text(&[S(b"\"SIEVE\" \"and nothing else\"\r\n")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Side;

    #[test]
    fn gives_up_on_a_response_that_nothing_asked_for() {
        let mut s = Session::default();
        assert_eq!(s.data(Side::Server, b"OK\r\nBYE\r\n"), UpgradeStatus::Continue);
        assert_eq!(s.data(Side::Server, b"OK\r\n"), UpgradeStatus::Unknown("reply_without_command"));
    }
}
