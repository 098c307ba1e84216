//! The bearer token that whoever asks for metrics has to know.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use subtle::ConstantTimeEq;

use crate::exit::{Exit, Failure};

/// Longest token that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A token, or none. It is never printed.
#[derive(Default)]
pub(super) struct Token(RwLock<Secret>);

/// A token as it was read. Without one everybody is let in.
#[derive(Default)]
pub(super) struct Secret(Option<Vec<u8>>);

impl Secret {
    /// Reads the token from a file, without white space around it.
    ///
    /// # Errors
    /// [`Failure`] when the file is none, cannot be read, or nothing is in it.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self(file.map(read).transpose()?))
    }
}

impl Token {
    /// From now on, this one lets in.
    pub(super) fn set(&self, secret: Secret) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = secret;
    }

    /// Whether a value of the header Authorization (RFC 6750 section 2.1) lets in. How long it takes tells nothing of the
    /// token but its length.
    pub(super) fn is_good(&self, authorization: Option<&[u8]>) -> bool {
        let token = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = token.0.as_deref() else { return true };
        let Some((scheme, given)) = authorization.and_then(|value| value.split_at_checked(7)) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && given.trim_ascii().ct_eq(token).into()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |cause: &dyn std::fmt::Display| {
        Failure::new(Exit::InputUnreadable, format!("read the bearer token {}", file.display()), cause)
    };
    let found = fs::metadata(file).map_err(|e| fail(&e))?;
    if !found.is_file() {
        // Whoever opens a pipe may wait for ever.
        return Err(fail(&"it is no regular file"));
    }
    let mut text = Vec::new();
    let opened = fs::File::open(file).map_err(|e| fail(&e))?;
    opened.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|e| fail(&e))?;
    if u64::try_from(text.len()).is_ok_and(|n| n > MAX_BYTES) {
        return Err(fail(&"larger than 64 KiB"));
    }
    match text.trim_ascii() {
        [] => Err(fail(&"nothing is in it")),
        token => Ok(token.to_vec()),
    }
}

#[cfg(fuzzing)]
impl Token {
    pub(super) fn of(token: &[u8]) -> Self {
        Self(RwLock::new(Secret(Some(token.to_vec()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_in_who_knows_the_token_and_everybody_where_there_is_none() {
        let path = std::env::temp_dir().join(format!("tlsight-token-{}", std::process::id()));
        fs::write(&path, "s3cret\n").expect("write");
        let token = Token::default();
        assert!(token.is_good(None));
        token.set(Secret::read(Some(&path)).expect("read"));
        for (value, expected) in [
            ("Bearer s3cret", true),
            ("bearer  s3cret ", true),
            ("Bearer s3cre", false),
            ("Bearer s3crets", false),
            ("Basic s3cret", false),
            ("Bearer", false),
            ("", false),
        ] {
            assert_eq!(token.is_good(Some(value.as_bytes())), expected, "{value}");
        }
        assert!(!token.is_good(None));
        fs::write(&path, " \n").expect("write");
        assert_eq!(refused(&path), "nothing is in it");
        fs::remove_file(&path).expect("remove");
    }

    fn refused(path: &Path) -> String {
        Secret::read(Some(path)).err().expect("refused").cause
    }

    #[test]
    fn waits_for_no_pipe_and_reads_no_more_than_a_token() {
        let path = std::env::temp_dir().join(format!("tlsight-no-token-{}", std::process::id()));
        fs::write(&path, "a".repeat(64 * 1024 + 1)).expect("write");
        assert_eq!(refused(&path), "larger than 64 KiB");
        fs::remove_file(&path).expect("remove");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("pipe");
        assert_eq!(refused(&path), "it is no regular file");
        fs::remove_file(&path).expect("remove");
        for path in ["/dev/zero", "/tmp"] {
            assert_eq!(refused(Path::new(path)), "it is no regular file", "{path}");
        }
    }
}
