//! Which certificates are for the same names.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::{CertificateSummary, San};

/// SHA-256 over a set of names: certificates that have it in common are for the same names, in whatever order, and for DNS
/// names and addresses of mail in whatever case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameSet([u8; 32]);

impl NameSet {
    /// The set of these names.
    pub fn of(names: &[San]) -> Self {
        let mut names: Vec<(u8, String)> = names
            .iter()
            .map(|san| match san {
                San::Dns(name) => (0, name.to_ascii_lowercase()),
                San::Ip(ip) => (1, ip.to_string()),
                San::Uri(uri) => (2, uri.clone()),
                San::Email(email) => (3, email.to_ascii_lowercase()),
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut hash = Sha256::new();
        for (kind, name) in names {
            hash.update([kind]);
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
        }
        Self(hash.finalize().into())
    }
}

impl CertificateSummary {
    /// The set of its subject alternative names. To sort a thousand takes long: it is done once.
    pub fn name_set(&self) -> NameSet {
        *self.made.0.get_or_init(|| NameSet::of(&self.sans))
    }
}

/// A set that is made when it is asked for. Says nothing of what it is part of: all are equal, and a copy, whose names may be
/// changed, starts anew.
#[derive(Debug, Default)]
pub struct Made(OnceLock<NameSet>);

impl Clone for Made {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Made {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Made {}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> CertificateSummary {
        let sans = names.iter().map(|name| San::Dns((*name).to_owned())).collect();
        CertificateSummary { sans, ..CertificateSummary::default() }
    }

    #[test]
    fn order_case_and_repetition_do_not_matter() {
        let one = certificate(&["a.example", "b.example"]);
        for same in [&["b.example", "A.example"][..], &["a.example", "a.EXAMPLE", "b.example"]] {
            assert_eq!(certificate(same).name_set(), one.name_set());
        }
        for other in [&["a.example"][..], &["a.exampleb.example"], &["a.example", "c.example"], &[]] {
            assert_ne!(certificate(other).name_set(), one.name_set());
        }
        let uri = NameSet::of(&[San::Uri("a.example".to_owned())]);
        assert_ne!(uri, NameSet::of(&[San::Dns("a.example".to_owned())]));
    }

    #[test]
    fn a_copy_with_other_names_has_another_set() {
        let one = certificate(&["a.example"]);
        let before = one.name_set();
        let other = CertificateSummary { sans: vec![San::Dns("b.example".to_owned())], ..one.clone() };
        assert_ne!(other.name_set(), before);
        assert_eq!(one, certificate(&["a.example"]));
    }
}
