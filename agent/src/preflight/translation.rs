//! Whether translated addresses can be told.

use std::io;

use super::{Check, Outcome, to_get_rights};
use crate::enrich::conntrack;
use crate::exit::Exit;

/// The check. Where nothing is translated, nothing is lost.
pub(super) fn check() -> Check {
    of(conntrack::check())
}

fn of(connections: io::Result<u32>) -> Check {
    let name = "address translation";
    let cause = match connections {
        Ok(connections) => return Check::ok(name, format!("conntrack, connections: {connections}")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Check::ok(name, "none: no conntrack here"),
        Err(e) => e,
    };
    let fix = match cause.kind() {
        io::ErrorKind::PermissionDenied => to_get_rights("run as root, or with CAP_NET_ADMIN"),
        _ => "load the kernel module nf_conntrack_netlink: modprobe nf_conntrack_netlink",
    };
    let lost = "who calls from behind masquerading, what was dialled, and which pod of another node answers a Service";
    let check = Check::missing(name, cause.to_string(), Exit::Ok, lost, fix);
    Check { outcome: Outcome::Degraded, ..check }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_table_that_cannot_be_read_is_a_loss() {
        let told = |connections: io::Result<u32>| {
            let check = of(connections);
            (check.outcome, check.found, check.fix.unwrap_or_default())
        };
        let ok = |found: &str| (Outcome::Ok, found.to_owned(), String::new());
        assert_eq!(told(Ok(7)), ok("conntrack, connections: 7"));
        assert_eq!(told(Err(io::ErrorKind::NotFound.into())), ok("none: no conntrack here"));
        let (outcome, _, fix) = told(Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(outcome, Outcome::Degraded);
        assert!(fix.contains("CAP_NET_ADMIN") || fix.contains("rights"), "{fix}");
        // As a kernel without the module answers.
        let (outcome, _, fix) = told(Err(io::Error::from_raw_os_error(22)));
        assert_eq!((outcome, fix.contains("modprobe")), (Outcome::Degraded, true));
    }
}
