//! The audit log: one line for each TLS connection on which the client showed a certificate. docs/audit-log.md is its
//! reference.
//!
//! A connection has one line, whatever becomes of it and however often it is seen. Where both of its ends are on this
//! host, the server's speaks: it is the one that asked for the certificate, and the one that read it.

mod file;
mod record;
mod status;
#[cfg(test)]
mod tests;
mod way;
mod writer;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use agent_core::net::{ConnId, Endpoint, Side};
use agent_core::observation::{Phase, Reason, Security};
use hashlink::LruCache;

pub use self::file::Rotation;
pub use self::record::Format;
use self::record::Record;
pub use self::status::Status;
use self::status::is_shown;
use self::way::Full;
use self::writer::{Writer, WriterCounters};
use crate::export::json::to_line;
use crate::judging::Judged;

/// Connections of which the server's end has spoken, so that the client's does not.
const SPOKEN: usize = 4096;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output, which has nothing else in it then.
    StandardOutput,
    /// A file.
    File(PathBuf),
}

/// What the log is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it goes.
    pub target: Target,
    /// In whose words.
    pub format: Format,
    /// When a file gives way to the next.
    pub rotation: Rotation,
    /// Connections that are open at once.
    pub max_connections: usize,
    /// Whoever reads waits when the disk is slow: a capture file does not run away.
    pub waits: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: Target::StandardOutput,
            format: Format::default(),
            rotation: Rotation::default(),
            max_connections: 65_536,
            waits: false,
        }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that got their line.
    pub connections: u64,
    /// Client ends that left it to the server's.
    pub left_to_server: u64,
    /// Connections forgotten before they ended: they may have a second line.
    pub connections_evicted: u64,
}

enum Out {
    Stream(Box<dyn Write>),
    File(Writer),
}

/// Tells which sightings are due a line: each connection once.
#[derive(Debug)]
pub struct Auditor {
    /// Open connections that have their line.
    written: LruCache<ConnId, ()>,
    /// Client and server as the server's end saw them.
    spoken: LruCache<(Endpoint, Endpoint), ()>,
    counters: Counters,
}

impl Auditor {
    /// One who has seen nothing, and follows that many connections that are open at once.
    pub fn new(max_connections: usize) -> Self {
        Self {
            written: LruCache::new(max_connections),
            spoken: LruCache::new(SPOKEN),
            counters: Counters::default(),
        }
    }

    /// Looks at a sighting: whether the line of its connection is due now. It has it then, and will not be due again.
    pub fn is_due(&mut self, judged: &Judged<'_>) -> bool {
        let o = &judged.sighting.observation;
        let is_final = o.phase == Phase::Final;
        let has_line = match is_final {
            true => self.written.remove(&o.conn).is_some(),
            false => self.written.contains_key(&o.conn),
        };
        let Some(tls) = o.tls.as_deref().filter(|tls| is_shown(tls)) else { return false };
        // Later lines may know more (a refusal, or a certificate that a probe shows a moment later), but not once the server
        // accepted a certificate that was seen.
        let was_accepted = match o.security {
            Security::Mtls => true,
            Security::Plaintext => o.reason == Some(Reason::NullCipher) && tls.established == Some(true),
            _ => false,
        };
        let is_due = is_final || was_accepted && !tls.client_chain.is_empty();
        if has_line || !is_due {
            return false;
        }
        if self.is_left_to_server(judged, is_final) {
            self.counters.left_to_server += u64::from(is_final);
            return false;
        }
        let Some(side) = o.local_side else { return false };
        if !is_final {
            self.counters.connections_evicted += u64::from(self.written.len() >= self.written.capacity());
            self.written.insert(o.conn, ());
        }
        if side == Side::Server {
            self.spoken.insert((o.tuple.peer, o.tuple.local), ());
        }
        self.counters.connections += 1;
        true
    }

    /// A client's end whose server's end is observed, or may yet turn out to be.
    fn is_left_to_server(&self, judged: &Judged<'_>, is_final: bool) -> bool {
        use agent_core::identity::Scope;
        let sighting = judged.sighting;
        let o = &sighting.observation;
        if o.local_side != Some(Side::Client) {
            return false;
        }
        if sighting.peer.process.is_some() || self.spoken.contains_key(&(o.tuple.local, o.tuple.peer)) {
            return true;
        }
        let may_be_here = matches!(sighting.scope, Some(Scope::Loopback | Scope::Pod | Scope::Node))
            || o.tuple.peer.addr.is_loopback();
        may_be_here && !is_final
    }
}

/// What the line of a connection says, in OpenTelemetry's names; `None` where it is not known who is the client.
pub fn object(judged: &Judged<'_>) -> Option<serde_json::Map<String, serde_json::Value>> {
    match Record::new(judged)?.write(Format::Otel) {
        serde_json::Value::Object(object) => Some(object),
        _ => None,
    }
}

/// The log.
pub struct AuditLog {
    out: Out,
    format: Format,
    auditor: Auditor,
}

impl AuditLog {
    /// Opens the log.
    ///
    /// # Errors
    /// When the file cannot be opened or made.
    pub fn open(options: &Options) -> io::Result<Self> {
        let out = match &options.target {
            Target::StandardOutput => Out::Stream(Box::new(BufWriter::new(io::stdout()))),
            Target::File(path) => {
                let full = if options.waits { Full::Wait } else { Full::Drop };
                Out::File(Writer::start(path, options.rotation, full)?)
            }
        };
        Ok(Self::to(out, options.format, options.max_connections))
    }

    fn to(out: Out, format: Format, max_connections: usize) -> Self {
        Self { out, format, auditor: Auditor::new(max_connections) }
    }

    /// What lines go to, for messages.
    pub const fn name(&self) -> &'static str {
        match self.out {
            Out::Stream(_) => "standard output",
            Out::File(_) => "the audit log",
        }
    }

    /// Looks at a sighting, and writes the line of its connection when that is due.
    ///
    /// # Errors
    /// When standard output cannot be written. A file never fails: what the disk does not take waits for it.
    pub fn see(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        if !self.auditor.is_due(judged) {
            return Ok(());
        }
        let Some(record) = Record::new(judged) else { return Ok(()) };
        let line = to_line(&record.write(self.format)).into_bytes();
        match &mut self.out {
            Out::Stream(out) => out.write_all(&line).and_then(|()| out.flush()),
            Out::File(writer) => {
                writer.line(line);
                Ok(())
            }
        }
    }

    /// Opens the file anew: somebody renamed it.
    pub fn reopen(&mut self) {
        if let Out::File(writer) = &self.out {
            writer.reopen();
        }
    }

    /// Whether there is a file that somebody may rename.
    pub const fn has_file(&self) -> bool {
        matches!(self.out, Out::File(_))
    }

    /// Waits until everything is written that can be.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Stream(out) => out.flush(),
            Out::File(writer) => {
                writer.finish();
                Ok(())
            }
        }
    }

    /// What happened so far.
    pub const fn counters(&self) -> Counters {
        self.auditor.counters
    }

    /// Every counter with its name.
    pub fn named_counters(&self) -> Vec<(&'static str, u64)> {
        let c = self.auditor.counters;
        let mut named = vec![
            ("audit.connections", c.connections),
            ("audit.left_to_server", c.left_to_server),
            ("audit.connections_evicted", c.connections_evicted),
        ];
        if let Out::File(writer) = &self.out {
            let WriterCounters { written, dropped, errors, file } = writer.counters();
            named.extend([
                ("audit.lines_written", written),
                ("audit.lines_dropped", dropped),
                ("audit.write_errors", errors),
                ("audit.rotations", file.rotations),
                ("audit.rotation_errors", file.rotation_errors),
                ("audit.reopened", file.reopened),
            ]);
        }
        named
    }
}
