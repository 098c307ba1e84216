//! A collector over HTTP/1.1 that answers as it is told, and keeps what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

/// What it says to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, with headers, and a body of JSON.
    Status(&'static str, &'static str, &'static str),
    /// Nothing, until it is told otherwise.
    Silence,
}

pub(crate) const OK: Answer = Answer::Status("200 OK", "", "{}");

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Value,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    requests: Vec<Request>,
    connections: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Collector {
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State { answer, requests: Vec::new(), connections: Vec::new() };
        let collector = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new((Mutex::new(state), Condvar::new())),
        };
        let accepting = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = accepting.clone();
                serving.shared.0.lock().unwrap().connections.push(stream.peer_addr().unwrap());
                std::thread::spawn(move || serving.serve(&stream));
            }
        });
        collector
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.shared.0.lock().unwrap().answer = answer;
        self.shared.1.notify_all();
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.0.lock().unwrap().requests.clone()
    }

    /// Where connections came from.
    pub(crate) fn connections(&self) -> Vec<SocketAddr> {
        self.shared.0.lock().unwrap().connections.clone()
    }

    /// Spans in the order in which they came.
    pub(crate) fn spans(&self) -> Vec<Value> {
        self.items("/v1/traces", "resourceSpans", "scopeSpans", "spans")
    }

    /// Log records.
    pub(crate) fn logs(&self) -> Vec<Value> {
        self.items("/v1/logs", "resourceLogs", "scopeLogs", "logRecords")
    }

    fn items(&self, path: &str, resource: &str, scope: &str, items: &str) -> Vec<Value> {
        let requests = self.requests();
        let bodies = requests.iter().filter(|request| request.path == path).map(|request| &request.body);
        let each = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        bodies
            .flat_map(|body| each(body, resource))
            .flat_map(|resource| each(&resource, scope))
            .flat_map(|scope| each(&scope, items))
            .collect()
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let path = line.split(' ').nth(1)?.to_owned();
            let mut headers = Vec::new();
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).ok()?;
                let header = header.trim_end().to_owned();
                if header.is_empty() {
                    break;
                }
                if let Some(value) = header.strip_prefix("content-length: ") {
                    length = value.parse().ok()?;
                }
                headers.push(header);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (lock, changed) = &*self.shared;
            let mut state = lock.lock().unwrap();
            state.requests.push(Request { path, headers, body });
            let (status, extra, text) = loop {
                match &state.answer {
                    Answer::Status(status, extra, text) => break (*status, *extra, *text),
                    Answer::Silence => state = changed.wait(state).unwrap(),
                }
            };
            drop(state);
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}content-length: {}\r\n\r\n{text}",
                text.len()
            );
            { stream }.write_all(answer.as_bytes()).ok()?;
        }
    }
}
