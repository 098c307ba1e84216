//! One statement of a document, in the words that all dialects share.

use std::cmp::Ordering;
use std::sync::Arc;

use super::expectation::{Expectation, Mode, Origin};
use super::selector::{Mismatch, Selector};
use super::target::Target;
use crate::net::Side;

/// How narrow a rule is; the later ones are narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Mesh,
    /// A namespace, or a network.
    Namespace,
    /// A workload, a Service, a process, an address, a host.
    Workload,
}

impl Level {
    /// `mesh`, `namespace` or `workload`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Mesh => "mesh",
            Level::Namespace => "namespace",
            Level::Workload => "workload",
        }
    }
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// This is expected.
    Expect(Expectation),
    /// What the next wider rule says is expected (Istio's UNSET); where there is none, this.
    Inherit(Expectation),
}

impl Effect {
    /// What is expected, or would be if nothing wider said anything.
    pub const fn expectation(&self) -> &Expectation {
        match self {
            Effect::Expect(expectation) | Effect::Inherit(expectation) => expectation,
        }
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The end that it binds: what a server must demand, or what a client must do on its way to one.
    pub side: Side,
    /// What it is about.
    pub selector: Selector,
    /// How narrow that is.
    pub level: Level,
    /// It is an exception from what its document says otherwise.
    pub exception: bool,
    /// It is about some ports only.
    pub port: bool,
    /// How many conditions it names, in dialects where the one with more wins.
    pub conditions: u16,
    /// What it says.
    pub effect: Effect,
    /// Of the documents with such rules at this level, only the first that matches counts.
    pub exclusive: bool,
    /// For the client side: the namespace in whose eyes it counts (a client's own namespace comes first), and the one that
    /// counts for everybody.
    pub lookup: Option<Lookup>,
    /// When the resource was made, RFC 3339 in UTC: sorts as text.
    pub created: Option<String>,
    /// Index of the dialect, then of the document, then within it.
    pub(crate) order: (u8, u32, u32),
}

/// Where Istio looks for a DestinationRule: in the client's namespace, the service's, the root namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The namespace that the rule is in.
    pub namespace: String,
    /// It is the root namespace.
    pub root: bool,
    /// The namespaces that see it; empty: all.
    pub exported_to: Vec<String>,
}

impl Lookup {
    /// How near the rule is to a connection: 0 the client's own namespace, 1 the service's, 2 the root.
    fn distance(&self, target: &Target<'_>) -> Option<u8> {
        // It is a sidecar that does what the rule says: of a node's own programs, and of whoever calls from outside, nothing
        // is expected.
        if target.client_in_mesh() == Some(false) {
            return None;
        }
        let client = target.client_namespace();
        if client == Some(self.namespace.as_str()) {
            return Some(0);
        }
        let seen =
            self.exported_to.is_empty() || client.is_some_and(|c| self.exported_to.iter().any(|n| n == c));
        if !seen {
            return None;
        }
        if target.namespace() == Some(self.namespace.as_str()) {
            return Some(1);
        }
        self.root.then_some(2)
    }
}

impl Rule {
    /// A rule for servers that applies to everything; what narrows it is set afterwards.
    pub(crate) fn new(effect: Effect) -> Self {
        Self {
            side: Side::Server,
            selector: Selector::default(),
            level: Level::Mesh,
            exception: false,
            port: false,
            conditions: 0,
            effect,
            exclusive: false,
            lookup: None,
            created: None,
            order: (0, 0, 0),
        }
    }

    /// The place in the document that it comes from.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.effect.expectation().origin
    }

    /// What it expects; `None`: what something wider does.
    pub fn mode(&self) -> Option<Mode> {
        match &self.effect {
            Effect::Expect(expectation) => Some(expectation.mode),
            Effect::Inherit(_) => None,
        }
    }

    /// Whether it is about a target, and how near to its client.
    pub(crate) fn matches(&self, target: &Target<'_>) -> Result<u8, Mismatch> {
        self.selector.matches(target)?;
        match &self.lookup {
            None => Ok(0),
            Some(lookup) => lookup.distance(target).ok_or(Mismatch::Client),
        }
    }

    /// What names its document among those of the same age.
    fn document_name(&self) -> (&str, &str) {
        let origin = self.origin();
        (origin.namespace.as_deref().unwrap_or(""), &origin.name)
    }

    /// Oldest first; those of unknown age last, by name.
    pub(crate) fn by_age(&self, other: &Rule) -> Ordering {
        let age = |rule: &Rule| (rule.created.is_none(), rule.created.clone());
        age(self)
            .cmp(&age(other))
            .then_with(|| self.document_name().cmp(&other.document_name()))
            .then_with(|| self.order.cmp(&other.order))
    }

    /// What wins stands first, among rules for the same side that are as near.
    pub(crate) fn by_precedence(&self, other: &Rule) -> Ordering {
        let narrow = |rule: &Rule| (rule.level, rule.exception, rule.port);
        narrow(other)
            .cmp(&narrow(self))
            .then_with(|| self.order.0.cmp(&other.order.0))
            .then_with(|| other.conditions.cmp(&self.conditions))
            .then_with(|| self.by_age(other))
    }
}
