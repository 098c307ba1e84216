//! Which TLS library a file holds, and where in it probes go. Files are read, nothing is run or attached here.

mod code;
mod elf;
mod functions;
mod gnutls;
mod golang;
mod image;
mod markers;
mod openssl;
mod others;
mod symbols;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;

use agent_core::event::TlsLibrary;

pub use elf::Machine;
pub use image::Image;

use elf::{Elf, Opened};
use image::{Found, MAX_READ, Metered};
use symbols::Symbols;

/// A program of the BPF object that is attached to places in files. What each reads at its place is its calling
/// convention's business, see `agent-ebpf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    /// A call of `d2i_X509(X509 **a, const unsigned char **in, long len)` inside libssl.
    OpenSslCertificate,
    /// A call of `gnutls_x509_crt_import(crt, const gnutls_datum_t *data, format)` on the way of a peer's certificates.
    GnuTlsCertificate,
    /// Entry of Go's `crypto/tls.(*Conn).verifyServerCertificate`.
    GoServerCertificates,
    /// Entry of Go's `crypto/tls.(*Conn).processCertsFromClient`.
    GoClientCertificates,
    /// A call of Go's `crypto/tls.(*Config).writeKeyLog` that a TLS 1.3 handshake makes before it reads certificates, or
    /// its entry. Only the label's length and `clientRandom` are read.
    GoClientRandom,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: &'static [ProbeKind] = &[
        ProbeKind::OpenSslCertificate,
        ProbeKind::GnuTlsCertificate,
        ProbeKind::GoServerCertificates,
        ProbeKind::GoClientCertificates,
        ProbeKind::GoClientRandom,
    ];

    /// Name of the program in the BPF object.
    pub const fn program(self) -> &'static str {
        match self {
            ProbeKind::OpenSslCertificate => "openssl_cert",
            ProbeKind::GnuTlsCertificate => "gnutls_cert",
            ProbeKind::GoServerCertificates => "go_server_certs",
            ProbeKind::GoClientCertificates => "go_client_certs",
            ProbeKind::GoClientRandom => "go_client_rand",
        }
    }
}

/// One place for one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbePoint {
    /// The program to attach.
    pub kind: ProbeKind,
    /// Offset in the file of the first byte of an instruction.
    pub offset: u64,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A TLS library that can be probed; more than one in an executable that links several.
    Probes(Vec<(TlsLibrary, Vec<ProbePoint>)>),
    /// A TLS library that cannot.
    Unprobed(Unprobed),
    /// No TLS library that is known here.
    NoTls,
}

/// Why the certificates that a file's TLS library parses cannot be seen. A closed set, usable as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unprobed {
    /// BoringSSL or AWS-LC: certificates are never parsed by an exported function.
    BoringSsl,
    /// A Java virtual machine: its code is made at run time.
    Java,
    /// NSS.
    Nss,
    /// mbed TLS.
    MbedTls,
    /// wolfSSL.
    WolfSsl,
    /// rustls.
    Rustls,
    /// OpenSSL linked into an executable that has no symbols left.
    OpenSslWithoutSymbols,
    /// An OpenSSL in whose code the places were not found.
    OpenSslUnknownLayout,
    /// A GnuTLS in whose code the places were not found.
    GnuTlsUnknownLayout,
    /// Go before 1.17 (amd64) or 1.18 (arm64), whose calling convention is another.
    GoTooOld,
    /// A Go executable whose function table was not understood.
    GoUnknownLayout,
    /// A processor this agent knows no calling convention of, or not the one it runs on.
    ForeignArchitecture,
    /// More would have to be read of the file than is read of any.
    TooLargeToInspect,
    /// The file could not be read, or is no well-formed ELF file.
    Unreadable,
}

impl Unprobed {
    /// The reason in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unprobed::BoringSsl => "boringssl",
            Unprobed::Java => "java",
            Unprobed::Nss => "nss",
            Unprobed::MbedTls => "mbedtls",
            Unprobed::WolfSsl => "wolfssl",
            Unprobed::Rustls => "rustls",
            Unprobed::OpenSslWithoutSymbols => "openssl_without_symbols",
            Unprobed::OpenSslUnknownLayout => "openssl_unknown_layout",
            Unprobed::GnuTlsUnknownLayout => "gnutls_unknown_layout",
            Unprobed::GoTooOld => "go_too_old",
            Unprobed::GoUnknownLayout => "go_unknown_layout",
            Unprobed::ForeignArchitecture => "foreign_architecture",
            Unprobed::TooLargeToInspect => "too_large_to_inspect",
            Unprobed::Unreadable => "unreadable",
        }
    }
}

/// What is in a file. It is read in pieces, and only as far as needed; of `name` only its last part is looked at, for files
/// that cannot be read here.
pub fn inspect(file: &File, name: &Path) -> Contents {
    inspect_image(file, name, Machine::here())
}

/// [`inspect`] for any bytes and any processor.
pub fn inspect_image(image: &dyn Image, name: &Path, here: Machine) -> Contents {
    inspect_within(image, name, here, MAX_READ)
}

fn inspect_within(image: &dyn Image, name: &Path, here: Machine, most: u64) -> Contents {
    let metered = Metered::new(image, most);
    match contents(&metered, name, here) {
        Ok(found @ Contents::Probes(_)) => found,
        // Whatever came of it, it came of reading a part.
        _ if metered.is_used_up() => Contents::Unprobed(Unprobed::TooLargeToInspect),
        Ok(contents) => contents,
        Err(reason) => Contents::Unprobed(reason),
    }
}

fn contents(image: &dyn Image, name: &Path, here: Machine) -> Found<Contents> {
    let elf = match Elf::open(image)? {
        Opened::NotElf => return Ok(Contents::NoTls),
        Opened::Foreign if others::sounds_like_tls(name) => return Err(Unprobed::ForeignArchitecture),
        Opened::Foreign => return Ok(Contents::NoTls),
        Opened::Elf(elf) => elf,
    };
    let symbols = Symbols::find(&elf)?;
    // A program may link several; what can be probed counts more than what cannot.
    let libraries = [
        (TlsLibrary::Go, golang::points(&elf)),
        (TlsLibrary::OpenSsl, openssl::points(&elf, &symbols)),
        (TlsLibrary::GnuTls, gnutls::points(&elf, &symbols)),
    ];
    let mut probed = Vec::new();
    let mut reason = None;
    for (library, points) in libraries {
        match points {
            Ok(Some(mut points)) if !points.is_empty() => {
                points.sort_unstable();
                probed.push((library, points));
            }
            Ok(_) => {}
            Err(error) => reason = reason.or(Some(error)),
        }
    }
    Ok(match (probed.is_empty(), reason.or_else(|| others::named(&symbols))) {
        (false, _) | (true, Some(_)) if elf.machine != here => {
            Contents::Unprobed(Unprobed::ForeignArchitecture)
        }
        (false, _) => Contents::Probes(probed),
        (true, Some(reason)) => Contents::Unprobed(reason),
        (true, None) => Contents::NoTls,
    })
}

/// The TLS library of a program in which [`inspect`] found none although it speaks TLS: by texts that only the library's
/// code has. Reads all of the program's constant data, so it is for programs that were seen to speak TLS.
pub fn name_unprobed(file: &File) -> Option<Unprobed> {
    name_unprobed_image(file)
}

/// [`name_unprobed`] for any bytes.
pub fn name_unprobed_image(image: &dyn Image) -> Option<Unprobed> {
    markers::name(&Metered::new(image, MAX_READ))
}
