//! Programs of Go with crypto/tls.
//!
//! Names of functions survive stripping, because Go needs them for stack traces: `pclntab`.

mod moduledata;
mod pclntab;

use std::ops::Range;

use super::code::{self, Branch, Target, branches};
use super::elf::{Elf, Machine};
use super::image::Found;
use super::{ProbeKind, ProbePoint, Unprobed};
use pclntab::Table;

/// Gets the certificates that a server sent: `verifyServerCertificate(certificates [][]byte)`.
const SERVER_CERTIFICATES: &str = "crypto/tls.(*Conn).verifyServerCertificate";
/// Gets the certificates that a client sent: `processCertsFromClient(certificate Certificate)`.
const CLIENT_CERTIFICATES: &str = "crypto/tls.(*Conn).processCertsFromClient";
/// Gets the client random: `writeKeyLog(label string, clientRandom, secret []byte)`.
const WRITE_KEY_LOG: &str = "crypto/tls.(*Config).writeKeyLog";
/// The functions that derive the keys of a TLS 1.3 handshake, on either side. Both call `writeKeyLog` for the client's secret
/// first, before a certificate is read.
const HANDSHAKE_KEYS: [&str; 2] = [
    "crypto/tls.(*clientHandshakeStateTLS13).establishHandshakeKeys",
    "crypto/tls.(*serverHandshakeStateTLS13).sendServerParameters",
];

const NAMES: [&str; 5] =
    [SERVER_CERTIFICATES, CLIENT_CERTIFICATES, WRITE_KEY_LOG, HANDSHAKE_KEYS[0], HANDSHAKE_KEYS[1]];

/// The places to probe, if this is a program of Go with crypto/tls.
pub(super) fn points(elf: &Elf<'_>) -> Found<Option<Vec<ProbePoint>>> {
    if !is_go(elf) {
        return Ok(None);
    }
    let table = Table::find(elf)?;
    let found = table.functions(elf, &NAMES)?;
    if found.is_empty() {
        return Ok(None);
    }
    // Each address that code may begin at is tried until every function looks like one that was compiled for the calling
    // convention that is relied on: that proves the address, the table and the convention at once.
    let mut old = false;
    for source in moduledata::SOURCES {
        for text in source(elf, &table)? {
            let shift = |range: &Range<u64>| range.start.wrapping_add(text)..range.end.wrapping_add(text);
            let functions: Vec<_> = found.iter().map(|(name, range)| (*name, shift(range))).collect();
            let conventions = functions.iter().map(|(_, function)| convention(elf, function));
            match conventions.reduce(|one, other| if one == other { one } else { Convention::Unknown }) {
                Some(Convention::Registers) => return probe(elf, &functions).map(Some),
                Some(Convention::Stack) => old = true,
                _ => {}
            }
        }
    }
    Err(if old { Unprobed::GoTooOld } else { Unprobed::GoUnknownLayout })
}

/// Go's linker and every system linker keep this section: `go version -m` reads it.
fn is_go(elf: &Elf<'_>) -> bool {
    [b".go.buildinfo".as_slice(), b".gopclntab", b".note.go.buildid"]
        .iter()
        .any(|name| elf.section(name).is_some())
}

fn probe(elf: &Elf<'_>, functions: &[(&str, Range<u64>)]) -> Found<Vec<ProbePoint>> {
    let find = |name: &str| functions.iter().find(|(other, _)| *other == name).map(|(_, range)| range);
    let mut places = Vec::new();
    places.extend(find(SERVER_CERTIFICATES).map(|f| (ProbeKind::GoServerCertificates, code::entry(elf, f))));
    places.extend(find(CLIENT_CERTIFICATES).map(|f| (ProbeKind::GoClientCertificates, code::entry(elf, f))));
    if places.is_empty() {
        // Without these two no certificate of a peer is ever looked at (a program may link parts of crypto/tls only).
        return Ok(Vec::new());
    }
    if let Some(write_key_log) = find(WRITE_KEY_LOG) {
        let sides = HANDSHAKE_KEYS.iter().filter_map(|name| find(name));
        let first_calls: Option<Vec<u64>> =
            sides.map(|side| first_call(&branches(elf, side)?, write_key_log.start)).collect();
        // A call in a way that is not understood: the entry sees it too, and three calls more in every handshake.
        let calls =
            first_calls.filter(|calls| !calls.is_empty()).unwrap_or_else(|| vec![write_key_log.start]);
        places.extend(calls.into_iter().map(|at| (ProbeKind::GoClientRandom, at)));
    }
    let point = |(kind, at)| Some(ProbePoint { kind, offset: elf.code_offset(at)? });
    places.into_iter().map(point).collect::<Option<_>>().ok_or(Unprobed::GoUnknownLayout)
}

fn first_call(branches: &[Branch], callee: u64) -> Option<u64> {
    branches.iter().find(|branch| branch.to == Target::Address(callee)).map(|branch| branch.at)
}

/// How a function takes its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Convention {
    /// In registers: Go 1.17 and later on amd64, 1.18 on arm64.
    Registers,
    /// On the stack.
    Stack,
    /// The bytes are no beginning of a function that is known here.
    Unknown,
}

/// By the function's first instructions, which see whether the stack must grow and differ with the convention: the
/// goroutine is in a register in the one, and in thread-local storage in the other.
fn convention(elf: &Elf<'_>, function: &Range<u64>) -> Convention {
    let Ok(code) = elf.code(function.start, 16) else { return Convention::Unknown };
    match elf.machine {
        Machine::X86_64 => match code.as_slice() {
            // cmp 0x10(%r14), %rsp
            [0x49, 0x3b, 0x66, 0x10, ..] => Convention::Registers,
            // lea -n(%rsp), %r12; cmp 0x10(%r14), %r12
            [0x4c, 0x8d, 0x64, 0x24, _, 0x4d, 0x3b, 0x66, 0x10, ..]
            | [0x4c, 0x8d, 0xa4, 0x24, _, _, _, _, 0x4d, 0x3b, 0x66, 0x10, ..] => Convention::Registers,
            // mov %fs:-8, %rcx, also through a displacement in a register where the program may be loaded anywhere
            [0x64, 0x48, 0x8b, 0x0c, 0x25, ..] | [0x48, 0xc7, 0xc1, ..] | [0x48, 0x8b, 0x0d, ..] => {
                Convention::Stack
            }
            _ => Convention::Unknown,
        },
        Machine::Aarch64 => match code.get(..4) {
            // ldr x16, [x28, #16]
            Some([0x90, 0x0b, 0x40, 0xf9]) => Convention::Registers,
            // ldr x1, [x28, #16]
            Some([0x81, 0x0b, 0x40, 0xf9]) => Convention::Stack,
            _ => Convention::Unknown,
        },
    }
}
