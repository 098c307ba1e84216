//! Any conversation in every protocol that can upgrade to TLS: the point where TLS begins must not depend on how bytes
//! were cut, and must lie within what the client sent.
#![no_main]

use agent_core::net::{Direction, Side};
use agent_core::recognize::{PROTOCOLS, UpgradeStatus};
use libfuzzer_sys::fuzz_target;
use support::Conversation;

fuzz_target!(|input: &[u8]| {
    let Some(conversation) = Conversation::read(input) else { return };
    for protocol in PROTOCOLS {
        let Some(make) = protocol.upgrade() else { continue };
        let follow = |chunk| follow(protocol.name(), make(), &conversation, chunk);
        assert_eq!(follow(usize::MAX), follow(1), "{}, one byte a segment", protocol.name());
    }
});

fn follow(
    name: &str,
    mut upgrade: Box<dyn agent_core::recognize::Upgrade>,
    conversation: &Conversation<'_>,
    chunk: usize,
) -> UpgradeStatus {
    let mut sent = [0, 0];
    for &(direction, bytes) in &conversation.runs {
        let side = match direction {
            Direction::Egress => Side::Client,
            Direction::Ingress => Side::Server,
        };
        for chunk in bytes.chunks(chunk.min(bytes.len()).max(1)) {
            // Whole runs are counted: what a tracker says about the rest of a run must hold for its bytes too.
            sent[direction.index()] += chunk.len() as u64;
            let status = upgrade.data(side, chunk);
            // The server's side may lie ahead: the end of a greeting that announced its length can be seen late.
            if let UpgradeStatus::Upgraded { client, .. } = status {
                assert!(client <= sent[0], "{name}: {status:?} of {sent:?}");
            }
            if status != UpgradeStatus::Continue {
                return status;
            }
        }
    }
    upgrade.end()
}
