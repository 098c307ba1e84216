//! What services and callers are called: by names that outlive a connection; by address only where there is none.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::line::End;

/// Somebody's name. The kind of a workload is its own (`Deployment`); the others are `Service`, `systemd_unit`, `executable`,
/// `node`, `address`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// What kind of name it is.
    pub kind: String,
    /// Kubernetes namespace.
    #[serde(rename = "k8s.namespace.name", default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The container that an executable of this name runs in: each has its own.
    #[serde(rename = "container.id", default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// Kind of a name that is only an address.
pub const ADDRESS: &str = "address";

impl Name {
    fn new(kind: &str, name: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), name: name.into(), ..Self::default() }
    }

    /// An address.
    pub fn address(address: IpAddr) -> Self {
        Self::new(ADDRESS, address.to_string())
    }

    /// It is only an address: something better may become known.
    pub fn is_address(&self) -> bool {
        self.kind == ADDRESS
    }

    /// The workload, unit or executable of an end, where known.
    pub fn of(end: &End) -> Option<Self> {
        if let (Some(kind), Some(name)) = (&end.workload_kind, &end.workload_name) {
            return Some(Self { namespace: end.namespace.clone(), ..Self::new(kind, name) });
        }
        // Sessions and the units of users hold whatever somebody runs by hand.
        let is_own = |unit: &&String| {
            unit.ends_with(".service") && !unit.starts_with("user@") && end.container.is_none()
        };
        if let Some(unit) = end.unit.as_ref().filter(is_own) {
            return Some(Self::new("systemd_unit", unit));
        }
        let path = end.executable_path.as_ref().or(end.usual_path.as_ref());
        let executable = path.or(end.executable_name.as_ref())?;
        Some(Self { container: end.container.clone(), ..Self::new("executable", executable) })
    }

    /// The Service that was dialled to reach an end.
    pub fn service(end: &End) -> Option<Self> {
        let name = end.service.as_ref()?;
        Some(Self { namespace: end.namespace.clone(), ..Self::new("Service", name) })
    }

    /// The node that an end belongs to.
    pub fn node(end: &End) -> Option<Self> {
        end.node.as_ref().map(|node| Self::new("node", node))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind.as_str(), &self.namespace) {
            (kind, Some(namespace)) => write!(f, "{kind} {namespace}/{}", self.name)?,
            ("node", None) => write!(f, "node {}", self.name)?,
            ("systemd_unit" | "executable" | ADDRESS, None) => f.write_str(&self.name)?,
            (kind, None) => write!(f, "{kind} {}", self.name)?,
        }
        match &self.container {
            // As container runtimes abbreviate them.
            Some(id) => write!(f, " in container {}", id.get(..12).unwrap_or(id)),
            None => Ok(()),
        }
    }
}

/// A service: who answers, at which port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceName {
    /// Who answers.
    #[serde(flatten)]
    pub name: Name,
    /// Port.
    #[serde(rename = "server.port")]
    pub port: u16,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.is_address() && self.name.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> End {
        End {
            executable_path: Some("/usr/sbin/nginx".to_owned()),
            executable_name: Some("nginx".to_owned()),
            ..End::default()
        }
    }

    fn shown(end: &End) -> Option<String> {
        Name::of(end).map(|name| name.to_string())
    }

    #[test]
    fn the_most_lasting_name_counts() {
        assert_eq!(shown(&End::default()), None);
        let mut end = end();
        assert_eq!(shown(&end).as_deref(), Some("/usr/sbin/nginx"));
        end.unit = Some("session-3.scope".to_owned());
        assert_eq!(shown(&end).as_deref(), Some("/usr/sbin/nginx"));
        end.unit = Some("nginx.service".to_owned());
        assert_eq!(shown(&end).as_deref(), Some("nginx.service"));
        end.container = Some("7d1c0c3e6f4b9999".to_owned());
        assert_eq!(shown(&end).as_deref(), Some("/usr/sbin/nginx in container 7d1c0c3e6f4b"));
        // Gone before it could be looked at: one caller all the same.
        let gone = End {
            usual_path: Some("/usr/bin/curl".to_owned()),
            executable_name: Some("curl".to_owned()),
            ..End::default()
        };
        assert_eq!(shown(&gone).as_deref(), Some("/usr/bin/curl"));
        assert_eq!(shown(&End { usual_path: None, ..gone }).as_deref(), Some("curl"));
        end.workload_kind = Some("Deployment".to_owned());
        end.workload_name = Some("web".to_owned());
        end.namespace = Some("shop".to_owned());
        assert_eq!(shown(&end).as_deref(), Some("Deployment shop/web"));
    }

    #[test]
    fn addresses_with_colons_are_told_from_their_ports() {
        let name = Name::address("::1".parse().expect("an address"));
        assert_eq!(ServiceName { name, port: 443 }.to_string(), "[::1]:443");
    }
}
