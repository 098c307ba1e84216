//! How deep brackets are nested. The parser of regorus tries what begins with a bracket as a comprehension, and then as what
//! it is: each level doubles the time that it takes, so that a hundred levels would not come to an end.

use agent_core::policy::documents::Place;

/// The deepest that is read. Policies that people write stay well below.
pub(super) const DEEPEST: usize = 12;

/// Where brackets are nested deeper than that first. Those in strings and comments do not count.
pub(super) fn too_deep(text: &str) -> Option<Place> {
    let (mut depth, mut inside) = (0_usize, Inside::Code);
    let (mut line, mut column) = (1_u32, 0_u32);
    for c in text.chars() {
        column = column.saturating_add(1);
        inside = match (inside, c) {
            (Inside::Code, '#') => Inside::Comment,
            (Inside::Code, '"') => Inside::Text,
            (Inside::Code, '`') => Inside::Raw,
            (Inside::Comment, '\n') | (Inside::Raw, '`') => Inside::Code,
            // An error, which is told by who reads it; strings do not go on in the next line.
            (Inside::Text, '"' | '\n') => Inside::Code,
            (Inside::Text, '\\') => Inside::Escape,
            (Inside::Escape, _) => Inside::Text,
            (before, _) => before,
        };
        if inside == Inside::Code {
            match c {
                '[' | '{' | '(' => depth += 1,
                ']' | '}' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEEPEST {
                return Some(Place { line, column });
            }
        }
        if c == '\n' {
            (line, column) = (line.saturating_add(1), 0);
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Code,
    Comment,
    /// A string, and behind a backslash in one.
    Text,
    Escape,
    /// A string between backticks.
    Raw,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_where_they_are_code() {
        let deep = "[".repeat(DEEPEST + 1);
        let just = format!("x := {}{{}}\n", "[".repeat(DEEPEST - 1));
        assert_eq!(too_deep(&just), None);
        let place = |line, column| Some(Place { line, column });
        assert_eq!(too_deep(&format!("\n x{deep}")), place(2, 15));
        assert_eq!(too_deep(&"({[]})".repeat(100)), None);
        for text in [format!("# {deep}\n"), format!("`\n{deep}`"), format!("\"\\\"{deep}\"")] {
            assert_eq!(too_deep(&text), None, "{text}");
            assert!(too_deep(&format!("{text}{deep}")).is_some(), "{text}");
        }
    }
}
