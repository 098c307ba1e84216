//! What handshakes agreed on.

use agent_core::tls::codepoints::{CipherSuite, NamedGroup};

use super::end::Tls;
use super::limits::{Cut, Limits};
use super::tally::Tally;

impl Tls {
    /// `TLS 1.3`, as IANA and everybody else has it.
    pub(super) fn version_name(&self) -> Option<String> {
        let protocol = self.protocol.as_deref()?.to_ascii_uppercase();
        let version = self.version.as_deref()?;
        // OpenTelemetry leaves out the zero of SSL.
        let zero = if protocol == "SSL" && !version.contains('.') { ".0" } else { "" };
        Some(format!("{protocol} {version}{zero}"))
    }
}

/// How the keys of a connection came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Exchange {
    /// It is not known: a session of TLS 1.2 or before that was resumed, a suite without a name.
    #[default]
    Unknown,
    /// From a pre-shared key alone.
    PreSharedKey,
    /// By something that a quantum computer breaks.
    Classical,
    /// By something that withstands it.
    PostQuantum,
}

impl Exchange {
    fn of(tls: &Tls) -> Self {
        if let Some(group) = tls.group.as_deref() {
            return match group_of(group).map(NamedGroup::is_post_quantum) {
                Some(true) => Exchange::PostQuantum,
                Some(false) => Exchange::Classical,
                None => Exchange::Unknown,
            };
        }
        match tls.cipher.as_deref().and_then(suite_of) {
            None => Exchange::Unknown,
            Some(suite) if suite.is_tls13() => match tls.resumed {
                Some(true) => Exchange::PreSharedKey,
                _ => Exchange::Unknown,
            },
            Some(_) if tls.resumed == Some(true) => Exchange::Unknown,
            Some(suite) if suite.name().is_some_and(|name| name.starts_with("TLS_PSK_")) => {
                Exchange::PreSharedKey
            }
            Some(_) => Exchange::Classical,
        }
    }
}

/// The codepoint with this IANA name, or this number in hex.
pub(super) fn suite_of(name: &str) -> Option<CipherSuite> {
    if let Some(number) = number(name) {
        return Some(CipherSuite(number));
    }
    (0..=u16::MAX).map(CipherSuite).find(|suite| suite.name() == Some(name))
}

/// The codepoint with this IANA name, or this number in hex.
pub(super) fn group_of(name: &str) -> Option<NamedGroup> {
    if let Some(number) = number(name) {
        // Nobody here knows what it is.
        return Some(NamedGroup(number)).filter(|group| group.name().is_some());
    }
    (0..=u16::MAX).map(NamedGroup).find(|group| group.name() == Some(name))
}

fn number(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Counts of what handshakes agreed on.
#[derive(Clone, Debug, Default)]
pub(super) struct Algorithms {
    pub(super) versions: Tally<String>,
    /// Version and cipher suite.
    pub(super) suites: Tally<(String, String)>,
    pub(super) groups: Tally<String>,
    pub(super) post_quantum: u64,
    pub(super) classical: u64,
    pub(super) pre_shared_key: u64,
    pub(super) unknown: u64,
    /// Finding a codepoint by its name takes time, and there are few.
    exchanges: Vec<(Tls, Exchange)>,
}

/// What of a handshake was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    version: bool,
    suite: bool,
    group: bool,
    exchange: Exchange,
}

impl Algorithms {
    pub(super) fn add(&mut self, tls: &Tls, limits: &Limits, cut: &mut Cut) -> Counted {
        let most = limits.algorithms;
        let mut counted = Counted { exchange: self.exchange(tls, most), ..Counted::default() };
        let mut tell = |has_room: bool| {
            cut.algorithms += u64::from(!has_room);
            has_room
        };
        if let Some(version) = tls.version_name() {
            counted.version = tell(self.versions.add(&version, most));
            if let Some(cipher) = &tls.cipher {
                counted.suite = tell(self.suites.add(&(version, cipher.clone()), most));
            }
        }
        if let Some(group) = &tls.group {
            counted.group = tell(self.groups.add(group, most));
        }
        *self.exchanged(counted.exchange) += 1;
        counted
    }

    pub(super) fn remove(&mut self, tls: &Tls, counted: Counted) {
        if let Some(version) = tls.version_name() {
            if counted.version {
                self.versions.remove(&version);
            }
            if let Some(cipher) = tls.cipher.as_ref().filter(|_| counted.suite) {
                self.suites.remove(&(version, cipher.clone()));
            }
        }
        if let Some(group) = tls.group.as_ref().filter(|_| counted.group) {
            self.groups.remove(group);
        }
        *self.exchanged(counted.exchange) -= 1;
    }

    fn exchange(&mut self, tls: &Tls, most: usize) -> Exchange {
        if let Some((_, exchange)) = self.exchanges.iter().find(|(known, _)| known == tls) {
            return *exchange;
        }
        let exchange = Exchange::of(tls);
        if self.exchanges.len() < most.min(64) {
            self.exchanges.push((tls.clone(), exchange));
        }
        exchange
    }

    fn exchanged(&mut self, exchange: Exchange) -> &mut u64 {
        match exchange {
            Exchange::Unknown => &mut self.unknown,
            Exchange::PreSharedKey => &mut self.pre_shared_key,
            Exchange::Classical => &mut self.classical,
            Exchange::PostQuantum => &mut self.post_quantum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(cipher: &str, group: Option<&str>, resumed: bool) -> Exchange {
        Exchange::of(&Tls {
            cipher: Some(cipher.to_owned()),
            group: group.map(str::to_owned),
            resumed: Some(resumed),
            ..Tls::default()
        })
    }

    #[test]
    fn tells_how_keys_came_to_be() {
        let tls13 = "TLS_AES_128_GCM_SHA256";
        assert_eq!(exchange(tls13, Some("X25519MLKEM768"), false), Exchange::PostQuantum);
        assert_eq!(exchange(tls13, Some("x25519"), true), Exchange::Classical);
        assert_eq!(exchange(tls13, None, true), Exchange::PreSharedKey);
        assert_eq!(exchange(tls13, None, false), Exchange::Unknown);
        assert_eq!(exchange(tls13, Some("0xBEEF"), false), Exchange::Unknown);
        assert_eq!(exchange("TLS_RSA_WITH_AES_128_CBC_SHA", None, false), Exchange::Classical);
        assert_eq!(exchange("TLS_RSA_WITH_AES_128_CBC_SHA", None, true), Exchange::Unknown);
        assert_eq!(exchange("TLS_PSK_WITH_AES_128_GCM_SHA256", None, false), Exchange::PreSharedKey);
        assert_eq!(exchange("no such suite", None, false), Exchange::Unknown);
    }

    #[test]
    fn versions_have_the_names_that_everybody_uses() {
        let name = |protocol: &str, version: &str| {
            Tls { protocol: Some(protocol.into()), version: Some(version.into()), ..Tls::default() }
                .version_name()
        };
        assert_eq!(name("tls", "1.3").as_deref(), Some("TLS 1.3"));
        assert_eq!(name("ssl", "3").as_deref(), Some("SSL 3.0"));
    }
}
