//! Libraries that leave no symbols, by texts that their code prints.
//!
//! A text counts only as a whole: programs that merely mention a library, such as this one, have the words in the middle of
//! other text. Texts of C are held here without the zero bytes at their ends, so that this program's own copies are none.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::Unprobed;
use super::elf::{Elf, Opened};
use super::image::{Image, chunks, search_for};

/// How much constant data is searched.
const MAX_SEARCH: u64 = 256 * 1024 * 1024;

/// How a text is bounded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A C string from its beginning.
    Whole,
    /// The end of a C string: a source file's name after whatever directory it was compiled in.
    Tail,
    /// Rust's strings have no ends. Spaces are written as underscores here, so that this program's copies are none.
    Inside,
}

/// Texts of one library.
struct Library {
    reason: Unprobed,
    form: Form,
    texts: &'static [&'static str],
    /// How many different ones there must be.
    needed: usize,
}

/// In the order in which they decide: a program of rustls may have AWS-LC's libcrypto, but then not the TLS part that
/// the first entry is about.
const LIBRARIES: &[Library] = &[
    Library {
        reason: Unprobed::BoringSsl,
        form: Form::Tail,
        texts: &["/ssl/tls13_both.cc", "/ssl/handshake_client.cc", "/ssl/tls13_client.cc", "/ssl/ssl_lib.cc"],
        needed: 2,
    },
    Library {
        reason: Unprobed::BoringSsl,
        form: Form::Whole,
        texts: &["TLS 1.3 client read_server_certificate", "TLS server read_client_certificate"],
        needed: 1,
    },
    Library {
        reason: Unprobed::OpenSslWithoutSymbols,
        form: Form::Tail,
        texts: &["ssl/statem/statem_clnt.c", "ssl/statem/statem_srvr.c"],
        needed: 2,
    },
    Library {
        reason: Unprobed::OpenSslWithoutSymbols,
        form: Form::Whole,
        texts: &["SSLv3/TLS read server certificate", "TLSv1.3 read server certificate verify"],
        needed: 2,
    },
    Library {
        reason: Unprobed::Rustls,
        form: Form::Inside,
        // What `rustls::Error` prints.
        texts: &[
            "cannot_decrypt_peer's_message",
            "peer_doesn't_support_any_known_protocol",
            "invalid_peer_certificate:_",
            "received_corrupt_message",
        ],
        needed: 3,
    },
    Library {
        reason: Unprobed::MbedTls,
        form: Form::Whole,
        // Nobody else writes names of cipher suites like this.
        texts: &["TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256", "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384"],
        needed: 2,
    },
    Library {
        reason: Unprobed::WolfSsl,
        form: Form::Whole,
        // What `wolfSSL_ERR_reason_error_string` gives.
        texts: &[
            "malformed buffer input error",
            "subject name mismatch",
            "handshake layer not ready yet, complete first",
        ],
        needed: 2,
    },
];

/// All texts at a time.
struct Search {
    texts: AhoCorasick,
    /// For each of its patterns, the library and which of its texts it is.
    owners: Vec<(usize, usize)>,
}

static SEARCH: LazyLock<Option<Search>> = LazyLock::new(|| {
    let mut patterns: Vec<Vec<u8>> = Vec::new();
    let mut owners = Vec::new();
    for (index, library) in LIBRARIES.iter().enumerate() {
        for (which, text) in library.texts.iter().enumerate() {
            patterns.push(match library.form {
                Form::Whole | Form::Tail => [text.as_bytes(), b"\0"].concat(),
                Form::Inside => text.replace('_', " ").into_bytes(),
            });
            owners.push((index, which));
        }
    }
    search_for(patterns).map(|texts| Search { texts, owners })
});

/// The library whose texts are in a file's constant data.
pub(super) fn name(image: &dyn Image) -> Option<Unprobed> {
    let Ok(Opened::Elf(elf)) = Elf::open(image) else { return None };
    let Search { texts, owners } = SEARCH.as_ref()?;
    let mut seen = vec![0u32; LIBRARIES.len()];
    let mut left = MAX_SEARCH;
    for section in elf.sections.iter().filter(|section| section.is_constant()) {
        let length = section.size.min(left);
        left -= length;
        // The byte before a text is looked at too. It may end another text, so that it is no part of the search.
        let overlap = texts.max_pattern_len() + 1;
        let gone_through = chunks(image, section.offset, length, overlap, |chunk, _| {
            for hit in texts.find_iter(chunk) {
                let Some((index, which)) = owners.get(hit.pattern().as_usize()) else { continue };
                let before = hit.start().checked_sub(1).and_then(|before| chunk.get(before));
                let whole = LIBRARIES.get(*index).is_some_and(|library| library.form == Form::Whole);
                if let Some(seen) = seen.get_mut(*index).filter(|_| !whole || before == Some(&0)) {
                    *seen |= 1 << which;
                }
            }
            ControlFlow::Continue(())
        });
        gone_through.ok()?;
    }
    let found = |(library, seen): &(&Library, &u32)| seen.count_ones() as usize >= library.needed;
    LIBRARIES.iter().zip(&seen).find(found).map(|(library, _)| library.reason)
}
