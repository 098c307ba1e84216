//! `Server`, and what applies to ports without one.

use std::sync::Arc;

use super::client::{Access, Grant};
use crate::policy::documents::field::Field;
use crate::policy::documents::node::Value;
use crate::policy::documents::problem::{Problems, Severity};
use crate::policy::documents::resource::Resource;
use crate::policy::documents::schema::label_selector;
use crate::policy::expectation::{Expectation, Mode, Origin};
use crate::policy::rule::{Effect, Level, Rule};
use crate::policy::selector::{LabelSelector, Pattern, PortMatch};

const KIND: &str = "Server";

/// A port of some pods.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The labels of the Server itself, by which `ServerAuthorization` may select it.
    pub(super) labels: std::collections::BTreeMap<String, String>,
    pods: LabelSelector,
    port: PortMatch,
    access: Access,
    origin: Arc<Origin>,
    created: Option<String>,
    number: u32,
}

impl Server {
    pub(super) fn read(resource: &Resource<'_>, number: u32, problems: &mut Problems) -> Option<Self> {
        let spec = resource.spec(problems)?;
        let known = ["podSelector", "externalWorkloadSelector", "port", "proxyProtocol", "accessPolicy"];
        spec.only(&known, Severity::Warning, problems);
        let pods = spec.get("podSelector");
        match (&pods, spec.get("externalWorkloadSelector")) {
            (None, None) => problems.error(&spec, "needs a `podSelector`"),
            (None, Some(field)) => {
                problems.warning(&field, "external workloads are not known here: this applies to nothing");
                return None;
            }
            _ => {}
        }
        let port = match spec.get("port") {
            None => {
                problems.error(&spec, "needs a `port`");
                None
            }
            Some(field) => port(&field, problems),
        };
        if let Some(field) = spec.get("proxyProtocol") {
            let known = ["unknown", "HTTP/1", "HTTP/2", "gRPC", "opaque", "TLS"];
            if field.as_text(problems).is_some_and(|protocol| !known.contains(&protocol)) {
                problems.error(&field, format!("must be one of {}", known.join(", ")));
            }
        }
        let access = spec.get("accessPolicy");
        let metadata = resource.root.get("metadata");
        let labels = metadata.and_then(|metadata| metadata.get("labels"));
        let labels = labels.map(|l| super::super::schema::match_labels(&l, problems)).unwrap_or_default();
        Some(Self {
            namespace: resource.namespace_or_default().to_owned(),
            name: resource.name.unwrap_or_default().to_owned(),
            labels: labels.into_iter().collect(),
            pods: label_selector(&pods?, problems),
            port: port?,
            access: match &access {
                Some(field) => Access::read(field, problems)?,
                None => Access::Deny,
            },
            origin: resource.origin(
                KIND,
                Some(resource.namespace_or_default()),
                access.as_ref().unwrap_or(&spec),
            ),
            created: resource.created.map(str::to_owned),
            number,
        })
    }

    /// What is expected, given everything that lets clients through: the least that any of them asks for.
    pub(super) fn rule(&self, grants: impl Iterator<Item = Grant>) -> Rule {
        let (mode, clients) = self.access.terms();
        let own = Grant { mode, clients, origin: Arc::clone(&self.origin) };
        let merged = grants.fold(own, |mut all, grant| {
            // Nobody is let through by a policy that denies: of what is as strict, the one that lets through is told.
            if grant.mode < all.mode || (grant.mode == all.mode && Arc::ptr_eq(&all.origin, &self.origin)) {
                all.origin = grant.origin;
            }
            all.mode = all.mode.min(grant.mode);
            all.clients.merge(grant.clients);
            all
        });
        let expectation = Expectation {
            mode: merged.mode,
            // Who comes without a certificate has no identity to compare.
            allowed_clients: merged.clients.allowed().filter(|_| merged.mode == Mode::Strict),
            trust: None,
            origin: merged.origin,
        };
        let mut rule = Rule::new(Effect::Expect(expectation));
        rule.level = Level::Workload;
        rule.port = true;
        rule.created.clone_from(&self.created);
        rule.order = (0, self.number, 0);
        rule.selector.in_mesh = true;
        rule.selector.server.namespaces = vec![Pattern::new(self.namespace.as_str())];
        rule.selector.server.labels = self.pods.clone();
        rule.selector.ports = vec![self.port.clone()];
        rule
    }
}

fn port(field: &Field<'_>, problems: &mut Problems) -> Option<PortMatch> {
    match &field.node().value {
        Value::Text(name) if name.parse::<u16>().is_err() && !name.is_empty() => {
            Some(PortMatch::Name(name.clone()))
        }
        _ => field.as_port(problems).map(PortMatch::one),
    }
}

/// The annotation of a namespace that says what applies to ports without a Server.
pub(super) fn annotation<'a>(resource: &Resource<'a>) -> Option<Field<'a>> {
    resource.root.at(&["metadata", "annotations", "config.linkerd.io/default-inbound-policy"])
}

/// What applies in a namespace to ports without a Server.
#[derive(Debug)]
pub(super) struct NamespaceDefault {
    namespace: String,
    access: Access,
    origin: Arc<Origin>,
    number: u32,
}

impl NamespaceDefault {
    pub(super) fn read(resource: &Resource<'_>, number: u32, problems: &mut Problems) -> Option<Self> {
        let field = annotation(resource)?;
        Some(Self {
            namespace: resource.name?.to_owned(),
            access: Access::read(&field, problems)?,
            origin: resource.origin("Namespace", None, &field),
            number,
        })
    }

    pub(super) fn rule(&self) -> Rule {
        let (mode, clients) = self.access.terms();
        let expectation = Expectation {
            mode,
            allowed_clients: clients.allowed(),
            trust: None,
            origin: Arc::clone(&self.origin),
        };
        let mut rule = Rule::new(Effect::Expect(expectation));
        rule.level = Level::Namespace;
        rule.order = (0, self.number, 0);
        rule.selector.in_mesh = true;
        rule.selector.server.namespaces = vec![Pattern::new(self.namespace.as_str())];
        rule
    }
}
