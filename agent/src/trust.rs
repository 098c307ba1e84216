//! Where the roots that chains are held against come from: the system's store, and files of one's own.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;

/// Where a pod finds the authority of its cluster: servers of the cluster itself (the API, kubelets) chain to it.
pub const CLUSTER_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Most that is read of one file, in bytes: all public authorities together are less than one MiB.
const MAX_FILE: u64 = 16 << 20;

/// A bundle that could not be read.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file or directory cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What is in it is not PEM.
    #[error("{path} is not PEM: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in it.
    #[error("no certificate in {path}: a bundle is one or more PEM blocks `BEGIN CERTIFICATE`")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The system's roots.
#[derive(Debug, Default)]
pub struct SystemRoots {
    /// DER certificates.
    pub certificates: Vec<Vec<u8>>,
    /// What could not be read; empty when all is well.
    pub problems: Vec<String>,
}

/// Reads the system's roots: from `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set, else from where the distribution
/// keeps them. An image without any store gives none, and a problem that says so.
pub fn system() -> SystemRoots {
    let found = rustls_native_certs::load_native_certs();
    let certificates: Vec<Vec<u8>> = found.certs.iter().map(|certificate| certificate.to_vec()).collect();
    let mut problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    if certificates.is_empty() && problems.is_empty() {
        problems.push("no system roots found; set SSL_CERT_FILE to a bundle".to_owned());
    }
    SystemRoots { certificates, problems }
}

/// Reads the certificates of a bundle: a PEM file, or every file in a directory that has certificates in it (a mounted
/// ConfigMap or Secret).
pub fn bundle(path: &Path) -> Result<Vec<Vec<u8>>, TrustError> {
    let read = |source| TrustError::Read { path: path.to_owned(), source };
    let mut certificates = Vec::new();
    if path.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(read)? {
            let file = entry.map_err(read)?.path();
            // ConfigMap volumes keep their generations in directories that begin with two dots.
            if file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        for file in files {
            // Keys and other things lie next to certificates.
            if let Ok(more) = pem(&file) {
                certificates.extend(more);
            }
        }
    } else {
        certificates = pem(path)?;
    }
    if certificates.is_empty() { Err(TrustError::Empty { path: path.to_owned() }) } else { Ok(certificates) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
    match u64::try_from(text.len()).is_ok_and(|n| n <= MAX_FILE) {
        true => Ok(text),
        false => Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB: no bundle is")),
    }
}

fn pem(path: &Path) -> Result<Vec<Vec<u8>>, TrustError> {
    let text = read(path).map_err(|source| TrustError::Read { path: path.to_owned(), source })?;
    CertificateDer::pem_slice_iter(&text)
        .map(|certificate| match certificate {
            Ok(certificate) => Ok(certificate.to_vec()),
            Err(source) => Err(TrustError::Pem { path: path.to_owned(), source }),
        })
        .collect()
}

/// Bytes as a bundle of authorities.
#[cfg(fuzzing)]
pub fn fuzz_pem(text: &[u8]) -> Vec<Vec<u8>> {
    CertificateDer::pem_slice_iter(text).flatten().map(|certificate| certificate.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PEM block of these bytes (fewer than 48).
    fn block(label: &str) -> String {
        format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n")
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tlsight-trust-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn reads_every_certificate_of_a_file_and_of_a_directory() {
        let folder = scratch("bundle");
        let file = folder.join("a.crt");
        std::fs::write(&file, format!("comment\n{}{}", block("CERTIFICATE"), block("CERTIFICATE"))).unwrap();
        std::fs::write(folder.join("tls.key"), block("PRIVATE KEY")).unwrap();
        std::fs::create_dir(folder.join("..data_1")).unwrap();
        assert_eq!(bundle(&file).unwrap(), vec![vec![0x30, 0]; 2]);
        assert_eq!(bundle(&folder).unwrap(), vec![vec![0x30, 0]; 2]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn says_what_is_wrong_with_a_bundle() {
        let folder = scratch("wrong");
        let file = folder.join("key.pem");
        std::fs::write(&file, block("PRIVATE KEY")).unwrap();
        assert!(matches!(bundle(&file), Err(TrustError::Empty { .. })));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nMAA=\n").unwrap();
        assert!(matches!(bundle(&file), Err(TrustError::Pem { .. })));
        File::create(&file).unwrap().set_len(MAX_FILE + 1).unwrap();
        let large = bundle(&file).unwrap_err().to_string();
        assert!(large.ends_with("key.pem: larger than 16 MiB: no bundle is"), "{large}");
        let missing = bundle(&folder.join("missing")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read ") && missing.contains("missing"), "{missing}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
