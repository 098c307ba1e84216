//! Certificates that belong to a process and to no single connection.

use std::io;

use agent_core::net::Side;
use agent_core::observation::ProcessCertificates;

use super::certificate::{CLIENT, PEER, SERVER, chain};
use super::object::{Object, rfc3339};

/// Appends one object, without a line end.
pub fn write_process_certificates(out: &mut Vec<u8>, certificates: &ProcessCertificates) -> io::Result<()> {
    let mut object = Object::begin(out);
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
    chain(&mut object, keys, &certificates.chain)?;
    object.number("process.pid", u64::from(certificates.process.pid))?;
    object.text("process.executable.name", &certificates.process.executable_name)?;
    object.end();
    Ok(())
}
