//! Documents that say what is expected: tlsight's own and those of service meshes, from files or from the Kubernetes API.
//!
//! A dialect is one file here and one line in [`DIALECTS`]. It takes resources one by one, and makes rules of them when all
//! are there, because some of them name one another.

mod appmesh;
mod field;
mod istio;
mod kuma;
mod limits;
mod linkerd;
mod node;
mod problem;
mod resource;
mod schema;
mod tlsight;

use std::sync::Arc;

pub use self::limits::{Counters, Limits};
pub use self::node::Place;
pub use self::problem::{Problem, Severity};

use self::field::Field;
use self::problem::Problems;
use self::resource::Resource;
use super::rule::Rule;
use super::set::PolicySet;

/// Every dialect and its name. Of rules that are as narrow, those of the dialect that comes first here win.
const DIALECTS: &[(&str, NewDialect)] = &[
    ("tlsight", || Box::new(tlsight::Tlsight::default())),
    ("istio", || Box::new(istio::Istio::default())),
    ("linkerd", || Box::new(linkerd::Linkerd::default())),
    ("kuma", || Box::new(kuma::Kuma::default())),
    ("appmesh", || Box::new(appmesh::AppMesh::default())),
];

/// Makes a dialect that has read nothing.
type NewDialect = fn() -> Box<dyn Dialect>;

/// The name of a dialect by its index.
pub(crate) fn dialect_name(index: u8) -> &'static str {
    DIALECTS.get(usize::from(index)).map_or("unknown", |(name, _)| name)
}

/// What the documents do not say themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    /// Istio's root namespace (`meshConfig.rootNamespace`).
    pub istio_root_namespace: String,
    /// Namespace of Linkerd's control plane.
    pub linkerd_namespace: String,
    /// Linkerd's trust domain (`identityTrustDomain`).
    pub linkerd_trust_domain: String,
    /// Namespace of Kuma's control plane.
    pub kuma_system_namespace: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            istio_root_namespace: String::from("istio-system"),
            linkerd_namespace: String::from("linkerd"),
            linkerd_trust_domain: String::from("cluster.local"),
            kuma_system_namespace: String::from("kuma-system"),
            cluster_domain: String::from("cluster.local"),
        }
    }
}

/// One way to write down what is expected.
pub(crate) trait Dialect {
    /// Whether a resource is written in it and says something about expectations.
    fn claims(&self, resource: &Resource<'_>) -> bool;

    /// Takes a resource that it claims. `number` tells documents apart.
    fn add(
        &mut self,
        resource: &Resource<'_>,
        number: u32,
        settings: &PolicySettings,
        problems: &mut Problems,
    );

    /// Makes rules of all that was taken.
    fn finish(self: Box<Self>, settings: &PolicySettings, problems: &mut Problems) -> Vec<Rule>;
}

/// Documents being read.
pub struct Documents {
    settings: PolicySettings,
    limits: Limits,
    counters: Counters,
    problems: Problems,
    dialects: Vec<Box<dyn Dialect>>,
    ignored: Vec<String>,
    number: u32,
}

/// What became of documents.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is expected.
    pub set: PolicySet,
    /// What is wrong with them, in the order in which it was met.
    pub problems: Vec<Problem>,
    /// How many there were, and what was left out.
    pub counters: Counters,
    /// Kinds of resources that say nothing about expectations, as `apps/v1 Deployment`.
    pub ignored: Vec<String>,
}

impl Documents {
    /// None yet.
    pub fn new(settings: PolicySettings, limits: Limits) -> Self {
        Self {
            settings,
            limits,
            counters: Counters::default(),
            problems: Problems::new(limits.problems),
            dialects: DIALECTS.iter().map(|(_, new)| new()).collect(),
            ignored: Vec::new(),
            number: 0,
        }
    }

    /// Reads a text of one or several documents, YAML or JSON.
    pub fn add_text(&mut self, document: &str, text: &str) {
        self.problems.document = Arc::from(document);
        self.problems.resource = None;
        if text.len() > self.limits.bytes {
            bump(&mut self.counters.texts_too_long);
            let reason = format!("is longer than {} bytes: split it", self.limits.bytes);
            self.problems.push(Severity::Error, None, None, reason);
            return;
        }
        for (i, read) in node::read(text, &self.limits).into_iter().enumerate() {
            self.problems.resource = None;
            if i >= self.limits.documents {
                bump(&mut self.counters.documents_over_limit);
                let reason = format!("has more than {} documents: split it", self.limits.documents);
                self.problems.push(Severity::Error, None, None, reason);
                break;
            }
            match read {
                Ok(root) => self.add(&Field::root(&root)),
                Err(error) => {
                    if error.too_much {
                        bump(&mut self.counters.documents_too_large);
                    }
                    self.problems.push(Severity::Error, error.place, None, error.reason);
                }
            }
        }
    }

    /// Takes one resource as the Kubernetes API gives it.
    pub fn add_json(&mut self, document: &str, value: &serde_json::Value) {
        self.problems.document = Arc::from(document);
        self.problems.resource = None;
        match node::from_json(value, &self.limits) {
            Some(root) => self.add(&Field::root(&root)),
            None => {
                bump(&mut self.counters.documents_too_large);
                self.problems.push(Severity::Error, None, None, String::from("has too many values"));
            }
        }
    }

    /// Something is wrong with a document that its text does not show: it could not be read.
    pub fn add_problem(&mut self, document: &str, reason: &str) {
        self.problems.document = Arc::from(document);
        self.problems.resource = None;
        self.problems.push(Severity::Error, None, None, reason.to_owned());
    }

    fn add(&mut self, root: &Field<'_>) {
        // Lists nest no deeper than documents do.
        if resource::is_list(root) {
            for item in root.list("items", &mut self.problems) {
                self.add(&item.as_root());
                self.problems.resource = None;
            }
            return;
        }
        let Some(resource) = Resource::new(root, &mut self.problems) else { return };
        self.problems.resource = Some(resource.title());
        let Some(dialect) = self.dialects.iter_mut().find(|dialect| dialect.claims(&resource)) else {
            bump(&mut self.counters.resources_ignored);
            self.ignore(&resource);
            return;
        };
        if usize::try_from(self.counters.resources).is_ok_and(|n| n >= self.limits.resources) {
            bump(&mut self.counters.resources_over_limit);
            let reason = format!("left out: there are more than {} resources", self.limits.resources);
            self.problems.push(Severity::Error, root.place(), None, reason);
            return;
        }
        bump(&mut self.counters.resources);
        self.number = self.number.saturating_add(1);
        dialect.add(&resource, self.number, &self.settings, &mut self.problems);
    }

    /// Keeps the kind of a resource that says nothing, once.
    fn ignore(&mut self, resource: &Resource<'_>) {
        /// How many kinds are kept: a cluster has a few hundred.
        const KINDS: usize = 500;
        let kind = format!("{} {}", resource.api_version, resource.kind);
        if self.ignored.len() < KINDS && !self.ignored.contains(&kind) {
            self.ignored.push(kind);
        }
    }

    /// Makes a set of all of them.
    pub fn finish(mut self) -> Loaded {
        let mut rules = Vec::new();
        for (i, dialect) in (0_u8..).zip(self.dialects) {
            let mut made = dialect.finish(&self.settings, &mut self.problems);
            for rule in &mut made {
                rule.order.0 = i;
            }
            rules.append(&mut made);
        }
        let over = rules.len().saturating_sub(self.limits.rules);
        if over > 0 {
            rules.truncate(self.limits.rules);
            self.counters.rules_over_limit = u64::try_from(over).unwrap_or(u64::MAX);
        }
        self.counters.problems_over_limit = self.problems.over_limit;
        Loaded {
            set: PolicySet::new(rules),
            problems: self.problems.list,
            counters: self.counters,
            ignored: self.ignored,
        }
    }
}

impl Default for Documents {
    fn default() -> Self {
        Self::new(PolicySettings::default(), Limits::default())
    }
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents").field("counters", &self.counters).finish_non_exhaustive()
    }
}

fn bump(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests;
