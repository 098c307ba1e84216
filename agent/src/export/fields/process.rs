//! Certificates that belong to a process and to no single connection.

use std::io;

use agent_core::net::Side;
use agent_core::observation::ProcessCertificates;
use agent_core::policy::finding::RuleId;

use super::certificate::{CLIENT, PEER, SERVER, chain};
use super::{Fields, TIMESTAMP};
use crate::judging::JudgedProcess;

/// Certificates with what is wrong with them.
pub(crate) fn judged_process(object: &mut impl Fields, judged: &JudgedProcess<'_>) -> io::Result<()> {
    process_certificates(object, judged.certificates)?;
    object.array("tlsight.findings", judged.findings.iter().map(RuleId::as_str))
}

/// Certificates.
pub(crate) fn process_certificates(
    object: &mut impl Fields,
    certificates: &ProcessCertificates,
) -> io::Result<()> {
    object.moment(TIMESTAMP, certificates.time)?;
    object.text("tlsight.phase", "process")?;
    object.text("tlsight.security.source", "process")?;
    object.text("tlsight.security.reason", certificates.reason.as_str())?;
    object.text("tlsight.probe.library", certificates.library.as_str())?;
    let keys = match certificates.peer {
        Some(Side::Server) => &SERVER,
        Some(Side::Client) => &CLIENT,
        None => &PEER,
    };
    chain(object, keys, &certificates.chain)?;
    object.number("process.pid", u64::from(certificates.process.pid))?;
    object.text("process.executable.name", &certificates.process.executable_name)
}
