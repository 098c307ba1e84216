//! The certificates of the tests: made once per run, written as PEM files, and remembered so that a case can say which
//! subject, issuer and serial it expects to see.

use std::path::PathBuf;
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::tools;

/// The name every server certificate is for.
pub const SERVER_NAME: &str = "server.tlsight.test";

/// A certificate with its key on disk, and what it says.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Chain in PEM, leaf first.
    pub cert: PathBuf,
    /// The issuer's certificate alone.
    pub issuers: PathBuf,
    /// Key in PEM (PKCS #8).
    pub key: PathBuf,
    /// Common name of the subject.
    pub subject: String,
    /// Common name of the issuer.
    pub issuer: String,
    /// Serial number in upper-case hex.
    pub serial: String,
    /// `RSA` or `EC`.
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
}

/// Kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA, 2048 bits.
    Rsa,
    /// ECDSA on P-256.
    P256,
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
    KeyPair::generate_for(match algorithm {
        KeyAlgorithm::Rsa => &PKCS_RSA_SHA256,
        KeyAlgorithm::P256 => &PKCS_ECDSA_P256_SHA256,
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
    send_issuer: bool,
}

fn leaf(by: &Ca, l: Leaf<'_>) -> Identity {
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
    let (not_before, not_after) = (p.not_before.unix_timestamp(), p.not_after.unix_timestamp());
    let cert = p.signed_by(&key, &by.issuer).expect("sign a leaf");
    let dir = tools::scratch();
    let mut pem = cert.pem();
    if l.send_issuer {
        pem.push_str(&by.pem);
    }
    let (cert_file, key_file) = (dir.join(format!("{}.pem", l.file)), dir.join(format!("{}.key", l.file)));
    std::fs::write(&cert_file, pem).expect("write a certificate");
    std::fs::write(&key_file, key.serialize_pem()).expect("write a key");
    let issuers = dir.join(format!("{}.issuers.pem", l.file));
    std::fs::write(&issuers, &by.pem).expect("write the issuer");
    Identity {
        cert: cert_file,
        issuers,
        key: key_file,
        subject: l.name.to_owned(),
        issuer: by.name.clone(),
        serial: format!("{:X}", l.serial),
        key_algorithm: l.algorithm,
        san,
        not_before,
        not_after,
        chain_length: if l.send_issuer { 2 } else { 1 },
        sha256: sha256(cert.der()),
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

fn make() -> Pki {
    let root = ca("tlsight test root", 0x1001, None);
    let intermediate = ca("tlsight test intermediate", 0x1002, Some(&root));
    let stranger = ca("a root nobody trusts", 0x1003, None);
    let ca_file = tools::scratch().join("ca.pem");
    std::fs::write(&ca_file, &root.pem).expect("write the root");

    let dns = || SanType::DnsName(SERVER_NAME.try_into().expect("a DNS name"));
    let spiffe = |id: &str| vec![SanType::URI(id.try_into().expect("a URI"))];
    let server = |file, serial, algorithm| Leaf {
        file,
        name: SERVER_NAME,
        serial,
        algorithm,
        san: vec![dns(), SanType::IpAddress([127, 0, 0, 1].into())],
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        expired: false,
        send_issuer: false,
    };
    let client = |file, name, serial, algorithm| Leaf {
        file,
        name,
        serial,
        algorithm,
        san: spiffe("spiffe://tlsight.test/ns/shop/sa/cart"),
        usage: ExtendedKeyUsagePurpose::ClientAuth,
        expired: false,
        send_issuer: false,
    };
    use KeyAlgorithm::{P256, Rsa};
    Pki {
        server_rsa: leaf(&root, server("server-rsa", 0x5EC0_0001, Rsa)),
        server_p256: leaf(&root, server("server-p256", 0x5EC0_0002, P256)),
        client: leaf(&root, client("client", "cart", 0xC11E_0001, P256)),
        client_rsa: leaf(&root, client("client-rsa", "cart-rsa", 0xC11E_0002, Rsa)),
        client_chain: leaf(
            &intermediate,
            Leaf { send_issuer: true, ..client("client-chain", "cart-chain", 0xC11E_0003, P256) },
        ),
        client_expired: leaf(
            &root,
            Leaf { expired: true, ..client("client-expired", "cart-expired", 0xC11E_0004, P256) },
        ),
        client_untrusted: leaf(&stranger, client("client-untrusted", "stranger", 0xC11E_0005, P256)),
        server_untrusted: leaf(&stranger, server("server-untrusted", 0x5EC0_0003, P256)),
        ca: ca_file,
    }
}
