//! Whom the exporter trusts, and what it shows. The files are read again when they have changed: certificates are renewed
//! while the agent runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::counters::{Counters, count};
use super::options::Target;
use super::trouble::say;
use crate::config::otlp::Protocol;
use crate::exit::{Exit, Failure};

/// What new connections are made with.
#[derive(Debug)]
pub(super) struct Tls {
    files: Files,
    current: Mutex<(Arc<ClientConfig>, Stamp)>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Files {
    certificate: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
    protocols: Vec<Vec<u8>>,
}

/// Tells one state of the files from another.
type Stamp = Vec<Option<(SystemTime, u64)>>;

impl Tls {
    /// Reads the files; `None` for a collector that is spoken to in plaintext.
    pub(super) fn load(target: &Target, counters: &Arc<Counters>) -> Result<Option<Self>, Failure> {
        if target.endpoint.scheme_str() != Some("https") {
            return Ok(None);
        }
        let protocols: &[&[u8]] = match target.protocol {
            Protocol::Grpc => &[b"h2"],
            Protocol::HttpProtobuf | Protocol::HttpJson => &[b"h2", b"http/1.1"],
        };
        let files = Files {
            certificate: target.certificate.clone(),
            client: target.client.clone(),
            protocols: protocols.iter().map(|protocol| protocol.to_vec()).collect(),
        };
        // Before they are read: what changes meanwhile is read again.
        let stamp = files.stamp();
        let config = Arc::new(files.read()?);
        Ok(Some(Self { files, current: Mutex::new((config, stamp)), counters: Arc::clone(counters) }))
    }

    /// What the files say now; what they said before where they cannot be read.
    pub(super) fn current(&self) -> Arc<ClientConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.files.stamp();
        if stamp != current.1 {
            match self.files.read() {
                Ok(config) => current.0 = Arc::new(config),
                Err(failure) => {
                    count(&self.counters.tls_reload_errors);
                    say(&format!("{failure}; the certificates of before are kept"));
                }
            }
            current.1 = stamp;
        }
        Arc::clone(&current.0)
    }
}

impl Files {
    fn stamp(&self) -> Stamp {
        let client = self.client.iter().flat_map(|(certificate, key)| [certificate, key]);
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        self.certificate.iter().chain(client).map(stamp).collect()
    }

    fn read(&self) -> Result<ClientConfig, Failure> {
        let fail = |what: &str, path: &Path, cause: &dyn std::fmt::Display| {
            Failure::new(Exit::InputUnreadable, format!("read {what} {}", path.display()), cause)
        };
        let mut roots = RootCertStore::empty();
        match &self.certificate {
            Some(path) => {
                let what = "the authorities of the collector";
                for root in certificates(path).map_err(|e| fail(what, path, &e))? {
                    roots.add(root).map_err(|e| fail(what, path, &e))?;
                }
            }
            None => {
                // One that is odd does not spoil the others.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| Failure::new(Exit::Failure, "set up TLS", e))?
            .with_root_certificates(roots);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)
                    .map_err(|e| fail("the certificate to show", certificate, &e))?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| fail("the key", key, &e))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| fail("certificate and key", certificate, &e))?
            }
        };
        config.alpn_protocols.clone_from(&self.protocols);
        Ok(config)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(none) if none.is_empty() => Err("no certificate in it".to_owned()),
        other => other.map_err(|e| e.to_string()),
    }
}
