//! Any conversation: protocols must not change their minds, and a verdict must not depend on how bytes were cut.
#![no_main]

use agent_core::net::{Direction, Side};
use agent_core::recognize::{Detection, Kind, PROTOCOLS, RecognizeLimits, Recognizer, Verdict};
use libfuzzer_sys::fuzz_target;
use support::Conversation;

fuzz_target!(|input: &[u8]| {
    let Some(conversation) = Conversation::read(input) else { return };
    if let Some((_, first)) = conversation.runs.first() {
        for protocol in PROTOCOLS {
            stays(protocol.name(), first, |prefix| protocol.client(prefix));
            stays(protocol.name(), first, |prefix| protocol.server(prefix));
        }
    }
    let (whole, tls) = recognize(&conversation, usize::MAX);
    let (bytewise, tls_bytewise) = recognize(&conversation, 1);
    // Text is judged by what is there at the time: the one verdict that more bytes at once may prevent.
    if bytewise.kind == Kind::Text {
        return;
    }
    assert_eq!(whole, bytewise, "one byte a segment");
    assert_eq!(tls, tls_bytewise, "bytes for the TLS layer, one byte a segment");
});

/// Over growing prefixes an answer goes from `NeedMore` to another one, and stays.
fn stays(name: &str, bytes: &[u8], detect: impl Fn(&[u8]) -> Detection) {
    let mut answer = Detection::NeedMore;
    // Nothing is decided later than this, and every prefix costs a look at all of it.
    for len in 0..=bytes.len().min(64) {
        let next = detect(&bytes[..len]);
        if len == 0 {
            assert_ne!(next, Detection::NotThis, "{name} denies an empty prefix");
        }
        if answer != Detection::NeedMore {
            assert_eq!(answer, next, "{name} changed its mind at byte {len}");
        }
        answer = next;
    }
}

/// The verdict, and what the TLS layer is to get of each direction.
fn recognize(conversation: &Conversation<'_>, chunk: usize) -> (Verdict, [Vec<u8>; 2]) {
    let limits = RecognizeLimits::default();
    let local_side = match conversation.flags & 3 {
        0 => None,
        1 => Some(Side::Client),
        _ => Some(Side::Server),
    };
    let mut recognizer = if conversation.flags & 4 == 0 {
        Recognizer::new(limits, local_side)
    } else {
        Recognizer::joined_in_the_middle(limits, local_side)
    };
    let mut streams = [Vec::new(), Vec::new()];
    let mut tls = [Vec::new(), Vec::new()];
    for &(direction, bytes) in &conversation.runs {
        for chunk in bytes.chunks(chunk.min(bytes.len()).max(1)) {
            streams[direction.index()].extend_from_slice(chunk);
            if recognizer.verdict().kind.is_final() {
                tls[direction.index()].extend_from_slice(chunk);
                continue;
            }
            recognizer.data(direction, chunk);
            for (direction, bytes) in recognizer.take_tls() {
                tls[direction.index()].extend(bytes);
            }
        }
    }
    let verdict = recognizer.end();
    let Kind::Tls { start, .. } = verdict.kind else { return (verdict, Default::default()) };
    for direction in [Direction::Egress, Direction::Ingress] {
        let at = usize::try_from(start[direction.index()]).expect("an offset into the input");
        let expected = streams[direction.index()].get(at..).unwrap_or(&[]);
        assert_eq!(tls[direction.index()], expected, "TLS of {direction:?} begins at {at}");
    }
    (verdict, tls)
}
