//! Connection ends by how they are protected.

use std::sync::Arc;

use agent_core::observation::{Phase, Security};
use agent_core::policy::expectation::Mode;

use super::descriptor::{BaseUnit, Descriptor, Kind, Label};
use super::family::Family;
use super::labels;
use super::registry::{Group, Registry};
use super::seen::Seen;

const CONNECTIONS: Descriptor = Descriptor::seen(
    Kind::Counter,
    "tlsight_connections_total",
    "Connection ends by how they are protected; each counts once, at its first proven verdict or else at its end.",
    &[
        labels::SECURITY,
        Label::closed("expectation", "what policy expects: `strict`, `tls`, `permissive`, `disable`"),
        labels::ROLE,
        labels::SCOPE,
        Label::closed(
            "protocol",
            "what was spoken in plaintext, before STARTTLS or without: `http`, `postgresql` ...",
        ),
        labels::CLIENT_NAMESPACE,
        labels::CLIENT_WORKLOAD,
        labels::SERVER_NAMESPACE,
        labels::SERVER_WORKLOAD,
        Label::capped(
            "server_port",
            "port that the server listens on; behind a Service that is not resolved, the one dialled",
        ),
    ],
);

const UNKNOWN: Descriptor = Descriptor::seen(
    Kind::Counter,
    "tlsight_connections_unknown_total",
    "Connection ends that ended without a proven verdict, by reason.",
    &[Label::closed("reason", "why nothing is proven: `no_data`, `handshake_failed`, `missing_bytes` ...")],
);

const BYTES: Descriptor = Descriptor::seen(
    Kind::Counter,
    "tlsight_connection_bytes_total",
    "Payload bytes of TCP connections, counted when a connection ends.",
    &[
        labels::SECURITY,
        labels::ROLE,
        Label::closed("network_io_direction", "as seen from the observed end: `receive`, `transmit`"),
        labels::SCOPE,
    ],
)
.in_unit(BaseUnit::Bytes);

pub(super) const DESCRIPTORS: &[&Descriptor] = &[&CONNECTIONS, &UNKNOWN, &BYTES];

struct Connections {
    connections: Arc<Family<u64>>,
    unknown: Arc<Family<u64>>,
    bytes: Arc<Family<u64>>,
}

pub(super) fn group(registry: &mut Registry) -> Box<dyn Group> {
    Box::new(Connections {
        connections: registry.counter(&CONNECTIONS),
        unknown: registry.counter(&UNKNOWN),
        bytes: registry.counter(&BYTES),
    })
}

impl Group for Connections {
    fn seen(&mut self, seen: &Seen<'_>) {
        let o = seen.observation;
        let (security, role, scope) = (seen.security(), seen.role(), seen.scope);
        if seen.news.verdict {
            let mut digits = [0; 5];
            let port = seen.server_port.map_or("", |port| decimal(port, &mut digits));
            let values = [
                security,
                seen.expectation.map_or("", Mode::as_str),
                role,
                scope,
                o.protocol.unwrap_or_default(),
                seen.client.namespace,
                seen.client.workload,
                seen.server.namespace,
                seen.server.workload,
                port,
            ];
            self.connections.update(&values, seen.now, |n| *n += 1);
            if o.security == Security::Unknown {
                let reason = o.reason.map_or("", |reason| reason.as_str());
                self.unknown.update(&[reason], seen.now, |n| *n += 1);
            }
        }
        if let (Phase::Final, Some(bytes)) = (o.phase, o.bytes) {
            for (direction, count) in [("receive", bytes.ingress), ("transmit", bytes.egress)] {
                if count > 0 {
                    self.bytes.update(&[security, role, direction, scope], seen.now, |n| {
                        *n = n.saturating_add(count);
                    });
                }
            }
        }
    }
}

/// Without a copy on the heap: this is asked for each connection.
fn decimal(port: u16, digits: &mut [u8; 5]) -> &str {
    let (mut rest, mut first) = (port, digits.len());
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        first = at;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits.get(first..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_everybody_writes_them() {
        for port in [0, 7, 80, 443, 8080, 65_535] {
            assert_eq!(decimal(port, &mut [0; 5]), port.to_string());
        }
    }
}
