//! The agent's side: one thread keeps the model, one accepts clients, and each of a few clients at a time has its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_core::time::Timestamp;

use super::feed::FeedSink;
use super::listener::SocketFile;
use super::{MAX_REQUEST, Request, Response};
use crate::exit::{Exit, Failure};
use crate::report::limits::Limits;
use crate::report::line::Line;
use crate::report::model::Model;
use crate::top::keeper::{self, Asker};
use crate::top::model::limits as top;

/// Batches of lines that wait for the model.
const QUEUE: usize = 64;
/// Clients at a time.
const CLIENTS: usize = 8;
/// Bytes of a question that is too long which are read to be forgotten.
const MAX_DISCARDED: u64 = 1024 * 1024;
/// How long a client may take to ask, and to read.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the thread that keeps the model is told.
#[derive(Debug)]
pub(super) enum Message {
    /// What was seen, and how much of it was dropped before.
    Lines {
        /// The lines.
        lines: Vec<Line>,
        /// Dropped.
        dropped: u64,
    },
    /// A question; the answer goes there.
    Ask(Request, SyncSender<Response>),
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Goes with the server.
    _file: SocketFile,
    listener: Arc<UnixListener>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    top: Asker,
}

/// Those who know the answers.
#[derive(Clone, Debug)]
struct Ask {
    report: SyncSender<Message>,
    top: Asker,
}

impl Server {
    /// Listens at a path; what the sink is given is what answers are made of.
    ///
    /// # Errors
    /// [`Failure`] when there is another agent, or something that is no socket, or the file cannot be made.
    pub fn start(path: &Path, limits: Limits) -> Result<(Self, FeedSink), Failure> {
        let (file, listener) = SocketFile::listen(path)?;
        let listener = Arc::new(listener);
        let (to, from) = sync_channel(QUEUE);
        let (feed, top) = keeper::start(top::Limits::default())?;
        let cannot =
            |error: io::Error| Failure::new(Exit::Failure, "start the thread that answers questions", error);
        let thread = |name: &str| thread::Builder::new().name(name.to_owned());
        // It ends when the sink, the acceptor and all clients are gone.
        thread("report").spawn(move || keep(Model::new(limits), &from)).map_err(cannot)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (flag, accepting) = (Arc::clone(&stopped), Arc::clone(&listener));
        let ask = Ask { report: to.clone(), top: top.clone() };
        let acceptor = thread("socket").spawn(move || accept(&accepting, &flag, &ask)).map_err(cannot)?;
        let server = Self { _file: file, listener, stopped, acceptor: Some(acceptor), top };
        Ok((server, FeedSink::new(to, feed)))
    }

    /// Who keeps what `tlsight top` shows: tell him what is lost elsewhere.
    pub fn top(&self) -> &Asker {
        &self.top
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the acceptor, which by its path may be another's by now; where that fails, it ends with the process.
        if rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

fn keep(mut model: Model, from: &Receiver<Message>) {
    while let Ok(message) = from.recv() {
        match message {
            Message::Lines { lines, dropped } => {
                model.dropped(dropped);
                for line in &lines {
                    model.take(0, line);
                }
            }
            Message::Ask(request, answer) => {
                // A client that went away wants no answer.
                let _ = answer.try_send(Response::report(model.report(request.options(now()))));
            }
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn accept(listener: &UnixListener, stopped: &AtomicBool, ask: &Ask) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let client = listener.accept();
        if stopped.load(Ordering::Acquire) {
            return;
        }
        let Ok((client, _)) = client else {
            // Out of descriptors, most likely: that passes, or not, but needs no busy loop.
            thread::park_timeout(Duration::from_millis(100));
            continue;
        };
        if clients.load(Ordering::Acquire) >= CLIENTS {
            let message = format!("{CLIENTS} others are being answered; ask again");
            // Its buffer is empty: this does not wait.
            let _ = answer(&client, &Response::error("busy", message));
            continue;
        }
        clients.fetch_add(1, Ordering::AcqRel);
        let (count, ask) = (Arc::clone(&clients), ask.clone());
        let serve = move || {
            // Whoever went away in the middle wants no answer.
            let _ = serve(&client, &ask);
            count.fetch_sub(1, Ordering::AcqRel);
        };
        if thread::Builder::new().name("client".to_owned()).spawn(serve).is_err() {
            clients.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A client that has until then to say all that it says, however often it says a little.
struct Within<'a> {
    client: &'a UnixStream,
    until: Instant,
}

impl Read for Within<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.client.set_read_timeout(Some(left))?;
        let mut client = self.client;
        client.read(bytes)
    }
}

fn serve(client: &UnixStream, ask: &Ask) -> io::Result<()> {
    client.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    let question = Within { client, until: Instant::now() + PATIENCE };
    BufReader::new(question.take(MAX_REQUEST)).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        let message = format!("a question is one line of at most {MAX_REQUEST} bytes");
        answer(client, &Response::error("bad_request", message))?;
        // What is left unread would be an error to the client, in place of the answer.
        client.set_read_timeout(Some(Duration::from_millis(200)))?;
        return io::copy(&mut client.take(MAX_DISCARDED), &mut io::sink()).map(drop);
    }
    let response = match Request::parse(&line) {
        Err(error) => Response::failed(error),
        Ok(request) if request.command == "top" => {
            Response::top(ask.top.snapshot().ok_or_else(|| io::Error::other("the view is gone"))?)
        }
        Ok(request) => {
            let (to, from) = sync_channel(1);
            let gone = || io::Error::other("the report is gone");
            ask.report.send(Message::Ask(request, to)).map_err(|_| gone())?;
            from.recv().map_err(|_| gone())?
        }
    };
    answer(client, &response)
}

fn answer(mut client: &UnixStream, response: &Response) -> io::Result<()> {
    let mut text = serde_json::to_vec(response)?;
    text.push(b'\n');
    client.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_says_little_at_a_time_does_not_have_more_time() {
        let (here, there) = UnixStream::pair().unwrap();
        let until = Instant::now() + Duration::from_millis(200);
        let mut question = Within { client: &here, until };
        let dripping = thread::spawn(move || {
            let mut there = &there;
            while there.write_all(b"x").is_ok() && Instant::now() < until + Duration::from_secs(30) {
                thread::park_timeout(Duration::from_millis(5));
            }
        });
        let error = io::copy(&mut question, &mut io::sink()).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        assert!(until.elapsed() < Duration::from_secs(20));
        drop(here);
        dripping.join().unwrap();
    }
}
