//! Who may call which targets where several documents say so together, each about targets of its own: Kuma's
//! `MeshTrafficPermission`. Lists that one document gives whole are [`AllowedClients`](super::expectation::AllowedClients).

use std::sync::Arc;

use super::expectation::Origin;
use super::selector::Selector;
use super::target::Target;

/// Which clients an entry means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// All.
    Any,
    /// The one with this SPIFFE id.
    Id(String),
    /// Those whose SPIFFE id begins so.
    Prefix(String),
    /// Which ones cannot be told from their identity.
    Unknown,
}

impl Who {
    fn means(&self, id: Option<&str>) -> Option<bool> {
        match self {
            Who::Any => Some(true),
            Who::Id(wanted) => Some(id == Some(wanted)),
            Who::Prefix(prefix) => Some(id.is_some_and(|id| id.starts_with(prefix.as_str()))),
            Who::Unknown => None,
        }
    }
}

/// What an entry says of the clients that it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// They get in, unless somebody denies them.
    Allow,
    /// They do not get in, whoever allows them.
    Deny,
    /// They get in, unless a later entry says otherwise.
    AllowInOrder,
    /// They do not get in, unless a later entry says otherwise.
    DenyInOrder,
}

/// What one document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The targets that it is about.
    pub selector: Selector,
    /// What it says of clients.
    pub entries: Vec<(Who, Says)>,
    /// Where it says so.
    pub origin: Arc<Origin>,
}

/// Several documents, the widest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions(pub Vec<Permission>);

/// Whether a client gets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// No document is about the target.
    Unspoken,
    /// It depends on clients that cannot be told.
    Unknown,
    /// It gets in.
    Admitted,
    /// It does not, because of this document: it denies it, or is the last of those that do not allow it.
    Refused(Arc<Origin>),
}

impl Permissions {
    /// Whether nobody says anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a client with this SPIFFE id may call a target.
    pub fn admits(&self, target: &Target<'_>, id: Option<&str>) -> Admission {
        let about: Vec<&Permission> = self.0.iter().filter(|p| p.selector.matches(target).is_ok()).collect();
        let Some(last) = about.last() else { return Admission::Unspoken };
        let of = |says: Says| {
            let entries = about.iter().flat_map(|p| p.entries.iter().map(move |entry| (*p, entry)));
            entries.filter(move |(_, (_, said))| *said == says).map(move |(p, (who, _))| (p, who.means(id)))
        };
        if let Some((denying, _)) = of(Says::Deny).find(|(_, means)| *means == Some(true)) {
            return Admission::Refused(Arc::clone(&denying.origin));
        }
        if of(Says::Deny).any(|(_, means)| means.is_none()) {
            return Admission::Unknown;
        }
        if of(Says::Allow).any(|(_, means)| means == Some(true)) {
            return Admission::Admitted;
        }
        let is_unknown = of(Says::Allow).any(|(_, means)| means.is_none());
        for permission in about.iter().rev() {
            for (who, says) in permission.entries.iter().rev() {
                let answer = match says {
                    Says::AllowInOrder => Admission::Admitted,
                    Says::DenyInOrder => Admission::Refused(Arc::clone(&permission.origin)),
                    Says::Allow | Says::Deny => continue,
                };
                match who.means(id) {
                    Some(true) => return answer,
                    Some(false) => {}
                    None => return Admission::Unknown,
                }
            }
        }
        if is_unknown { Admission::Unknown } else { Admission::Refused(Arc::clone(&last.origin)) }
    }
}
