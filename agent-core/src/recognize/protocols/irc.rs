//! IRC (RFC 2812) and its STARTTLS (IRCv3 `tls`: 670 grants, 691 refuses).

use super::lines::{LineSession, Lines, verb};
use crate::recognize::prefix::{is_printable, line, starts_any_no_case, starts_no_case, u8_at};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// IRC.
pub(in crate::recognize) struct Irc;

/// A longest host name, or `nick!user@host`.
const MAX_SOURCE: usize = 255;

impl Protocol for Irc {
    fn name(&self) -> &'static str {
        "irc"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        let negotiation: [&[u8]; 3] = [b"CAP LS\r\n", b"CAP LS 30", b"CAP REQ :"];
        match starts_any_no_case(prefix, &negotiation) {
            Detection::NotThis => {}
            sure => return sure,
        }
        // `NICK`, `PASS` and `USER` are words of others too: two lines tell.
        let first: [&[u8]; 6] = [b"NICK ", b"PASS ", b"USER ", b"STARTTLS\r\n", b"CAP ", b"WEBIRC "];
        let begun = starts_any_no_case(prefix, &first).unsure();
        match (begun, line(prefix)) {
            (Detection::NeedMore, Some((one, end))) => {
                if starts_no_case(one, b"USER ") == Detection::Is && !is_user(one) {
                    return Detection::NotThis;
                }
                second(one, prefix.get(end..).unwrap_or_default())
            }
            _ => begun,
        }
    }

    /// `:source NNN target`, or a notice to who has not registered yet.
    fn server(&self, prefix: &[u8]) -> Detection {
        let notices: [&[u8]; 2] = [b"NOTICE AUTH :", b"NOTICE * :"];
        let asides: [&[u8]; 2] = [b"PING :", b"ERROR :"];
        if u8_at(prefix, 0).is_some_and(|b| b != b':') || prefix.is_empty() {
            return starts_any_no_case(prefix, &notices).or(starts_any_no_case(prefix, &asides).unsure());
        }
        let source = prefix.iter().take_while(|b| is_printable(**b) && **b != b' ').count();
        if source == prefix.len() && source <= MAX_SOURCE {
            return Detection::NeedMore;
        }
        if !(2..=MAX_SOURCE).contains(&source) || u8_at(prefix, source) != Some(b' ') {
            return Detection::NotThis;
        }
        let behind = prefix.get(source.saturating_add(1)..).unwrap_or_default();
        let words: [&[u8]; 2] = [b"NOTICE ", b"CAP "];
        match starts_any_no_case(behind, &words) {
            Detection::NotThis => {}
            sure => return sure,
        }
        match (behind.iter().take(3).all(u8::is_ascii_digit), u8_at(behind, 3)) {
            (true, Some(b' ')) => Detection::Is,
            (true, None) => Detection::NeedMore,
            _ => Detection::NotThis,
        }
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Session::default()))
    }
}

/// `USER name mode unused :real name` (RFC 2812 section 3.1.3); FTP's and POP3's take one argument.
fn is_user(line: &[u8]) -> bool {
    line.split(|b| *b == b' ').filter(|word| !word.is_empty()).count() >= 5
}

/// The line behind the first one, which registers too.
fn second(first: &[u8], rest: &[u8]) -> Detection {
    let nick = starts_no_case(first, b"NICK ") == Detection::Is;
    let user = starts_no_case(first, b"USER ") == Detection::Is;
    let next: &[&[u8]] = match (nick, user) {
        (true, _) => &[b"USER ", b"CAP ", b"PASS "],
        (_, true) => &[b"NICK ", b"CAP "],
        // `PASS x` and then `USER y` is nobody's order but IRC's; `NICK` is no command of others.
        _ => &[b"NICK ", b"CAP LS"],
    };
    // Another first line goes on with anything: the server tells.
    match starts_any_no_case(rest, next) {
        Detection::Is => Detection::Is,
        _ => Detection::NeedMore,
    }
}

#[derive(Default)]
struct Session {
    client: Lines,
    server: Lines,
    asked: Option<u64>,
}

impl LineSession for Session {
    fn client(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while self.asked.is_none() {
            let Some((line, end)) = self.client.next(&mut bytes) else { break };
            match verb(&line).0.as_slice() {
                b"STARTTLS" => self.asked = Some(end),
                b"AUTHENTICATE" | b"JOIN" | b"PRIVMSG" | b"NOTICE" | b"MODE" | b"OPER" | b"WHO" | b"LIST" => {
                    return UpgradeStatus::NotUsed;
                }
                _ => {}
            }
        }
        UpgradeStatus::Continue
    }

    fn server(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while let Some((line, end)) = self.server.next(&mut bytes) {
            let mut words = line.split(|b| *b == b' ').filter(|word| !word.is_empty());
            let first = words.next().unwrap_or_default();
            let numeric = if first.starts_with(b":") { words.next().unwrap_or_default() } else { first };
            let about_starttls = || words.clone().any(|word| word.eq_ignore_ascii_case(b"STARTTLS"));
            match (numeric, self.asked) {
                (b"670", Some(client)) => return UpgradeStatus::Upgraded { client, server: end },
                (b"691", Some(_)) => return UpgradeStatus::Refused,
                // Unknown command, not registered, already registered.
                (b"421" | b"451" | b"462", Some(_)) if about_starttls() => return UpgradeStatus::Refused,
                // Welcome: too late for TLS.
                (b"001", None) => return UpgradeStatus::NotUsed,
                _ => {}
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
    let notice = b":irc.example NOTICE * :*** Looking up your hostname...\r\n";
    let register = b"NICK a\r\nUSER a 0 * :A B\r\n";
    vec![
        upgraded(
            "irc",
            &[
                S(notice),
                C(b"STARTTLS\r\n"),
                S(b":irc.example 670 * :STARTTLS successful, go ahead\r\n"),
                C(HELLO),
            ],
        ),
        upgraded("irc", &[C(b"STARTTLS\r\n"), S(b":irc.example 670 a :go ahead\r\n"), C(HELLO)]),
        upgraded(
            "irc",
            &[
                C(b"CAP LS 302\r\n"),
                S(b":irc.example CAP * LS :tls sasl\r\n"),
                C(&[b"starttls\r\n", HELLO].concat()),
                S(b":irc.example 670 * :go\r\n"),
            ],
        ),
        starttls("irc", REFUSED, &[S(notice), C(b"STARTTLS\r\n"), S(b":irc.example 691 * :no\r\n")]),
        starttls(
            "irc",
            REFUSED,
            &[C(b"STARTTLS\r\n"), S(b":irc.example 421 * STARTTLS :Unknown command\r\n"), C(register)],
        ),
        starttls("irc", NOT_USED, &[C(register), S(b":irc.example 001 a :Welcome\r\n")]),
        starttls("irc", NOT_USED, &[C(b"PASS x\r\nNICK a\r\nUSER a 0 * :A\r\nJOIN #b\r\n")]),
        plain("irc", &[S(b"NOTICE AUTH :*** Checking Ident\r\n"), S(b"ERROR :Closing Link\r\n")]),
        text(&[S(b"ERROR :you are not welcome here\r\n")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_of_ftp_or_pop3_is_not_irc() {
        for login in [&b"USER a\r\nPASS b\r\n"[..], b"user a b\r\n"] {
            assert_eq!(Irc.client(login), Detection::NotThis);
        }
        assert_eq!(Irc.client(b"PASS a\r\nUSER b\r\n"), Detection::NeedMore);
    }

    #[test]
    fn an_integer_of_redis_is_not_irc() {
        assert_eq!(Irc.server(b":1000\r\n"), Detection::NotThis);
        assert_eq!(Irc.server(b": 001 a\r\n"), Detection::NotThis);
        assert_eq!(Irc.server(b":a 00x a\r\n"), Detection::NotThis);
    }
}
