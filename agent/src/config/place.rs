//! Which key a place in a configuration file belongs to: what reads the file says where it stumbled, and not over what.

/// A line or column as a number, from 1.
pub(super) fn number(at: impl TryInto<usize>) -> usize {
    at.try_into().unwrap_or(1)
}

/// The path of the key whose value is at this place (`findings.ledger.silence_hours`); `None` where no value begins there.
pub(super) fn key(text: &str, line: usize, column: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let at = line.checked_sub(1)?;
    let before: String = lines.get(at)?.chars().take(column.checked_sub(1)?).collect();
    let inner = within(&before)?;
    let mut indent = indent_of(&before);
    let mut path = Vec::new();
    for above in lines.iter().take(at).rev() {
        let trimmed = above.trim_start();
        if indent == 0 {
            break;
        }
        if trimmed.is_empty() || trimmed.starts_with('#') || indent_of(above) >= indent {
            continue;
        }
        indent = indent_of(above);
        if let Some(key) =
            trimmed.strip_prefix("- ").unwrap_or(trimmed).split_once(':').map(|(key, _)| unquoted(key))
        {
            path.push(key.to_owned());
        }
    }
    path.reverse();
    path.extend(inner);
    Some(path.join("."))
}

/// The keys of the line itself that are open where it breaks off, the last of them just behind its colon.
fn within(before: &str) -> Option<Vec<String>> {
    let (mut open, mut word, mut current) = (Vec::new(), String::new(), None);
    let mut quote = None;
    for c in before.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (Some(_), _) => word.push(c),
            (None, ':') => {
                current = Some(std::mem::take(&mut word).trim().trim_start_matches("- ").to_owned())
            }
            (None, '{' | '[') => {
                open.extend(current.take());
                word.clear();
            }
            (None, '}' | ']') => {
                open.pop();
                current = None;
            }
            (None, ',') => {
                current = None;
                word.clear();
            }
            (None, _) => word.push(c),
        }
    }
    // What stands in a list belongs to the list's key.
    open.extend(current);
    (!open.is_empty()).then_some(open)
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn unquoted(key: &str) -> &str {
    key.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_value_is_named_with_its_parents() {
        let text = "tls13:\n  detach_after: soon\n\n# more\nfindings:\n  ledger: {settle_minutes: 5, silence_hours: -3}\n  \
                    weak_cipher:\n    # why\n    also: [A, B]\n    \"except\": x\ntop: 1\n";
        for (line, column, expected) in [
            (2, 17, Some("tls13.detach_after")),
            (6, 28, Some("findings.ledger.settle_minutes")),
            (6, 46, Some("findings.ledger.silence_hours")),
            (9, 12, Some("findings.weak_cipher.also")),
            (10, 15, Some("findings.weak_cipher.except")),
            (11, 6, Some("top")),
            // A key, nothing, and nowhere.
            (2, 3, None),
            (1, 1, None),
            (3, 1, None),
            (99, 1, None),
            (0, 0, None),
        ] {
            assert_eq!(key(text, line, column).as_deref(), expected, "{line}:{column}");
        }
    }
}
