use super::{Check, Input, Judgement, Rule, RuleId, Severity};
use crate::tls::codepoints::CipherSuite;

pub(super) static RULE: Rule = Rule {
    id: RuleId::WeakCipher,
    severity: Severity::Warning,
    checks: "The chosen cipher suite does not encrypt (NULL: critical), proves nothing about the server (anonymous: critical), \
             or encrypts with what is broken: EXPORT, RC4, RC2, DES, 3DES, IDEA. `also` and `except` add to the list and take \
             from it. What a client merely offers is no finding.",
    advice: "Take the suite out of the server's list; if that cuts a client off, the client is what needs an update.",
    clears: "A connection of the same client to the same target uses a suite that is not weak.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let Some(suite) = input.tls().and_then(|tls| tls.cipher) else { return Judgement::NotApplicable };
    let about = input.subjects.hop();
    let settings = &input.settings.weak_cipher;
    let name = suite.to_string();
    let has = |list: &[String]| list.iter().any(|listed| listed.eq_ignore_ascii_case(&name));
    let why = if has(&settings.except) {
        None
    } else if has(&settings.also) {
        Some(("configured", Severity::Warning))
    } else {
        weakness(suite)
    };
    match why {
        Some((why, severity)) => {
            let (client, target) = (&input.subjects.client, &input.subjects.target);
            let summary = format!("{client} talks to {target} with {name}");
            let finding = input.finding(&RULE, about, summary).severity(severity);
            Judgement::Raised(finding.with("tlsight.cipher.weakness", why))
        }
        // A suite that is not known here may be anything.
        None if suite.name().is_none() => Judgement::NotApplicable,
        None => Judgement::Good(about),
    }
}

fn weakness(suite: CipherSuite) -> Option<(&'static str, Severity)> {
    let name = suite.name()?;
    if suite.is_unencrypted() {
        return Some(("null", Severity::Critical));
    }
    if suite.is_anonymous() {
        return Some(("anonymous", Severity::Critical));
    }
    const WEAK: &[(&str, &str)] = &[
        ("_EXPORT", "export"),
        ("_RC4_", "rc4"),
        ("_RC2_", "rc2"),
        ("_DES_", "des"),
        ("_DES40_", "des"),
        ("_3DES_", "3des"),
        ("_IDEA_", "idea"),
    ];
    WEAK.iter().find(|(part, _)| name.contains(part)).map(|(_, why)| (*why, Severity::Warning))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, text};
    use super::*;
    use crate::policy::settings::Settings;

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"weak_cipher".to_owned())
    }

    #[test]
    fn null_and_anonymous_suites_are_critical_and_clear_by_a_good_one() {
        for (name, why) in [("null", "null"), ("anonymous", "anonymous")] {
            let mut court = Court::new();
            assert!(raised(&mut court, name));
            let finding = court.standing(&RULE.id);
            assert_eq!(finding.severity, Severity::Critical);
            assert_eq!(text(finding, "tlsight.cipher.weakness").as_deref(), Some(why));
            court.wait(600);
            assert!(!raised(&mut court, "ecdhe"));
            assert!(!court.stands(&RULE.id));
        }
    }

    #[test]
    fn broken_ciphers_are_told_from_sound_ones_by_name() {
        let why = |suite: CipherSuite| weakness(suite).map(|(why, _)| why);
        for (suite, want) in [
            (CipherSuite::TLS_RSA_WITH_RC4_128_SHA, Some("rc4")),
            (CipherSuite::TLS_RSA_WITH_3DES_EDE_CBC_SHA, Some("3des")),
            (CipherSuite::TLS_RSA_WITH_DES_CBC_SHA, Some("des")),
            (CipherSuite::TLS_RSA_WITH_IDEA_CBC_SHA, Some("idea")),
            (CipherSuite::TLS_RSA_EXPORT_WITH_RC4_40_MD5, Some("export")),
            (CipherSuite::TLS_RSA_WITH_NULL_SHA256, Some("null")),
            (CipherSuite::TLS_DH_anon_WITH_AES_128_GCM_SHA256, Some("anonymous")),
            (CipherSuite::TLS_RSA_WITH_AES_128_CBC_SHA, None),
            (CipherSuite::TLS_AES_128_GCM_SHA256, None),
            (CipherSuite(0xEEEE), None),
        ] {
            assert_eq!(why(suite), want, "{suite}");
        }
    }

    #[test]
    fn settings_add_to_the_list_and_take_from_it() {
        let mut settings = Settings::default();
        settings.weak_cipher.also = vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".into()];
        settings.weak_cipher.except = vec!["TLS_DH_anon_WITH_AES_128_CBC_SHA256".into()];
        let mut court = Court::with(settings, &[]);
        assert!(raised(&mut court, "ecdhe"));
        assert!(!raised(&mut court, "anonymous"));
    }
}
