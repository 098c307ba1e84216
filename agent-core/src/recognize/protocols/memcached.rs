//! Memcached, text and binary.

use crate::recognize::prefix::{be16_at, be32_at, check, line, starts, u8_at};
use crate::recognize::{Detection, Protocol};

/// Memcached.
pub(in crate::recognize) struct Memcached;

/// Longest key (protocol.txt); a command line holds at most a few dozen bytes more.
const MAX_KEY: usize = 250;
const MAX_LINE: usize = 512;

impl Protocol for Memcached {
    fn name(&self) -> &'static str {
        "memcached"
    }

    /// A storage command with its three numbers convinces; the others wait for the answer.
    fn client(&self, prefix: &[u8]) -> Detection {
        text_request(prefix).or(check(|| binary(prefix, 0x80)))
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        text_reply(prefix).or(check(|| binary(prefix, 0x81)))
    }

    fn both(&self, client: &[u8], server: &[u8]) -> Detection {
        let each = self.client(client).and(self.server(server));
        let arithmetic = client.starts_with(b"incr ") || client.starts_with(b"decr ");
        let confirmed = each == Detection::NeedMore
            && line(client).is_some()
            && line(server).is_some_and(|(l, _)| REPLIES.contains(&l) || (arithmetic && counter(l)));
        if confirmed { Detection::Is } else { each }
    }
}

const STORAGE: [&[u8]; 6] = [b"set", b"add", b"replace", b"append", b"prepend", b"cas"];
const OTHERS: [&[u8]; 12] = [
    b"get", b"gets", b"gat", b"gats", b"delete", b"incr", b"decr", b"touch", b"stats", b"version", b"mg",
    b"mn",
];
const REPLIES: [&[u8]; 6] = [b"STORED", b"NOT_STORED", b"NOT_FOUND", b"DELETED", b"TOUCHED", b"END"];

fn text_request(prefix: &[u8]) -> Detection {
    let word = prefix.iter().take_while(|b| b.is_ascii_lowercase()).count();
    let name = prefix.get(..word).unwrap_or_default();
    if word == prefix.len() {
        let known = STORAGE.iter().chain(&OTHERS).any(|c| c.starts_with(name));
        return if known { Detection::NeedMore } else { Detection::NotThis };
    }
    let (storage, other) = (STORAGE.contains(&name), OTHERS.contains(&name));
    if !(storage || other) || !matches!(prefix.get(word), Some(b' ' | b'\r')) {
        return Detection::NotThis;
    }
    let readable = |l: &[u8]| l.len() < MAX_LINE && l.iter().all(|b| *b == b'\r' || *b >= 0x20);
    let Some((line, _)) = line(prefix) else {
        let partial = prefix.strip_suffix(b"\r").unwrap_or(prefix);
        return if readable(partial) { Detection::NeedMore } else { Detection::NotThis };
    };
    if !readable(line) {
        return Detection::NotThis;
    }
    let mut words = line.split(|b| *b == b' ').skip(1);
    let key = words.next().unwrap_or_default();
    let numbers = words.by_ref().take(3).filter(|w| is_number(w)).count();
    if key.len() > MAX_KEY {
        Detection::NotThis
    } else if !storage {
        Detection::NeedMore
    } else if !key.is_empty() && numbers == 3 && words.all(|w| w == b"noreply" || is_number(w)) {
        Detection::Is
    } else {
        Detection::NotThis
    }
}

fn text_reply(prefix: &[u8]) -> Detection {
    check(|| {
        let heads: [&[u8]; 3] = [b"VALUE ", b"VERSION ", b"STAT "];
        match heads.iter().fold(Detection::NotThis, |d, h| d.or(starts(prefix, h))) {
            Detection::NeedMore => return None,
            Detection::NotThis => return Some(false),
            Detection::Is => {}
        }
        if prefix.len() > MAX_LINE {
            return Some(false);
        }
        let (line, _) = line(prefix)?;
        let mut words = line.split(|b| *b == b' ');
        Some(match words.next()? {
            b"VALUE" => {
                let key = words.next().unwrap_or_default();
                !key.is_empty() && words.clone().count() >= 2 && words.all(is_number)
            }
            b"VERSION" => words.next().is_some_and(|v| {
                v.first().is_some_and(u8::is_ascii_digit) && v.contains(&b'.') && words.next().is_none()
            }),
            _ => words.next() == Some(b"pid") && words.next().is_some_and(is_number),
        })
    })
    .or(check(|| {
        // Consistent with a request, not a proof.
        let (line, _) = match line(prefix) {
            Some(l) => l,
            None => {
                let partial = prefix.strip_suffix(b"\r").unwrap_or(prefix);
                let begun = |r: &&[u8]| r.starts_with(partial);
                let open = REPLIES.iter().chain(&ERRORS).any(begun) || error(prefix) || counter(partial);
                return if open && prefix.len() <= MAX_LINE { None } else { Some(false) };
            }
        };
        Some(line.len() < MAX_LINE && (REPLIES.contains(&line) || error(line) || counter(line)))
    })
    .unsure())
}

const ERRORS: [&[u8]; 3] = [b"ERROR", b"CLIENT_ERROR ", b"SERVER_ERROR "];

fn error(line: &[u8]) -> bool {
    ERRORS.iter().any(|e| line.starts_with(e))
}

/// What incr and decr answer with: a 64-bit number.
fn counter(line: &[u8]) -> bool {
    (1..=20).contains(&line.len()) && line.iter().all(u8::is_ascii_digit)
}

fn is_number(word: &[u8]) -> bool {
    !word.is_empty()
        && word.len() <= 20
        && word.strip_prefix(b"-").unwrap_or(word).iter().all(u8::is_ascii_digit)
}

/// The 24-byte header: the lengths must agree with each other, with the opcode, and data type and CAS be 0.
fn binary(prefix: &[u8], magic: u8) -> Option<bool> {
    if u8_at(prefix, 0)? != magic {
        return Some(false);
    }
    let opcode = u8_at(prefix, 1)?;
    if opcode > 0x22 {
        return Some(false);
    }
    let key = be16_at(prefix, 2)?;
    let extras = u8_at(prefix, 4)?;
    if usize::from(key) > MAX_KEY || !matches!(extras, 0 | 4 | 8 | 20) || u8_at(prefix, 5)? != 0 {
        return Some(false);
    }
    if magic == 0x81 && be16_at(prefix, 6)? > 0x86 {
        return Some(false);
    }
    let body = be32_at(prefix, 8)?;
    if body < u32::from(key).saturating_add(u32::from(extras)) || body > 1 << 26 {
        return Some(false);
    }
    // The opaque may be anything. The CAS is given out by a success; a request that carries one stores.
    let success = magic == 0x81 && be16_at(prefix, 6)? == 0;
    Some(success || (be32_at(prefix, 16)? == 0 && be32_at(prefix, 20)? == 0))
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let get = b"\x80\0\0\x05\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0Hello";
    let got = b"\x81\0\0\0\x04\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\x01\xde\xad\xbe\xefWorld";
    vec![
        plain("memcached", &[C(b"set k 0 0 2 noreply\r\nab\r\n")]),
        plain("memcached", &[C(b"set k 0 60 2\r\nab\r\n"), S(b"STORED\r\n")]),
        plain("memcached", &[C(b"get k\r\n"), S(b"VALUE k 0 2\r\nab\r\nEND\r\n")]),
        plain("memcached", &[C(b"get k\r\n"), S(b"END\r\n")]),
        plain("memcached", &[C(b"version\r\n"), S(b"VERSION 1.6.18\r\n")]),
        plain("memcached", &[C(b"stats\r\n"), S(b"STAT pid 7\r\nSTAT uptime 1\r\n")]),
        plain("memcached", &[C(get), S(got)]),
        plain("memcached", &[C(b"incr k 1\r\n"), S(b"17\r\n")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_alone_does_not_convince() {
        assert_eq!(Memcached.client(b"get k\r\n"), Detection::NeedMore);
        assert_eq!(Memcached.both(b"get k\r\n", b"hello\r\n"), Detection::NotThis);
    }

    #[test]
    fn what_denies_an_unfinished_line_denies_the_finished_one() {
        for line in [&b"get see\x12\r\n"[..], b"get a\tb\n"] {
            assert_eq!(Memcached.client(line), Detection::NotThis);
            assert_eq!(Memcached.client(&line[..line.len() - 1]), Detection::NotThis);
        }
        for n in 1..=4 {
            assert_eq!(Memcached.server(&b"17\r\n"[..n]), Detection::NeedMore);
        }
    }

    #[test]
    fn rejects_lines_longer_than_any_command() {
        let long = [b"get ".to_vec(), vec![b'a'; MAX_LINE]].concat();
        assert_eq!(Memcached.client(&long), Detection::NotThis);
    }
}
