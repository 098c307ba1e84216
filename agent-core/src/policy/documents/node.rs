//! A document as a tree that knows where each value stands, read from YAML (JSON included) or from a value that the
//! Kubernetes API gave.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::limits::Limits;

/// Where a value stands in its document, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

impl Place {
    fn of(location: Location) -> Option<Place> {
        let (line, column) = (location.line(), location.column());
        // The library's word for "not known" is 0.
        if line == 0 {
            return None;
        }
        Some(Place {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        })
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Option<Place>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

impl Value {
    /// `a list`, `a number` ...: for messages.
    pub(crate) const fn what(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// One key of a mapping, with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Option<Place>,
    pub(crate) value: Node,
}

/// A text that is no YAML, or more of it than is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextError {
    pub(crate) place: Option<Place>,
    pub(crate) reason: String,
    pub(crate) too_much: bool,
}

/// Reads the documents of a text, one after the other: after one that cannot be read as values the next is tried, after
/// one that is no YAML nothing is.
pub(crate) fn read(text: &str, limits: &Limits) -> Vec<Result<Node, TextError>> {
    let budget = serde_saphyr::budget! {
        max_reader_input_bytes: None,
        max_depth: limits.depth,
        // One more than is kept, so that the caller can tell and count what it leaves out.
        max_documents: limits.documents.saturating_add(1),
        max_nodes: limits.nodes,
        max_events: limits.nodes.saturating_mul(2),
        max_aliases: limits.aliases,
        max_anchors: limits.aliases,
        max_recorded_anchor_events: limits.nodes,
        flow_nesting_limit: limits.depth,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits.nodes,
            max_replay_stack_depth: limits.depth,
            max_alias_expansions_per_anchor: limits.aliases,
        },
        // YAML 1.2: `yes` and `on` are words.
        strict_booleans: true,
        with_snippet: false,
    };
    let mut bytes = text.as_bytes();
    serde_saphyr::read_with_options::<_, Node>(&mut bytes, options)
        .take(limits.documents.saturating_add(1))
        .map(|document| document.map_err(|error| text_error(&error)))
        .collect()
}

fn text_error(error: &serde_saphyr::Error) -> TextError {
    use serde_saphyr::budget::BudgetBreach as Breach;
    let error = error.without_snippet();
    let too_much = match error {
        serde_saphyr::Error::Budget { breach, .. } => Some(match breach {
            Breach::Depth { .. } => "nests too deep",
            Breach::Nodes { .. } | Breach::Events { .. } => "has too many values",
            Breach::Documents { .. } => "has too many documents",
            _ => "has too many anchors and aliases",
        }),
        serde_saphyr::Error::AliasReplayLimitExceeded { .. }
        | serde_saphyr::Error::AliasExpansionLimitExceeded { .. }
        | serde_saphyr::Error::AliasReplayStackDepthExceeded { .. } => {
            Some("has too many anchors and aliases")
        }
        _ => {
            let text = error.to_string();
            // The parser's own bound on `[[[[`, and what an alias ran into: they have no types of their own.
            let of_alias = text.contains("budget breached");
            match () {
                () if text.contains("recursion limit") || of_alias && text.contains("Depth") => {
                    Some("nests too deep")
                }
                () if of_alias => Some("has too many anchors and aliases"),
                () => None,
            }
        }
    };
    let place = error.location().and_then(Place::of);
    if let Some(reason) = too_much {
        return TextError { place, reason: reason.to_owned(), too_much: true };
    }
    let mut reason = error.to_string();
    // The place is told apart; the library's message ends with it.
    if let Some((head, tail)) = reason.rsplit_once(" at line ")
        && tail.chars().all(|c| c.is_ascii_digit() || " ,columnde".contains(c))
    {
        reason = head.to_owned();
    }
    // What follows is for those who call the library.
    if let Some((head, _)) = reason.split_once(", set DuplicateKeyPolicy") {
        reason = format!("{head}: which of its values counts?");
    }
    TextError { place, reason: reason.replace('\n', " "), too_much: false }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { value: spanned.value, place: Place::of(spanned.referenced) })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, a list or a mapping with keys that are scalars")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Integer(i128::from(v)))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Integer(i128::from(v)))
    }

    fn visit_i128<E>(self, v: i128) -> Result<Value, E> {
        Ok(Value::Integer(v))
    }

    fn visit_u128<E: serde::de::Error>(self, v: u128) -> Result<Value, E> {
        i128::try_from(v).map(Value::Integer).map_err(E::custom)
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::Text(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Key>>()? {
            let place = Place::of(key.referenced);
            let value = map.next_value()?;
            entries.push(Entry { key: key.value.0, place, value });
        }
        Ok(Value::Map(entries))
    }
}

/// A key of a mapping: any scalar, as text, because port numbers are keys in Istio's documents.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Text(text) => Ok(Key(text)),
            Value::Integer(number) => Ok(Key(number.to_string())),
            Value::Float(number) => Ok(Key(number.to_string())),
            Value::Bool(value) => Ok(Key(value.to_string())),
            Value::Null => Ok(Key(String::from("null"))),
            Value::List(_) | Value::Map(_) => Err(D::Error::custom("a key must be a scalar")),
        }
    }
}

/// The tree of a JSON value; `None` where it is nested deeper or has more values than the limits say.
pub(crate) fn from_json(value: &serde_json::Value, limits: &Limits) -> Option<Node> {
    let mut left = limits.nodes;
    convert(value, limits.depth, &mut left)
}

fn convert(value: &serde_json::Value, depth: usize, left: &mut usize) -> Option<Node> {
    use serde_json::Value as Json;
    *left = left.checked_sub(1)?;
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(v) => Value::Bool(*v),
        Json::Number(v) => match v.as_i128() {
            Some(v) => Value::Integer(v),
            None => Value::Float(v.as_f64()?),
        },
        Json::String(v) => Value::Text(v.clone()),
        Json::Array(list) => {
            let depth = depth.checked_sub(1)?;
            Value::List(list.iter().map(|v| convert(v, depth, left)).collect::<Option<_>>()?)
        }
        Json::Object(map) => {
            let depth = depth.checked_sub(1)?;
            let entry = |(key, v): (&String, &Json)| {
                Some(Entry { key: key.clone(), place: None, value: convert(v, depth, left)? })
            };
            Value::Map(map.iter().map(entry).collect::<Option<_>>()?)
        }
    };
    Some(Node { value, place: None })
}
