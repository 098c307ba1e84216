use super::*;
use crate::event::{Process, TlsLibrary};
use crate::observation::NotTied;
use crate::policy::ledger::Cleared;
use crate::policy::rules::testing::{Court, TODAY, observe, root, stream};
use crate::policy::settings::Settings;

/// The server's chain of a recorded handshake, as a process parsed it.
fn parsed(name: &str, peer: Option<Side>) -> ProcessCertificates {
    let observation = observe(&stream(name), 1, TODAY).pop().expect("an observation");
    ProcessCertificates {
        time: observation.time,
        process: Arc::new(Process { pid: 42, executable_name: "curl".to_owned() }),
        library: TlsLibrary::OpenSsl,
        peer,
        chain: observation.tls.expect("a handshake").server_chain.clone(),
        reason: NotTied::NoConnection,
    }
}

fn rules(judge: &mut Judge, certificates: &ProcessCertificates) -> Vec<String> {
    let raised = judge.examine_process(certificates, &Party::default(), certificates.time);
    raised.into_iter().map(|(rule, _)| rule.to_string()).collect()
}

#[test]
fn an_expired_certificate_is_a_finding_about_the_process_and_a_good_one_is_none() {
    let mut court = Court::with(Settings::default(), &["ca"]);
    assert_eq!(rules(&mut court.judge, &parsed("expired", Some(Side::Server))), ["certificate_expired"]);
    let standing = court.judge.ledger().standing().next().expect("a finding");
    assert!(
        matches!(&standing.finding.about, About::ProcessCertificate { .. }),
        "{:?}",
        standing.finding.about
    );
    assert!(standing.finding.evidence.get("server.address").is_none(), "nobody knows which server");
    assert_eq!(rules(&mut court.judge, &parsed("good", Some(Side::Server))), [""; 0]);
    assert_eq!(court.judge.counters().process_certificates, 2);
}

#[test]
fn it_clears_when_the_process_is_shown_a_good_one_of_the_same_identity() {
    let mut court = Court::with(Settings::default(), &[]);
    court.judge.trust().set_bundle("own".into(), [root("rsa_ca")]);
    let shown = parsed("good", Some(Side::Server));
    assert_eq!(rules(&mut court.judge, &shown), ["certificate_untrusted"]);
    court.judge.trust().set_bundle("own".into(), [root("ca")]);
    assert_eq!(rules(&mut court.judge, &shown), [""; 0]);
    court.wait(600);
    assert_eq!(court.cleared(&RuleId::CertificateUntrusted), [Cleared::Good]);
}

#[test]
fn whose_it_is_shows_in_its_purpose_or_nothing_is_said() {
    let mut court = Court::with(Settings::default(), &["ca"]);
    let mut certificates = parsed("expired", None);
    assert_eq!(rules(&mut court.judge, &certificates), ["certificate_expired"]);
    let mut leaf = CertificateSummary::clone(&certificates.chain[0]);
    for usages in [None, Some(vec![ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth])] {
        leaf.extended_key_usage = usages;
        certificates.chain = vec![Arc::new(leaf.clone())];
        assert_eq!(rules(&mut court.judge, &certificates), [""; 0]);
    }
    certificates.chain.clear();
    assert_eq!(rules(&mut court.judge, &certificates), [""; 0]);
}
