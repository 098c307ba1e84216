//! Certificates by when they end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_core::net::Side;
use agent_core::observation::ProcessCertificates;
use agent_core::policy::history::Place;
use agent_core::policy::judge;
use agent_core::x509::CertificateSummary;

use super::descriptor::{BaseUnit, Descriptor, Kind, Label};
use super::earliest::Earliest;
use super::family::Family;
use super::handshakes::server_name;
use super::labels;
use super::names::{self, Named};
use super::registry::{Group, Registry};
use super::seen::Seen;

const NOT_AFTER: Descriptor = Descriptor::seen(
    Kind::Gauge,
    "tlsight_certificate_not_after_timestamp_seconds",
    "End of the validity of leaf certificates seen lately, Unix time; the earliest where a series stands for several.",
    &[
        Label::per_series("subject", "its subject (RFC 4514)"),
        Label::capped("issuer", "its issuer (RFC 4514)"),
        Label::per_series("serial", "its serial number in upper-case hex"),
        labels::SIDE,
        labels::NAMESPACE,
        labels::WORKLOAD,
        labels::SERVER_NAME,
    ],
)
.in_unit(BaseUnit::Seconds);

const REPLACED: Descriptor = Descriptor::seen(
    Kind::Counter,
    "tlsight_certificates_replaced_total",
    "Certificates that took the place of an older one.",
    &[labels::SIDE, labels::NAMESPACE, labels::WORKLOAD],
);

pub(super) const DESCRIPTORS: &[&Descriptor] = &[&NOT_AFTER, &REPLACED];

/// Certificates of a process.
#[derive(Debug)]
pub(super) struct ProcessSeen<'a> {
    pub(super) certificates: &'a ProcessCertificates,
    pub(super) now: Instant,
}

struct Certificates {
    not_after: Arc<Family<Earliest>>,
    replaced: Arc<Family<u64>>,
    retention: Duration,
}

pub(super) fn group(registry: &mut Registry) -> Box<dyn Group> {
    Box::new(Certificates {
        not_after: registry.earliest(&NOT_AFTER),
        replaced: registry.counter(&REPLACED),
        retention: registry.options.certificate_retention,
    })
}

impl Group for Certificates {
    fn seen(&mut self, seen: &Seen<'_>) {
        let Some(tls) = seen.tls() else { return };
        let server_name = server_name(tls);
        for (side, chain) in [(Side::Server, &tls.server_chain), (Side::Client, &tls.client_chain)] {
            if let Some(leaf) = chain.first() {
                self.shown(leaf, side.as_str(), seen.party(side), &server_name, seen.now);
            }
        }
    }

    fn process(&mut self, seen: &ProcessSeen<'_>) {
        // Who showed it is not known, only to whom.
        let side = seen.certificates.peer.map_or("", Side::as_str);
        if let Some(leaf) = seen.certificates.chain.first() {
            self.shown(leaf, side, &Named::default(), "", seen.now);
        }
    }

    fn finding(&mut self, news: &judge::Output, now: Instant) {
        let judge::Output::CertificateReplaced(replaced) = news else { return };
        let mut buffer = String::new();
        let (client, server) = names::about(&replaced.about, &mut buffer);
        let (side, whose) = match replaced.place {
            Place::Server { .. } => (Side::Server, server),
            Place::Client { .. } => (Side::Client, client),
        };
        self.replaced.update(&[side.as_str(), whose.namespace, whose.workload], now, |n| *n += 1);
    }
}

impl Certificates {
    fn shown(
        &self,
        leaf: &CertificateSummary,
        side: &str,
        whose: &Named<'_>,
        server_name: &str,
        now: Instant,
    ) {
        let Some(not_after) = leaf.not_after else { return };
        let values = [
            leaf.subject.as_deref().unwrap_or_default(),
            leaf.issuer.as_deref().unwrap_or_default(),
            leaf.serial.as_deref().unwrap_or_default(),
            side,
            whose.namespace,
            whose.workload,
            server_name,
        ];
        self.not_after.update(&values, now, |earliest| earliest.see(not_after, now, self.retention));
    }
}
