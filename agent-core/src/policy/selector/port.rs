//! Ports.

use crate::policy::target::Target;

/// Which port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortMatch {
    /// Numbers from the first to the last, of the port that the server listens on.
    Number(u16, u16),
    /// The name of a port in the pod.
    Name(String),
    /// The server listens on a port that is none of these.
    Other(Vec<u16>),
    /// The number of the port that the client dialled: a Service's, where there is one.
    Dialled(u16),
    /// The client dialled a port that is none of these.
    DialledOther(Vec<u16>),
}

impl PortMatch {
    /// One port.
    pub const fn one(port: u16) -> Self {
        PortMatch::Number(port, port)
    }

    pub(crate) fn matches(&self, target: &Target<'_>) -> bool {
        match self {
            PortMatch::Number(first, last) => (*first..=*last).contains(&target.port),
            PortMatch::Name(name) => target.port_name == Some(name),
            PortMatch::Other(ports) => !ports.contains(&target.port),
            PortMatch::Dialled(port) => target.dialled_port.unwrap_or(target.port) == *port,
            PortMatch::DialledOther(ports) => !ports.contains(&target.dialled_port.unwrap_or(target.port)),
        }
    }
}
