//! Connections to a collector: TCP, TLS where the endpoint says so, and each remembered as the exporter's own.

use std::future::Future;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
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
        Self { tcp: Tcp { own }, tls }
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
    own: Arc<OwnConnections>,
}

impl Tcp {
    /// To the first of the host's addresses that answers.
    async fn connect(&self, uri: &Uri) -> Result<TcpStream, BoxError> {
        let host = uri.host().ok_or("no host")?.trim_start_matches('[').trim_end_matches(']');
        let unless_said = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(unless_said);
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        let patience = PATIENCE / u32::try_from(addresses.len().max(1))?;
        let mut error = BoxError::from("no address");
        for address in addresses {
            match self.connect_to(address, patience).await {
                Ok(stream) => return Ok(stream),
                Err(why) => error = why,
            }
        }
        Err(error)
    }

    /// Binds before it connects: what is remembered has to be known before the other end can say a word.
    async fn connect_to(&self, to: SocketAddr, patience: Duration) -> Result<TcpStream, BoxError> {
        let (socket, any) = match to {
            SocketAddr::V4(_) => (TcpSocket::new_v4()?, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (TcpSocket::new_v6()?, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        socket.bind(any)?;
        let port = socket.local_addr()?.port();
        let remembered = self.own.remember(port, Instant::now());
        let made = tokio::time::timeout(patience, socket.connect(to)).await;
        let stream = made.map_err(|_| std::io::Error::from(ErrorKind::TimedOut))??;
        remembered.made(stream.local_addr()?);
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE)?;
        Ok(stream)
    }
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tcp = self.clone();
        Box::pin(async move { Ok(TokioIo::new(tcp.connect(&uri).await?)) })
    }
}
