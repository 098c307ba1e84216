//! JSON objects of flat keys, and the strings in them made safe to look at.

use std::io::{self, Write};
use std::time::Duration;

use agent_core::policy::finding::Value;
use serde_json::ser::Formatter;

use crate::export::fields::Fields;
use crate::export::text::is_unsafe;

/// A JSON object being written, keys in the order of the calls.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    pub(super) fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    /// Keys are constants of the exporter and need no escaping.
    fn key(&mut self, key: &str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn string(&mut self, value: &str) -> io::Result<()> {
        let mut serializer = serde_json::Serializer::with_formatter(&mut *self.out, Cautious);
        serde::Serialize::serialize(value, &mut serializer).map_err(io::Error::from)
    }
}

impl Fields for Object<'_> {
    fn text(&mut self, key: &'static str, value: &str) -> io::Result<()> {
        self.key(key);
        self.string(value)
    }

    fn number(&mut self, key: &'static str, value: u64) -> io::Result<()> {
        self.key(key);
        write!(self.out, "{value}")
    }

    fn boolean(&mut self, key: &'static str, value: bool) -> io::Result<()> {
        self.key(key);
        write!(self.out, "{value}")
    }

    fn array<T: AsRef<str>>(&mut self, key: &'static str, values: impl Iterator<Item = T>) -> io::Result<()> {
        self.key(key);
        self.out.push(b'[');
        for (i, value) in values.enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            self.string(value.as_ref())?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn time(&mut self, key: &'static str, value: Duration) -> io::Result<()> {
        self.key(key);
        let micros = value.as_micros();
        write!(self.out, "{}.{:03}", micros / 1000, micros % 1000)
    }

    fn evidence(&mut self, key: &str, value: &Value) -> io::Result<()> {
        self.out.push(self.separator);
        self.separator = b',';
        self.string(key)?;
        self.out.push(b':');
        let mut serializer = serde_json::Serializer::with_formatter(&mut *self.out, Cautious);
        serde::Serialize::serialize(value, &mut serializer).map_err(io::Error::from)
    }
}

/// Any value as one line that a terminal may show.
pub fn to_line(value: &serde_json::Value) -> String {
    let mut out = Vec::new();
    // Writing a value to memory cannot fail.
    let _ =
        serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut out, Cautious));
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}

/// Escapes what JSON allows and terminals obey: C1 controls, bidirectional overrides and the like.
struct Cautious;

impl Formatter for Cautious {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly all of it is printable ASCII; serde_json took the C0 controls out already.
        if fragment.bytes().all(|b| b < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = after.get(c.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}
