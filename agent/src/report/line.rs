//! One line of tlsight's own JSON, as far as a report needs it. docs/json.md describes the keys.

mod told;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use agent_core::net::Side;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

pub(crate) use self::told::Told;
use crate::export::fields::TIMESTAMP;

/// Longest text that is kept of one value, in bytes: names come from the wire, and a report keeps them.
const MAX_TEXT: usize = 1024;
/// Values kept of one list.
const MAX_LIST: usize = 32;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The verdict on a connection.
    Verdict,
    /// The end of a connection.
    Final,
    /// Certificates of a process.
    Process,
}

/// One end of a connection: who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Address.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: Option<u16>,
    /// Of the other end: the address and port that it has itself, where those seen are translated.
    pub own: (Option<IpAddr>, Option<u16>),
    /// Process id.
    pub pid: Option<u32>,
    /// Name of the executable.
    pub executable_name: Option<String>,
    /// Path of the executable.
    pub executable_path: Option<String>,
    /// Path of the only executable of that name, where the process was gone.
    pub usual_path: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Container id.
    pub container: Option<String>,
    /// Kubernetes node.
    pub node: Option<String>,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Kind of the workload.
    pub workload_kind: Option<String>,
    /// Name of the workload.
    pub workload_name: Option<String>,
    /// The Service that was dialled.
    pub service: Option<String>,
}

/// A leaf certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of the DER encoding, upper-case hex.
    pub sha256: Option<String>,
    /// Subject, RFC 4514.
    pub subject: Option<String>,
    /// Issuer, RFC 4514.
    pub issuer: Option<String>,
    /// Serial number, upper-case hex.
    pub serial: Option<String>,
    /// Start of its validity, RFC 3339.
    pub not_before: Option<String>,
    /// End of its validity, RFC 3339.
    pub not_after: Option<String>,
    /// Subject alternative names.
    pub san: Vec<String>,
    /// Kind of its key.
    pub key_algorithm: Option<String>,
    /// Size of its key.
    pub key_bits: Option<u32>,
    /// Named curve of its key.
    pub key_curve: Option<String>,
    /// How it is signed.
    pub signature_algorithm: Option<String>,
    /// It looks self-signed.
    pub self_signed: bool,
}

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shower {
    /// The server's.
    Server,
    /// The client's.
    Client,
    /// One of them: the probe does not tell which.
    Peer,
}

impl Shower {
    /// All of them.
    pub const ALL: [Shower; 3] = [Shower::Server, Shower::Client, Shower::Peer];

    /// `server`, `client` or `peer`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Shower::Server => "server",
            Shower::Client => "client",
            Shower::Peer => "peer",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Shower::ALL.into_iter().find(|side| side.as_str() == text)
    }
}

/// News of a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Option<String>,
    /// What it is about.
    pub about: Option<String>,
    /// How bad it is.
    pub severity: Option<String>,
    /// What is wrong.
    pub summary: Option<String>,
    /// When it was raised, nanoseconds of Unix time.
    pub first: Option<i64>,
    /// When it was last seen.
    pub last: Option<i64>,
    /// Connections on which it was seen.
    pub count: Option<u64>,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// `tlsight.phase`; absent on lines that are not tlsight's.
    pub phase: Option<Phase>,
    /// When the connection came into view, nanoseconds of Unix time.
    pub time: Option<i64>,
    /// From then to its end, nanoseconds.
    pub duration: Option<i64>,
    /// `tlsight.connection`.
    pub connection: Option<u64>,
    /// The part that the observed end plays.
    pub role: Option<Side>,
    /// `tlsight.security`.
    pub security: Option<String>,
    /// `tlsight.security.reason`.
    pub reason: Option<String>,
    /// `tlsight.scope`.
    pub scope: Option<String>,
    /// `network.protocol.name`.
    pub protocol: Option<String>,
    /// SNI.
    pub server_name: Option<String>,
    /// The observed end.
    pub local: End,
    /// The other end.
    pub peer: End,
    /// `tls.protocol.name`.
    pub tls_name: Option<String>,
    /// `tls.protocol.version`.
    pub tls_version: Option<String>,
    /// `tls.cipher`.
    pub cipher: Option<String>,
    /// `tls.curve`.
    pub group: Option<String>,
    /// `tls.resumed`.
    pub resumed: Option<bool>,
    /// Certificates, by whose they are, in the order of [`Shower::ALL`].
    pub certificates: [Certificate; 3],
    /// Rule ids.
    pub findings: Vec<String>,
    /// `tlsight.event`, on lines that are news of findings. Such a line says nothing else but when, and what of the finding.
    pub event: Option<String>,
    /// What such a line says.
    pub finding: Finding,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is no JSON object, or a value is not of the kind that its key has.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Address and port of an end.
    pub fn endpoint(end: &End) -> Option<SocketAddr> {
        Some(SocketAddr::new(end.address?, end.port?))
    }

    /// The other end: a client where it is itself, a server where it was dialled.
    pub fn peer(&self) -> Option<SocketAddr> {
        match (self.role, self.peer.own) {
            (Some(Side::Server), (Some(address), Some(port))) => Some(SocketAddr::new(address, port)),
            _ => Self::endpoint(&self.peer),
        }
    }

    /// The certificate of that side, where one was seen.
    pub fn certificate(&self, side: Shower) -> Option<&Certificate> {
        let certificate = match side {
            Shower::Server => &self.certificates[0],
            Shower::Client => &self.certificates[1],
            Shower::Peer => &self.certificates[2],
        };
        certificate.sha256.is_some().then_some(certificate)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

struct Keys;

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Keys {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let mut line = Line::default();
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            if !self::key(&mut line, &key, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(line)
    }
}

/// Takes the value of a key; false where a report does not need it, and it is still to be read.
fn key<'de, A: MapAccess<'de>>(line: &mut Line, key: &str, map: &mut A) -> Result<bool, A::Error> {
    if line.event.is_some() {
        return news(line, key, map);
    }
    Ok(connection(line, key, map)?
        || end(line, key, map)?
        || finding(line, key, map)?
        || certificate(line, key, map)?)
}

/// The keys of a connection as a whole; false where it is another key, whose value is still to be read.
fn connection<'de, A: MapAccess<'de>>(line: &mut Line, key: &str, map: &mut A) -> Result<bool, A::Error> {
    match key {
        TIMESTAMP => line.time = Some(nanoseconds(&map.next_value::<String>()?)?),
        "tlsight.duration_ms" => {
            // Whole nanoseconds; a number that none of them fit is the largest there is.
            line.duration = Some((map.next_value::<f64>()?.max(0.0) * 1e6) as i64);
        }
        "tlsight.connection" => line.connection = Some(map.next_value()?),
        "tlsight.phase" => {
            line.phase = match map.next_value::<String>()?.as_str() {
                "verdict" => Some(Phase::Verdict),
                "final" => Some(Phase::Final),
                "process" => Some(Phase::Process),
                _ => None,
            }
        }
        "tlsight.role" => {
            line.role = match map.next_value::<String>()?.as_str() {
                "client" => Some(Side::Client),
                "server" => Some(Side::Server),
                _ => None,
            }
        }
        "tlsight.security" => line.security = text(map)?,
        "tlsight.security.reason" => line.reason = text(map)?,
        "tlsight.scope" => line.scope = text(map)?,
        "network.protocol.name" => line.protocol = text(map)?,
        "tlsight.server_name" => line.server_name = text(map)?,
        "tls.protocol.name" => line.tls_name = text(map)?,
        "tls.protocol.version" => line.tls_version = text(map)?,
        "tls.cipher" => line.cipher = text(map)?,
        "tls.curve" => line.group = text(map)?,
        "tls.resumed" => line.resumed = Some(map.next_value()?),
        "tlsight.findings" => line.findings = list(map)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn end<'de, A: MapAccess<'de>>(line: &mut Line, key: &str, map: &mut A) -> Result<bool, A::Error> {
    let (local, peer) = (&mut line.local, &mut line.peer);
    match key {
        "network.local.address" => local.address = Some(address(map)?),
        "network.local.port" => local.port = Some(map.next_value()?),
        "network.peer.address" => peer.address = Some(address(map)?),
        "network.peer.port" => peer.port = Some(map.next_value()?),
        "tlsight.peer.address" => peer.own.0 = Some(address(map)?),
        "tlsight.peer.port" => peer.own.1 = Some(map.next_value()?),
        "process.pid" => local.pid = Some(map.next_value()?),
        "process.executable.name" => local.executable_name = text(map)?,
        "process.executable.path" => local.executable_path = text(map)?,
        "tlsight.process.executable.usual_path" => local.usual_path = text(map)?,
        "tlsight.systemd.unit" => local.unit = text(map)?,
        "container.id" => local.container = text(map)?,
        "k8s.node.name" => local.node = text(map)?,
        "k8s.namespace.name" => local.namespace = text(map)?,
        "tlsight.k8s.workload.kind" => local.workload_kind = text(map)?,
        "tlsight.k8s.workload.name" => local.workload_name = text(map)?,
        "tlsight.k8s.service.name" => local.service = text(map)?,
        "tlsight.peer.process.pid" => peer.pid = Some(map.next_value()?),
        "tlsight.peer.process.executable.name" => peer.executable_name = text(map)?,
        "tlsight.peer.process.executable.usual_path" => peer.usual_path = text(map)?,
        "tlsight.peer.process.executable.path" => peer.executable_path = text(map)?,
        "tlsight.peer.systemd.unit" => peer.unit = text(map)?,
        "tlsight.peer.container.id" => peer.container = text(map)?,
        "tlsight.peer.k8s.node.name" => peer.node = text(map)?,
        "tlsight.peer.k8s.namespace.name" => peer.namespace = text(map)?,
        "tlsight.peer.k8s.workload.kind" => peer.workload_kind = text(map)?,
        "tlsight.peer.k8s.workload.name" => peer.workload_name = text(map)?,
        "tlsight.peer.k8s.service.name" => peer.service = text(map)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn finding<'de, A: MapAccess<'de>>(line: &mut Line, key: &str, map: &mut A) -> Result<bool, A::Error> {
    if key == "tlsight.event" {
        // What came before is not of a connection either.
        let (time, finding) = (line.time, std::mem::take(&mut line.finding));
        *line = Line { time, finding, event: text(map)?, ..Line::default() };
        return Ok(true);
    }
    of_finding(line, key, map)
}

/// The keys of a line that is news. What the finding rests on comes last, under keys and of kinds that somebody's own rule
/// chose: it takes the place of nothing.
fn news<'de, A: MapAccess<'de>>(line: &mut Line, key: &str, map: &mut A) -> Result<bool, A::Error> {
    match key {
        TIMESTAMP if line.time.is_none() => connection(line, key, map),
        _ => of_finding(line, key, map),
    }
}

/// The keys of a finding, the first value of each.
fn of_finding<'de, A: MapAccess<'de>>(line: &mut Line, key: &str, map: &mut A) -> Result<bool, A::Error> {
    let Some(key) = key.strip_prefix("tlsight.finding.") else { return Ok(false) };
    let finding = &mut line.finding;
    match key {
        "rule" if finding.rule.is_none() => finding.rule = text(map)?,
        "about" if finding.about.is_none() => finding.about = text(map)?,
        "severity" if finding.severity.is_none() => finding.severity = text(map)?,
        "summary" if finding.summary.is_none() => finding.summary = text(map)?,
        "first_seen" if finding.first.is_none() => {
            finding.first = Some(nanoseconds(&map.next_value::<String>()?)?);
        }
        "last_seen" if finding.last.is_none() => {
            finding.last = Some(nanoseconds(&map.next_value::<String>()?)?);
        }
        "count" if finding.count.is_none() => finding.count = Some(map.next_value()?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn certificate<'de, A: MapAccess<'de>>(line: &mut Line, key: &str, map: &mut A) -> Result<bool, A::Error> {
    let Some(rest) = key.strip_prefix("tls.").or_else(|| key.strip_prefix("tlsight.")) else {
        return Ok(false);
    };
    let Some((side, field)) = rest.split_once('.') else { return Ok(false) };
    let certificate = match Shower::parse(side) {
        Some(Shower::Server) => &mut line.certificates[0],
        Some(Shower::Client) => &mut line.certificates[1],
        Some(Shower::Peer) => &mut line.certificates[2],
        None => return Ok(false),
    };
    match field {
        "subject" => certificate.subject = text(map)?,
        "issuer" => certificate.issuer = text(map)?,
        "not_before" => certificate.not_before = text(map)?,
        "not_after" => certificate.not_after = text(map)?,
        "hash.sha256" => certificate.sha256 = text(map)?,
        "serial" => certificate.serial = text(map)?,
        "san" => certificate.san = list(map)?,
        "key_algorithm" => certificate.key_algorithm = text(map)?,
        "key_bits" => certificate.key_bits = Some(map.next_value()?),
        "key_curve" => certificate.key_curve = text(map)?,
        "signature_algorithm" => certificate.signature_algorithm = text(map)?,
        "self_signed" => certificate.self_signed = map.next_value()?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<String>, A::Error> {
    let text: String = map.next_value()?;
    Ok(Some(cut(text)))
}

fn list<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<String>, A::Error> {
    let mut list: Vec<String> = map.next_value()?;
    list.truncate(MAX_LIST);
    Ok(list.into_iter().map(cut).collect())
}

/// The text, or as much of it as is kept, with a sign that it goes on.
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

fn address<'de, A: MapAccess<'de>>(map: &mut A) -> Result<IpAddr, A::Error> {
    let address: IpAddr = map.next_value()?;
    Ok(address.to_canonical())
}

fn nanoseconds<E: Error>(text: &str) -> Result<i64, E> {
    let time: jiff::Timestamp = text.parse().map_err(|_| E::custom("timestamp is no RFC 3339 time"))?;
    // From 1677 to 2262; what damaged files say is later is told as the last of these moments.
    let nanosecond = time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(nanosecond).map_err(|_| E::custom("timestamp is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::json::write_observation;
    use crate::export::sample;

    fn written(observation: &agent_core::observation::Observation) -> Line {
        let mut out = Vec::new();
        write_observation(&mut out, observation).expect("an object");
        Line::parse(&out).expect("a line")
    }

    #[test]
    fn reads_what_the_exporter_writes() {
        let line = written(&sample::plaintext());
        assert_eq!((line.security.as_deref(), line.reason), (Some("plaintext"), None));
        assert!(line.phase.is_some() && line.time.is_some() && line.connection.is_some());
        assert!(Line::endpoint(&line.local).is_some() && Line::endpoint(&line.peer).is_some());
    }

    #[test]
    fn times_of_any_century_can_be_read() {
        for (text, expected) in [
            ("2554-07-21T23:34:33.709551615Z", i64::MAX),
            ("0001-01-01T00:00:00Z", i64::MIN),
            ("1969-12-31T23:59:59.5Z", -500_000_000),
        ] {
            let line = Line::parse(format!(r#"{{"timestamp":"{text}"}}"#).as_bytes());
            assert_eq!(line.expect("a line").time, Some(expected), "{text}");
        }
    }

    #[test]
    fn news_says_nothing_of_a_connection_in_whatever_order_its_keys_are() {
        let sorted = br#"{"process.pid":7,"timestamp":"2026-01-01T00:00:00Z","tlsight.connection":7,
            "tlsight.event":"finding_raised","tlsight.finding.count":3,"tlsight.phase":"final","timestamp":7}"#;
        let line = Line::parse(sorted).expect("a line");
        let finding = Finding { count: Some(3), ..Finding::default() };
        let event = Some("finding_raised".to_owned());
        assert_eq!(line, Line { time: line.time, event, finding, ..Line::default() });
        assert_eq!(line.time, Some(1_767_225_600_000_000_000));
        let late = br#"{"tlsight.event":"finding_raised","timestamp":"2026-01-01T00:00:00Z"}"#;
        assert_eq!(Line::parse(late).expect("a line").time, line.time);
    }

    #[test]
    fn keys_of_others_are_passed_over() {
        let line = Line::parse(br#"{"tls.client.ja3":"x","a":[1,{"b":2}],"tls.server.what":null}"#);
        assert_eq!(line.expect("a line"), Line::default());
    }

    #[test]
    fn rejects_what_is_no_object_and_values_of_the_wrong_kind() {
        for text in ["", "7", "[]", "{", r#"{"tlsight.connection":"7"}"#, r#"{"timestamp":"soon"}"#] {
            assert!(Line::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn long_texts_and_lists_are_cut() {
        let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let object = serde_json::json!({
            "tlsight.server_name": "é".repeat(MAX_TEXT), "tlsight.server.san": names, "tls.server.hash.sha256": "AB",
        });
        let line = Line::parse(object.to_string().as_bytes()).expect("a line");
        assert_eq!(line.server_name.map(|n| n.len()), Some(MAX_TEXT + '…'.len_utf8()));
        assert_eq!(line.certificates[0].san.len(), MAX_LIST);
    }
}
