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

    /// A report needs nothing of it, and its keys are anybody's.
    fn evidence(&mut self, _key: &str, _value: &Value) -> io::Result<()> {
        Ok(())
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
    use agent_core::policy::about::About;
    use agent_core::policy::finding::{Evidence, Finding, RuleId, Severity};
    use agent_core::policy::judge::Output;
    use agent_core::policy::ledger::{Change, Standing};

    use super::super as line;
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

    fn raised(evidence: Evidence) -> Output {
        let finding = Finding {
            rule: RuleId::Own("rego:own".into()),
            severity: Severity::Warning,
            about: About::Other("curl -> 10.0.0.2:80".into()),
            evidence,
            summary: "curl talks".to_owned(),
            advice: "Ask it not to.".into(),
            turn: None,
        };
        let (first_seen, last_seen) = (sample::TIME.before(Duration::from_secs(7)), sample::TIME);
        Output::Finding(Change::Raised(Box::new(Standing { finding, first_seen, last_seen, count: 3 })))
    }

    /// As told, and as read again.
    fn both_ways(news: &Output) -> [Line; 2] {
        let mut out = Vec::new();
        json::write_finding(&mut out, news, sample::TIME).expect("an object");
        let told = Line::told(|line| fields::news(line, news, sample::TIME)).expect("a line");
        [told, Line::parse(&out).expect("a line")]
    }

    #[test]
    fn evidence_changes_nothing_whatever_its_keys_and_kinds() {
        let mut expected = Line { event: Some("finding_raised".to_owned()), ..Line::default() };
        let of = |time: Timestamp| Some(i64::try_from(time.as_nanos()).expect("this century"));
        expected.time = of(sample::TIME);
        expected.finding = line::Finding {
            rule: Some("rego:own".to_owned()),
            about: Some("curl -> 10.0.0.2:80".to_owned()),
            severity: Some("warning".to_owned()),
            summary: Some("curl talks".to_owned()),
            first: of(sample::TIME.before(Duration::from_secs(7))),
            last: of(sample::TIME),
            count: Some(3),
        };
        let keys = [
            "timestamp",
            "tlsight.event",
            "tlsight.phase",
            "tlsight.connection",
            "tlsight.duration_ms",
            "tlsight.security",
            "tlsight.findings",
            "tlsight.finding.rule",
            "tlsight.finding.about",
            "tlsight.finding.severity",
            "tlsight.finding.summary",
            "tlsight.finding.first_seen",
            "tlsight.finding.last_seen",
            "tlsight.finding.count",
            "network.peer.address",
            "network.peer.port",
            "process.pid",
            "tls.resumed",
            "tls.server.hash.sha256",
            "tls.server.self_signed",
            "tlsight.server.san",
        ];
        let values = [
            Value::from("final"),
            Value::Number(-7),
            Value::Flag(true),
            Value::Time(0),
            Value::List(vec!["a.test".to_owned()]),
        ];
        assert_eq!(both_ways(&raised(Evidence::default())), [expected.clone(), expected.clone()]);
        for (value, key) in values.iter().flat_map(|value| keys.map(|key| (value, key))) {
            let mut evidence = Evidence::default();
            evidence.set(key, value.clone());
            let lines = both_ways(&raised(evidence));
            assert_eq!(lines, [expected.clone(), expected.clone()], "{key}: {value:?}");
        }
    }
}
