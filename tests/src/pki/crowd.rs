//! Many certificates whose lengths are all the same, so that no length tells them apart.

use std::sync::LazyLock;

use super::{Identity, Leaf, authorities, client, dns, leaf, server};

/// Certificates of either side.
const MEMBERS: usize = 50;

/// Servers with a name of their own each, and clients.
pub struct Crowd {
    /// One certificate a server.
    pub servers: Vec<Identity>,
    /// One certificate a client.
    pub clients: Vec<Identity>,
}

/// The crowd of this run.
pub fn crowd() -> &'static Crowd {
    static MADE: LazyLock<Crowd> = LazyLock::new(|| {
        let made = |make: &dyn Fn(usize, Option<usize>) -> Identity| {
            let first = make(0, None);
            let length = Some(first.der_length);
            std::iter::once(first).chain((1..MEMBERS).map(|n| make(n, length))).collect::<Vec<_>>()
        };
        let root = &authorities().root;
        Crowd {
            servers: made(&|n, length| {
                let fits = |der: &[u8]| length.is_none_or(|length| der.len() == length);
                let (file, name) = (format!("crowd-server-{n:02}"), format!("shop-{n:02}.tlsight.test"));
                let base = server(&file, 0x5EC0_2000 + n as u64);
                leaf(root, Leaf { name: &name, san: vec![dns(&name)], fits: &fits, ..base })
            }),
            clients: made(&|n, length| {
                let fits = |der: &[u8]| length.is_none_or(|length| der.len() == length);
                let (file, name) = (format!("crowd-client-{n:02}"), format!("buyer-{n:02}"));
                leaf(root, Leaf { fits: &fits, ..client(&file, &name, 0xC11E_2000 + n as u64) })
            }),
        }
    });
    &MADE
}
