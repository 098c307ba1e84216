//! Who is let through.

use std::sync::Arc;

use crate::policy::documents::PolicySettings;
use crate::policy::documents::field::Field;
use crate::policy::documents::problem::Problems;
use crate::policy::expectation::{AllowedClients, Mode, Origin};

/// Something that lets clients through, and what it asks of them.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) mode: Mode,
    pub(super) clients: Identities,
    pub(super) origin: Arc<Origin>,
}

/// Identities that clients may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identities {
    /// Everybody, whatever else is named.
    pub(super) any: bool,
    pub(super) named: AllowedClients,
}

impl Identities {
    pub(super) fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// An identity as Linkerd writes it: a DNS name or a SPIFFE id, `*` for everybody, `*.` before the end of a name.
    pub(super) fn add(&mut self, identity: &str) {
        if identity == "*" {
            self.any = true;
        } else if identity.starts_with("spiffe://") {
            self.named.spiffe_ids.push(identity.to_owned());
        } else {
            self.named.sans.push(identity.to_owned());
        }
    }

    /// The identity of a service account; of every one in its namespace where there is no name.
    pub(super) fn add_account(&mut self, name: Option<&str>, namespace: &str, settings: &PolicySettings) {
        let (control, domain) = (&settings.linkerd_namespace, &settings.linkerd_trust_domain);
        let name = name.unwrap_or("*");
        self.named.sans.push(format!("{name}.{namespace}.serviceaccount.identity.{control}.{domain}"));
    }

    pub(super) fn merge(&mut self, other: Identities) {
        self.any |= other.any;
        self.named.sans.extend(other.named.sans);
        self.named.spiffe_ids.extend(other.named.spiffe_ids);
    }

    /// As an expectation has it.
    pub(super) fn allowed(mut self) -> Option<Arc<AllowedClients>> {
        if self.any {
            return None;
        }
        for list in [&mut self.named.sans, &mut self.named.spiffe_ids] {
            list.sort();
            list.dedup();
        }
        Some(Arc::new(self.named))
    }
}

/// Linkerd's words for who is let through where nothing else says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Deny,
    Authenticated,
    Unauthenticated,
}

impl Access {
    /// `deny`, `all-authenticated` ...; an error for anything else.
    pub(super) fn read(field: &Field<'_>, problems: &mut Problems) -> Option<Self> {
        match field.as_text(problems)? {
            "deny" => Some(Access::Deny),
            "all-authenticated" | "cluster-authenticated" => Some(Access::Authenticated),
            // Audit lets everything through, and writes down what it would not have.
            "all-unauthenticated" | "cluster-unauthenticated" | "audit" => Some(Access::Unauthenticated),
            _ => {
                problems.error(
                    field,
                    "must be deny, all-authenticated, cluster-authenticated, all-unauthenticated, \
                     cluster-unauthenticated or audit",
                );
                None
            }
        }
    }

    /// What it asks for, and of whom.
    pub(super) fn terms(self) -> (Mode, Identities) {
        match self {
            // Who gets in by other means comes with mesh TLS or is told by those means.
            Access::Deny => (Mode::Strict, Identities::default()),
            Access::Authenticated => (Mode::Strict, Identities::any()),
            Access::Unauthenticated => (Mode::Permissive, Identities::any()),
        }
    }
}
