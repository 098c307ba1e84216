//! What the parser of regorus should not be given: it would not come to an end for long, or at all.
//!
//! It tries what begins with a bracket as a comprehension, and then as what it is, so that each level of brackets doubles the
//! time that it takes. And it writes numbers out: one with an exponent of some millions takes half a minute.

use agent_core::policy::documents::Place;

/// The deepest brackets that are read. Policies that people write stay well below.
const DEEPEST: usize = 12;
/// Digits of a number, and its greatest exponent: more than any double has.
const LONGEST: u32 = 400;

/// What is wrong first, and where. What is in strings and comments does not count.
pub(super) fn problem(text: &str) -> Option<(Place, String)> {
    let (mut depth, mut inside, mut number) = (0_usize, Inside::Code, Number::None);
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
        let place = Place { line, column };
        if inside == Inside::Code {
            match c {
                '[' | '{' | '(' => depth += 1,
                ']' | '}' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEEPEST {
                return Some((place, format!("brackets are nested deeper than {DEEPEST}")));
            }
            number = number.and(c);
            if number.is_too_long() {
                return Some((
                    place,
                    format!("a number has more than {LONGEST} digits, or an exponent beyond that"),
                ));
            }
        } else {
            number = Number::None;
        }
        if c == '\n' {
            (line, column) = (line.saturating_add(1), 0);
        }
    }
    None
}

/// The same of numbers anywhere in a text that is no policy.
pub(super) fn has_long_number(text: &str) -> bool {
    let mut number = Number::None;
    text.chars().any(|c| {
        number = number.and(c);
        number.is_too_long()
    })
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

/// The number that the last character is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    None,
    /// It is part of a name.
    Name,
    /// So many digits.
    Digits(u32),
    /// Behind the `e`: the exponent as far as it goes.
    Exponent(u32),
}

impl Number {
    fn and(self, c: char) -> Self {
        match (self, c) {
            (Number::None, '0'..='9') => Number::Digits(1),
            (Number::Digits(n), '0'..='9') => Number::Digits(n.saturating_add(1)),
            (Number::Digits(n), '.') => Number::Digits(n),
            (Number::Digits(_), 'e' | 'E') => Number::Exponent(0),
            (Number::Exponent(n), '0'..='9') => {
                Number::Exponent(n.saturating_mul(10).saturating_add(c.to_digit(10).unwrap_or(0)))
            }
            (Number::Exponent(0), '+' | '-') => Number::Exponent(0),
            (_, c) if c.is_alphanumeric() || c == '_' => Number::Name,
            _ => Number::None,
        }
    }

    fn is_too_long(self) -> bool {
        matches!(self, Number::Digits(n) | Number::Exponent(n) if n > LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Option<(u32, u32)> {
        problem(text).map(|(place, _)| (place.line, place.column))
    }

    #[test]
    fn brackets_count_where_they_are_code() {
        let deep = "[".repeat(DEEPEST + 1);
        let just = format!("x := {}{{}}\n", "[".repeat(DEEPEST - 1));
        assert_eq!(place(&just), None);
        assert_eq!(place(&format!("\n x{deep}")), Some((2, 15)));
        assert_eq!(place(&"({[]})".repeat(100)), None);
        for text in [format!("# {deep}\n"), format!("`\n{deep}`"), format!("\"\\\"{deep}\"")] {
            assert_eq!(place(&text), None, "{text}");
            assert!(place(&format!("{text}{deep}")).is_some(), "{text}");
        }
    }

    #[test]
    fn numbers_that_nobody_could_write_out_are_not_read() {
        assert_eq!(place("x := 0e55255296"), Some((1, 10)));
        assert_eq!(place("x := [1.5E+401]"), Some((1, 14)));
        assert_eq!(place("x := 2e-00999"), Some((1, 13)));
        assert_eq!(place(&format!("x := {}", "7".repeat(401))), Some((1, 406)));
        for fine in
            ["x := 1e308 + 2.5e-324", "x0e999999 := name_1e999999", "\"1e999999\" # 1e999999", "1 e999999"]
        {
            assert_eq!(place(fine), None, "{fine}");
        }
        assert_eq!(place(&format!("x := {}", "7".repeat(400))), None);
        assert!(has_long_number("[1, -0e55255296]") && !has_long_number("1e99 e1e9999"));
    }
}
