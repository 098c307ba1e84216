//! Readable text of no protocol known here, and the TLS that may follow it.

use super::prefix::text_len;

/// A look at one direction behind its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Nothing that could be TLS.
    Nothing,
    /// What may become a ClientHello.
    NeedMore,
    /// A ClientHello at this offset.
    ClientHello(usize),
}

/// Is there a ClientHello behind the text, if any, that `kept` begins with? `turns`: offsets at which its sender took up again
/// after the other side. A hello inside a turn is the text's payload, not an upgrade.
pub(super) fn behind(kept: &[u8], mut turns: impl Iterator<Item = usize>) -> Behind {
    let at = text_len(kept);
    let rest = kept.get(at..).unwrap_or_default();
    // A handshake record holding a ClientHello; the format of SSL 2.0 was never upgraded to.
    if rest.first() != Some(&22) || rest.get(5).is_some_and(|t| *t != 1) || !turns.any(|t| t == at) {
        return Behind::Nothing;
    }
    match super::tls::look(rest, false) {
        (super::Detection::Is, _) => Behind::ClientHello(at),
        (super::Detection::NeedMore, _) => Behind::NeedMore,
        (super::Detection::NotThis, _) => Behind::Nothing,
    }
}

/// Does `text` hold a word that begins or ends with TLS or SSL: `STARTTLS`, `AUTH TLS`, `UPGRADE TLSv1.2`, `OpenSSL`?
pub(super) fn speaks_of_tls(text: &[u8]) -> bool {
    text.split(|b| !b.is_ascii_alphanumeric()).any(|word| {
        [word.first_chunk::<3>(), word.last_chunk::<3>()]
            .into_iter()
            .flatten()
            .any(|part| part.eq_ignore_ascii_case(b"TLS") || part.eq_ignore_ascii_case(b"SSL"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HELLO, SERVER_HELLO};
    use super::*;

    #[test]
    fn words_of_tls_are_found_and_others_are_not() {
        for yes in
            ["STARTTLS\r\n", "stls", "auth Ssl", "UPGRADE TLS\r\n", "a (TLSv1.2) b", "start_tls", "OpenSSL"]
        {
            assert!(speaks_of_tls(yes.as_bytes()), "{yes}");
        }
        for no in ["", "hassle", "subtlsy", "t l s", "TL S"] {
            assert!(!speaks_of_tls(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn a_client_hello_counts_only_at_the_start_of_a_turn() {
        let talk = [b"GO\r\n".as_slice(), HELLO].concat();
        assert_eq!(behind(&talk, [0, 4].into_iter()), Behind::ClientHello(4));
        assert_eq!(behind(&talk, [0].into_iter()), Behind::Nothing);
        for n in 5..10 {
            assert_eq!(behind(&talk[..n], [0, 4].into_iter()), Behind::NeedMore, "{n}");
        }
        assert_eq!(behind(HELLO, [0].into_iter()), Behind::ClientHello(0));
        let other = [b"GO\r\n".as_slice(), SERVER_HELLO].concat();
        assert_eq!(behind(&other, [0, 4].into_iter()), Behind::Nothing);
    }
}
