//! Redis and what speaks RESP like it (Valkey, KeyDB ...).

use crate::recognize::prefix::{check, line, starts, starts_any_no_case};
use crate::recognize::{Detection, Protocol};

/// RESP2 and RESP3.
pub(in crate::recognize) struct Redis;

impl Protocol for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    /// `*2\r\n$3\r\nGET\r\n`: an array whose first element is a command name. An inline `PING` waits for the answer.
    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| array(prefix)).or(starts_any_no_case(prefix, &[b"PING\r\n"]).unsure())
    }

    /// Replies begin like those of other line protocols; these few belong to Redis alone.
    fn server(&self, prefix: &[u8]) -> Detection {
        let sure: [&[u8]; 4] = [
            b"+PONG\r\n",
            b"-NOAUTH Authentication required",
            b"-DENIED Redis is running in protected mode",
            b"-ERR max number of clients reached",
        ];
        let sure = sure.iter().fold(Detection::NotThis, |d, l| d.or(starts(prefix, l)));
        sure.or(check(|| reply(prefix)).unsure())
    }
}

fn array(prefix: &[u8]) -> Option<bool> {
    if *prefix.first()? != b'*' {
        return Some(false);
    }
    let (count, behind) = number_line(prefix.get(1..)?)?;
    if !(1..=1_048_576).contains(&count) {
        return Some(false);
    }
    if *behind.first()? != b'$' {
        return Some(false);
    }
    let (len, command) = number_line(behind.get(1..)?)?;
    let Ok(len @ 2..=32) = usize::try_from(len) else { return Some(false) };
    let name = command.get(..len).unwrap_or(command);
    if !name.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'.' | b'_' | b'-')) {
        return Some(false);
    }
    match starts(command.get(len..)?, b"\r\n") {
        Detection::NeedMore => None,
        d => Some(d == Detection::Is),
    }
}

/// Up to seven digits and CRLF, and what is behind them. `Some` of a negative number when they are not there.
fn number_line(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 7 || (digits == 0 && !bytes.is_empty()) {
        return Some((-1, &[]));
    }
    let end = bytes.get(digits..)?;
    match starts(end, b"\r\n") {
        Detection::NeedMore => None,
        Detection::NotThis => Some((-1, &[])),
        Detection::Is => {
            let n =
                bytes.get(..digits).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse().ok());
            Some((n.unwrap_or(-1), end.get(2..)?))
        }
    }
}

/// The first line of any reply type.
fn reply(prefix: &[u8]) -> Option<bool> {
    let kind = *prefix.first()?;
    match kind {
        b'+' | b'-' | b'(' | b',' | b'!' | b'=' => line(prefix).map(|_| true),
        b'$' | b':' | b'*' | b'%' | b'~' | b'>' | b'|' => {
            let (body, _) = line(prefix)?;
            let digits = body.get(1..)?;
            Some(digits.strip_prefix(b"-").unwrap_or(digits).iter().all(u8::is_ascii_digit))
        }
        b'_' | b'#' => line(prefix).map(|(l, _)| l.len() <= 2),
        _ => Some(false),
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    vec![
        plain("redis", &[C(b"*1\r\n$7\r\nCOMMAND\r\n"), S(b"*0\r\n")]),
        plain("redis", &[C(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n"), S(b"+OK\r\n")]),
        plain("redis", &[C(b"*2\r\n$5\r\nhello\r\n$1\r\n3\r\n"), S(b"%7\r\n$6\r\nserver\r\n")]),
        plain("redis", &[C(b"PING\r\n"), S(b"+PONG\r\n")]),
        plain("redis", &[S(b"-DENIED Redis is running in protected mode because protected mode is enabled")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_commands_are_not_enough() {
        assert_eq!(Redis.client(b"PING\r\n"), Detection::NeedMore);
        assert_eq!(Redis.client(b"AUTH x\r\n"), Detection::NotThis);
        assert_eq!(Redis.client(b"GET foo\r\n"), Detection::NotThis);
    }

    #[test]
    fn rejects_arrays_that_hold_no_command() {
        for not in
            [&b"*0\r\n"[..], b"*x", b"*12345678", b"*1\r\n:1", b"*1\r\n$99\r\n", b"*1\r\n$3\r\nG T\r\n"]
        {
            assert_eq!(Redis.client(not), Detection::NotThis, "{not:?}");
        }
    }
}
