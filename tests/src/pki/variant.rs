//! Certificates of every kind there is to show: chains of each length, key types, one that is very long, and one with an odd end.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{Authorities, Identity, KeyAlgorithm, Leaf, SERVER_NAME, authorities, client, dns, leaf, server};

/// A kind of certificate or chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// The leaf alone.
    ChainOf1,
    /// With its issuer.
    ChainOf2,
    /// With two intermediates.
    ChainOf3,
    /// With two intermediates and the root.
    ChainOf4,
    /// An RSA key.
    Rsa,
    /// A P-384 key.
    P384,
    /// An Ed25519 key.
    Ed25519,
    /// More than 16 KB: longer than a record.
    Long,
    /// With its issuer, and an end that looks like the beginning of a certificate list.
    LikeAList,
}

/// What a long certificate has more of.
const NAMES: usize = 400;

impl Variant {
    /// All of them.
    pub const ALL: [Variant; 9] = [
        Variant::ChainOf1,
        Variant::ChainOf2,
        Variant::ChainOf3,
        Variant::ChainOf4,
        Variant::Rsa,
        Variant::P384,
        Variant::Ed25519,
        Variant::Long,
        Variant::LikeAList,
    ];

    /// A server's certificate of this kind.
    pub fn server(self) -> &'static Identity {
        &made()[&self].0
    }

    /// A client's.
    pub fn client(self) -> &'static Identity {
        &made()[&self].1
    }

    fn make(self, serial: u64, base: Leaf<'_>) -> Identity {
        let Authorities { root, intermediate, below, .. } = authorities();
        let mut l = Leaf { serial, ..base };
        l.algorithm = match self {
            Variant::Rsa => KeyAlgorithm::Rsa,
            Variant::P384 => KeyAlgorithm::P384,
            Variant::Ed25519 => KeyAlgorithm::Ed25519,
            _ => KeyAlgorithm::P256,
        };
        if self == Variant::Long {
            l.san
                .extend((0..NAMES).map(|n| dns(&format!("name-{n:03}.of-a-long-certificate.{SERVER_NAME}"))));
        }
        match self {
            Variant::ChainOf2 => leaf(intermediate, Leaf { send: &[intermediate], ..l }),
            Variant::LikeAList => {
                // A context of no bytes, and the first of three bytes that are a length.
                let fits = |der: &[u8]| matches!(der, [.., 0, last] if *last > 0);
                leaf(intermediate, Leaf { send: &[intermediate], fits: &fits, ..l })
            }
            Variant::ChainOf3 => leaf(below, Leaf { send: &[below, intermediate], ..l }),
            Variant::ChainOf4 => leaf(below, Leaf { send: &[below, intermediate, root], ..l }),
            _ => leaf(root, l),
        }
    }
}

fn made() -> &'static BTreeMap<Variant, (Identity, Identity)> {
    static MADE: LazyLock<BTreeMap<Variant, (Identity, Identity)>> = LazyLock::new(|| {
        let make = |(n, variant): (u64, Variant)| {
            let file = |side: &str| format!("variant-{variant:?}-{side}").to_lowercase();
            let name = format!("cart-{variant:?}").to_lowercase();
            let pair = (
                variant.make(0x5EC0_1000 + n, server(&file("server"), 0)),
                variant.make(0xC11E_1000 + n, client(&file("client"), &name, 0)),
            );
            (variant, pair)
        };
        (0..).zip(Variant::ALL).map(make).collect()
    });
    &MADE
}
