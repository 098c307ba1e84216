//! Istio: `PeerAuthentication` (what a server must demand) and the TLS settings of `DestinationRule` (what a client must
//! do). <https://istio.io/latest/docs/reference/config/security/peer_authentication/>

mod destination_rule;
mod peer_authentication;

use super::problem::{Problems, Severity};
use super::resource::Resource;
use super::{Dialect, PolicySettings};
use crate::policy::rule::Rule;

/// Resources read so far, as rules: none names another.
#[derive(Debug, Default)]
pub(super) struct Istio {
    rules: Vec<Rule>,
}

impl Dialect for Istio {
    fn claims(&self, resource: &Resource<'_>) -> bool {
        matches!(
            (resource.group(), resource.kind),
            ("security.istio.io", peer_authentication::KIND)
                | ("networking.istio.io", destination_rule::KIND)
        )
    }

    fn add(
        &mut self,
        resource: &Resource<'_>,
        number: u32,
        settings: &PolicySettings,
        problems: &mut Problems,
    ) {
        let before = problems.errors();
        let (versions, read): (&[&str], Read) = match resource.kind {
            peer_authentication::KIND => (&["v1", "v1beta1"], peer_authentication::read),
            _ => (&["v1", "v1beta1", "v1alpha3"], destination_rule::read),
        };
        if !versions.contains(&resource.version())
            && let Some(version) = resource.root.get("apiVersion")
        {
            problems.error(&version, format!("unknown version; there are: {}", versions.join(", ")));
            return;
        }
        let named = resource.is_named(problems);
        if resource.namespace.is_none() {
            let at = resource.root.get("metadata").unwrap_or_else(|| resource.root.clone());
            let reason = "has no `namespace`: taken to be in `default`, as kubectl does";
            problems.push(
                Severity::Warning,
                at.place(),
                Some(String::from("metadata.namespace")),
                reason.into(),
            );
        }
        let mut rules = read(resource, settings, problems);
        if !named || problems.errors() != before {
            return;
        }
        for (i, rule) in (0_u32..).zip(&mut rules) {
            rule.created = resource.created.map(str::to_owned);
            rule.order = (0, number, i);
        }
        self.rules.append(&mut rules);
    }

    fn finish(self: Box<Self>, _: &PolicySettings, _: &mut Problems) -> Vec<Rule> {
        self.rules
    }
}

type Read = fn(&Resource<'_>, &PolicySettings, &mut Problems) -> Vec<Rule>;
