//! Whether names and policies can be had from Kubernetes.

use std::path::Path;
use std::time::Duration;

use super::{Check, Outcome};
use crate::enrich::kubernetes::{Api, Permission, Source, check};
use crate::exit::Exit;

/// How long the API may take for all questions.
const LIMIT: Duration = Duration::from_secs(10);

/// The checks; none outside of Kubernetes. Whatever is missing, the rest works.
pub(super) fn checks(kubeconfig: Option<&Path>) -> Vec<Check> {
    let Some(source) = Source::find(kubeconfig) else { return Vec::new() };
    match check(&source, LIMIT) {
        Ok(api) => of(&api),
        Err(why) => vec![degraded(
            "Kubernetes API".to_owned(),
            why,
            "names of pods, workloads, Services and nodes, and policies that are kept there".to_owned(),
            "let the agent reach the API server: --kubeconfig, or a service account".to_owned(),
        )],
    }
}

fn of(api: &Api) -> Vec<Check> {
    let mut checks = vec![Check::ok("Kubernetes API", api.version.clone())];
    let (allowed, refused): (Vec<_>, Vec<_>) = api.permissions.iter().partition(|p| p.refused.is_empty());
    let names: Vec<&str> = allowed.iter().map(|permission| permission.resource).collect();
    if !names.is_empty() {
        checks.push(Check::ok("Kubernetes: may read", names.join(" ")));
    }
    checks.extend(refused.into_iter().map(|Permission { group, resource, lost, refused }| {
        let group = if group.is_empty() { "the core group".to_owned() } else { format!("apiGroup {group}") };
        degraded(
            format!("Kubernetes: {resource}"),
            format!("not permitted: {}", refused.join(", ")),
            (*lost).to_owned(),
            format!("allow list and watch of {resource} ({group}) to the agent's role"),
        )
    }));
    checks
}

fn degraded(name: String, found: String, lost: String, fix: String) -> Check {
    let (lost, fix) = (Some(lost), Some(fix));
    Check { name, outcome: Outcome::Degraded, found, lost, fix, files: Vec::new(), exit: Exit::Ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_may_not_be_read_is_named_with_what_is_lost() {
        let permission = |resource, refused| Permission { group: "", resource, lost: "names", refused };
        let api = Api {
            version: "v1.33.1".to_owned(),
            permissions: vec![permission("pods", vec![]), permission("nodes", vec!["watch"])],
        };
        let told: Vec<_> = of(&api)
            .into_iter()
            .map(|check| (check.name, check.outcome, check.found, check.lost, check.fix))
            .collect();
        let fix = "allow list and watch of nodes (the core group) to the agent's role".to_owned();
        assert_eq!(
            told,
            [
                ("Kubernetes API".into(), Outcome::Ok, "v1.33.1".into(), None, None),
                ("Kubernetes: may read".into(), Outcome::Ok, "pods".into(), None, None),
                (
                    "Kubernetes: nodes".into(),
                    Outcome::Degraded,
                    "not permitted: watch".into(),
                    Some("names".into()),
                    Some(fix)
                ),
            ]
        );
    }
}
