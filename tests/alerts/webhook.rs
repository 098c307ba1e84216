//! What Alertmanager calls.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Firing,
    Resolved,
}

/// An alert as it came.
#[derive(Clone, Debug)]
pub(crate) struct Alert {
    pub(crate) status: Status,
    pub(crate) labels: Value,
    pub(crate) annotations: Value,
}

impl Alert {
    /// A label; "" where it has none, as Prometheus sees it.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }
}

#[derive(Default)]
struct Log {
    alerts: Mutex<Vec<Alert>>,
    came: Condvar,
}

/// The receiver.
pub(crate) struct Webhook {
    pub(crate) at: SocketAddr,
    log: Arc<Log>,
}

impl Webhook {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
        let at = listener.local_addr().expect("an address");
        let log = Arc::new(Log::default());
        let to = log.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let to = to.clone();
                thread::spawn(move || answer(&connection, &to));
            }
        });
        Self { at, log }
    }

    /// How many came up to now: what came before an action is not its effect.
    pub(crate) fn mark(&self) -> usize {
        self.log.alerts.lock().unwrap().len()
    }

    /// Waits for an alert that came after `mark`.
    pub(crate) fn wait(&self, mark: usize, limit: Duration, is_it: impl Fn(&Alert) -> bool) -> Option<Alert> {
        let deadline = Instant::now() + limit;
        let mut alerts = self.log.alerts.lock().unwrap();
        loop {
            if let Some(found) = alerts[mark..].iter().find(|alert| is_it(alert)) {
                return Some(found.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            alerts = self.log.came.wait_timeout(alerts, left).unwrap().0;
        }
    }

    /// All that came.
    pub(crate) fn all(&self) -> Vec<Alert> {
        self.log.alerts.lock().unwrap().clone()
    }
}

/// One connection, any number of requests.
fn answer(connection: &TcpStream, log: &Log) {
    let mut from = BufReader::new(connection);
    while let Some(body) = request(&mut from) {
        let message: Value = serde_json::from_slice(&body).expect("Alertmanager sends JSON");
        let alerts = message["alerts"].as_array().expect("a list of alerts").iter().map(|alert| Alert {
            status: if alert["status"] == "firing" { Status::Firing } else { Status::Resolved },
            labels: alert["labels"].clone(),
            annotations: alert["annotations"].clone(),
        });
        log.alerts.lock().unwrap().extend(alerts);
        log.came.notify_all();
        let mut to = connection;
        if to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn request(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(body)
}
