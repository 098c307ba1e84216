//! `DestinationRule`: what clients do on their way to a host. Looked for in the client's namespace, then the service's, then
//! the root namespace; within one, a host's own rule before the longest wildcard.

use crate::net::Side;
use crate::policy::documents::PolicySettings;
use crate::policy::documents::field::Field;
use crate::policy::documents::problem::{Problems, Severity};
use crate::policy::documents::resource::Resource;
use crate::policy::documents::schema::match_labels;
use crate::policy::expectation::{Expectation, Mode};
use crate::policy::rule::{Effect, Level, Lookup, Rule};
use crate::policy::selector::{Pattern, PortMatch};

pub(super) const KIND: &str = "DestinationRule";

/// Selectors of clients, then subsets, come before how much of a host is named: no name is that long.
const BY_SUBSET: u16 = 1_000;
const BY_CLIENT: u16 = 2_000;

pub(super) fn read(resource: &Resource<'_>, settings: &PolicySettings, problems: &mut Problems) -> Vec<Rule> {
    let Some(spec) = resource.spec(problems) else { return Vec::new() };
    let Some(host) = spec.get("host") else {
        problems.error(&spec, "needs a `host`");
        return Vec::new();
    };
    let Some(name) = host.as_text(problems) else { return Vec::new() };
    if name.strip_prefix('*').unwrap_or(name).contains('*') || (name.starts_with('*') && !is_wildcard(name)) {
        problems.error(&host, "may have a wildcard only as its first label: *.example.com");
    }
    let template = template(resource, settings, &spec, name, problems);
    let Some(policy) = spec.map("trafficPolicy", problems) else {
        return subsets(resource, &template, None, &spec, problems);
    };
    let mut rules = Vec::new();
    let mut settled = Vec::new();
    for port in policy.list("portLevelSettings", problems) {
        let Some(number) = port.at(&["port", "number"]).and_then(|number| number.as_port(problems)) else {
            problems.error(&port, "needs a `port.number`");
            continue;
        };
        settled.push(number);
        if let Some((mode, at)) = mode(&port, problems) {
            let mut rule = with(resource, &template, mode, &at);
            rule.port = true;
            rule.selector.ports = vec![PortMatch::Dialled(number)];
            rules.push(rule);
        }
    }
    let base = mode(&policy, problems);
    if let Some((mode, at)) = &base {
        let mut rule = with(resource, &template, *mode, at);
        if !settled.is_empty() {
            // What a port's settings leave out is not taken from here: it is not set.
            rule.selector.ports = vec![PortMatch::DialledOther(settled)];
        }
        rules.push(rule);
    }
    rules.extend(subsets(resource, &template, base.map(|(mode, _)| mode), &spec, problems));
    rules
}

fn is_wildcard(host: &str) -> bool {
    host == "*" || host.starts_with("*.")
}

/// A rule that has everything but what it expects.
fn template(
    resource: &Resource<'_>,
    settings: &PolicySettings,
    spec: &Field<'_>,
    host: &str,
    problems: &mut Problems,
) -> Rule {
    let namespace = resource.namespace_or_default();
    // A name without dots is a Service next to the rule.
    let host = match host.contains('.') || host == "*" {
        true => host.to_owned(),
        false => format!("{host}.{namespace}.svc.{}", settings.cluster_domain),
    };
    let mut exported_to = Vec::new();
    for item in spec.list("exportTo", problems) {
        match item.as_text(problems) {
            Some("*") | None => {}
            Some("." | "~") => exported_to.push(namespace.to_owned()),
            Some(other) => exported_to.push(other.to_owned()),
        }
    }
    if spec.list("exportTo", problems).iter().any(|item| item.as_text(problems) == Some("*")) {
        exported_to.clear();
    }
    let nothing = Expectation {
        mode: Mode::Permissive,
        allowed_clients: None,
        trust: None,
        origin: resource.origin(KIND, None, spec),
    };
    let mut rule = Rule::new(Effect::Expect(nothing));
    rule.side = Side::Client;
    rule.level = match (host.as_str(), is_wildcard(&host)) {
        ("*", _) => Level::Mesh,
        (_, true) => Level::Namespace,
        (_, false) => Level::Workload,
    };
    rule.conditions = u16::try_from(host.len()).unwrap_or(BY_SUBSET).min(BY_SUBSET - 1);
    let suffix = format!(".svc.{}", settings.cluster_domain);
    let service = host.strip_suffix(&suffix).and_then(|service| service.split_once('.'));
    if let Some((name, of)) = service.filter(|(name, _)| *name != "*") {
        rule.selector.server.services = vec![Pattern::new(name)];
        rule.selector.server.namespaces = vec![Pattern::new(of)];
    } else {
        rule.selector.host = Some(host);
    }
    if let Some(selector) = spec.map("workloadSelector", problems) {
        if let Some(labels) = selector.get("matchLabels") {
            rule.selector.client.labels.equal = match_labels(&labels, problems);
        }
        exported_to = vec![namespace.to_owned()];
        rule.conditions = rule.conditions.saturating_add(BY_CLIENT);
    }
    let root = namespace == settings.istio_root_namespace;
    rule.lookup = Some(Lookup { namespace: namespace.to_owned(), root, exported_to });
    rule
}

fn with(resource: &Resource<'_>, template: &Rule, mode: Mode, at: &Field<'_>) -> Rule {
    let origin = resource.origin(KIND, Some(resource.namespace_or_default()), at);
    let expectation = Expectation { mode, allowed_clients: None, trust: None, origin };
    Rule { effect: Effect::Expect(expectation), ..template.clone() }
}

/// The TLS mode of traffic settings, and where it stands; `None` where they leave it to Istio.
fn mode<'a>(policy: &Field<'a>, problems: &mut Problems) -> Option<(Mode, Field<'a>)> {
    let tls = policy.map("tls", problems)?;
    let Some(mode) = tls.get("mode") else {
        problems.error(&tls, "needs a `mode`: DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL");
        return None;
    };
    let value = match mode.as_text(problems)? {
        "DISABLE" => Mode::Disable,
        "SIMPLE" => Mode::Tls,
        "MUTUAL" => {
            let named = |key| tls.get(key).is_some();
            let complete = named("credentialName") || (named("clientCertificate") && named("privateKey"));
            if !complete {
                problems
                    .error(&tls, "MUTUAL needs `clientCertificate` and `privateKey`, or a `credentialName`");
            }
            Mode::Strict
        }
        "ISTIO_MUTUAL" => {
            for key in ["clientCertificate", "privateKey", "caCertificates"] {
                if let Some(field) = tls.get(key) {
                    problems.push(
                        Severity::Warning,
                        field.place(),
                        Some(field.path().to_owned()),
                        String::from("does not count: ISTIO_MUTUAL uses Istio's own certificates"),
                    );
                }
            }
            Mode::Strict
        }
        _ => {
            problems.error(&mode, "must be DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL");
            return None;
        }
    };
    Some((value, mode))
}

/// Subsets that ask for less than the rule as a whole. Which subset a client uses is up to routes that are not known here:
/// what asks for more would be a guess.
fn subsets(
    resource: &Resource<'_>,
    template: &Rule,
    base: Option<Mode>,
    spec: &Field<'_>,
    problems: &mut Problems,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for subset in spec.list("subsets", problems) {
        if subset.text("name", problems).is_none() {
            problems.error(&subset, "needs a `name`");
        }
        let labels = subset.get("labels").map(|labels| match_labels(&labels, problems)).unwrap_or_default();
        let Some(policy) = subset.map("trafficPolicy", problems) else { continue };
        let Some((mode, at)) = mode(&policy, problems) else { continue };
        if base.is_some_and(|base| mode < base) {
            let mut rule = with(resource, template, mode, &at);
            rule.selector.server.labels.equal = labels;
            rule.conditions = rule.conditions.saturating_add(BY_SUBSET);
            rules.push(rule);
        }
    }
    rules
}
