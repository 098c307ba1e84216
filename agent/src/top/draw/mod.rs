//! Lines of what is shown: one file a view. Nothing here knows a terminal; colour only supports what words say.

pub mod canvas;
pub mod certificates;
pub mod connections;
pub mod findings;
pub mod header;
pub mod help;
pub mod rates;
pub mod services;
pub mod table;
pub mod text;

use jiff::tz::TimeZone;

/// What lines depend on besides the snapshot.
#[derive(Clone, Debug)]
pub struct Context {
    /// The snapshot's time, nanoseconds of Unix time.
    pub now: u64,
    /// For times of day.
    pub zone: TimeZone,
}

/// How something is meant; the words say it too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Somebody should look at it.
    Warn,
    /// Wrong.
    Bad,
    /// Less important.
    Dim,
    /// More important.
    Strong,
}

/// A piece of a line, so wide on the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Clean, and no wider than `width`.
    pub text: String,
    /// Columns.
    pub width: usize,
    /// How it is meant.
    pub tone: Tone,
}

/// A line of the screen.
pub type Line = Vec<Span>;

/// Text as long as it is, made safe to look at.
pub fn span(text: impl AsRef<str>, tone: Tone) -> Span {
    let text = crate::export::text::visible(text.as_ref()).into_owned();
    Span { width: text::width(&text), text, tone }
}

/// A line of one piece.
pub fn line(text: impl AsRef<str>, tone: Tone) -> Line {
    vec![span(text, tone)]
}
