//! Tells what is wrong with policies of the API, each thing once.

use std::collections::HashSet;

use agent_core::policy::documents::{Problem, Severity};

use super::DOCUMENT;
use crate::enrich::kubernetes::note;

/// Problems that are kept in mind.
const MAX_TOLD: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Teller {
    told: HashSet<String>,
    untold: u64,
}

impl Teller {
    /// Tells what was not wrong before, and gives how many resources have errors.
    pub(super) fn tell(&mut self, problems: &[Problem]) -> u64 {
        let (lines, invalid) = self.news(problems);
        for line in lines {
            note(&line);
        }
        invalid
    }

    /// Problems that did not fit into memory and were not told.
    pub(super) fn untold(&self) -> u64 {
        self.untold
    }

    fn news(&mut self, problems: &[Problem]) -> (Vec<String>, u64) {
        let of_api = || problems.iter().filter(|problem| &*problem.document == DOCUMENT);
        let lines: Vec<String> = of_api().map(ToString::to_string).collect();
        let invalid: HashSet<&str> = of_api()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| problem.resource.as_deref().unwrap_or_default())
            .collect();
        let now: HashSet<&str> = lines.iter().map(String::as_str).collect();
        // What was repaired is told again should it come back.
        self.told.retain(|line| now.contains(line.as_str()));
        let mut news = Vec::new();
        for line in &lines {
            if self.told.contains(line) {
                continue;
            }
            if self.told.len() >= MAX_TOLD {
                self.untold += 1;
                continue;
            }
            self.told.insert(line.clone());
            news.push(line.clone());
        }
        (news, u64::try_from(invalid.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(resource: &str, severity: Severity) -> Problem {
        Problem {
            severity,
            document: DOCUMENT.into(),
            place: None,
            resource: Some(resource.to_owned()),
            field: Some("spec.mtls.mode".to_owned()),
            reason: "is no mode".to_owned(),
        }
    }

    #[test]
    fn tells_each_problem_once_and_again_when_it_comes_back() {
        let mut teller = Teller::default();
        let wrong = [problem("PeerAuthentication a/b", Severity::Error)];
        let line = "kubernetes: error: PeerAuthentication a/b: spec.mtls.mode: is no mode".to_owned();
        assert_eq!(teller.news(&wrong), (vec![line.clone()], 1));
        assert_eq!(teller.news(&wrong), (vec![], 1));
        assert_eq!(teller.news(&[]), (vec![], 0));
        assert_eq!(teller.news(&wrong), (vec![line], 1));
    }

    #[test]
    fn counts_resources_with_errors_not_problems() {
        let wrong = [
            problem("PeerAuthentication a/b", Severity::Error),
            Problem { field: None, ..problem("PeerAuthentication a/b", Severity::Error) },
            problem("PeerAuthentication a/c", Severity::Warning),
        ];
        assert_eq!(Teller::default().news(&wrong).1, 1);
    }

    #[test]
    fn leaves_problems_of_files_to_whoever_read_them() {
        let of_file =
            Problem { document: "policy.yaml".into(), ..problem("TlsightPolicy a", Severity::Error) };
        assert_eq!(Teller::default().news(&[of_file]), (vec![], 0));
    }

    #[test]
    fn counts_what_does_not_fit() {
        let many: Vec<Problem> =
            (0..MAX_TOLD + 3).map(|i| problem(&format!("Mesh {i}"), Severity::Error)).collect();
        let mut teller = Teller::default();
        assert_eq!(teller.news(&many).0.len(), MAX_TOLD);
        assert_eq!(teller.untold(), 3);
    }
}
