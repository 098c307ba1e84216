//! One observation, one line: a flat JSON object. docs/json.md describes every key; a test holds the two together.

mod certificate;
mod finding;
mod identity;
mod object;
mod process;

use std::borrow::Cow;
use std::io::{self, Write};

use agent_core::event::CloseKind;
use agent_core::identity::{Scope, Sighting};
use agent_core::net::Side;
use agent_core::observation::{Observation, Phase, ProcessCertificates, TlsFacts};
use agent_core::policy::finding::RuleId;
use agent_core::policy::judge;
use agent_core::time::Timestamp;

use self::certificate::{CLIENT, SERVER, chain};
pub use self::finding::write_finding;
use self::object::Object;
pub(crate) use self::object::rfc3339;
pub use self::object::to_line;
pub use self::process::{write_judged_process, write_process_certificates};
use crate::judging::{Judged, JudgedProcess};
use crate::pipeline::Sink;

/// Writes JSON lines.
pub struct JsonSink<W> {
    out: W,
    line: Vec<u8>,
    flush_each: bool,
    findings: bool,
}

impl<W: Write> JsonSink<W> {
    /// Lines to `out`; `flush_each` where somebody waits for them.
    pub fn new(out: W, flush_each: bool) -> Self {
        Self { out, line: Vec::with_capacity(2048), flush_each, findings: false }
    }

    /// Also writes news of findings, a line each.
    #[must_use]
    pub fn with_findings(self, findings: bool) -> Self {
        Self { findings, ..self }
    }

    fn write_line(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        if self.flush_each { self.out.flush() } else { Ok(()) }
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn name(&self) -> &str {
        "standard output"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        self.line.clear();
        write_observation(&mut self.line, observation)?;
        self.write_line()
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.line.clear();
        write_sighting(&mut self.line, sighting)?;
        self.write_line()
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        self.line.clear();
        write_judged(&mut self.line, judged)?;
        self.write_line()
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        if !self.findings {
            return Ok(());
        }
        self.line.clear();
        write_finding(&mut self.line, news, now)?;
        self.write_line()
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        self.line.clear();
        write_process_certificates(&mut self.line, certificates)?;
        self.write_line()
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        self.line.clear();
        write_judged_process(&mut self.line, judged)?;
        self.write_line()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Appends one object, without a line end.
pub fn write_observation(out: &mut Vec<u8>, o: &Observation) -> io::Result<()> {
    let mut object = Object::begin(out);
    observation(&mut object, o, None)?;
    object.end();
    Ok(())
}

/// Appends one object that also says who is at both ends, without a line end.
pub fn write_sighting(out: &mut Vec<u8>, sighting: &Sighting) -> io::Result<()> {
    let mut object = Object::begin(out);
    observation(&mut object, &sighting.observation, sighting.scope)?;
    identity::identity(&mut object, sighting)?;
    object.end();
    Ok(())
}

/// Appends one object that also says what was expected and what is wrong, without a line end.
pub fn write_judged(out: &mut Vec<u8>, judged: &Judged<'_>) -> io::Result<()> {
    let sighting = judged.sighting;
    let mut object = Object::begin(out);
    observation(&mut object, &sighting.observation, sighting.scope)?;
    identity::identity(&mut object, sighting)?;
    if let Some(expectation) = judged.expectation {
        object.text("tlsight.expectation", expectation.mode.as_str())?;
        object.text("tlsight.expectation.source", &expectation.origin.to_string())?;
    }
    if judged.is_judged() {
        object.array("tlsight.findings", judged.findings.iter().map(RuleId::as_str))?;
    }
    object.end();
    Ok(())
}

fn observation(object: &mut Object<'_>, o: &Observation, scope: Option<Scope>) -> io::Result<()> {
    object.optional("timestamp", rfc3339(i128::from(o.time.as_nanos()), 9).as_deref())?;
    object.number("tlsight.connection", o.conn.0)?;
    object.text("tlsight.phase", phase(o.phase))?;
    object.text("tlsight.security", o.security.as_str())?;
    object.optional("tlsight.security.source", o.source.map(|s| s.as_str()))?;
    object.optional("tlsight.security.reason", o.reason.map(|r| r.as_str()))?;
    ends(object, o, scope)?;
    object.optional("network.protocol.name", o.protocol)?;
    object.optional("tlsight.starttls", o.starttls.map(|s| s.as_str()))?;
    if let Some(version) = o.proxy_protocol {
        object.number("tlsight.proxy_protocol.version", u64::from(version))?;
    }
    if let Some(tls) = &o.tls {
        handshake(object, tls)?;
        chain(object, &SERVER, &tls.server_chain)?;
        chain(object, &CLIENT, &tls.client_chain)?;
    }
    if let Some(process) = &o.process {
        object.number("process.pid", u64::from(process.pid))?;
        object.text("process.executable.name", &process.executable_name)?;
    }
    if let Some(bytes) = o.bytes {
        let (client, server) = match o.local_side {
            Some(Side::Client) => (Some(bytes.egress), Some(bytes.ingress)),
            Some(Side::Server) => (Some(bytes.ingress), Some(bytes.egress)),
            None => (None, None),
        };
        object.optional_number("tlsight.bytes.client", client)?;
        object.optional_number("tlsight.bytes.server", server)?;
    }
    object.optional("tlsight.close", o.closed.map(close))?;
    object.milliseconds("tlsight.duration_ms", o.duration)
}

fn ends(object: &mut Object<'_>, o: &Observation, scope: Option<Scope>) -> io::Result<()> {
    let (local, peer) = (o.tuple.local, o.tuple.peer);
    object.text("network.transport", "tcp")?;
    object.text("network.type", if local.addr.is_ipv4() { "ipv4" } else { "ipv6" })?;
    if let Some(side) = o.local_side {
        let (client, server) = match side {
            Side::Client => (local, peer),
            Side::Server => (peer, local),
        };
        object.text("client.address", &client.addr.to_string())?;
        object.number("client.port", u64::from(client.port))?;
        match o.tls.as_ref().and_then(|tls| tls.server_name.as_deref()) {
            Some(name) => object.text("server.address", name)?,
            None => object.text("server.address", &server.addr.to_string())?,
        }
        object.number("server.port", u64::from(server.port))?;
    }
    object.text("network.local.address", &local.addr.to_string())?;
    object.number("network.local.port", u64::from(local.port))?;
    object.text("network.peer.address", &peer.addr.to_string())?;
    object.number("network.peer.port", u64::from(peer.port))?;
    object.optional("tlsight.role", o.local_side.map(Side::as_str))?;
    // Loopback addresses speak for themselves where nobody was asked who is at the ends.
    let loopback = local.addr.is_loopback() && peer.addr.is_loopback();
    let scope = scope.or(loopback.then_some(Scope::Loopback));
    object.optional("tlsight.scope", scope.map(Scope::as_str))
}

fn handshake(object: &mut Object<'_>, tls: &TlsFacts) -> io::Result<()> {
    object.optional("tls.protocol.name", tls.negotiated_version.and_then(|v| v.otel_name()))?;
    object.optional("tls.protocol.version", tls.negotiated_version.and_then(|v| v.otel_version()))?;
    object.optional("tls.cipher", tls.cipher.map(|c| c.to_string()).as_deref())?;
    object.optional("tls.curve", tls.group.map(|g| g.to_string()).as_deref())?;
    object.optional_bool("tls.established", tls.established)?;
    object.optional_bool("tls.resumed", tls.resumed)?;
    object.optional("tls.next_protocol", tls.next_protocol.as_deref())?;
    object.optional("tlsight.server_name", tls.server_name.as_deref())?;
    object.optional("tls.client.ja3", tls.ja3.as_deref())?;
    object.optional("tlsight.client.ja4", tls.ja4.as_deref())?;
    object.list("tls.client.supported_ciphers", tls.offered_ciphers.iter().map(|c| named(c.name(), c)))?;
    object.list("tlsight.client.supported_groups", tls.offered_groups.iter().map(|c| named(c.name(), c)))?;
    object
        .list("tlsight.client.supported_versions", tls.offered_versions.iter().map(|c| named(c.name(), c)))?;
    object.list("tlsight.client.offered_protocols", tls.offered_protocols.iter())?;
    object.flag("tlsight.sslv2_hello", tls.sslv2_hello)?;
    object.flag("tlsight.hello_retry_request", tls.hello_retry_request)?;
    object.flag("tlsight.resumption_offered", tls.resumption_offered)?;
    object.flag("tlsight.early_data", tls.early_data_offered)?;
    object.flag("tlsight.ech", tls.ech_offered)?;
    object.text("tlsight.client_certificate", tls.client_certificate.as_str())?;
    if let Some(alert) = &tls.alert {
        if let Some((level, description)) = alert.content {
            object.text("tlsight.alert.name", &description.to_string())?;
            object.text("tlsight.alert.level", &level.to_string())?;
        }
        object.text("tlsight.alert.sender", alert.sender.as_str())?;
    }
    object.flag("tlsight.ocsp_stapled", tls.ocsp_response.is_some())?;
    object.optional("tlsight.malformed", tls.malformed)?;
    object.milliseconds("tlsight.handshake_duration_ms", tls.handshake_duration)
}

/// The IANA name, without a copy where there is one.
fn named(name: Option<&'static str>, number: &impl ToString) -> Cow<'static, str> {
    name.map_or_else(|| Cow::Owned(number.to_string()), Cow::Borrowed)
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Verdict => "verdict",
        Phase::Final => "final",
    }
}

fn close(how: CloseKind) -> &'static str {
    match how {
        CloseKind::NeverEstablished => "never_established",
        CloseKind::Finished => "finished",
        CloseKind::Reset => "reset",
        CloseKind::SourceEnded => "source_ended",
        CloseKind::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests;
