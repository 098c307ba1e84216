//! Asks a running agent.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{PROTOCOL, Request, Response};
use crate::exit::{Exit, Failure};
use crate::report::document::Report;
use crate::top::snapshot::Snapshot;

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer, in bytes: far above what the bounds of a report allow.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;

/// Asks for a report.
///
/// # Errors
/// [`Failure`] when nobody answers there, or the answer is none.
pub fn report(path: &Path, now: Option<u64>, min_connections: u64) -> Result<Report, Failure> {
    let request = Request {
        protocol: PROTOCOL,
        command: "report".to_owned(),
        now,
        min_connections: Some(min_connections),
    };
    asked(path, &request, "report", |response| response.report.take())
}

/// Asks for what `tlsight top` shows.
///
/// # Errors
/// [`Failure`] when nobody answers there, or the answer is none.
pub fn top(path: &Path) -> Result<Snapshot, Failure> {
    let request = Request { protocol: PROTOCOL, command: "top".to_owned(), now: None, min_connections: None };
    asked(path, &request, "view", |response| response.top.take())
}

/// Whether somebody answers there who lets us ask.
pub fn is_there(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

fn asked<T>(
    path: &Path,
    request: &Request,
    what: &str,
    pick: impl FnOnce(&mut Response) -> Option<T>,
) -> Result<T, Failure> {
    let doing = || format!("ask the agent at {}", path.display());
    let text = ask(path, request).map_err(|error| unanswered(doing(), &request.command, &error))?;
    let mut response: Response = serde_json::from_slice(&text).map_err(|error| {
        Failure::new(Exit::InputUnreadable, doing(), format!("its answer is not understood: {error}"))
    })?;
    match (pick(&mut response), response.error) {
        (Some(answer), _) => Ok(answer),
        (None, Some(error)) => Err(Failure::new(Exit::Failure, doing(), error.message)),
        (None, None) => {
            Err(Failure::new(Exit::InputUnreadable, doing(), format!("its answer holds no {what}")))
        }
    }
}

fn ask(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut agent = UnixStream::connect(path)?;
    agent.set_read_timeout(Some(PATIENCE))?;
    agent.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    // An agent that is busy answers without reading the question, and hangs up: what it said is there all the same.
    let asked = agent.write_all(&line);
    let mut answer = Vec::new();
    let read = BufReader::new(agent.take(MAX_ANSWER)).read_until(b'\n', &mut answer);
    if answer.last() != Some(&b'\n') {
        asked?;
        read?;
    }
    Ok(answer)
}

fn unanswered(doing: String, command: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failure::new(Exit::InputUnreadable, doing, "nobody answers there").hint(match command {
                "top" => {
                    "start `tlsight agent` or `tlsight watch --socket`, or name its socket with --socket PATH"
                }
                _ => "start `tlsight watch --socket`, name its socket with --socket, or name files",
            })
        }
        io::ErrorKind::PermissionDenied => Failure::new(Exit::MissingRights, doing, error)
            .hint(format!("ask as the user who runs the agent: sudo tlsight {command}")),
        _ => Failure::new(Exit::InputUnreadable, doing, error),
    }
}
