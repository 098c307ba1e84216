//! The endpoint: /metrics for Prometheus, /healthz and /readyz for whoever keeps the agent running.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::patience::Patient;
use super::tls::Tls;
use super::token::Token;
use crate::exit::{Exit, Failure};
use crate::source::live::{Health, Remote, Stage};

/// Connections at a time. Where more come the oldest makes room, and is counted: clients that do nothing, or hardly anything,
/// do not keep out the scraper and the kubelet.
const CONNECTIONS: usize = 64;
/// How long a client may take for a TLS handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to read an answer.
const READING: Duration = Duration::from_secs(30);
/// How long the capture may take to say how it is doing.
const ANSWER: Duration = Duration::from_secs(2);
/// Answers below this size are not worth compressing.
const WORTH_COMPRESSING: usize = 1400;

/// What /metrics says.
pub(super) trait Metrics: Send + Sync {
    /// Content type and body, for what a client accepts; or why there is none.
    fn render(&self, accept: Option<&str>, health: Health) -> Result<(&'static str, Vec<u8>), String>;
}

/// What the endpoint knows.
pub(super) struct Endpoint {
    pub(super) remote: Remote,
    pub(super) metrics: Box<dyn Metrics>,
    /// Absent without TLS.
    pub(super) tls: Option<Tls>,
    /// Who asks for /metrics has to know it.
    pub(super) token: Token,
    pub(super) counters: Counters,
}

/// What happened at the endpoint.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    unauthorized: AtomicU64,
    connections_refused: AtomicU64,
    handshakes_failed: AtomicU64,
}

impl Counters {
    /// All by name.
    pub(super) fn named(&self) -> Vec<(String, u64)> {
        [
            ("endpoint.requests", &self.requests),
            ("endpoint.unauthorized", &self.unauthorized),
            ("endpoint.connections_refused", &self.connections_refused),
            ("endpoint.tls_handshakes_failed", &self.handshakes_failed),
        ]
        .map(|(name, n)| (name.to_owned(), n.load(Ordering::Relaxed)))
        .into()
    }

    fn count(n: &AtomicU64) {
        n.fetch_add(1, Ordering::Relaxed);
    }
}

/// Listens.
///
/// # Errors
/// [`Failure`] when the address cannot be had.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| {
        let exit = match e.kind() {
            io::ErrorKind::PermissionDenied => Exit::MissingRights,
            _ => Exit::Failure,
        };
        Failure::new(exit, format!("serve metrics at {address}"), e).hint("another --metrics-listen")
    })
}

/// Answers for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: that passes, or not, but needs no busy loop.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        while open.len() >= CONNECTIONS {
            if let Some(oldest) = open.pop_front() {
                oldest.abort();
                Counters::count(&endpoint.counters.connections_refused);
            }
        }
        let endpoint = Arc::clone(&endpoint);
        let connection = tokio::spawn(async move {
            let Some(tls) = &endpoint.tls else { return answer(stream, false, &endpoint).await };
            let acceptor = TlsAcceptor::from(tls.current());
            match timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let is_known = stream.get_ref().1.peer_certificates().is_some();
                    answer(stream, is_known, &endpoint).await;
                }
                _ => Counters::count(&endpoint.counters.handshakes_failed),
            }
        });
        open.push_back(connection.abort_handle());
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, is_known: bool, endpoint: &Endpoint) {
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(
            endpoint.answer(request.method(), request.uri().path(), request.headers(), is_known).await,
        )
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 * 1024);
    // Whoever went away wants no answer.
    let _ = server.serve_connection(TokioIo::new(Patient::new(stream, READING)), service).await;
}

impl Endpoint {
    async fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        is_known: bool,
    ) -> Response<Full<Bytes>> {
        Counters::count(&self.counters.requests);
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(headers, is_known).await,
            "/healthz" => match self.remote.health(ANSWER).await {
                Ok(_) => text(StatusCode::OK, "ok\n"),
                // Attaching may take long; a liveness probe must not end it.
                Err(_) if self.remote.stage() == Stage::Starting => text(StatusCode::OK, "starting\n"),
                Err(e) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{e}\n")),
            },
            "/readyz" => match self.remote.stage() {
                Stage::Watching => text(StatusCode::OK, "watching\n"),
                stage => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", stage.as_str())),
            },
            "/" => text(StatusCode::OK, "tlsight\n\n/metrics\n/healthz\n/readyz\n"),
            _ => text(StatusCode::NOT_FOUND, "not found; see /\n"),
        }
    }

    async fn metrics(&self, headers: &HeaderMap, is_known: bool) -> Response<Full<Bytes>> {
        let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if self.tls.as_ref().is_some_and(Tls::wants_certificate) && !is_known {
            Counters::count(&self.counters.unauthorized);
            let mut response = text(StatusCode::FORBIDDEN, "a client certificate is needed\n");
            // It may have come before certificates were asked for: the next connection is.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        if !self.token.is_good(given) {
            Counters::count(&self.counters.unauthorized);
            let mut response = text(StatusCode::UNAUTHORIZED, "a bearer token is needed\n");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        // A capture that has no time for an answer is no reason to hide what is known.
        let mut health = self.remote.health(ANSWER).await.unwrap_or_default();
        health.counters.extend(self.counters.named());
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let (kind, body) = match self.metrics.render(accept, health) {
            Ok(rendered) => rendered,
            Err(cause) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{cause}\n")),
        };
        let zipped =
            (body.len() >= WORTH_COMPRESSING && accepts_gzip(headers)).then(|| gzip(&body)).flatten();
        let is_zipped = zipped.is_some();
        let mut response = Response::new(Full::new(Bytes::from(zipped.unwrap_or(body))));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if is_zipped {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|part| {
        let (coding, weight) = part.split_once(';').unwrap_or((part, ""));
        let refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0);
        matches!(coding.trim(), "gzip" | "*") && !refused
    })
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    out.write_all(body).ok()?;
    out.finish().ok()
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Bytes as what a client of the endpoint sends, and what it gets for them.
#[cfg(fuzzing)]
pub(super) async fn fuzz(request: &[u8]) -> Vec<u8> {
    use crate::export::prometheus::negotiate;
    struct Long;
    impl Metrics for Long {
        fn render(&self, accept: Option<&str>, _: Health) -> Result<(&'static str, Vec<u8>), String> {
            let _ = negotiate(accept);
            Ok(("text/plain", vec![b'x'; 2 * WORTH_COMPRESSING]))
        }
    }
    let (remote, _) = crate::source::live::remote();
    let endpoint = Endpoint {
        remote,
        metrics: Box::new(Long),
        tls: None,
        token: Token::of(b"s3cret"),
        counters: Counters::default(),
    };
    let mut answers = std::io::Cursor::new(Vec::new());
    answer(tokio::io::join(request, &mut answers), false, &endpoint).await;
    answers.into_inner()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn encoding(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn compresses_only_for_those_who_accept_it() {
        for (value, expected) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("*", true), ("gzip;q=0", false), ("br", false)]
        {
            assert_eq!(accepts_gzip(&encoding(value)), expected, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    struct Nothing;

    impl Metrics for Nothing {
        fn render(&self, _: Option<&str>, _: Health) -> Result<(&'static str, Vec<u8>), String> {
            Ok(("text/plain", Vec::new()))
        }
    }

    #[test]
    fn clients_that_say_nothing_keep_nobody_out() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let (remote, _attendance) = crate::source::live::remote();
            let endpoint = Arc::new(Endpoint {
                remote,
                metrics: Box::new(Nothing),
                tls: None,
                token: Token::default(),
                counters: Counters::default(),
            });
            let listener = listen(([127, 0, 0, 1], 0).into()).await.expect("listen");
            let address = listener.local_addr().expect("address");
            tokio::spawn(serve(listener, Arc::clone(&endpoint)));
            let mut silent = Vec::new();
            for _ in 0..CONNECTIONS {
                silent.push(TcpStream::connect(address).await.expect("connect"));
            }
            let mut stream = TcpStream::connect(address).await.expect("connect");
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("ask");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("answer");
            assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
            // The oldest made room, and that is counted.
            assert_eq!(silent[0].read(&mut [0]).await.expect("end"), 0);
            assert_eq!(endpoint.counters.named()[2], ("endpoint.connections_refused".to_owned(), 1));
        });
    }
}
