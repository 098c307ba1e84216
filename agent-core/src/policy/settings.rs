//! What a user may set about findings. Every value has a default that suits a fresh install and bounds that are checked.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::finding::{RuleId, Severity};

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct SettingsError {
    /// Path of the field: `certificate_expiring.warning_days`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// How far a connection of which no policy speaks must go before its being plaintext is a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Even on the loopback interface. Hops inside a pod are never findings.
    Loopback,
    /// On the same node, between workloads of their own; outside Kubernetes, between network namespaces of the same host.
    Node,
    /// To other nodes, pods and Services of the cluster.
    Cluster,
    /// Beyond the cluster.
    External,
    /// No distance is enough: plaintext is a finding only where policy speaks against it.
    Never,
}

/// Which certificates a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Issued {
    /// Those of publicly trusted authorities: their chain leads to one of the system's roots.
    Publicly,
    /// All of them.
    Anywhere,
}

/// The oldest protocol version that is not weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MinimumVersion {
    /// TLS 1.0.
    #[serde(rename = "1.0")]
    Tls10,
    /// TLS 1.1.
    #[serde(rename = "1.1")]
    Tls11,
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// One setting, for the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
}

macro_rules! groups {
    ($($(#[$group_doc:meta])* $group:ident: $Type:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $ty:ty = $default:expr;)*
    })*) => {
        $(
            $(#[$group_doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $Type {
                $($(#[doc = $doc])+ pub $field: $ty,)*
            }

            impl Default for $Type {
                fn default() -> Self {
                    Self { $($field: $default,)* }
                }
            }

            impl $Type {
                /// The settings of this group, for the reference.
                pub const FIELDS: &[Field] =
                    &[$(Field { name: stringify!($field), doc: concat!($($doc,)+) },)*];
            }
        )*
    };
}

groups! {
    /// How findings come and go.
    ledger: LedgerSettings {
        /// hours without another sighting after which a finding is cleared.
        silence_hours: u32 = 24;
        /// minutes that nothing bad must have been seen of a subject before a good sighting clears its finding: several
        /// replicas answer in turns.
        settle_minutes: u32 = 5;
        /// seconds that pass between two updates of one finding, unless it got better or worse.
        update_seconds: u32 = 60;
        /// findings that stand at once. For more, those of one rule that differ only by names which anybody can make up
        /// give way, beginning with the largest such group; or they are counted and dropped.
        max_findings: usize = 10_000;
    }
    /// What is remembered to judge by.
    memory: MemorySettings {
        /// connections whose judgements are remembered, so that each counts once.
        max_connections: usize = 65_536;
        /// verified chains and stapled responses.
        max_chains: usize = 4096;
        /// services of which recent protections are known.
        max_services: usize = 8192;
        /// places where certificates are shown, with their history.
        max_places: usize = 8192;
    }
}

macro_rules! rules {
    ($($(#[$rule_doc:meta])* $rule:ident: $Type:ident = $id:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $ty:ty = $default:expr;)*
    })*) => {
        groups! {
            $($(#[$rule_doc])* $rule: $Type {
                /// whether the rule is looked at.
                enabled: bool = true;
                /// severity of all its findings, in place of the rule's own.
                severity: Option<Severity> = None;
                $($(#[doc = $doc])+ $field: $ty = $default;)*
            })*
        }

        /// Everything that can be set about findings.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            /// How findings come and go.
            pub ledger: LedgerSettings,
            /// What is remembered to judge by.
            pub memory: MemorySettings,
            $(#[doc = concat!("The rule `", stringify!($rule), "`.")] pub $rule: $Type,)*
        }

        impl Settings {
            /// The rules of which these settings say something else than those.
            pub fn differing(&self, other: &Self) -> Vec<RuleId> {
                let mut differing = Vec::new();
                $(if self.$rule != other.$rule {
                    differing.push(RuleId::$id);
                })*
                differing
            }

            /// Whether a rule is looked at, and the severity it is given. Rules of somebody else say so themselves.
            pub fn of(&self, rule: &RuleId) -> (bool, Option<Severity>) {
                match rule {
                    $(RuleId::$id => (self.$rule.enabled, self.$rule.severity),)*
                    RuleId::Own(_) => (true, None),
                }
            }

            /// What can be set about a rule of tlsight's own.
            pub fn fields(rule: &RuleId) -> &'static [Field] {
                match rule {
                    $(RuleId::$id => $Type::FIELDS,)*
                    RuleId::Own(_) => &[],
                }
            }
        }
    };
}

rules! {
    /// Settings of `plaintext_traffic`.
    plaintext_traffic: PlaintextTraffic = PlaintextTraffic {
        /// how far a connection of which no policy speaks must go to be a finding: `loopback`, `node`, `cluster`,
        /// `external` or `never`.
        without_policy: Reach = Reach::Node;
        /// protocols (as in `network.protocol.name`) that are no finding where no policy speaks of them.
        ignored_protocols: Vec<String> = vec!["dns".to_owned()];
    }
    /// Settings of `mtls_missing`.
    mtls_missing: MtlsMissing = MtlsMissing {}
    /// Settings of `mixed_security`.
    mixed_security: MixedSecurity = MixedSecurity {
        /// minutes within which several protections count as being used at once.
        window_minutes: u32 = 60;
    }
    /// Settings of `starttls_not_used`.
    starttls_not_used: StarttlsNotUsed = StarttlsNotUsed {}
    /// Settings of `certificate_expiring`.
    certificate_expiring: CertificateExpiring = CertificateExpiring {
        /// days left below which it is a warning.
        warning_days: u32 = 30;
        /// days left below which it is critical.
        critical_days: u32 = 7;
        /// certificates valid for fewer days than this in all are measured in shares of their validity instead.
        short_lived_days: u32 = 90;
        /// of a short-lived certificate: percent of its validity left below which it is a warning.
        short_lived_warning_percent: u32 = 25;
        /// of a short-lived certificate: percent of its validity left below which it is critical.
        short_lived_critical_percent: u32 = 10;
    }
    /// Settings of `certificate_expired`.
    certificate_expired: CertificateExpired = CertificateExpired {}
    /// Settings of `certificate_not_yet_valid`.
    certificate_not_yet_valid: CertificateNotYetValid = CertificateNotYetValid {
        /// seconds that clocks may differ.
        tolerance_seconds: u32 = 60;
    }
    /// Settings of `certificate_untrusted`.
    certificate_untrusted: CertificateUntrusted = CertificateUntrusted {}
    /// Settings of `certificate_self_signed`.
    certificate_self_signed: CertificateSelfSigned = CertificateSelfSigned {}
    /// Settings of `certificate_name_mismatch`.
    certificate_name_mismatch: CertificateNameMismatch = CertificateNameMismatch {}
    /// Settings of `certificate_wrong_usage`.
    certificate_wrong_usage: CertificateWrongUsage = CertificateWrongUsage {}
    /// Settings of `certificate_validity_too_long`.
    certificate_validity_too_long: CertificateValidityTooLong = CertificateValidityTooLong {
        /// whose server certificates the limits of the CA/Browser Forum are for: `publicly` (their chain leads to one of
        /// the system's roots) or `anywhere`.
        issued: Issued = Issued::Publicly;
        /// days that all other certificates may be valid for; without a value they may be valid for any time.
        private_max_days: Option<u32> = None;
    }
    /// Settings of `certificate_weak_key`.
    certificate_weak_key: CertificateWeakKey = CertificateWeakKey {
        /// bits that an RSA or DSA key must have.
        min_rsa_bits: u32 = 2048;
        /// bits that the curve of an EC key must have.
        min_ec_bits: u32 = 256;
    }
    /// Settings of `certificate_weak_signature`.
    certificate_weak_signature: CertificateWeakSignature = CertificateWeakSignature {}
    /// Settings of `certificate_revoked`.
    certificate_revoked: CertificateRevoked = CertificateRevoked {
        /// whether a stapled response that proves nothing (expired, badly signed, about another certificate) is a finding.
        unusable_response: bool = true;
    }
    /// Settings of `certificate_stale`.
    certificate_stale: CertificateStale = CertificateStale {
        /// minutes that a replaced certificate may still be shown: a rollout takes time.
        grace_minutes: u32 = 10;
    }
    /// Settings of `client_identity_not_allowed`.
    client_identity_not_allowed: ClientIdentityNotAllowed = ClientIdentityNotAllowed {}
    /// Settings of `weak_protocol`.
    weak_protocol: WeakProtocol = WeakProtocol {
        /// oldest version of TLS that is not weak: `1.0`, `1.1`, `1.2` or `1.3`.
        minimum: MinimumVersion = MinimumVersion::Tls12;
    }
    /// Settings of `weak_cipher`.
    weak_cipher: WeakCipher = WeakCipher {
        /// more cipher suites that count as weak, by IANA name.
        also: Vec<String> = Vec::new();
        /// cipher suites that do not, by IANA name.
        except: Vec<String> = Vec::new();
    }
    /// Settings of `no_forward_secrecy`.
    no_forward_secrecy: NoForwardSecrecy = NoForwardSecrecy {}
    /// Settings of `not_quantum_safe`.
    not_quantum_safe: NotQuantumSafe = NotQuantumSafe {}
    /// Settings of `handshake_failed`.
    handshake_failed: HandshakeFailed = HandshakeFailed {
        /// alerts after which a failed handshake is no finding.
        ignored_alerts: Vec<String> = vec!["user_canceled".to_owned()];
    }
}

impl Settings {
    /// The least and the greatest value of a number, by its path within the settings: `ledger.silence_hours`.
    pub fn bounds_of(&self, field: &str) -> Option<(u64, u64)> {
        self.bounds().into_iter().find(|(name, ..)| *name == field).map(|(_, _, min, max)| (min, max))
    }

    /// Checks every bound.
    pub fn check(&self) -> Result<(), SettingsError> {
        for (field, value, min, max) in self.bounds() {
            if !(min..=max).contains(&value) {
                return Err(SettingsError {
                    field,
                    problem: format!("{value} is not between {min} and {max}"),
                });
            }
        }
        Ok(())
    }

    /// Every number with its value, and the least and the greatest that it may be.
    fn bounds(&self) -> Vec<(&'static str, u64, u64, u64)> {
        let expiring = &self.certificate_expiring;
        let (ledger, memory) = (&self.ledger, &self.memory);
        vec![
            ("ledger.silence_hours", u64::from(ledger.silence_hours), 1, 24 * 365),
            ("ledger.settle_minutes", u64::from(ledger.settle_minutes), 0, 24 * 60),
            ("ledger.update_seconds", u64::from(ledger.update_seconds), 1, 24 * 3600),
            ("ledger.max_findings", ledger.max_findings as u64, 1, 1_000_000),
            ("memory.max_connections", memory.max_connections as u64, 1, 4_000_000),
            ("memory.max_chains", memory.max_chains as u64, 1, 1_000_000),
            ("memory.max_services", memory.max_services as u64, 1, 1_000_000),
            ("memory.max_places", memory.max_places as u64, 1, 1_000_000),
            ("mixed_security.window_minutes", u64::from(self.mixed_security.window_minutes), 1, 7 * 24 * 60),
            ("certificate_expiring.warning_days", u64::from(expiring.warning_days), 1, 825),
            (
                "certificate_expiring.critical_days",
                u64::from(expiring.critical_days),
                0,
                expiring.warning_days.into(),
            ),
            ("certificate_expiring.short_lived_days", u64::from(expiring.short_lived_days), 0, 825),
            (
                "certificate_expiring.short_lived_warning_percent",
                u64::from(expiring.short_lived_warning_percent),
                1,
                100,
            ),
            (
                "certificate_expiring.short_lived_critical_percent",
                u64::from(expiring.short_lived_critical_percent),
                0,
                expiring.short_lived_warning_percent.into(),
            ),
            (
                "certificate_not_yet_valid.tolerance_seconds",
                u64::from(self.certificate_not_yet_valid.tolerance_seconds),
                0,
                86_400,
            ),
            (
                "certificate_validity_too_long.private_max_days",
                u64::from(self.certificate_validity_too_long.private_max_days.unwrap_or(1)),
                1,
                36_500,
            ),
            (
                "certificate_weak_key.min_rsa_bits",
                u64::from(self.certificate_weak_key.min_rsa_bits),
                512,
                16_384,
            ),
            ("certificate_weak_key.min_ec_bits", u64::from(self.certificate_weak_key.min_ec_bits), 112, 521),
            (
                "certificate_stale.grace_minutes",
                u64::from(self.certificate_stale.grace_minutes),
                0,
                30 * 24 * 60,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn a_rule_is_switched_off_and_its_severity_set() {
        let text = r#"{"weak_cipher": {"enabled": false}, "not_quantum_safe": {"severity": "warning"}}"#;
        let settings: Settings = serde_json::from_str(text).expect("settings");
        assert_eq!(settings.of(&RuleId::WeakCipher), (false, None));
        assert_eq!(settings.of(&RuleId::NotQuantumSafe), (true, Some(Severity::Warning)));
        assert_eq!(settings.of(&RuleId::WeakProtocol), (true, None));
        assert_eq!(settings.of(&RuleId::Own("own".into())), (true, None));
    }

    #[test]
    fn refuses_what_it_does_not_know_and_what_is_out_of_bounds() {
        for text in [r#"{"weak_ciphers": {}}"#, r#"{"weak_cipher": {"min": 1}}"#] {
            assert!(serde_json::from_str::<Settings>(text).is_err(), "{text}");
        }
        let mut settings = Settings::default();
        settings.certificate_expiring.critical_days = 31;
        assert_eq!(
            settings.check(),
            Err(SettingsError {
                field: "certificate_expiring.critical_days",
                problem: "31 is not between 0 and 30".to_owned()
            })
        );
    }
}
