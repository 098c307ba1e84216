//! How evidence is written, and what of an observation goes into it.

use serde::Serializer;

use super::finding::{Evidence, Value};
use crate::identity::{Sighting, Workload};
use crate::net::Side;
use crate::observation::Observation;
use crate::x509::CertificateSummary;

/// A second of Unix time as RFC 3339 in UTC; civil calendar after Howard Hinnant's algorithm.
pub(super) fn date_time(secs: i64) -> String {
    let (days, rest) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

/// The day alone, for sentences.
pub(super) fn date(secs: i64) -> String {
    let text = date_time(secs);
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}

pub(super) fn rfc3339<S: Serializer>(secs: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date_time(*secs))
}

/// Ends, verdict and names.
pub(super) fn connection(evidence: &mut Evidence, sighting: &Sighting) {
    let o = &sighting.observation;
    evidence.set("tlsight.security", o.security.as_str());
    if let Some(reason) = o.reason {
        evidence.set("tlsight.security.reason", reason.as_str());
    }
    if let Some(side) = o.local_side {
        let (client, server) = match side {
            Side::Client => (o.tuple.local, o.tuple.peer),
            Side::Server => (o.tuple.peer, o.tuple.local),
        };
        evidence.set("tlsight.role", side.as_str());
        evidence.set("client.address", client.addr.to_string());
        evidence.set("server.address", server_address(o, server.addr));
        evidence.set("server.port", server.port);
    }
    if let Some(protocol) = o.protocol {
        evidence.set("network.protocol.name", protocol);
    }
    if let Some(scope) = sighting.scope {
        evidence.set("tlsight.scope", scope.as_str());
    }
    if let Some(process) = &o.process {
        evidence.set("process.pid", i64::from(process.pid));
        evidence.set("process.executable.name", process.executable_name.clone());
    }
    if let Some(workload) = &sighting.local.workload {
        local_workload(evidence, workload);
    }
    if let Some(workload) = &sighting.peer.workload {
        evidence.set("tlsight.peer.k8s.namespace.name", workload.namespace.clone());
        evidence.set("tlsight.peer.k8s.workload.name", workload.name.clone());
        if let Some(pod) = &workload.pod {
            evidence.set("tlsight.peer.k8s.pod.name", pod.clone());
        }
    }
}

fn local_workload(evidence: &mut Evidence, workload: &Workload) {
    evidence.set("k8s.namespace.name", workload.namespace.clone());
    if let Some(pod) = &workload.pod {
        evidence.set("k8s.pod.name", pod.clone());
    }
    if let Some(key) = match workload.kind.as_str() {
        "Deployment" => Some("k8s.deployment.name"),
        "StatefulSet" => Some("k8s.statefulset.name"),
        "DaemonSet" => Some("k8s.daemonset.name"),
        "CronJob" => Some("k8s.cronjob.name"),
        "Job" => Some("k8s.job.name"),
        "ReplicaSet" => Some("k8s.replicaset.name"),
        _ => None,
    } {
        evidence.set(key, workload.name.clone());
    }
}

fn server_address(o: &Observation, addr: std::net::IpAddr) -> String {
    match o.tls.as_ref().and_then(|tls| tls.server_name.as_ref()) {
        Some(name) => name.clone(),
        None => addr.to_string(),
    }
}

/// The TLS handshake.
pub(super) fn handshake(evidence: &mut Evidence, o: &Observation) {
    let Some(tls) = &o.tls else { return };
    if let Some(version) = tls.negotiated_version.and_then(|version| version.otel_version()) {
        evidence.set("tls.protocol.version", version);
    }
    if let Some(cipher) = tls.cipher {
        evidence.set("tls.cipher", cipher.to_string());
    }
    if let Some(group) = tls.group {
        evidence.set("tls.curve", group.to_string());
    }
    if let Some(name) = &tls.server_name {
        evidence.set("tlsight.server_name", name.clone());
    }
}

/// A leaf certificate, under the keys of its side.
pub(super) fn certificate(evidence: &mut Evidence, side: Side, leaf: &CertificateSummary) {
    let [subject, issuer, not_before, not_after, sha256, serial, san] = match side {
        Side::Client => [
            "tls.client.subject",
            "tls.client.issuer",
            "tls.client.not_before",
            "tls.client.not_after",
            "tls.client.hash.sha256",
            "tlsight.client.serial",
            "tlsight.client.san",
        ],
        Side::Server => [
            "tls.server.subject",
            "tls.server.issuer",
            "tls.server.not_before",
            "tls.server.not_after",
            "tls.server.hash.sha256",
            "tlsight.server.serial",
            "tlsight.server.san",
        ],
    };
    if let Some(name) = &leaf.subject {
        evidence.set(subject, name.clone());
    }
    if let Some(name) = &leaf.issuer {
        evidence.set(issuer, name.clone());
    }
    if let Some(secs) = leaf.not_before {
        evidence.set(not_before, Value::Time(secs));
    }
    if let Some(secs) = leaf.not_after {
        evidence.set(not_after, Value::Time(secs));
    }
    evidence.set(sha256, leaf.sha256_hex());
    if let Some(number) = &leaf.serial {
        evidence.set(serial, number.clone());
    }
    if !leaf.sans.is_empty() {
        // Certificates of shared hosts carry hundreds of names.
        const SHOWN: usize = 16;
        let names = leaf.sans.iter().take(SHOWN).map(ToString::to_string).collect();
        evidence.set(san, Value::List(names));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_as_rfc_3339() {
        assert_eq!(date_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(date_time(-1), "1969-12-31T23:59:59Z");
        assert_eq!(date_time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_773_532_800), "2026-03-15");
    }
}
