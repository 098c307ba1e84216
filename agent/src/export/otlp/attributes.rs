//! Keys and values as attributes, within limits.

use std::io;
use std::time::Duration;

use agent_core::policy::finding::Value as Evidence;
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};

use super::options::Limits;
use crate::export::fields::{EVENT, Fields, TIMESTAMP, rfc3339};

/// Attributes being collected.
pub(super) struct Attributes {
    list: Vec<KeyValue>,
    limits: Limits,
    /// Those beyond the limit.
    dropped: u32,
    /// Bytes of keys and values.
    bytes: usize,
}

impl Attributes {
    pub(super) fn new(limits: Limits) -> Self {
        Self { list: Vec::with_capacity(limits.count.min(64)), limits, dropped: 0, bytes: 0 }
    }

    /// All of them, how many are missing, and how many bytes they have.
    pub(super) fn done(self) -> (Vec<KeyValue>, u32, usize) {
        (self.list, self.dropped, self.bytes)
    }

    /// One that no field has.
    pub(super) fn push(&mut self, key: impl Into<Key>, value: Value) {
        let key = key.into();
        // Spans and records have a time of their own, and log records a name.
        if key.as_str() == TIMESTAMP || key.as_str() == EVENT {
            return;
        }
        if self.list.len() >= self.limits.count {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.bytes += key.as_str().len() + length(&value);
        self.list.push(KeyValue::new(key, value));
    }

    fn cut(&self, text: &str) -> StringValue {
        let end = text.char_indices().nth(self.limits.value_length).map_or(text.len(), |(at, _)| at);
        StringValue::from(text.get(..end).unwrap_or(text).to_owned())
    }

    fn strings(&self, values: impl Iterator<Item = StringValue>) -> Value {
        Value::Array(Array::String(values.collect()))
    }

    /// JSON of the audit log as attributes: texts, whole numbers, truth values, and lists of texts are all it has.
    pub(super) fn json(&mut self, key: String, value: &serde_json::Value) {
        use serde_json::Value as Json;
        let value = match value {
            Json::String(text) => Value::String(self.cut(text)),
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(n) => Value::I64(n),
                None => Value::F64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::Array(values) => {
                self.strings(values.iter().filter_map(Json::as_str).map(|text| self.cut(text)))
            }
            Json::Null | Json::Object(_) => return,
        };
        self.push(key, value);
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(texts)) => texts.iter().map(|text| text.as_str().len() + 4).sum(),
        _ => 8,
    }
}

impl Fields for Attributes {
    fn text(&mut self, key: &'static str, value: &str) -> io::Result<()> {
        let value = Value::String(self.cut(value));
        self.push(key, value);
        Ok(())
    }

    fn number(&mut self, key: &'static str, value: u64) -> io::Result<()> {
        self.push(key, Value::I64(i64::try_from(value).unwrap_or(i64::MAX)));
        Ok(())
    }

    fn boolean(&mut self, key: &'static str, value: bool) -> io::Result<()> {
        self.push(key, Value::Bool(value));
        Ok(())
    }

    fn array<T: AsRef<str>>(&mut self, key: &'static str, values: impl Iterator<Item = T>) -> io::Result<()> {
        let value = self.strings(values.map(|value| self.cut(value.as_ref())));
        self.push(key, value);
        Ok(())
    }

    fn time(&mut self, key: &'static str, value: Duration) -> io::Result<()> {
        // As in JSON: microseconds are all there is.
        let micros = u32::try_from(value.as_micros()).map_or(value.as_secs_f64() * 1e6, f64::from);
        self.push(key, Value::F64(micros / 1000.0));
        Ok(())
    }

    fn evidence(&mut self, key: &str, value: &Evidence) -> io::Result<()> {
        let value = match value {
            Evidence::Text(text) => Value::String(self.cut(text)),
            Evidence::Number(number) => Value::I64(*number),
            Evidence::Flag(flag) => Value::Bool(*flag),
            Evidence::List(list) => self.strings(list.iter().map(|text| self.cut(text))),
            Evidence::Time(secs) => match rfc3339(i128::from(*secs) * 1_000_000_000, 0) {
                Some(text) => Value::String(self.cut(&text)),
                None => return Ok(()),
            },
        };
        self.push(key.to_owned(), value);
        Ok(())
    }
}
