//! The certificate that the endpoint shows, and the clients that it trusts: read anew on a reload, connection by connection.

use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::MetricsTls;
use crate::exit::{Exit, Failure};

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// What new connections are answered with.
#[derive(Debug)]
pub(super) struct Tls(RwLock<Shown>);

/// What was read from the files.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    config: Arc<ServerConfig>,
    /// Who asks for /metrics has to show a certificate.
    wants_certificate: bool,
}

impl Shown {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Failure`] that names the file.
    pub(super) fn read(files: &MetricsTls) -> Result<Self, Failure> {
        Ok(Self { config: Arc::new(read(files)?), wants_certificate: files.client_ca.is_some() })
    }
}

impl Tls {
    /// Shows this first.
    pub(super) fn new(shown: Shown) -> Self {
        Self(RwLock::new(shown))
    }

    /// From now on, this is shown.
    pub(super) fn set(&self, shown: Shown) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// What is shown now.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// Whether who asks for /metrics has to show a certificate now.
    pub(super) fn wants_certificate(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).wants_certificate
    }
}

/// Whoever opens a pipe may wait for ever; and no file of certificates has that size.
fn check(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err("it is no regular file".to_owned()),
        Ok(found) if found.len() > MAX_BYTES => Err("larger than 16 MiB".to_owned()),
        Ok(_) => Ok(()),
        Err(e) => Err(e.to_string()),
    }
}

fn read(files: &MetricsTls) -> Result<ServerConfig, Failure> {
    let fail = |what: &str, path: &Path, cause: &dyn std::fmt::Display| {
        Failure::new(Exit::InputUnreadable, format!("read {what} {}", path.display()), cause)
    };
    let chain =
        certificates(&files.certificate).map_err(|e| fail("the certificate", &files.certificate, &e))?;
    check(&files.key).map_err(|e| fail("the key", &files.key, &e))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| fail("the key", &files.key, &e))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::new(Exit::Failure, "set up TLS", e))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let doing = "the authorities of clients";
            let mut roots = RootCertStore::empty();
            for root in certificates(path).map_err(|e| fail(doing, path, &e))? {
                roots.add(root).map_err(|e| fail(doing, path, &e))?;
            }
            // Whoever asks for /healthz (a kubelet) has no certificate; /metrics is refused without one.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|e| fail(doing, path, &e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|e| fail("certificate and key", &files.certificate, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    check(path)?;
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| e.to_string());
    match found {
        Ok(none) if none.is_empty() => Err("no certificate in it".to_owned()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_no_pipe_where_a_certificate_should_be() {
        let path = std::env::temp_dir().join(format!("tlsight-no-certificate-{}", std::process::id()));
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("pipe");
        let files = MetricsTls { certificate: path.clone(), key: path.clone(), client_ca: None };
        let failure = Shown::read(&files).expect_err("a pipe");
        assert_eq!(failure.cause, "it is no regular file");
        fs::remove_file(&path).expect("remove");
    }
}
