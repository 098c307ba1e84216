//! rotel, a collector of OTLP: what it receives, as it prints it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::child::{Child, command};
use crate::tools::{python_files, scratch_dir};

/// An address that nobody listens on now.
pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// rotel, which prints what it receives.
pub struct Rotel {
    /// The process.
    pub child: Child,
    /// Where it takes gRPC.
    pub grpc: SocketAddr,
    /// Where it takes HTTP.
    pub http: SocketAddr,
}

impl Rotel {
    /// Starts it on ports that are free.
    pub fn start() -> Self {
        Self::start_at(free(), free())
    }

    /// Starts it there.
    pub fn start_at(grpc: SocketAddr, http: SocketAddr) -> Self {
        let program: PathBuf = python_files("rotel", "rotel-agent").remove(0);
        let folder = scratch_dir("rotel");
        let mut rotel =
            command(program, ["start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"]);
        for signal in ["traces", "logs", "metrics"] {
            rotel.args(["--debug-log", signal]);
        }
        rotel.args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()]);
        rotel.arg("--pid-file").arg(folder.join("pid")).arg("--log-file").arg(folder.join("log"));
        let child = Child::spawn(rotel);
        wait_for(&child, grpc);
        wait_for(&child, http);
        Self { child, grpc, http }
    }

    /// What it has received of what the caller looks for, once it is enough; and then nothing more of it comes for a moment,
    /// or it would be there too. Others on this host may go on all the time.
    pub fn received(
        &self,
        of: impl Fn(Received) -> Received,
        enough: impl Fn(&Received) -> bool,
    ) -> Received {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut before = None;
        loop {
            let received = of(read(&self.child.text()));
            // It prints what it was sent in pieces: two looks that are alike mean that it is done.
            if enough(&received) && before.as_ref() == Some(&received) {
                return received;
            }
            assert!(Instant::now() < deadline, "rotel has only this: {received:#?}");
            before = Some(received);
            std::thread::park_timeout(Duration::from_millis(400));
        }
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        self.child.stop();
    }
}

/// Until somebody listens there.
pub fn wait_for(child: &Child, address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "{child:?} does not listen: {}", child.text());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Attributes in rotel's words.
pub type Attributes = BTreeMap<String, String>;

/// A span.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// Code of its status.
    pub status: String,
    /// Message of its status.
    pub message: String,
    /// Nanoseconds; absent where the handshake came to no end that was seen.
    pub lasted: Option<u64>,
    /// Attributes.
    pub attributes: Attributes,
}

/// Spans, and events of plaintext connections, in the order of their connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Spans.
    pub spans: Vec<Span>,
    /// Attributes of events of plaintext connections.
    pub plaintext: Vec<Attributes>,
}

impl Received {
    /// In the order of their connections.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        let connection = |attributes: &Attributes| attributes.get("tlsight.connection").cloned();
        self.spans.sort_by_key(|span| connection(&span.attributes));
        self.plaintext.sort_by_key(connection);
        self
    }
}

/// What the text of rotel says.
pub fn read(text: &str) -> Received {
    let mut received = Received::default();
    let (mut start, mut is_plaintext, mut is_span) = (0, false, false);
    for line in text.lines() {
        let part = |prefix: &str| {
            line.trim_start().strip_prefix(prefix).map(|rest| rest.trim_start_matches([' ', ':']))
        };
        if line.starts_with("Span #") {
            is_span = true;
            received.spans.push(Span::default());
        } else if line.starts_with("LogRecord #") || line.starts_with("Resource") {
            (is_span, is_plaintext) = (false, false);
        } else if let Some(name) = part("EventName") {
            is_plaintext = name == "tlsight.connection.plaintext";
            if is_plaintext {
                received.plaintext.push(Attributes::new());
            }
        } else if let Some((key, value)) = part("->").and_then(|rest| rest.split_once(": ")) {
            let attributes = match (is_span, is_plaintext) {
                (true, _) => received.spans.last_mut().map(|span| &mut span.attributes),
                (_, true) => received.plaintext.last_mut(),
                _ => None,
            };
            if let Some(attributes) = attributes {
                attributes.insert(key.to_owned(), double(value));
            }
        } else if let Some(span) = received.spans.last_mut().filter(|_| is_span) {
            if let Some(name) = part("Name ") {
                span.name = name.to_owned();
            } else if let Some(kind) = part("Kind ") {
                span.kind = kind.to_owned();
            } else if let Some(status) = part("Status code") {
                span.status = status.to_owned();
            } else if let Some(message) = part("Status message") {
                span.message = message.to_owned();
            } else if let Some(at) = part("Start time:") {
                start = at.parse().expect("nanoseconds");
            } else if let Some(at) = part("End time:") {
                // JSON, which this is held against, tells microseconds.
                span.lasted = Some((at.parse::<u64>().expect("nanoseconds") - start) / 1000 * 1000);
            }
        }
    }
    for span in &mut received.spans {
        if !span.attributes.contains_key("tlsight.handshake_duration_ms") {
            span.lasted = None;
        }
    }
    received.sorted()
}

/// One spelling of numbers with a fraction.
fn double(value: &str) -> String {
    let number = value.strip_prefix("Double(").and_then(|rest| rest.strip_suffix(')'));
    number.map_or_else(
        || value.to_owned(),
        |number| format!("Double({:?})", number.parse::<f64>().expect("a number")),
    )
}
