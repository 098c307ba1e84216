//! Is a certificate for a name? (RFC 9525 section 6: subjectAltName only, a wildcard stands for one whole leftmost label.)

use std::net::IpAddr;

use super::{CertificateSummary, San};

impl CertificateSummary {
    /// Whether it is for this DNS name; `None` when it has no DNS names to tell by.
    pub fn is_for_name(&self, name: &str) -> Option<bool> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut names = self.sans.iter().filter_map(|san| match san {
            San::Dns(pattern) => Some(pattern.as_str()),
            _ => None,
        });
        let first = names.next()?;
        Some(std::iter::once(first).chain(names).any(|pattern| matches(pattern, name)))
    }

    /// Whether it names this address.
    pub fn is_for_address(&self, address: IpAddr) -> bool {
        self.sans.iter().any(|san| matches!(san, San::Ip(ip) if ip.to_canonical() == address.to_canonical()))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    let Some(parent) = pattern.strip_prefix("*.") else { return pattern.eq_ignore_ascii_case(name) };
    match name.split_once('.') {
        // A wildcard right below the root would stand for every name of two labels.
        Some((label, rest)) => !label.is_empty() && parent.contains('.') && parent.eq_ignore_ascii_case(rest),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(sans: &[San]) -> CertificateSummary {
        CertificateSummary { sans: sans.to_vec(), ..CertificateSummary::default() }
    }

    fn dns(names: &[&str]) -> CertificateSummary {
        certificate(&names.iter().map(|name| San::Dns((*name).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_compared_without_case_and_final_dot() {
        let leaf = dns(&["b.example", "A.example"]);
        for (name, want) in [("a.example", true), ("a.EXAMPLE.", true), ("c.example", false), ("", false)] {
            assert_eq!(leaf.is_for_name(name), Some(want), "{name}");
        }
    }

    #[test]
    fn a_wildcard_is_one_whole_leftmost_label() {
        let leaf = dns(&["*.a.example", "f*.b.example", "*", "*.example"]);
        for (name, want) in [
            ("x.a.example", true),
            ("a.example", false),
            ("y.x.a.example", false),
            (".a.example", false),
            ("foo.b.example", false),
            ("localhost", false),
            ("c.example", false),
        ] {
            assert_eq!(leaf.is_for_name(name), Some(want), "{name}");
        }
    }

    #[test]
    fn without_names_of_that_kind_nothing_can_be_told() {
        let leaf =
            certificate(&[San::Uri("spiffe://td/x".to_owned()), San::Ip("192.0.2.1".parse().unwrap())]);
        assert_eq!(leaf.is_for_name("a.example"), None);
        assert!(leaf.is_for_address("::ffff:192.0.2.1".parse().unwrap()));
        assert!(!leaf.is_for_address("192.0.2.2".parse().unwrap()));
    }
}
