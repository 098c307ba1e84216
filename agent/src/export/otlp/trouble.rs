//! Tells when records cannot be sent, and when they can again: once each, not with every batch.

use std::io::Write;

/// Whether there is trouble with one signal.
#[derive(Debug)]
pub(super) struct Trouble {
    /// `spans to https://collector:4317`.
    what: String,
    /// Records lost, while there is.
    lost: Option<usize>,
}

impl Trouble {
    pub(super) const fn new(what: String) -> Self {
        Self { what, lost: None }
    }

    /// What became of so many records.
    pub(super) fn note(&mut self, error: Option<&str>, records: usize) {
        match (error, &mut self.lost) {
            (Some(error), None) => {
                say(&format!("cannot export {}: {error}; it is tried again with what comes next", self.what));
                self.lost = Some(records);
            }
            (Some(_), Some(lost)) => *lost = lost.saturating_add(records),
            (None, Some(lost)) => {
                say(&format!(
                    "{} can be exported again; {lost} were lost in requests that failed",
                    self.what
                ));
                self.lost = None;
            }
            (None, None) => {}
        }
    }
}

/// A line on standard error.
pub(super) fn say(text: &str) {
    // Nobody is left to tell when standard error is gone too.
    let _ = writeln!(std::io::stderr(), "tlsight: {}", crate::export::text::visible(text));
}
