//! NATS: the server's INFO comes first; TLS, where used, follows it before any other message.

use super::lines::Lines;
use crate::net::Side;
use crate::recognize::prefix::{starts, starts_no_case};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// NATS.
pub(in crate::recognize) struct Nats;

impl Protocol for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        // A ClientHello takes the place of CONNECT.
        starts_no_case(prefix, b"CONNECT {\"").or(starts(prefix, &[22, 3]).unsure())
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        starts_no_case(prefix, b"INFO {\"")
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Info::default()))
    }
}

#[derive(Default)]
struct Info {
    server: Lines,
    info_end: Option<u64>,
    first: Option<u8>,
}

impl Info {
    fn status(&self) -> UpgradeStatus {
        match (self.first, self.info_end) {
            (Some(22), Some(server)) => UpgradeStatus::Upgraded { client: 0, server },
            (Some(22) | None, _) => UpgradeStatus::Continue,
            (Some(_), _) => UpgradeStatus::NotUsed,
        }
    }
}

impl Upgrade for Info {
    fn data(&mut self, side: Side, mut bytes: &[u8]) -> UpgradeStatus {
        match side {
            Side::Client => self.first = self.first.or(bytes.first().copied()),
            Side::Server if self.info_end.is_none() => {
                self.info_end = self.server.next(&mut bytes).map(|(_, end)| end);
            }
            Side::Server => {}
        }
        self.status()
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        (side == Side::Client).then_some(0)
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let info = b"INFO {\"server_id\":\"NA\",\"version\":\"2.10.7\",\"tls_required\":true} \r\n";
    vec![
        starttls("nats", NOT_USED, &[S(info), C(b"CONNECT {\"verbose\":false}\r\nPING\r\n"), S(b"PONG\r\n")]),
        upgraded("nats", &[S(info), C(HELLO), S(SERVER_HELLO)]),
        plain("nats", &[S(info)]),
    ]
}
