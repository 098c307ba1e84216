//! TLS handshakes: what was agreed on, how long it took, and why it failed.

use std::borrow::Cow;
use std::sync::Arc;

use agent_core::observation::{Observation, Reason, TlsFacts};
use agent_core::tls::codepoints::ProtocolVersion;
use prometheus_client::metrics::histogram::Histogram;

use super::descriptor::{BaseUnit, Descriptor, Kind, Label};
use super::family::Family;
use super::labels;
use super::registry::{Group, Registry};
use super::seen::Seen;

const HANDSHAKES: Descriptor = Descriptor::seen(
    Kind::Counter,
    "tlsight_tls_handshakes_total",
    "TLS handshakes that were seen and completed, by what was agreed on.",
    &[
        labels::ROLE,
        labels::TLS_VERSION,
        Label::capped("tls_cipher", "cipher suite by its IANA name, or its number in hex"),
        Label::capped("tls_group", "group of the key exchange by its IANA name, or its number in hex"),
        Label::capped("tls_next_protocol", "protocol chosen by ALPN; TLS 1.3 does not show it"),
        labels::RESUMED,
        labels::SERVER_NAME,
    ],
);

const FAILURES: Descriptor = Descriptor::seen(
    Kind::Counter,
    "tlsight_tls_handshake_failures_total",
    "TLS handshakes that failed.",
    &[
        labels::ROLE,
        Label::capped(
            "error_type",
            "the alert that ended it by its IANA name (`unknown_ca`), else the reason (`handshake_failed`: an encrypted alert; \
             `handshake_incomplete`: it ended in the middle; `malformed_tls`)",
        ),
        labels::CLIENT_NAMESPACE,
        labels::CLIENT_WORKLOAD,
        labels::SERVER_NAMESPACE,
        labels::SERVER_WORKLOAD,
    ],
);

const DURATION: Descriptor = Descriptor::seen(
    Kind::Histogram,
    "tlsight_tls_handshake_duration_seconds",
    "Time from the first ClientHello to the end of the handshake as seen at the observed end.",
    &[labels::ROLE, labels::TLS_VERSION, labels::RESUMED],
)
.in_unit(BaseUnit::Seconds);

pub(super) const DESCRIPTORS: &[&Descriptor] = &[&HANDSHAKES, &FAILURES, &DURATION];

struct Handshakes {
    handshakes: Arc<Family<u64>>,
    failures: Arc<Family<u64>>,
    duration: Arc<Family<Histogram>>,
}

pub(super) fn group(registry: &mut Registry) -> Box<dyn Group> {
    Box::new(Handshakes {
        handshakes: registry.counter(&HANDSHAKES),
        failures: registry.counter(&FAILURES),
        duration: registry.histogram(&DURATION),
    })
}

impl Group for Handshakes {
    fn seen(&mut self, seen: &Seen<'_>) {
        let Some(tls) = seen.tls() else { return };
        let role = seen.role();
        if seen.news.handshake {
            let version = tls.negotiated_version.map(version).unwrap_or_default();
            let resumed = match tls.resumed {
                Some(true) => "true",
                Some(false) => "false",
                None => "",
            };
            let cipher = tls.cipher.map(|cipher| codepoint(cipher.name(), &cipher)).unwrap_or_default();
            let group = tls.group.map(|group| codepoint(group.name(), &group)).unwrap_or_default();
            let next_protocol = tls.next_protocol.as_deref().unwrap_or_default();
            let values = [role, &version, &cipher, &group, next_protocol, resumed, &server_name(tls)];
            self.handshakes.update(&values, seen.now, |n| *n += 1);
            if let Some(duration) = tls.handshake_duration {
                self.duration.update(&[role, &version, resumed], seen.now, |histogram| {
                    histogram.observe(duration.as_secs_f64());
                });
            }
        }
        if seen.news.failure {
            let values = [
                role,
                &error_type(seen.observation),
                seen.client.namespace,
                seen.client.workload,
                seen.server.namespace,
                seen.server.workload,
            ];
            self.failures.update(&values, seen.now, |n| *n += 1);
        }
    }
}

/// OpenTelemetry's `tls.protocol.version`, or the number.
fn version(version: ProtocolVersion) -> Cow<'static, str> {
    codepoint(version.otel_version(), &version)
}

/// The name, without a copy where there is one.
fn codepoint(name: Option<&'static str>, number: &impl ToString) -> Cow<'static, str> {
    name.map_or_else(|| Cow::Owned(number.to_string()), Cow::Borrowed)
}

/// The SNI in lower case: DNS names are compared without.
pub(super) fn server_name(tls: &TlsFacts) -> Cow<'_, str> {
    match tls.server_name.as_deref() {
        Some(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(name.to_ascii_lowercase())
        }
        Some(name) => Cow::Borrowed(name),
        None => Cow::Borrowed(""),
    }
}

/// OpenTelemetry's `error.type` of a handshake that failed, the same that spans have.
fn error_type(observation: &Observation) -> Cow<'static, str> {
    let alert = observation.tls.as_ref().and_then(|tls| tls.alert);
    match (alert.and_then(|alert| alert.content), observation.reason) {
        (Some((_, description)), _) => codepoint(description.name(), &description),
        (None, Some(reason)) => Cow::Borrowed(reason.as_str()),
        (None, None) => Cow::Borrowed(Reason::HandshakeFailed.as_str()),
    }
}
