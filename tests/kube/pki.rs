//! Certificates of the pods: one authority, a server and a client, in a directory that they mount.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};
use tlsight_tests::tools;

/// The name that the server's certificate is for.
pub(crate) const SERVER_NAME: &str = "server.shop.svc";
/// The client's identity.
pub(crate) const CLIENT_ID: &str = "spiffe://shop.test/ns/shop/sa/client";

/// The directory.
pub(crate) fn dir() -> &'static Path {
    static DIR: LazyLock<PathBuf> = LazyLock::new(make);
    &DIR
}

fn params(name: &str) -> CertificateParams {
    let mut p = CertificateParams::default();
    p.distinguished_name = DistinguishedName::new();
    p.distinguished_name.push(DnType::OrganizationName, "tlsight tests");
    p.distinguished_name.push(DnType::CommonName, name);
    // Neither about to expire, nor valid for too long.
    p.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    p.not_after = OffsetDateTime::now_utc() + Duration::days(43);
    p.use_authority_key_identifier_extension = true;
    p
}

fn make() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let dir = tools::scratch_dir("kube-pki");
    let write = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("write a certificate");
        // Containers run as users of their own.
        std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o644)).expect("open it");
    };
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let mut authority = params("shop authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = key();
    write("ca.pem", &authority.self_signed(&authority_key).expect("sign the authority").pem());
    let issuer = Issuer::new(authority, authority_key);
    let san = |text: &str| match text.starts_with("spiffe:") {
        true => SanType::URI(text.try_into().expect("ASCII")),
        false => SanType::DnsName(text.try_into().expect("ASCII")),
    };
    for (name, names, usage) in [
        ("server", SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth),
        ("client", CLIENT_ID, ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let mut leaf = params(name);
        leaf.subject_alt_names = vec![san(names)];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![usage];
        let leaf_key = key();
        write(&format!("{name}.pem"), &leaf.signed_by(&leaf_key, &issuer).expect("sign").pem());
        write(&format!("{name}.key"), &leaf_key.serialize_pem());
    }
    dir
}
