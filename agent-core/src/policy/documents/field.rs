//! A value in a document, with the path that leads to it: so that whoever finds fault with it can say where it is.

use super::node::{Entry, Node, Place, Value};
use super::problem::{Problems, Severity};

/// A value and its path.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    node: &'a Node,
    /// Where its key stands: that is where people look.
    key: Option<Place>,
    path: String,
}

impl<'a> Field<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { node, key: None, path: String::new() }
    }

    /// The same value, its path beginning here: for the items of a `List`, whose paths users count from the item.
    pub(crate) fn as_root(&self) -> Self {
        Self { node: self.node, key: None, path: String::new() }
    }

    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.node.place.or(self.key)
    }

    pub(crate) fn line(&self) -> Option<u32> {
        self.key.or(self.node.place).map(|place| place.line)
    }

    fn child(&self, entry: &'a Entry) -> Field<'a> {
        let path = match self.path.is_empty() {
            true => entry.key.clone(),
            false => format!("{}.{}", self.path, entry.key),
        };
        Field { node: &entry.value, key: entry.place, path }
    }

    /// The value under a key of this mapping. A key without a value is as good as none, as in Kubernetes.
    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        let Value::Map(entries) = &self.node.value else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        (entry.value.value != Value::Null).then(|| self.child(entry))
    }

    /// The value under a path of keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<Field<'a>> {
        path.iter().try_fold(self.clone(), |field, key| field.get(key))
    }

    /// The mapping under a key; anything else there is an error.
    pub(crate) fn map(&self, key: &str, problems: &mut Problems) -> Option<Field<'a>> {
        let field = self.get(key)?;
        field.expect_map(problems).then_some(field)
    }

    /// Whether this is a mapping; an error if not.
    pub(crate) fn expect_map(&self, problems: &mut Problems) -> bool {
        let is = matches!(self.node.value, Value::Map(_));
        if !is {
            self.wrong("a mapping", problems);
        }
        is
    }

    /// Keys and values of this mapping; an error if it is none.
    pub(crate) fn entries(&self, problems: &mut Problems) -> Vec<(&'a str, Field<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong("a mapping", problems);
            return Vec::new();
        };
        entries.iter().map(|entry| (entry.key.as_str(), self.child(entry))).collect()
    }

    /// The items of the list under a key; anything else there is an error.
    pub(crate) fn list(&self, key: &str, problems: &mut Problems) -> Vec<Field<'a>> {
        self.get(key).map(|field| field.items(problems)).unwrap_or_default()
    }

    /// The items of this list; an error if it is none.
    pub(crate) fn items(&self, problems: &mut Problems) -> Vec<Field<'a>> {
        let Value::List(nodes) = &self.node.value else {
            self.wrong("a list", problems);
            return Vec::new();
        };
        let item =
            |(i, node): (usize, &'a Node)| Field { node, key: None, path: format!("{}[{i}]", self.path) };
        nodes.iter().enumerate().map(item).collect()
    }

    /// The string under a key; anything else there is an error.
    pub(crate) fn text(&self, key: &str, problems: &mut Problems) -> Option<&'a str> {
        self.get(key)?.as_text(problems)
    }

    /// This string; an error if it is none, or empty.
    pub(crate) fn as_text(&self, problems: &mut Problems) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) if text.is_empty() => {
                problems.error(self, "must not be empty");
                None
            }
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) => {
                problems.error(self, format!("must be a string, not {}: put it in quotes", self.what()));
                None
            }
            _ => {
                self.wrong("a string", problems);
                None
            }
        }
    }

    /// The strings of a list under a key.
    pub(crate) fn texts(&self, key: &str, problems: &mut Problems) -> Vec<&'a str> {
        self.list(key, problems).iter().filter_map(|item| item.as_text(problems)).collect()
    }

    /// The boolean under a key; anything else there is an error.
    pub(crate) fn boolean(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let field = self.get(key)?;
        match field.node.value {
            Value::Bool(value) => Some(value),
            _ => {
                field.wrong("true or false", problems);
                None
            }
        }
    }

    /// This port number; an error if it is none.
    pub(crate) fn as_port(&self, problems: &mut Problems) -> Option<u16> {
        let port = match &self.node.value {
            Value::Integer(number) => u16::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        match port {
            Some(port) if port > 0 => Some(port),
            _ => {
                problems.error(self, "must be a port number from 1 to 65535");
                None
            }
        }
    }

    /// Says which keys of this mapping nobody knows: an error in documents that are only ours, a warning where newer
    /// versions of somebody else's may have them.
    pub(crate) fn only(&self, known: &[&str], severity: Severity, problems: &mut Problems) {
        for (key, field) in self.entries(problems) {
            if known.contains(&key) {
                continue;
            }
            let near = known.iter().find(|k| k.eq_ignore_ascii_case(key));
            let reason = match near {
                Some(near) => format!("unknown field; did you mean `{near}`?"),
                None => format!("unknown field; there are: {}", known.join(", ")),
            };
            problems.push(severity, field.key.or(field.node.place), Some(field.path), reason);
        }
    }

    /// `a list`, `a number` ...
    pub(crate) fn what(&self) -> &'static str {
        self.node.value.what()
    }

    fn wrong(&self, right: &str, problems: &mut Problems) {
        problems.error(self, format!("must be {right}, not {}", self.what()));
    }
}
