//! A line without the detour over text: what the exporter says of something, key by key, is taken as it would be from JSON.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use agent_core::policy::finding::Value;
use agent_core::time::Timestamp;
use serde::de::value::SeqDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess};

use super::{Line, key};
use crate::export::fields::{Fields, TIMESTAMP, rfc3339};

impl Line {
    /// The line that `tell` says. Written as JSON and read again it would be the same.
    ///
    /// # Errors
    /// When a value is not of the kind that its key has.
    pub(crate) fn told(tell: impl FnOnce(&mut Told) -> io::Result<()>) -> io::Result<Self> {
        let mut told = Told(Line::default());
        tell(&mut told)?;
        Ok(told.0)
    }
}

/// A line that is being told.
pub(crate) struct Told(Line);

impl Told {
    fn take<'de, D>(&mut self, key: &str, value: D) -> io::Result<()>
    where
        D: Deserializer<'de, Error = serde_json::Error>,
    {
        // Of keys that a report does not need the value is not even looked at.
        self::key(&mut self.0, key, &mut One(Some(value)))?;
        Ok(())
    }
}

impl Fields for Told {
    fn text(&mut self, key: &'static str, value: &str) -> io::Result<()> {
        self.take(key, value.into_deserializer())
    }

    fn made<'a>(&mut self, key: &'static str, make: impl FnOnce() -> &'a str) -> io::Result<()> {
        self::key(&mut self.0, key, &mut Made(Some(make)))?;
        Ok(())
    }

    fn address(&mut self, key: &'static str, value: IpAddr) -> io::Result<()> {
        let value = Some(value.to_canonical());
        match key {
            "network.local.address" => self.0.local.address = value,
            "network.peer.address" => self.0.peer.address = value,
            "tlsight.peer.address" => self.0.peer.own.0 = value,
            _ => {}
        }
        Ok(())
    }

    fn moment(&mut self, key: &'static str, value: Timestamp) -> io::Result<()> {
        if key == TIMESTAMP && rfc3339(i128::from(value.as_nanos()), 9).is_some() {
            self.0.time = Some(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    fn number(&mut self, key: &'static str, value: u64) -> io::Result<()> {
        self.take(key, value.into_deserializer())
    }

    fn boolean(&mut self, key: &'static str, value: bool) -> io::Result<()> {
        self.take(key, value.into_deserializer())
    }

    fn array<T: AsRef<str>>(&mut self, key: &'static str, values: impl Iterator<Item = T>) -> io::Result<()> {
        self.take(key, SeqDeserializer::new(values.map(|value| value.as_ref().to_owned())))
    }

    fn time(&mut self, key: &'static str, value: Duration) -> io::Result<()> {
        // Whole microseconds, as in JSON. Exact for 285 years.
        #[allow(clippy::cast_precision_loss)]
        let milliseconds = value.as_micros() as f64 / 1000.0;
        self.take(key, milliseconds.into_deserializer())
    }

    fn evidence(&mut self, key: &str, value: &Value) -> io::Result<()> {
        self.take(key, serde_json::to_value(value)?)
    }
}

/// The value of the key at hand.
struct One<D>(Option<D>);

impl<'de, D: Deserializer<'de, Error = serde_json::Error>> MapAccess<'de> for One<D> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, Self::Error> {
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        match self.0.take() {
            Some(value) => seed.deserialize(value),
            None => Err(Self::Error::custom("a key has one value")),
        }
    }
}

/// The same, made when it is wanted.
struct Made<F>(Option<F>);

impl<'a, 'de, F: FnOnce() -> &'a str> MapAccess<'de> for Made<F> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, Self::Error> {
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        match self.0.take() {
            Some(make) => seed.deserialize(make().into_deserializer()),
            None => Err(Self::Error::custom("a key has one value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{fields, json, sample};

    #[test]
    fn what_is_told_is_what_would_be_read_again() {
        for observation in [sample::everything(), sample::plaintext()] {
            let mut out = Vec::new();
            json::write_observation(&mut out, &observation).expect("an object");
            let told = Line::told(|line| fields::observation(line, &observation, None)).expect("a line");
            assert_eq!(told, Line::parse(&out).expect("a line"));
            assert_ne!(told, Line::default());
        }
        let certificates = sample::process_certificates(None);
        let mut out = Vec::new();
        json::write_process_certificates(&mut out, &certificates).expect("an object");
        let told = Line::told(|line| fields::process_certificates(line, &certificates)).expect("a line");
        assert_eq!(told, Line::parse(&out).expect("a line"));
    }

    #[test]
    fn evidence_is_taken_by_its_key() {
        let values = [
            ("server.port", Value::Number(80)),
            ("tls.cipher", Value::from("TLS_AES_128_GCM_SHA256")),
            ("tls.server.not_after", Value::Time(0)),
            ("tlsight.server.san", Value::List(vec!["a.test".to_owned()])),
            ("tls.server.self_signed", Value::Flag(true)),
        ];
        let told = Line::told(|line| values.iter().try_for_each(|(key, value)| line.evidence(key, value)));
        let object: serde_json::Map<String, serde_json::Value> = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), serde_json::to_value(value).expect("JSON")))
            .collect();
        let text = serde_json::to_vec(&object).expect("JSON");
        assert_eq!(told.expect("a line"), Line::parse(&text).expect("a line"));
        assert!(Line::told(|line| line.evidence("timestamp", &Value::Number(7))).is_err());
    }
}
