//! Certificates that Go's crypto/tls parses, and the handshake they belong to.
//!
//! A goroutine may go on on another thread between any two functions, so the goroutine, not the thread, ties the three
//! places together. In TLS up to 1.2 the log of keys is written after the certificates were parsed, if at all: there no
//! random is found, nothing is copied, and the wire tells.

use agent_common::{
    CERTIFICATES_CUT, CERTIFICATES_HAVE_RANDOM, Counter, GO_RANDOM_JIFFIES, GoRandom, Goroutine, LastRead,
    library, peer,
};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::uprobe, programs::ProbeContext};

use crate::{
    last_read::jiffies,
    maps::{GO_RANDOMS, Scratch, count},
    scratch, user,
};

/// Length of `CLIENT_HANDSHAKE_TRAFFIC_SECRET` and `SERVER_HANDSHAKE_TRAFFIC_SECRET`, the labels of the first secrets that a
/// TLS 1.3 handshake has (NSS key log format); no other label is as long. Its letters are not read: the program itself never
/// looks at them where no log is wanted, so that they need not be in memory, and a probe cannot fetch them.
const LABEL_LEN: u64 = 31;
const RANDOM_LEN: u64 = 32;

/// `(*Conn).verifyServerCertificate(certificates [][]byte)`.
#[uprobe]
pub fn go_server_certs(ctx: ProbeContext) -> u32 {
    count(Counter::ProbeHitsGo);
    let [_, slices, n, ..] = user::go_arguments(&ctx);
    scratch::outcome(chain(&ctx, peer::SERVER, slices, n), Counter::CertificatesGo)
}

/// `(*Conn).processCertsFromClient(certificate Certificate)`: a struct too large for registers, whose first field is
/// `Certificate [][]byte`.
#[uprobe]
pub fn go_client_certs(ctx: ProbeContext) -> u32 {
    count(Counter::ProbeHitsGo);
    let result = match user::words::<2>(user::go_stack_arguments(&ctx)) {
        Some([slices, n]) => chain(&ctx, peer::CLIENT, slices, n),
        None => Err(Counter::ProbeUnreadable),
    };
    scratch::outcome(result, Counter::CertificatesGo)
}

/// `(*Config).writeKeyLog(label string, clientRandom, secret []byte)`. The secret is in registers that
/// [`user::go_arguments`] does not read.
#[uprobe]
pub fn go_client_rand(ctx: ProbeContext) -> u32 {
    count(Counter::ProbeHitsGoRandom);
    let [_, _, label_len, random, random_len] = user::go_arguments(&ctx);
    if label_len != LABEL_LEN || random_len != RANDOM_LEN {
        return 0;
    }
    match user::bytes::<32>(random) {
        Some(random) => {
            let _ = GO_RANDOMS.insert(goroutine(&ctx), GoRandom { random, jiffies: jiffies() }, 0);
        }
        None => count(Counter::ProbeUnreadable),
    }
    0
}

#[inline(always)]
fn goroutine(ctx: &ProbeContext) -> Goroutine {
    Goroutine { pid: bpf_get_current_pid_tgid() >> 32, g: user::goroutine(ctx) }
}

/// Hands over `n` certificates, if the goroutine is in a handshake of TLS 1.3.
#[inline(always)]
fn chain(ctx: &ProbeContext, peer: u8, slices: u64, n: u64) -> Result<(), Counter> {
    let goroutine = goroutine(ctx);
    // SAFETY: copied at once.
    let found = unsafe { GO_RANDOMS.get(goroutine) }.copied();
    let Some(found) = found else { return Err(Counter::ProbeOther) };
    let _ = GO_RANDOMS.remove(goroutine);
    // No certificates: a client declined.
    if n == 0 || jiffies().wrapping_sub(found.jiffies) > GO_RANDOM_JIFFIES {
        return Err(Counter::ProbeOther);
    }
    // What the thread read last may have been for another goroutine.
    scratch::emit(&LastRead::default(), |scratch| fill(scratch, peer, &found.random, slices, n))
}

#[inline(always)]
fn fill(scratch: &mut Scratch, peer: u8, random: &[u8; 32], slices: u64, n: u64) -> Result<u32, Counter> {
    // A slice is pointer, length, capacity.
    let gathered = scratch::gather(scratch, slices, 24, Some(n))?;
    scratch.event = scratch::blank(library::GO, peer);
    scratch.event.client_random = *random;
    scratch.event.cap_len = gathered.used;
    scratch.event.flags = CERTIFICATES_HAVE_RANDOM;
    if gathered.cut {
        scratch.event.flags |= CERTIFICATES_CUT;
        count(Counter::CertificatesCut);
    }
    Ok(gathered.used)
}
