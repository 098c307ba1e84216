//! The revocation list of the root that peers trust.

use std::path::PathBuf;
use std::sync::LazyLock;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::{Identity, authorities, client, leaf};
use crate::tools;

/// A client's certificate that the root revoked, and the list that says so.
pub struct Revoked {
    /// The certificate.
    pub client: Identity,
    /// The list in PEM.
    pub list: PathBuf,
}

/// Those of this run.
pub fn revoked() -> &'static Revoked {
    static MADE: LazyLock<Revoked> = LazyLock::new(|| {
        const SERIAL: u64 = 0xC11E_3001;
        let root = &authorities().root;
        let client = leaf(root, client("client-revoked", "cart-revoked", SERIAL));
        let now = OffsetDateTime::now_utc();
        let params = CertificateRevocationListParams {
            this_update: now - Duration::hours(1),
            next_update: now + Duration::days(1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(SERIAL),
                revocation_time: now - Duration::hours(2),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = tools::scratch().join("revoked.crl.pem");
        let pem = params.signed_by(&root.issuer).expect("sign a revocation list").pem().expect("PEM");
        std::fs::write(&list, pem).expect("write the revocation list");
        Revoked { client, list }
    });
    &MADE
}
