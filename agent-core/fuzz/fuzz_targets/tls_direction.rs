//! Any bytes as one direction of a TLS stream: what comes out must not depend on how the bytes were cut.
#![no_main]

use agent_core::tls::{TlsDirection, TlsEvent, TlsLimits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let whole = read([stream]);
    assert_eq!(whole, read(stream.chunks(1)), "one byte a segment");
    let middle = number(stream.get(..2)) % (stream.len() + 1);
    let (front, back) = stream.split_at(middle);
    assert_eq!(whole, read([front, back]), "cut at {middle}");

    // With bytes missing there is nothing to compare with, but it must end, and reading on must be possible.
    let gap = number(stream.get(2..4)) % (back.len() + 1);
    let mut direction = TlsDirection::new(TlsLimits { max_handshake_message: 4096 });
    let mut events = Vec::new();
    direction.data(front, &mut events);
    direction.gap(gap as u64, &mut events);
    direction.data(&back[gap..], &mut events);
    direction.hello_retry();
    direction.data(front, &mut events);
    let _ = direction.close();
    // A record has a header of 5 bytes and a handshake message one of 4: more events than bytes are made up.
    assert!(events.len() <= 2 * stream.len() + 4, "{} events of {} bytes", events.len(), stream.len());
});

/// Events and the way the direction ended, comparable.
fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut direction = TlsDirection::new(TlsLimits::default());
    let mut events: Vec<TlsEvent> = Vec::new();
    for chunk in chunks {
        direction.data(chunk, &mut events);
    }
    let ending = direction.close();
    format!("{events:?} {ending:?} {:?}", direction.counters())
}

fn number(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, |bytes| bytes.iter().fold(0, |n, &b| n << 8 | usize::from(b)))
}
