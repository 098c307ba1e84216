//! Connections that do what they should, many a second from this process: plaintext, TLS and mutual TLS in turn. What the
//! agent has to say of them, whatever else goes on, is known.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::agent::{Agent, Tuple};
use crate::host::{case_address, free_port};
use crate::pki::{Identity, SERVER_NAME, pki};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server.tlsight.test\r\nConnection: close\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
/// How long one end waits for the other.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server for all three, and its clients.
pub struct Mixed {
    /// Where it listens.
    pub at: SocketAddr,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    without: Arc<ClientConfig>,
    with: Arc<ClientConfig>,
    used: Mutex<BTreeSet<SocketAddr>>,
}

/// A connection that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The client's end.
    pub local: SocketAddr,
    /// The verdict it should get.
    pub security: &'static str,
    /// Another connection had the same end before.
    pub again: bool,
}

fn chain(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(&identity.cert).expect("certificates");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    (chain, PrivateKeyDer::from_pem_file(&identity.key).expect("a key"))
}

impl Mixed {
    /// Starts the server.
    pub fn start() -> Mixed {
        let at = SocketAddr::from((case_address(), free_port()));
        let listener = TcpListener::bind(at).expect("listen");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&pki().ca).expect("a root")).expect("a root");
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let verifier = verifier.allow_unauthenticated().build().expect("a verifier");
        let (certificates, key) = chain(&pki().server_p256);
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates, key);
        let server = Arc::new(server.expect("a server"));
        let client = || {
            let builder = ClientConfig::builder_with_provider(provider.clone());
            let builder = builder.with_protocol_versions(rustls::ALL_VERSIONS).expect("versions");
            builder.with_root_certificates(roots.clone())
        };
        let whole = |mut config: ClientConfig| {
            // Every handshake is a full one: a resumed one does not say who the client is.
            config.resumption = rustls::client::Resumption::disabled();
            Arc::new(config)
        };
        let without = whole(client().with_no_client_auth());
        let (certificates, key) = chain(&pki().client);
        let with = whole(client().with_client_auth_cert(certificates, key).expect("a client"));
        let stopped = Arc::new(AtomicBool::new(false));
        let done = stopped.clone();
        let accept = move || {
            for stream in listener.incoming() {
                if done.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), server) = (stream, server.clone()) else { continue };
                // What went wrong, the client tells.
                thread::spawn(move || drop(serve(stream, server)));
            }
        };
        let acceptor = Some(thread::spawn(accept));
        Mixed { at, stopped, acceptor, without, with, used: Mutex::default() }
    }

    /// Makes the `n`th connection; which kind it is follows from the number.
    ///
    /// # Errors
    /// What went wrong, in words: traffic was harmed.
    pub fn connect(&self, n: usize) -> Result<Made, String> {
        let said = |what: &str, e: &dyn std::fmt::Display| format!("connection {n}, {what}: {e}");
        let stream = TcpStream::connect_timeout(&self.at, PATIENCE).map_err(|e| said("connect", &e))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|e| said("set", &e))?;
        let local = stream.local_addr().map_err(|e| said("address", &e))?;
        let again = !self.used.lock().unwrap().insert(local);
        let (security, config) = match n % 3 {
            0 => ("plaintext", None),
            1 => ("tls", Some(&self.without)),
            _ => ("mtls", Some(&self.with)),
        };
        let answer = match config {
            None => ask(stream),
            Some(config) => {
                let name = ServerName::try_from(SERVER_NAME).expect("a name");
                ClientConnection::new(config.clone(), name)
                    .map_err(std::io::Error::other)
                    .and_then(|connection| ask(StreamOwned::new(connection, stream)))
            }
        };
        match answer {
            Ok(answer) if answer == RESPONSE => Ok(Made { local, security, again }),
            Ok(answer) => Err(said("answer", &String::from_utf8_lossy(&answer))),
            Err(e) => Err(said(security, &e)),
        }
    }
}

impl Drop for Mixed {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.at);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn ask(mut stream: impl Read + Write) -> std::io::Result<Vec<u8>> {
    stream.write_all(REQUEST)?;
    stream.flush()?;
    let mut answer = vec![0; RESPONSE.len()];
    stream.read_exact(&mut answer)?;
    // The server closes first, so that the client's port is free again at once.
    let _ = stream.read(&mut [0; 64]);
    Ok(answer)
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut first = [0];
    if stream.peek(&mut first)? == 0 {
        return Ok(());
    }
    if first == [b'G'] {
        return answer(stream);
    }
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    answer(&mut tls)?;
    tls.conn.send_close_notify();
    tls.flush()
}

fn answer(mut stream: impl Read + Write) -> std::io::Result<()> {
    stream.read_exact(&mut [0; REQUEST.len()])?;
    stream.write_all(RESPONSE)?;
    stream.flush()
}

/// What the agent made of connections, both ends of each counted.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// Ends with the verdict they should have.
    pub right: usize,
    /// Ends without a last line, or whose verdict is `unknown`.
    pub missing: usize,
    /// Ends with another verdict, and what it is.
    pub wrong: Vec<String>,
}

impl Verdicts {
    /// Looks until all ends have their last line, or no longer than `limit`.
    pub fn of(agent: &Agent, at: SocketAddr, made: &[Made], limit: Duration) -> Verdicts {
        // A port comes again.
        let mut by_tuple: BTreeMap<Tuple, Vec<&Made>> = BTreeMap::new();
        for one in made {
            for tuple in [Tuple { local: one.local, peer: at }, Tuple { local: at, peer: one.local }] {
                by_tuple.entry(tuple).or_default().push(one);
            }
        }
        let look = |ends: &BTreeMap<Tuple, crate::agent::End>| {
            let mut verdicts = Verdicts::default();
            for (tuple, expected) in &by_tuple {
                let seen = ends.get(tuple).map(|end| end.connections()).unwrap_or_default();
                let finals: Vec<String> = seen
                    .iter()
                    .filter_map(|end| {
                        end.phase("final")?.get("tlsight.security")?.as_str().map(str::to_owned)
                    })
                    .collect();
                for (n, one) in expected.iter().enumerate() {
                    // Where one was missed, which of them it was is not known: any that was made will do.
                    let is_one = |found: &String| expected.iter().any(|e| e.security == *found);
                    match finals.get(n) {
                        Some(found) if found == one.security => verdicts.right += 1,
                        Some(found) if found == "unknown" => verdicts.missing += 1,
                        Some(found) if finals.len() < expected.len() && is_one(found) => verdicts.right += 1,
                        Some(_) => {
                            let lines: Vec<_> = seen.iter().map(|e| Value::from(e.lines.clone())).collect();
                            verdicts.wrong.push(format!("{tuple:?} is {}: {lines:?}", one.security));
                        }
                        None => verdicts.missing += 1,
                    }
                }
            }
            verdicts
        };
        let all = |ends: &BTreeMap<Tuple, crate::agent::End>| {
            let verdicts = look(ends);
            (verdicts.missing == 0).then_some(verdicts)
        };
        let found = agent.wait(limit, all);
        found.unwrap_or_else(|| agent.wait(Duration::ZERO, |ends| Some(look(ends))).unwrap_or_default())
    }
}
