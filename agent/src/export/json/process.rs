//! Certificates that belong to a process and to no single connection.

use std::io;

use agent_core::net::Side;
use agent_core::observation::ProcessCertificates;
use agent_core::policy::finding::RuleId;

use super::certificate::{CLIENT, PEER, SERVER, chain};
use super::object::{Object, rfc3339};
use crate::judging::JudgedProcess;

/// Appends one object, without a line end.
pub fn write_process_certificates(out: &mut Vec<u8>, certificates: &ProcessCertificates) -> io::Result<()> {
    let mut object = Object::begin(out);
    process_certificates(&mut object, certificates)?;
    object.end();
    Ok(())
}

/// Appends one object that also says what is wrong with them, without a line end.
pub fn write_judged_process(out: &mut Vec<u8>, judged: &JudgedProcess<'_>) -> io::Result<()> {
    let mut object = Object::begin(out);
    process_certificates(&mut object, judged.certificates)?;
    object.array("tlsight.findings", judged.findings.iter().map(RuleId::as_str))?;
    object.end();
    Ok(())
}

fn process_certificates(object: &mut Object<'_>, certificates: &ProcessCertificates) -> io::Result<()> {
    object.optional("timestamp", rfc3339(i128::from(certificates.time.as_nanos()), 9).as_deref())?;
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
