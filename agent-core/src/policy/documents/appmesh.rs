//! AWS App Mesh: the TLS of listeners of `VirtualNode` and `VirtualGateway`, as Kubernetes objects or as the API gives them.
//! <https://docs.aws.amazon.com/app-mesh/latest/userguide/tls.html>

use std::sync::Arc;

use super::field::Field;
use super::problem::{Problems, Severity};
use super::resource::Resource;
use super::schema::label_selector;
use super::{Dialect, PolicySettings};
use crate::policy::expectation::{AllowedClients, Expectation, Mode};
use crate::policy::rule::{Effect, Level, Rule};
use crate::policy::selector::{Pattern, PortMatch, Selector};

const GROUP: &str = "appmesh.k8s.aws";
const NODE: &str = "VirtualNode";
const GATEWAY: &str = "VirtualGateway";

/// Resources read so far, as rules: none names another.
#[derive(Debug, Default)]
pub(super) struct AppMesh {
    rules: Vec<Rule>,
}

impl Dialect for AppMesh {
    fn claims(&self, resource: &Resource<'_>) -> bool {
        let is_kind = matches!(resource.kind, NODE | GATEWAY);
        // The form that the API gives has neither version nor kind: it was known by its other keys.
        let from_api = resource.api_version.is_empty() && resource.root.get("type").is_none();
        is_kind && (resource.group() == GROUP || from_api)
    }

    fn add(&mut self, resource: &Resource<'_>, number: u32, _: &PolicySettings, problems: &mut Problems) {
        let before = problems.errors();
        if let Some(version) = resource.root.get("apiVersion").filter(|_| resource.version() != "v1beta2") {
            problems.error(&version, format!("unknown version; there is {GROUP}/v1beta2"));
            return;
        }
        let named = resource.is_named(problems);
        let Some(spec) = resource.spec(problems) else { return };
        let selector = selector(resource, &spec, problems);
        let mut rules = Vec::new();
        for listener in spec.list("listeners", problems) {
            rules.extend(rule(resource, &listener, problems));
        }
        if !named || problems.errors() != before {
            return;
        }
        let Some(selector) = selector else {
            if !rules.is_empty() {
                problems.warning(
                    &spec,
                    "has no `podSelector` and no DNS name: which pods it is about cannot be told",
                );
            }
            return;
        };
        for (i, mut rule) in (0_u32..).zip(rules) {
            rule.selector = Selector { ports: std::mem::take(&mut rule.selector.ports), ..selector.clone() };
            rule.order = (0, number, i);
            self.rules.push(rule);
        }
    }

    fn finish(self: Box<Self>, _: &PolicySettings, _: &mut Problems) -> Vec<Rule> {
        self.rules
    }
}

/// Whom a node is about: the pods of its selector, or the name under which it is found.
fn selector(resource: &Resource<'_>, spec: &Field<'_>, problems: &mut Problems) -> Option<Selector> {
    let mut selector = Selector::default();
    // An empty selector is about all pods of the namespace, a missing one about none.
    if let Some(pods) = spec.get("podSelector") {
        selector.in_mesh = true;
        selector.server.namespaces = vec![Pattern::new(resource.namespace_or_default())];
        selector.server.labels = label_selector(&pods, problems);
        return Some(selector);
    }
    let name = spec.at(&["serviceDiscovery", "dns", "hostname"])?;
    selector.host = Some(name.as_text(problems)?.to_owned());
    Some(selector)
}

/// What a listener demands; `None` where it says nothing about TLS.
fn rule(resource: &Resource<'_>, listener: &Field<'_>, problems: &mut Problems) -> Option<Rule> {
    let Some(port) = listener.at(&["portMapping", "port"]) else {
        problems.error(listener, "needs a `portMapping.port`");
        return None;
    };
    let port = port.as_port(problems)?;
    let tls = listener.map("tls", problems)?;
    tls.only(&["mode", "certificate", "validation"], Severity::Warning, problems);
    let Some(mode) = tls.get("mode") else {
        problems.error(&tls, "needs a `mode`: STRICT, PERMISSIVE or DISABLED");
        return None;
    };
    let validation = tls.map("validation", problems);
    let value = match mode.as_text(problems)? {
        // Clients have to show a certificate where the listener has something to validate it with.
        "STRICT" if validation.is_some() => Mode::Strict,
        "STRICT" => Mode::Tls,
        "PERMISSIVE" => Mode::Permissive,
        "DISABLED" => Mode::Disable,
        _ => {
            problems.error(&mode, "must be STRICT, PERMISSIVE or DISABLED");
            return None;
        }
    };
    let names = validation.and_then(|validation| validation.at(&["subjectAlternativeNames", "match"]));
    let names = names.map(|names| names.texts("exact", problems)).unwrap_or_default();
    let allowed = (value == Mode::Strict && !names.is_empty()).then(|| {
        let (spiffe_ids, sans) =
            names.into_iter().map(str::to_owned).partition(|name: &String| name.starts_with("spiffe://"));
        Arc::new(AllowedClients { sans, spiffe_ids, ..AllowedClients::default() })
    });
    let kind = if resource.kind == GATEWAY { GATEWAY } else { NODE };
    let namespace = (!resource.api_version.is_empty()).then(|| resource.namespace_or_default());
    let expectation = Expectation {
        mode: value,
        allowed_clients: allowed,
        trust: None,
        origin: resource.origin(kind, namespace, &mode),
    };
    let mut rule = Rule::new(Effect::Expect(expectation));
    rule.level = Level::Workload;
    rule.port = true;
    rule.created = resource.created.map(str::to_owned);
    rule.selector.ports = vec![PortMatch::one(port)];
    Some(rule)
}
