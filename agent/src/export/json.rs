//! One observation, one line: a flat JSON object. docs/json.md describes every key; a test holds the two together.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use agent_core::event::CloseKind;
use agent_core::net::Side;
use agent_core::observation::{Observation, Phase, ProcessCertificates, TlsFacts};
use agent_core::x509::CertificateSummary;
use serde_json::ser::Formatter;

use super::text::is_unsafe;
use crate::pipeline::Sink;

/// Writes JSON lines.
pub struct JsonSink<W> {
    out: W,
    line: Vec<u8>,
    flush_each: bool,
}

impl<W: Write> JsonSink<W> {
    /// Lines to `out`; `flush_each` where somebody waits for them.
    pub fn new(out: W, flush_each: bool) -> Self {
        Self { out, line: Vec::with_capacity(2048), flush_each }
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn name(&self) -> &str {
        "standard output"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        self.line.clear();
        write_observation(&mut self.line, observation)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        if self.flush_each { self.out.flush() } else { Ok(()) }
    }

    fn process_certificates(&mut self, _certificates: &ProcessCertificates) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Appends one object, without a line end.
pub fn write_observation(out: &mut Vec<u8>, o: &Observation) -> io::Result<()> {
    let mut object = Object::begin(out);
    object.optional("timestamp", rfc3339(i128::from(o.time.as_nanos()), 9).as_deref())?;
    object.number("tlsight.connection", o.conn.0)?;
    object.text("tlsight.phase", phase(o.phase))?;
    object.text("tlsight.security", o.security.as_str())?;
    object.optional("tlsight.security.source", o.source.map(|s| s.as_str()))?;
    object.optional("tlsight.security.reason", o.reason.map(|r| r.as_str()))?;
    ends(&mut object, o)?;
    object.optional("network.protocol.name", o.protocol)?;
    object.optional("tlsight.starttls", o.starttls.map(|s| s.as_str()))?;
    if let Some(version) = o.proxy_protocol {
        object.number("tlsight.proxy_protocol.version", u64::from(version))?;
    }
    if let Some(tls) = &o.tls {
        handshake(&mut object, tls)?;
        chain(&mut object, &SERVER, &tls.server_chain)?;
        chain(&mut object, &CLIENT, &tls.client_chain)?;
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
    object.milliseconds("tlsight.duration_ms", o.duration)?;
    object.end();
    Ok(())
}

fn ends(object: &mut Object<'_>, o: &Observation) -> io::Result<()> {
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
    let loopback = local.addr.is_loopback() && peer.addr.is_loopback();
    object.optional("tlsight.scope", loopback.then_some("loopback"))
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

/// Keys of one side's certificate.
struct CertificateKeys {
    subject: &'static str,
    issuer: &'static str,
    not_before: &'static str,
    not_after: &'static str,
    sha256: &'static str,
    serial: &'static str,
    san: &'static str,
    key_algorithm: &'static str,
    key_bits: &'static str,
    key_curve: &'static str,
    signature_algorithm: &'static str,
    extended_key_usage: &'static str,
    ca: &'static str,
    self_signed: &'static str,
    problems: &'static str,
    chain_length: &'static str,
}

macro_rules! certificate_keys {
    ($side:literal) => {
        CertificateKeys {
            subject: concat!("tls.", $side, ".subject"),
            issuer: concat!("tls.", $side, ".issuer"),
            not_before: concat!("tls.", $side, ".not_before"),
            not_after: concat!("tls.", $side, ".not_after"),
            sha256: concat!("tls.", $side, ".hash.sha256"),
            serial: concat!("tlsight.", $side, ".serial"),
            san: concat!("tlsight.", $side, ".san"),
            key_algorithm: concat!("tlsight.", $side, ".key_algorithm"),
            key_bits: concat!("tlsight.", $side, ".key_bits"),
            key_curve: concat!("tlsight.", $side, ".key_curve"),
            signature_algorithm: concat!("tlsight.", $side, ".signature_algorithm"),
            extended_key_usage: concat!("tlsight.", $side, ".extended_key_usage"),
            ca: concat!("tlsight.", $side, ".ca"),
            self_signed: concat!("tlsight.", $side, ".self_signed"),
            problems: concat!("tlsight.", $side, ".problems"),
            chain_length: concat!("tlsight.", $side, ".chain_length"),
        }
    };
}

const SERVER: CertificateKeys = certificate_keys!("server");
const CLIENT: CertificateKeys = certificate_keys!("client");

fn chain<C: AsRef<CertificateSummary>>(
    object: &mut Object<'_>,
    keys: &CertificateKeys,
    chain: &[C],
) -> io::Result<()> {
    let Some(leaf) = chain.first() else { return Ok(()) };
    let leaf = leaf.as_ref();
    object.optional(keys.subject, leaf.subject.as_deref())?;
    object.optional(keys.issuer, leaf.issuer.as_deref())?;
    let date = |secs: Option<i64>| secs.and_then(|s| rfc3339(i128::from(s) * 1_000_000_000, 0));
    object.optional(keys.not_before, date(leaf.not_before).as_deref())?;
    object.optional(keys.not_after, date(leaf.not_after).as_deref())?;
    object.text(keys.sha256, &leaf.sha256_hex())?;
    object.optional(keys.serial, leaf.serial.as_deref())?;
    object.list(keys.san, leaf.sans.iter().map(ToString::to_string))?;
    object.optional(keys.key_algorithm, leaf.key_algorithm.as_deref())?;
    object.optional_number(keys.key_bits, leaf.key_bits.map(u64::from))?;
    object.optional(keys.key_curve, leaf.curve.as_deref())?;
    object.optional(keys.signature_algorithm, leaf.signature_algorithm.as_deref())?;
    let usages = leaf.extended_key_usage.as_deref().unwrap_or_default();
    object.list(keys.extended_key_usage, usages.iter().map(|u| u.as_str()))?;
    object.flag(keys.ca, leaf.is_ca)?;
    object.flag(keys.self_signed, leaf.self_signed_hint)?;
    object.list(keys.problems, leaf.problems.iter())?;
    object.number(keys.chain_length, chain.len() as u64)
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

/// RFC 3339 in UTC with that many digits of seconds' fraction; `None` for years it cannot write.
fn rfc3339(nanos: i128, digits: usize) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(nanos).ok()?;
    // Four digits are all RFC 3339 has for a year (section 5.6).
    (0..=9999).contains(&time.to_zoned(jiff::tz::TimeZone::UTC).year()).then(|| format!("{time:.digits$}"))
}

/// A JSON object being written, keys in the order of the calls.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    /// Keys are constants of this file and need no escaping.
    fn key(&mut self, key: &str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn string(&mut self, value: &str) -> io::Result<()> {
        let mut serializer = serde_json::Serializer::with_formatter(&mut *self.out, Cautious);
        serde::Serialize::serialize(value, &mut serializer).map_err(io::Error::from)
    }

    fn text(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.key(key);
        self.string(value)
    }

    fn optional(&mut self, key: &str, value: Option<&str>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.text(key, value))
    }

    fn number(&mut self, key: &str, value: u64) -> io::Result<()> {
        self.key(key);
        write!(self.out, "{value}")
    }

    fn optional_number(&mut self, key: &str, value: Option<u64>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.number(key, value))
    }

    fn optional_bool(&mut self, key: &str, value: Option<bool>) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        self.key(key);
        write!(self.out, "{value}")
    }

    /// Present when true, absent when not.
    fn flag(&mut self, key: &str, value: bool) -> io::Result<()> {
        self.optional_bool(key, value.then_some(true))
    }

    fn milliseconds(&mut self, key: &str, value: Option<Duration>) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        self.key(key);
        let micros = value.as_micros();
        write!(self.out, "{}.{:03}", micros / 1000, micros % 1000)
    }

    /// Absent when empty.
    fn list<T: AsRef<str>>(&mut self, key: &str, values: impl Iterator<Item = T>) -> io::Result<()> {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        self.key(key);
        let mut separator = b'[';
        for value in values {
            self.out.push(separator);
            separator = b',';
            self.string(value.as_ref())?;
        }
        self.out.push(b']');
        Ok(())
    }
}

/// Escapes what JSON allows and terminals obey: C1 controls, bidirectional overrides and the like.
struct Cautious;

impl Formatter for Cautious {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly all of it is printable ASCII; serde_json took the C0 controls out already.
        if fragment.bytes().all(|b| b < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = after.get(c.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests;
