//! What every exporter says of a connection, a process or a finding: the keys, in order, and what is known of each. One
//! list, so that JSON lines and OTLP cannot drift apart; docs/json.md describes every key.

mod certificate;
pub(in crate::export) mod finding;
pub(in crate::export) mod identity;
mod process;

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use agent_core::event::CloseKind;
use agent_core::identity::{Scope, Sighting};
use agent_core::net::{Endpoint, Side};
use agent_core::observation::{Observation, Phase, TlsFacts};
use agent_core::policy::finding::{RuleId, Value};
use agent_core::time::Timestamp;

use self::certificate::{CLIENT, SERVER, chain};
pub(crate) use self::finding::news;
pub(crate) use self::process::{judged_process, process_certificates};
use crate::judging::Judged;

/// The key of the time that something is of, in RFC 3339.
pub(crate) const TIMESTAMP: &str = "timestamp";
/// The key that says what a piece of news is.
pub(crate) const EVENT: &str = "tlsight.event";

/// RFC 3339 in UTC with that many digits of seconds' fraction; `None` for years it cannot write.
pub(crate) fn rfc3339(nanos: i128, digits: usize) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(nanos).ok()?;
    // Four digits are all RFC 3339 has for a year (section 5.6).
    (0..=9999).contains(&time.to_zoned(jiff::tz::TimeZone::UTC).year()).then(|| format!("{time:.digits$}"))
}

/// Takes keys and values, each key once.
pub(crate) trait Fields {
    /// A text.
    fn text(&mut self, key: &'static str, value: &str) -> io::Result<()>;
    /// A number.
    fn number(&mut self, key: &'static str, value: u64) -> io::Result<()>;
    /// Yes or no.
    fn boolean(&mut self, key: &'static str, value: bool) -> io::Result<()>;
    /// Several texts; present when empty.
    fn array<T: AsRef<str>>(&mut self, key: &'static str, values: impl Iterator<Item = T>) -> io::Result<()>;
    /// A time, in milliseconds with a fraction.
    fn time(&mut self, key: &'static str, value: Duration) -> io::Result<()>;
    /// A value of any kind, under a key of any text: what a finding rests on.
    fn evidence(&mut self, key: &str, value: &Value) -> io::Result<()>;

    /// A text that may not be known.
    fn optional(&mut self, key: &'static str, value: Option<&str>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.text(key, value))
    }

    /// A text that is made only where somebody wants it.
    fn made<'a>(&mut self, key: &'static str, make: impl FnOnce() -> &'a str) -> io::Result<()> {
        self.text(key, make())
    }

    /// An address.
    fn address(&mut self, key: &'static str, value: IpAddr) -> io::Result<()> {
        self.text(key, &value.to_string())
    }

    /// A moment, to the nanosecond; absent where no such moment can be told.
    fn moment(&mut self, key: &'static str, value: Timestamp) -> io::Result<()> {
        self.optional(key, rfc3339(i128::from(value.as_nanos()), 9).as_deref())
    }

    /// A number that may not be known.
    fn optional_number(&mut self, key: &'static str, value: Option<u64>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.number(key, value))
    }

    /// Yes, no, or not known.
    fn optional_bool(&mut self, key: &'static str, value: Option<bool>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.boolean(key, value))
    }

    /// Present when true, absent when not.
    fn flag(&mut self, key: &'static str, value: bool) -> io::Result<()> {
        self.optional_bool(key, value.then_some(true))
    }

    /// A time that may not be known.
    fn milliseconds(&mut self, key: &'static str, value: Option<Duration>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.time(key, value))
    }

    /// Absent when empty.
    fn list<T: AsRef<str>>(&mut self, key: &'static str, values: impl Iterator<Item = T>) -> io::Result<()> {
        let mut values = values.peekable();
        if values.peek().is_none() { Ok(()) } else { self.array(key, values) }
    }
}

/// A connection end, and who is at both.
pub(crate) fn sighting(object: &mut impl Fields, sighting: &Sighting) -> io::Result<()> {
    of_connection(object, &sighting.observation, sighting.scope, sighting.peer.address)?;
    identity::identity(object, sighting)
}

/// The same with what was expected, and what is wrong.
pub(crate) fn judged(object: &mut impl Fields, judged: &Judged<'_>) -> io::Result<()> {
    sighting(object, judged.sighting)?;
    if let Some(expectation) = judged.expectation {
        object.text("tlsight.expectation", expectation.mode.as_str())?;
        object.text("tlsight.expectation.source", &expectation.origin.to_string())?;
    }
    if judged.is_judged() {
        object.array("tlsight.findings", judged.findings.iter().map(RuleId::as_str))?;
    }
    Ok(())
}

/// A connection end.
pub(crate) fn observation(object: &mut impl Fields, o: &Observation, scope: Option<Scope>) -> io::Result<()> {
    of_connection(object, o, scope, None)
}

/// `of_peer`: where the other end is as it knows itself, where that is not what is seen here.
fn of_connection(
    object: &mut impl Fields,
    o: &Observation,
    scope: Option<Scope>,
    of_peer: Option<Endpoint>,
) -> io::Result<()> {
    object.moment(TIMESTAMP, o.time)?;
    object.number("tlsight.connection", o.conn.0)?;
    object.text("tlsight.phase", phase(o.phase))?;
    object.text("tlsight.security", o.security.as_str())?;
    object.optional("tlsight.security.source", o.source.map(|s| s.as_str()))?;
    object.optional("tlsight.security.reason", o.reason.map(|r| r.as_str()))?;
    ends(object, o, scope, of_peer)?;
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

fn ends(
    object: &mut impl Fields,
    o: &Observation,
    scope: Option<Scope>,
    of_peer: Option<Endpoint>,
) -> io::Result<()> {
    let (local, peer) = (o.tuple.local, o.tuple.peer);
    object.text("network.transport", "tcp")?;
    object.text("network.type", if local.addr.is_ipv4() { "ipv4" } else { "ipv6" })?;
    if let Some(side) = o.local_side {
        let (client, server) = match side {
            Side::Client => (local, peer),
            // OpenTelemetry asks for the client behind whatever is in between.
            Side::Server => (of_peer.unwrap_or(peer), local),
        };
        object.address("client.address", client.addr)?;
        object.number("client.port", u64::from(client.port))?;
        match o.tls.as_ref().and_then(|tls| tls.server_name.as_deref()) {
            Some(name) => object.text("server.address", name)?,
            None => object.address("server.address", server.addr)?,
        }
        object.number("server.port", u64::from(server.port))?;
    }
    object.address("network.local.address", local.addr)?;
    object.number("network.local.port", u64::from(local.port))?;
    object.address("network.peer.address", peer.addr)?;
    object.number("network.peer.port", u64::from(peer.port))?;
    object.optional("tlsight.role", o.local_side.map(Side::as_str))?;
    // Loopback addresses speak for themselves where nobody was asked who is at the ends.
    let loopback = local.addr.is_loopback() && peer.addr.is_loopback();
    let scope = scope.or(loopback.then_some(Scope::Loopback));
    object.optional("tlsight.scope", scope.map(Scope::as_str))
}

fn handshake(object: &mut impl Fields, tls: &TlsFacts) -> io::Result<()> {
    object.optional("tls.protocol.name", tls.negotiated_version.and_then(|v| v.otel_name()))?;
    object.optional("tls.protocol.version", tls.negotiated_version.and_then(|v| v.otel_version()))?;
    object.optional("tls.cipher", tls.cipher.map(|c| c.to_string()).as_deref())?;
    object.optional("tls.curve", tls.group.map(|g| g.to_string()).as_deref())?;
    object.optional_bool("tls.established", tls.established)?;
    object.optional_bool("tls.resumed", tls.resumed)?;
    object.optional("tls.next_protocol", tls.next_protocol.as_deref())?;
    object.optional("tlsight.server_name", tls.server_name.as_deref())?;
    if let Some(fingerprints) = &tls.fingerprints {
        object.made("tls.client.ja3", || fingerprints.ja3())?;
        object.made("tlsight.client.ja4", || fingerprints.ja4())?;
    }
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
    object.flag("tlsight.certificates_not_kept", tls.server_chain_not_kept || tls.client_chain_not_kept)?;
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
