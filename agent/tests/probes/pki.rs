//! Certificates made with the `openssl` program.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::library::output;

/// A chain and its key.
pub(crate) struct Chain {
    pub(crate) leaf: PathBuf,
    pub(crate) key: PathBuf,
    /// All but the leaf.
    pub(crate) issuers: PathBuf,
    /// All, leaf first.
    pub(crate) all: PathBuf,
    /// DER, leaf first.
    pub(crate) der: Vec<Vec<u8>>,
}

fn openssl() -> Command {
    Command::new("openssl")
}

/// `length` certificates, the last of them signed by itself; the leaf has `names` alternative names of about 22 bytes.
pub(crate) fn chain(dir: &Path, name: &str, length: usize, names: usize) -> Chain {
    let mut made: Vec<(PathBuf, PathBuf)> = Vec::new();
    for n in (0..length).rev() {
        let (cert, key) = (dir.join(format!("{name}-{n}.pem")), dir.join(format!("{name}-{n}.key")));
        let mut req = openssl();
        req.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        req.args(["-days", "30", "-subj", &format!("/CN={name}-{n}")]);
        req.arg("-keyout").arg(&key).arg("-out").arg(&cert);
        if let Some((issuer, issuer_key)) = made.last() {
            req.arg("-CA").arg(issuer).arg("-CAkey").arg(issuer_key);
        }
        if n == 0 && names > 0 {
            let names: Vec<String> = (0..names).map(|i| format!("DNS:name{i:05}.tlsight.test")).collect();
            req.args(["-addext", &format!("subjectAltName={}", names.join(","))]);
        }
        output(&mut req);
        made.push((cert, key));
    }
    made.reverse();
    let issuers = dir.join(format!("{name}-issuers.pem"));
    let all = dir.join(format!("{name}-all.pem"));
    let pem =
        |from| made.iter().skip(from).flat_map(|(cert, _)| std::fs::read(cert).unwrap()).collect::<Vec<_>>();
    std::fs::write(&issuers, pem(1)).unwrap();
    std::fs::write(&all, pem(0)).unwrap();
    let der = made.iter().map(|(cert, _)| {
        let out = openssl().args(["x509", "-outform", "DER", "-in"]).arg(cert).output().unwrap();
        assert!(out.status.success());
        out.stdout
    });
    let der = der.collect();
    let (leaf, key) = made.swap_remove(0);
    Chain { leaf, key, issuers, all, der }
}

impl Chain {
    /// Gives the leaf a signature that ends in these bytes, and is none.
    pub(crate) fn end_leaf_in(&mut self, end: &[u8]) {
        let leaf = &mut self.der[0];
        let signed = leaf.len() - end.len();
        leaf[signed..].copy_from_slice(end);
        let der = self.leaf.with_extension("der");
        std::fs::write(&der, leaf).unwrap();
        output(openssl().args(["x509", "-inform", "DER", "-in"]).arg(der).arg("-out").arg(&self.leaf));
    }
}
