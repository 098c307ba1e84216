//! Certificates: each once, with who showed it.

use std::fmt::Write;

use agent_core::net::Side;
use agent_core::time::Timestamp;
use agent_core::x509::CertificateSummary;
use hashlink::LinkedHashMap;

use super::limits::Room;
use super::names::Names;
use crate::top::name::cut as shorten;
use crate::top::snapshot;

/// Alternative names that are kept.
const MAX_SAN: usize = 8;

/// What is kept of a certificate.
#[derive(Debug)]
struct Entry {
    certificate: snapshot::Certificate,
    sides: Names<&'static str>,
    places: Names<String>,
}

/// All certificates, the one seen last at the end.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    all: LinkedHashMap<[u8; 32], Entry>,
}

/// Upper-case hex.
pub(super) fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

impl Certificates {
    /// Takes a certificate that `place` showed. `counts`: on a connection that it was not seen on before.
    pub(super) fn see(
        &mut self,
        leaf: &CertificateSummary,
        side: Option<Side>,
        place: String,
        counts: bool,
        time: Timestamp,
        room: &mut Room<'_>,
    ) {
        let known = self.all.remove(&leaf.sha256);
        if known.is_none() && self.all.len() >= room.limits.certificates {
            self.all.pop_front();
            room.cut.certificates_forgotten += 1;
        }
        let mut entry = known.unwrap_or_else(|| Entry {
            certificate: of(leaf),
            sides: Names::default(),
            places: Names::default(),
        });
        entry.sides.see(side.map_or("peer", Side::as_str), 3);
        room.cut.names_left_out += entry.places.see(place, room.limits.names);
        entry.certificate.count += u64::from(counts);
        entry.certificate.last = entry.certificate.last.max(time.0);
        self.all.insert(leaf.sha256, entry);
    }

    /// For the view.
    pub(super) fn snapshot(&self) -> Vec<snapshot::Certificate> {
        let entries = self.all.values().map(|entry| snapshot::Certificate {
            sides: entry.sides.sorted(ToString::to_string),
            shown_by: entry.places.sorted(Clone::clone),
            ..entry.certificate.clone()
        });
        entries.collect()
    }
}

fn of(leaf: &CertificateSummary) -> snapshot::Certificate {
    let short = |text: &Option<String>| text.as_deref().map(shorten);
    let key = leaf.key_algorithm.as_ref().map(|kind| match (&leaf.curve, leaf.key_bits) {
        (Some(curve), _) => format!("{kind} {curve}"),
        (None, Some(bits)) => format!("{kind} {bits}"),
        (None, None) => kind.clone(),
    });
    snapshot::Certificate {
        sha256: hex(&leaf.sha256),
        subject: short(&leaf.subject),
        issuer: short(&leaf.issuer),
        serial: short(&leaf.serial),
        san: leaf.sans.iter().take(MAX_SAN).map(|san| shorten(&san.to_string())).collect(),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        key,
        signature: short(&leaf.signature_algorithm),
        self_signed: leaf.self_signed_hint,
        ..snapshot::Certificate::default()
    }
}
