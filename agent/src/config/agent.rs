//! The long-running agent itself.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::{Switch, duration, write_duration};
use crate::report::socket::DEFAULT_PATH;

/// How long exporters may take to hand on what they hold when the agent ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What is given up of the rights that the process was started with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Nothing.
    Off,
    /// Every capability and every system call that nothing here needs.
    #[default]
    On,
    /// CAP_SYS_ADMIN too, which some kernels want for probes, and all for the sockets of other network namespaces.
    Strict,
}

impl<'de> Deserialize<'de> for Sandbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "strict" => Ok(Sandbox::Strict),
            "on" | "true" => Ok(Sandbox::On),
            "off" | "false" => Ok(Sandbox::Off),
            _ => Err(D::Error::custom("expected on, off or strict")),
        }
    }
}

impl Serialize for Sandbox {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Sandbox::Off => "off",
            Sandbox::On => "on",
            Sandbox::Strict => "strict",
        })
    }
}

/// How the agent lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// Whether `tlsight report` and `tlsight top` are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Switch>,
    /// The Unix socket on which they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Whether files that changed are read anew without being asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload: Option<Switch>,
    /// How long exporters may take to hand on what they hold when the agent ends.
    #[serde(
        deserialize_with = "duration",
        serialize_with = "write_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub shutdown_timeout: Option<Duration>,
    /// Whether command lines of processes are told; they may hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_args: Option<Switch>,
    /// What is given up of the rights that it was started with; `watch` and `top` heed it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
}

impl Agent {
    /// With defaults in place of what is absent.
    #[must_use]
    pub fn settled(self) -> Self {
        Self {
            answer: self.answer.or(Some(Switch::On)),
            socket: self.socket.or_else(|| Some(DEFAULT_PATH.into())),
            reload: self.reload.or(Some(Switch::On)),
            shutdown_timeout: self.shutdown_timeout.or(Some(SHUTDOWN_TIMEOUT)),
            command_args: self.command_args.or(Some(Switch::Off)),
            sandbox: self.sandbox.or(Some(Sandbox::On)),
        }
    }

    /// How long exporters may take at the end.
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout.unwrap_or(SHUTDOWN_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn reads_every_key_and_writes_what_it_reads() {
        let text = "agent:\n  answer: off\n  socket: /run/a.sock\n  reload: off\n  shutdown_timeout: 1m 30s\n  \
                    command_args: on\n  sandbox: strict\n";
        let agent = Agent {
            answer: Some(Switch::Off),
            socket: Some("/run/a.sock".into()),
            reload: Some(Switch::Off),
            shutdown_timeout: Some(Duration::from_secs(90)),
            command_args: Some(Switch::On),
            sandbox: Some(Sandbox::Strict),
        };
        let config = Config { agent, ..Config::default() };
        assert_eq!(Config::parse(text), Ok(config.clone()));
        assert_eq!(Config::parse(&config.to_string()), Ok(config));
    }

    #[test]
    fn a_sandbox_is_on_off_or_strict() {
        let of = |text: &str| Config::parse(&format!("agent: {{sandbox: {text}}}")).map(|c| c.agent.sandbox);
        assert_eq!(of("on"), Ok(Some(Sandbox::On)));
        assert_eq!(of("false"), Ok(Some(Sandbox::Off)));
        assert_eq!(of("strict"), Ok(Some(Sandbox::Strict)));
        assert!(of("tight").is_err_and(|e| e.contains("agent.sandbox: expected on, off or strict")));
    }

    #[test]
    fn settled_settings_are_read_as_they_are_written() {
        let config = Config { agent: Agent::default().settled(), ..Config::default() };
        assert_eq!(Config::parse(&config.to_string()), Ok(config));
    }
}
