//! What keys do and what words mean.

use super::{Line, Tone, line};

const TEXT: &str = "\
KEYS
  1 2 3 4 5, tab     services, certificates, findings, connections, rates
  arrows, j k        move; page up, page down, home (g), end (G)
  enter              details of what is selected
  c                  in details of a service: its connections
  esc                back; also takes the filter away
  /                  show only what contains this text; enter keeps it
  s, S               sort by the next column, by the one before
  r                  reverse the order
  p                  pause: nothing moves until p again
  ?                  this page
  q, ctrl-c          quit

VERDICTS
  plaintext          application bytes cross the wire readable
  TLS                encrypted; the client did not prove who it is
  mutual TLS         encrypted, and the client showed a certificate
  unknown            none of these is proven; details say why

EXPECTED (what policy says of a service, and whether it is so)
  strict             mutual TLS only        strict yes   all connections meet it
  tls                at least TLS           strict NO    some do not
  permissive         anything goes          strict ?     it cannot be told yet
  disable            TLS is off             -            no policy speaks of it

FINDING (the worst that stands)
  critical           traffic or identities are at risk now, or in days
  warning            somebody should look at it
  info               good to know

Counts are of connections since counting began; NEW/S is over ten seconds.
Bytes count when a connection ends. Rates (5) lists everything that was lost.";

/// The page.
pub fn lines() -> Vec<Line> {
    let tone = |text: &str| if text.starts_with(' ') { Tone::Plain } else { Tone::Strong };
    TEXT.lines().map(|text| line(text, tone(text))).collect()
}
