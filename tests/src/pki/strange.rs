//! Certificates that are hard on whoever looks at them.

use std::sync::LazyLock;

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer};

use super::{KeyAlgorithm, dns, key, params};

/// DER encodings, each with a serial number of four octets at offset 15.
pub struct Strange {
    /// A leaf for a thousand names.
    pub many_names: Vec<u8>,
    /// A leaf, and an authority that has the name of its own issuer: copies of it may all have issued each other.
    pub one_name: [Vec<u8>; 2],
}

/// Those of this run.
pub fn strange() -> &'static Strange {
    static MADE: LazyLock<Strange> = LazyLock::new(|| {
        let authority_key = key(KeyAlgorithm::P256);
        let mut authority = params("one of many", 0x5EC0_3001);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_der = authority.self_signed(&authority_key).expect("sign a CA").der().to_vec();
        let issuer = Issuer::new(authority, authority_key);
        let leaf = |serial, names: usize| {
            let mut leaf = params("strange", serial);
            leaf.subject_alt_names = (0..names).map(|n| dns(&format!("n{n:04}.many.flood.test"))).collect();
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            leaf.signed_by(&key(KeyAlgorithm::P256), &issuer).expect("sign a leaf").der().to_vec()
        };
        Strange { many_names: leaf(0x5EC0_3002, 1000), one_name: [leaf(0x5EC0_3003, 1), authority_der] }
    });
    &MADE
}
