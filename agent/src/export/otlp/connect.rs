//! Connections to a collector: TCP, TLS where the endpoint says so, and each remembered as the exporter's own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::own::OwnConnections;
use super::tls::Tls;

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a peer that is silent is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Makes connections.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: Tcp,
    /// Absent: plaintext.
    tls: Option<Arc<Tls>>,
}

impl Connector {
    pub(super) fn new(tls: Option<Arc<Tls>>, own: Arc<OwnConnections>) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(PATIENCE));
        http.set_keepalive(Some(KEEP_ALIVE));
        Self { tcp: Tcp { http, own }, tls }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some(tls) = &self.tls else {
            let stream = self.tcp.call(uri);
            return Box::pin(async move { Ok(MaybeHttpsStream::Http(stream.await?)) });
        };
        // The channel of gRPC does not know that there is TLS: it would do it itself.
        let mut parts = uri.into_parts();
        parts.scheme = Some(Scheme::HTTPS);
        let uri = match Uri::from_parts(parts) {
            Ok(uri) => uri,
            Err(error) => return Box::pin(async move { Err(error.into()) }),
        };
        let connecting = HttpsConnector::from((self.tcp.clone(), tls.current())).call(uri);
        Box::pin(async move {
            match tokio::time::timeout(PATIENCE, connecting).await {
                Ok(stream) => stream,
                Err(_) => Err("no TLS connection in time".into()),
            }
        })
    }
}

/// Makes connections of TCP.
#[derive(Clone, Debug)]
struct Tcp {
    http: HttpConnector,
    own: Arc<OwnConnections>,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, own) = (self.http.call(uri), Arc::clone(&self.own));
        Box::pin(async move {
            let stream = connecting.await?;
            if let Ok(local) = stream.inner().local_addr() {
                own.remember(local, Instant::now());
            }
            Ok(stream)
        })
    }
}
