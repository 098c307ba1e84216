//! Strings from the wire, made safe to look at.

use std::borrow::Cow;
use std::fmt::Write;

/// Characters that a terminal obeys instead of showing them, or that make text look like other text: controls (C0, C1),
/// bidirectional marks and overrides, zero-width and line-breaking characters, tags.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with unsafe characters written out: `\u{1b}` for escape.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_out_what_a_terminal_would_obey() {
        assert_eq!(visible("bücher.example"), "bücher.example");
        assert_eq!(visible("a\x1b[31mb\nc\u{7f}"), "a\\u{1b}[31mb\\u{a}c\\u{7f}");
        assert_eq!(visible("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(visible("moc.\u{202e}elpmaxe"), "moc.\\u{202e}elpmaxe");
        assert_eq!(visible("a\u{200b}b"), "a\\u{200b}b");
    }
}
