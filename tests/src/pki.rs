//! The certificates of the tests: made once per run, written as PEM files, and remembered so that a case can say which
//! subject, issuer and serial it expects to see.

mod crl;
mod crowd;
mod ending;
mod strange;
mod variant;
mod wrong;

pub use crl::{Revoked, revoked};
pub use crowd::{Crowd, crowd};
pub use ending::{Ending, ending};
pub use strange::{Strange, strange};
pub use variant::Variant;
pub use wrong::{Wrong, wrong};

use std::path::PathBuf;
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::child::{command, output};
use crate::tools;

/// The name every server certificate is for.
pub const SERVER_NAME: &str = "server.tlsight.test";

/// Name of the root that nobody trusts.
pub const STRANGER: &str = "a root nobody trusts";

/// A certificate with its key on disk, and what it says.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Chain in PEM, leaf first.
    pub cert: PathBuf,
    /// The certificates behind the leaf; the issuer's alone where there are none.
    pub issuers: PathBuf,
    /// Key in PEM (PKCS #8).
    pub key: PathBuf,
    /// Common name of the subject.
    pub subject: String,
    /// Common name of the issuer.
    pub issuer: String,
    /// Serial number in upper-case hex.
    pub serial: String,
    /// Kind of its key.
    pub key_algorithm: KeyAlgorithm,
    /// Subject alternative names, in the order of the certificate.
    pub san: Vec<String>,
    /// Validity, seconds since the Unix epoch.
    pub not_before: i64,
    /// Validity, seconds since the Unix epoch.
    pub not_after: i64,
    /// Certificates in `cert`.
    pub chain_length: usize,
    /// SHA-256 of the leaf's DER, upper-case hex.
    pub sha256: String,
    /// Length of the leaf's DER.
    pub der_length: usize,
}

/// Kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA, 2048 bits.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// All certificates of the run.
pub struct Pki {
    /// The root that peers trust.
    pub ca: PathBuf,
    /// Server, RSA.
    pub server_rsa: Identity,
    /// Server, P-256.
    pub server_p256: Identity,
    /// Client, P-256, with a SPIFFE id.
    pub client: Identity,
    /// Client, RSA.
    pub client_rsa: Identity,
    /// Client, issued by an intermediate that is sent along.
    pub client_chain: Identity,
    /// Client, no longer valid.
    pub client_expired: Identity,
    /// Client, of a root that nobody trusts.
    pub client_untrusted: Identity,
    /// Server, of a root that nobody trusts.
    pub server_untrusted: Identity,
}

/// The certificates of this run.
pub fn pki() -> &'static Pki {
    static PKI: LazyLock<Pki> = LazyLock::new(make);
    &PKI
}

/// Who signs: `below` is signed by `intermediate`, that by `root`, which peers trust.
struct Authorities {
    root: Ca,
    intermediate: Ca,
    below: Ca,
    stranger: Ca,
}

fn authorities() -> &'static Authorities {
    static MADE: LazyLock<Authorities> = LazyLock::new(|| {
        let root = ca("tlsight test root", 0x1001, None);
        let intermediate = ca("tlsight test intermediate", 0x1002, Some(&root));
        let below = ca("tlsight test intermediate 2", 0x1004, Some(&intermediate));
        Authorities { root, intermediate, below, stranger: ca(STRANGER, 0x1003, None) }
    });
    &MADE
}

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    name: String,
    pem: String,
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut p = CertificateParams::default();
    p.distinguished_name = DistinguishedName::new();
    p.distinguished_name.push(DnType::OrganizationName, "tlsight tests");
    p.distinguished_name.push(DnType::CommonName, name);
    p.serial_number = Some(SerialNumber::from(serial));
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).expect("0 is a nanosecond");
    p.not_before = now - Duration::days(1);
    p.not_after = now + Duration::days(30);
    p.use_authority_key_identifier_extension = true;
    p
}

fn ca(name: &str, serial: u64, parent: Option<&Ca>) -> Ca {
    let key = key(KeyAlgorithm::P256);
    let mut p = params(name, serial);
    p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = match parent {
        None => p.self_signed(&key),
        Some(parent) => p.signed_by(&key, &parent.issuer),
    };
    let pem = cert.expect("sign a CA").pem();
    Ca { issuer: Issuer::new(p, key), name: name.to_owned(), pem }
}

fn key(algorithm: KeyAlgorithm) -> KeyPair {
    if algorithm == KeyAlgorithm::Ed25519 {
        // Made here it would have its public key beside it (RFC 5958), which OpenSSL 3.0 does not read.
        let pem = output(command("openssl", ["genpkey", "-algorithm", "ED25519"]));
        return KeyPair::from_pem_and_sign_algo(&pem, &PKCS_ED25519).expect("OpenSSL's key");
    }
    KeyPair::generate_for(match algorithm {
        KeyAlgorithm::Rsa => &PKCS_RSA_SHA256,
        KeyAlgorithm::P256 => &PKCS_ECDSA_P256_SHA256,
        KeyAlgorithm::P384 => &PKCS_ECDSA_P384_SHA384,
        KeyAlgorithm::Ed25519 => &PKCS_ED25519,
    })
    .expect("make a key")
}

struct Leaf<'a> {
    file: &'a str,
    name: &'a str,
    serial: u64,
    algorithm: KeyAlgorithm,
    san: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
    expired: bool,
    /// Days of its validity in all.
    days: i64,
    /// Days of its validity that are left, where they are not 30.
    days_left: Option<i64>,
    /// Certificates sent behind the leaf.
    send: &'a [&'a Ca],
    /// What its DER shall be like, where the case needs that: signatures differ from one to the next.
    fits: &'a dyn Fn(&[u8]) -> bool,
}

fn leaf(by: &Ca, l: Leaf<'_>) -> Identity {
    sign(Some(by), l)
}

/// A certificate that nobody else vouches for.
fn self_signed(l: Leaf<'_>) -> Identity {
    sign(None, l)
}

fn sign(by: Option<&Ca>, l: Leaf<'_>) -> Identity {
    let key = key(l.algorithm);
    let mut p = params(l.name, l.serial);
    p.extended_key_usages = vec![l.usage];
    p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let san = l.san.iter().map(san_text).collect();
    p.subject_alt_names = l.san;
    if l.expired {
        p.not_before -= Duration::days(60);
        p.not_after = p.not_before + Duration::days(30);
    }
    if let Some(left) = l.days_left {
        p.not_after -= Duration::days(30 - left);
        p.not_before = p.not_after - Duration::days(l.days);
    }
    let (not_before, not_after) = (p.not_before.unix_timestamp(), p.not_after.unix_timestamp());
    let sign = || {
        let cert = match by {
            Some(by) => p.signed_by(&key, &by.issuer),
            None => p.self_signed(&key),
        };
        cert.expect("sign a leaf")
    };
    let cert = (0..10_000).map(|_| sign()).find(|cert| (l.fits)(cert.der())).expect("such a signature");
    let dir = tools::scratch();
    let behind: String = l.send.iter().map(|ca| ca.pem.as_str()).collect();
    let own = cert.pem();
    let pem = own.clone() + &behind;
    let (cert_file, key_file) = (dir.join(format!("{}.pem", l.file)), dir.join(format!("{}.key", l.file)));
    std::fs::write(&cert_file, pem).expect("write a certificate");
    std::fs::write(&key_file, key.serialize_pem()).expect("write a key");
    let issuers = dir.join(format!("{}.issuers.pem", l.file));
    std::fs::write(&issuers, if behind.is_empty() { by.map_or(&own, |by| &by.pem) } else { &behind })
        .expect("write the issuers");
    Identity {
        cert: cert_file,
        issuers,
        key: key_file,
        subject: l.name.to_owned(),
        issuer: by.map_or(l.name, |by| &by.name).to_owned(),
        serial: format!("{:X}", l.serial),
        key_algorithm: l.algorithm,
        san,
        not_before,
        not_after,
        chain_length: 1 + l.send.len(),
        sha256: sha256(cert.der()),
        der_length: cert.der().len(),
    }
}

fn san_text(san: &SanType) -> String {
    match san {
        SanType::DnsName(n) => n.as_str().to_owned(),
        SanType::URI(n) => n.as_str().to_owned(),
        SanType::Rfc822Name(n) => n.as_str().to_owned(),
        SanType::IpAddress(ip) => ip.to_string(),
        other => panic!("{other:?} is in no certificate here"),
    }
}

fn sha256(der: &[u8]) -> String {
    let digest = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .expect("a TLS 1.3 suite")
        .common
        .hash_provider
        .hash(der);
    digest.as_ref().iter().map(|b| format!("{b:02X}")).collect()
}

/// A server's certificate on P-256.
fn server<'a>(file: &'a str, serial: u64) -> Leaf<'a> {
    Leaf {
        file,
        name: SERVER_NAME,
        serial,
        algorithm: KeyAlgorithm::P256,
        san: vec![dns(SERVER_NAME), SanType::IpAddress([127, 0, 0, 1].into())],
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        expired: false,
        days: 31,
        days_left: None,
        send: &[],
        fits: &|_| true,
    }
}

/// A client's certificate on P-256.
fn client<'a>(file: &'a str, name: &'a str, serial: u64) -> Leaf<'a> {
    let id = "spiffe://tlsight.test/ns/shop/sa/cart".try_into().expect("a URI");
    let usage = ExtendedKeyUsagePurpose::ClientAuth;
    Leaf { name, san: vec![SanType::URI(id)], usage, ..server(file, serial) }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a DNS name"))
}

fn make() -> Pki {
    let Authorities { root, intermediate, stranger, .. } = authorities();
    let ca_file = tools::scratch().join("ca.pem");
    std::fs::write(&ca_file, &root.pem).expect("write the root");

    use KeyAlgorithm::Rsa;
    Pki {
        server_rsa: leaf(root, Leaf { algorithm: Rsa, ..server("server-rsa", 0x5EC0_0001) }),
        server_p256: leaf(root, server("server-p256", 0x5EC0_0002)),
        client: leaf(root, client("client", "cart", 0xC11E_0001)),
        client_rsa: leaf(root, Leaf { algorithm: Rsa, ..client("client-rsa", "cart-rsa", 0xC11E_0002) }),
        client_chain: leaf(
            intermediate,
            Leaf { send: &[intermediate], ..client("client-chain", "cart-chain", 0xC11E_0003) },
        ),
        client_expired: leaf(
            root,
            Leaf { expired: true, ..client("client-expired", "cart-expired", 0xC11E_0004) },
        ),
        client_untrusted: leaf(stranger, client("client-untrusted", "stranger", 0xC11E_0005)),
        server_untrusted: leaf(stranger, server("server-untrusted", 0x5EC0_0003)),
        ca: ca_file,
    }
}
