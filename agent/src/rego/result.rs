//! What a rule gave, made into findings of bounded size.

use agent_core::policy::finding::{Evidence, Severity, Value};
use serde_json::Value as Json;

/// Findings of one package on one connection.
pub(super) const FINDINGS: usize = 16;
/// Keys of evidence.
const KEYS: usize = 16;
/// Texts in a list.
const LIST: usize = 16;
/// Bytes of a sentence, of a text in the evidence, and of a key or an id.
const SENTENCE: usize = 512;
const TEXT: usize = 256;
const KEY: usize = 64;

/// What a finding is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Who calls what.
    #[default]
    Connection,
    /// What is called.
    Server,
    /// The certificate that the server showed.
    ServerCertificate,
    /// The one that the client showed.
    ClientCertificate,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "connection" => Kind::Connection,
            "server" => Kind::Server,
            "server_certificate" => Kind::ServerCertificate,
            "client_certificate" => Kind::ClientCertificate,
            _ => return None,
        })
    }
}

/// One finding as a rule gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// What tells it from the package's other findings.
    pub(super) id: Option<String>,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) advice: Option<String>,
    pub(super) about: Kind,
    pub(super) evidence: Evidence,
}

/// What was found, and what of it was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    pub(super) found: Vec<Found>,
    /// Findings beyond the bound.
    pub(super) over_bound: u64,
    /// Texts that were shortened, and evidence that was left out.
    pub(super) cut: u64,
    /// What is wrong with findings that do not look as they should.
    pub(super) bad: Vec<String>,
}

impl Results {
    /// Takes the members of a set (which JSON has no word for) or an array.
    pub(super) fn of(value: Json) -> Self {
        let mut results = Results::default();
        let Json::Array(members) = value else {
            results.bad.push(format!("`findings` is {}, not a set of objects", kind(&value)));
            return results;
        };
        results.over_bound = u64::try_from(members.len().saturating_sub(FINDINGS)).unwrap_or(u64::MAX);
        for member in members.into_iter().take(FINDINGS) {
            match results.finding(member) {
                Ok(found) => results.found.push(found),
                Err(reason) => results.bad.push(reason),
            }
        }
        results
    }

    fn finding(&mut self, member: Json) -> Result<Found, String> {
        let Json::Object(fields) = member else {
            return Err(format!("a finding is {}, not an object", kind(&member)));
        };
        let mut message = None;
        let mut found = Found {
            id: None,
            severity: Severity::Warning,
            message: String::new(),
            advice: None,
            about: Kind::default(),
            evidence: Evidence::default(),
        };
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("message", Json::String(text)) if !text.is_empty() => {
                    message = Some(self.cut(text, SENTENCE));
                }
                ("advice", Json::String(text)) => found.advice = Some(self.cut(text, SENTENCE)),
                ("severity", Json::String(text)) => {
                    found.severity = severity(&text).ok_or_else(|| {
                        format!("severity {text:?} is none of information, warning, critical")
                    })?;
                }
                ("about", Json::String(text)) => {
                    found.about = Kind::parse(&text).ok_or_else(|| {
                        format!(
                            "about {text:?} is none of connection, server, server_certificate, client_certificate"
                        )
                    })?;
                }
                ("id", Json::String(text)) => {
                    let is_good = (1..=KEY).contains(&text.len())
                        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
                    if !is_good {
                        return Err(format!(
                            "id {:?} is not one of letters, digits, `_`, `-` and `.`, at most {KEY}",
                            self.cut(text, KEY)
                        ));
                    }
                    found.id = Some(text);
                }
                ("evidence", Json::Object(evidence)) => {
                    for (key, value) in evidence {
                        self.evidence(&mut found.evidence, key, value);
                    }
                }
                ("message" | "advice" | "severity" | "about" | "id" | "evidence", value) => {
                    return Err(format!("{name} is {}", kind(&value)));
                }
                (other, _) => return Err(format!("a finding has no field {other:?}")),
            }
        }
        found.message = message.ok_or("a finding has no message")?;
        Ok(found)
    }

    fn evidence(&mut self, evidence: &mut Evidence, key: String, value: Json) {
        // What a line says of the finding itself is not evidence: a key is there once.
        let is_taken =
            matches!(key.as_str(), "timestamp" | "tlsight.event") || key.starts_with("tlsight.finding.");
        if evidence.iter().count() >= KEYS || key.len() > KEY || key.is_empty() || is_taken {
            self.cut += 1;
            return;
        }
        let value = match value {
            Json::Null => return,
            Json::Bool(flag) => Value::Flag(flag),
            Json::Number(number) => {
                number.as_i64().map_or_else(|| Value::from(number.to_string()), Value::Number)
            }
            Json::String(text) => Value::from(self.cut(text, TEXT)),
            Json::Array(values) => {
                self.cut += u64::from(values.len() > LIST);
                let text = |value: Json| match value {
                    Json::String(text) => self.cut(text, TEXT),
                    other => self.cut(other.to_string(), TEXT),
                };
                Value::List(values.into_iter().take(LIST).map(text).collect())
            }
            // Evidence is flat.
            Json::Object(_) => Value::from(self.cut(value.to_string(), TEXT)),
        };
        evidence.set(key, value);
    }

    /// The text, or as much of its beginning as fits.
    fn cut(&mut self, mut text: String, most: usize) -> String {
        if text.len() > most {
            self.cut += 1;
            let mut at = most.saturating_sub('…'.len_utf8());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.truncate(at);
            text.push('…');
        }
        text
    }
}

fn severity(text: &str) -> Option<Severity> {
    [Severity::Information, Severity::Warning, Severity::Critical].into_iter().find(|s| s.as_str() == text)
}

/// What a value is, in a sentence.
fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(text) if text.is_empty() => "an empty text",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_of_a_finding_counts() {
        let results = Results::of(json!([{
            "id": "old", "severity": "critical", "message": "m", "advice": "a", "about": "server_certificate",
            "evidence": {"n": 7, "half": 0.5, "yes": true, "text": "t", "list": ["x", 1], "none": null, "deep": {"a": 1},
                "timestamp": "now", "tlsight.event": "x", "tlsight.finding.rule": "weak_cipher"}
        }]));
        let mut evidence = Evidence::default();
        evidence.set("n", 7i64);
        evidence.set("half", "0.5");
        evidence.set("yes", Value::Flag(true));
        evidence.set("text", "t");
        evidence.set("list", Value::List(vec!["x".into(), "1".into()]));
        evidence.set("deep", r#"{"a":1}"#);
        let found = Found {
            id: Some("old".into()),
            severity: Severity::Critical,
            message: "m".into(),
            advice: Some("a".into()),
            about: Kind::ServerCertificate,
            evidence,
        };
        assert_eq!(results, Results { found: vec![found], cut: 3, ..Results::default() });
    }

    #[test]
    fn what_is_no_finding_is_told() {
        for (value, reason) in [
            (json!({"message": "m"}), "`findings` is an object, not a set of objects"),
            (json!(["m"]), "a finding is a text, not an object"),
            (json!([{}]), "a finding has no message"),
            (json!([{"message": ""}]), "message is an empty text"),
            (json!([{"message": 7}]), "message is a number"),
            (json!([{"message": "m", "severity": "bad"}]), "severity \"bad\" is none of"),
            (json!([{"message": "m", "about": "me"}]), "about \"me\" is none of"),
            (json!([{"message": "m", "id": "a b"}]), "id \"a b\" is not one of"),
            (json!([{"message": "m", "id": 7}]), "id is a number"),
            (json!([{"message": "m", "evidence": []}]), "evidence is an array"),
            (json!([{"message": "m", "msg": "m"}]), "no field \"msg\""),
        ] {
            let results = Results::of(value.clone());
            assert!(results.found.is_empty(), "{value}");
            assert!(matches!(results.bad.as_slice(), [bad] if bad.contains(reason)), "{value}: {results:?}");
        }
        // Others of the same set count all the same.
        let results = Results::of(json!([{"message": "m"}, 7]));
        assert_eq!((results.found.len(), results.bad.len()), (1, 1));
    }

    #[test]
    fn too_many_and_too_large_results_are_bounded_and_counted() {
        let many: Vec<_> = (0..FINDINGS + 5).map(|n| json!({"message": n.to_string()})).collect();
        let results = Results::of(json!(many));
        assert_eq!((results.found.len(), results.over_bound, results.cut), (FINDINGS, 5, 0));

        let evidence: serde_json::Map<_, _> = (0..KEYS + 3).map(|n| (format!("k{n:02}"), json!(n))).collect();
        let results = Results::of(json!([{"message": "é".repeat(SENTENCE), "evidence": evidence}]));
        let found = &results.found[0];
        assert_eq!(found.evidence.iter().count(), KEYS);
        assert!(found.message.len() <= SENTENCE && found.message.ends_with("é…"), "{}", found.message);
        assert_eq!(results.cut, 1 + 3);

        let long = json!({"a": "x".repeat(TEXT + 1), "b": vec!["y"; LIST + 1], "c": ["z".repeat(TEXT + 1)], "k".repeat(KEY + 1): 1});
        let results = Results::of(json!([{"message": "m", "evidence": long}]));
        assert_eq!(results.cut, 4);
        let Some(Value::List(list)) = results.found[0].evidence.get("b") else { panic!("a list") };
        assert_eq!(list.len(), LIST);
    }
}
