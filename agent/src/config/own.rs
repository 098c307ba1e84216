//! Settings of one's own rules and of the audit log.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, write_duration};
use crate::audit::Format;

/// Rules of one's own, in Rego.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Files and folders with policies in Rego.
    pub files: Vec<PathBuf>,
    /// Time that a package may take for a connection.
    #[serde(
        deserialize_with = "duration",
        serialize_with = "write_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub time_limit: Option<Duration>,
    /// Failures in a row after which a package is not asked for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u32>,
}

/// The audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// File; `-` is standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// In whose words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Bytes at which a file gives way to the next; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Files that are kept besides the one that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn reads_every_key_of_rules_and_audit() {
        let config = Config::parse(
            "rules:\n  files: [a.rego, rules]\n  time_limit: 5ms\n  max_failures: 3\n\
             audit:\n  log: /var/log/audit.log\n  format: ecs\n  max_size: 1000000\n  keep: 7\n",
        );
        let rules = Rules {
            files: vec!["a.rego".into(), "rules".into()],
            time_limit: Some(Duration::from_millis(5)),
            max_failures: Some(3),
        };
        let audit = Audit {
            log: Some("/var/log/audit.log".into()),
            format: Some(Format::Ecs),
            max_size: Some(1_000_000),
            keep: Some(7),
        };
        assert_eq!(config, Ok(Config { rules, audit, ..Config::default() }));
    }

    #[test]
    fn errors_in_rules_and_audit_say_where_and_what() {
        for (text, place, what) in [
            ("rules:\n  file: a.rego\n", "line 2, column 3", "file"),
            ("rules:\n  time_limit: 0s\n", "line 2, column 15", "longer than zero"),
            ("audit:\n  format: cef\n", "line 2, column 11", "cef"),
            ("audit:\n  max_size: -1\n", "line 2, column 13", ""),
        ] {
            let error = Config::parse(text).expect_err(text);
            assert!(error.contains(place) && error.contains(what), "{text:?}: {error}");
        }
    }
}
