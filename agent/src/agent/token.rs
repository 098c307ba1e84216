//! The bearer token that whoever asks for metrics has to know.

use std::fs;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use subtle::ConstantTimeEq;

use crate::exit::{Exit, Failure};

/// Longest token that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A token, or none. It is never printed.
#[derive(Default)]
pub(super) struct Token(RwLock<Option<Vec<u8>>>);

impl Token {
    /// Reads the token from a file, without white space around it; without a file everybody is let in.
    ///
    /// # Errors
    /// [`Failure`] when the file cannot be read, or nothing is in it; what was read before stays.
    pub(super) fn load(&self, file: Option<&Path>) -> Result<(), Failure> {
        let token = file.map(read).transpose()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }

    /// Whether a value of the header Authorization (RFC 6750 section 2.1) lets in. How long it takes tells nothing of the
    /// token but its length.
    pub(super) fn is_good(&self, authorization: Option<&[u8]>) -> bool {
        let token = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = token.as_deref() else { return true };
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
    let size = fs::metadata(file).map_err(|e| fail(&e))?.len();
    if size > MAX_BYTES {
        return Err(fail(&"larger than 64 KiB"));
    }
    let text = fs::read(file).map_err(|e| fail(&e))?;
    match text.trim_ascii() {
        [] => Err(fail(&"nothing is in it")),
        token => Ok(token.to_vec()),
    }
}

#[cfg(fuzzing)]
impl Token {
    pub(super) fn of(token: &[u8]) -> Self {
        Self(RwLock::new(Some(token.to_vec())))
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
        token.load(Some(&path)).expect("load");
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
        let failure = token.load(Some(&path)).expect_err("empty");
        assert_eq!(failure.cause, "nothing is in it");
        assert!(token.is_good(Some(b"Bearer s3cret")), "the token of before stays");
        fs::remove_file(&path).expect("remove");
    }
}
