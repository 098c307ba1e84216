//! Which connections are shown.

use agent_core::observation::{Observation, Security};
use agent_core::policy::finding::{Evidence, Value};
use agent_core::policy::judge;
use agent_core::policy::ledger::Change;
use agent_core::policy::selector::Pattern;

/// All conditions must hold; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these ports is at either end.
    pub ports: Vec<u16>,
    /// One of these processes owns the local end.
    pub processes: Vec<ProcessMatch>,
    /// The verdict is one of these.
    pub security: Vec<Security>,
    /// Leave out connections that the source did not see begin.
    pub no_existing: bool,
}

/// Names a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessMatch {
    /// By process id.
    Pid(u32),
    /// By the name of its executable, in which `*` stands for any characters.
    Name(Pattern),
}

impl ProcessMatch {
    /// A number is a process id, everything else a name.
    pub fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(pid) => ProcessMatch::Pid(pid),
            Err(_) => ProcessMatch::Name(Pattern::new(text)),
        }
    }
}

impl Filter {
    /// Whether an observation is to be shown.
    pub fn accepts(&self, observation: &Observation) -> bool {
        let tuple = &observation.tuple;
        let port = |p: &u16| *p == tuple.local.port || *p == tuple.peer.port;
        let process = |m: &ProcessMatch| {
            observation.process.as_ref().is_some_and(|process| match m {
                ProcessMatch::Pid(pid) => process.pid == *pid,
                ProcessMatch::Name(name) => name.matches(&process.executable_name),
            })
        };
        (self.ports.is_empty() || self.ports.iter().any(port))
            && (self.processes.is_empty() || self.processes.iter().any(process))
            && (self.security.is_empty() || self.security.contains(&observation.security))
    }

    /// Whether news of a finding are of connections that are to be shown, as far as the last of them tells. The client's port
    /// is not among what a finding says.
    pub fn accepts_news(&self, news: &judge::Output) -> bool {
        match news {
            judge::Output::Finding(
                Change::Raised(standing) | Change::Updated(standing) | Change::Cleared(standing, _),
            ) => self.accepts_evidence(&standing.finding.evidence),
            judge::Output::CertificateReplaced(_) => true,
        }
    }

    fn accepts_evidence(&self, evidence: &Evidence) -> bool {
        let text = |key: &str| evidence.get(key).map(Value::to_string);
        let is_port = |port: &u16| text("server.port").is_some_and(|is| is == port.to_string());
        let process = |m: &ProcessMatch| match m {
            ProcessMatch::Pid(pid) => text("process.pid").is_some_and(|is| is == pid.to_string()),
            ProcessMatch::Name(name) => text("process.executable.name").is_some_and(|is| name.matches(&is)),
        };
        let security = text("tlsight.security");
        (self.ports.is_empty() || self.ports.iter().any(is_port))
            && (self.processes.is_empty() || self.processes.iter().any(process))
            && (self.security.is_empty()
                || self.security.iter().any(|verdict| security.as_deref() == Some(verdict.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_core::event::Process;
    use agent_core::policy::about::About;
    use agent_core::policy::finding::{Finding, RuleId, Severity};
    use agent_core::policy::ledger::Standing;
    use agent_core::time::Timestamp;

    use super::*;
    use crate::export::sample;

    #[test]
    fn processes_are_named_with_stars_or_by_number() {
        let mut observation = sample::plaintext();
        observation.process = Some(Arc::new(Process { pid: 7, executable_name: "python3.11".to_owned() }));
        for (text, expected) in
            [("python3.11", true), ("python3*", true), ("python", false), ("7", true), ("8", false)]
        {
            let filter = Filter { processes: vec![ProcessMatch::parse(text)], ..Filter::default() };
            assert_eq!(filter.accepts(&observation), expected, "{text}");
        }
    }

    #[test]
    fn news_of_connections_that_are_left_out_are_left_out() {
        let mut evidence = Evidence::default();
        evidence.set("server.port", 443_u16);
        evidence.set("process.executable.name", "curl");
        evidence.set("tlsight.security", "tls");
        let finding = Finding {
            rule: RuleId::CertificateExpired,
            about: About::Other("it".into()),
            severity: Severity::Warning,
            summary: String::new(),
            advice: "".into(),
            evidence,
            turn: None,
        };
        let at = Timestamp(0);
        let standing = Standing { finding, first_seen: at, last_seen: at, count: 1 };
        let news = judge::Output::Finding(Change::Raised(Box::new(standing)));
        let none = Filter::default;
        for (filter, expected) in [
            (none(), true),
            (Filter { ports: vec![80, 443], ..none() }, true),
            (Filter { ports: vec![80], ..none() }, false),
            (Filter { processes: vec![ProcessMatch::parse("cu*")], ..none() }, true),
            (Filter { processes: vec![ProcessMatch::parse("wget")], ..none() }, false),
            (Filter { security: vec![Security::Tls], ..none() }, true),
            (Filter { security: vec![Security::Mtls], ..none() }, false),
        ] {
            assert_eq!(filter.accepts_news(&news), expected, "{filter:?}");
        }
    }
}
