//! The certificate that the endpoint shows, and the clients that it trusts: read anew on a reload, connection by connection.

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

/// What new connections are answered with.
#[derive(Debug)]
pub(super) struct Tls(RwLock<Arc<ServerConfig>>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Failure`] that names the file.
    pub(super) fn load(files: &MetricsTls) -> Result<Self, Failure> {
        Ok(Self(RwLock::new(Arc::new(read(files)?))))
    }

    /// Reads the files anew; where that fails, what was read before stays.
    pub(super) fn reload(&self, files: &MetricsTls) -> Result<(), Failure> {
        let config = Arc::new(read(files)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// What is shown now.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(files: &MetricsTls) -> Result<ServerConfig, Failure> {
    let fail = |what: &str, path: &Path, cause: &dyn std::fmt::Display| {
        Failure::new(Exit::InputUnreadable, format!("read {what} {}", path.display()), cause)
    };
    let chain =
        certificates(&files.certificate).map_err(|e| fail("the certificate", &files.certificate, &e))?;
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
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| e.to_string());
    match found {
        Ok(none) if none.is_empty() => Err("no certificate in it".to_owned()),
        other => other,
    }
}
