//! `PeerAuthentication`: mesh-wide in the root namespace, namespace-wide without a selector, for workloads with one; UNSET
//! leaves it to the next wider, and in the end to PERMISSIVE. Of several at one level the oldest counts, alone.

use std::sync::Arc;

use crate::policy::documents::PolicySettings;
use crate::policy::documents::field::Field;
use crate::policy::documents::problem::{Problems, Severity};
use crate::policy::documents::resource::Resource;
use crate::policy::documents::schema::match_labels;
use crate::policy::expectation::{Expectation, Mode, Origin};
use crate::policy::rule::{Effect, Level, Rule};
use crate::policy::selector::{Pattern, PortMatch, Selector};

/// Ports of the sidecar itself (metrics, probes, Envoy's metrics), whose traffic it does not take: they are plaintext, also
/// where STRICT is. <https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio>
const OWN_PORTS: [u16; 3] = [15_020, 15_021, 15_090];

pub(super) const KIND: &str = "PeerAuthentication";

pub(super) fn read(resource: &Resource<'_>, settings: &PolicySettings, problems: &mut Problems) -> Vec<Rule> {
    // Without a spec it says UNSET.
    let spec = match resource.root.get("spec") {
        Some(spec) if !spec.expect_map(problems) => return Vec::new(),
        Some(spec) => {
            spec.only(&["selector", "mtls", "portLevelMtls"], Severity::Warning, problems);
            spec
        }
        None => resource.root.clone(),
    };
    let before = problems.errors();
    let labels = labels(&spec, problems);
    if problems.errors() != before {
        return Vec::new();
    }
    let ports = spec.map("portLevelMtls", problems);
    let namespace = resource.namespace_or_default();
    let in_root = namespace == settings.istio_root_namespace;
    if labels.is_empty() {
        if let Some(ports) = &ports {
            problems.error(ports, "needs a `selector`: Istio refuses ports for a whole mesh or namespace");
        }
    } else if in_root && let Some(selector) = spec.get("selector") {
        problems
            .warning(&selector, "Istio passes over selectors in its root namespace: this applies to nothing");
        return Vec::new();
    }

    let mtls = spec.map("mtls", problems);
    if let Some(mtls) = &mtls {
        mtls.only(&["mode"], Severity::Warning, problems);
    }
    let mut rule = Rule::new(effect(resource, &mtls.unwrap_or_else(|| spec.clone()), problems));
    rule.level = match (labels.is_empty(), in_root) {
        (false, _) => Level::Workload,
        (true, false) => Level::Namespace,
        (true, true) => Level::Mesh,
    };
    rule.exclusive = true;
    let others = vec![PortMatch::Other(OWN_PORTS.to_vec())];
    rule.selector = Selector { in_mesh: true, ports: others, ..Selector::default() };
    rule.selector.server.labels.equal = labels;
    if !in_root {
        rule.selector.server.namespaces = vec![Pattern::new(namespace)];
    }

    let mut rules = Vec::new();
    if let Some(ports) = ports {
        let entries = ports.entries(problems);
        if entries.is_empty() {
            problems.error(&ports, "must have at least one port");
        }
        for (key, field) in entries {
            let Some(port) = key.parse().ok().filter(|port| *port > 0_u16) else {
                problems.error(&field, "must be a port number from 1 to 65535");
                continue;
            };
            field.expect_map(problems);
            rules.push(Rule {
                port: true,
                effect: effect(resource, &field, problems),
                selector: Selector { ports: vec![PortMatch::one(port)], ..rule.selector.clone() },
                ..rule.clone()
            });
        }
    }
    rules.push(rule);
    rules
}

/// The labels a workload must have. A selector without any selects everything, as none does.
fn labels(spec: &Field<'_>, problems: &mut Problems) -> Vec<(String, String)> {
    let Some(selector) = spec.map("selector", problems) else { return Vec::new() };
    selector.only(&["matchLabels"], Severity::Warning, problems);
    selector.get("matchLabels").map(|labels| match_labels(&labels, problems)).unwrap_or_default()
}

/// What a mapping with a `mode` says.
fn effect(resource: &Resource<'_>, field: &Field<'_>, problems: &mut Problems) -> Effect {
    let mode = field.get("mode");
    let origin =
        |at: &Field<'_>| -> Arc<Origin> { resource.origin(KIND, Some(resource.namespace_or_default()), at) };
    let expect = |mode, origin| Expectation { mode, allowed_clients: None, trust: None, origin };
    let Some(mode) = mode else {
        return Effect::Inherit(expect(Mode::Permissive, origin(field)));
    };
    let origin = origin(&mode);
    match mode.as_text(problems) {
        Some("STRICT") => Effect::Expect(expect(Mode::Strict, origin)),
        Some("PERMISSIVE") => Effect::Expect(expect(Mode::Permissive, origin)),
        Some("DISABLE") => Effect::Expect(expect(Mode::Disable, origin)),
        Some("UNSET") | None => Effect::Inherit(expect(Mode::Permissive, origin)),
        Some(_) => {
            problems.error(&mode, "must be STRICT, PERMISSIVE, DISABLE or UNSET");
            Effect::Inherit(expect(Mode::Permissive, origin))
        }
    }
}
