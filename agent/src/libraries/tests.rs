//! The seeds of the fuzz target, made by agent/fuzz/seeds/make_elf.py, whole and damaged.

use std::path::{Path, PathBuf};

use super::*;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/elf")
}

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(seeds().join(name)).unwrap()
}

fn look(bytes: &[u8], here: Machine) -> Contents {
    inspect_image(&bytes, Path::new("x"), here)
}

fn inspected(name: &str) -> Contents {
    look(&seed(name), Machine::X86_64)
}

fn probes(library: TlsLibrary, points: &[(ProbeKind, u64)]) -> Contents {
    Contents::Probes(vec![(
        library,
        points.iter().map(|&(kind, offset)| ProbePoint { kind, offset }).collect(),
    )])
}

fn openssl(calls: [u64; 2]) -> Contents {
    probes(TlsLibrary::OpenSsl, &calls.map(|call| (ProbeKind::OpenSslCertificate, call)))
}

/// Functions of 64 bytes from `text` on; calls of `writeKeyLog` in the middle of the fourth and the seventh.
fn go(text: u64) -> Contents {
    let points = [
        (ProbeKind::GoServerCertificates, text + 0x80),
        (ProbeKind::GoClientCertificates, text + 0x140),
        (ProbeKind::GoClientRandom, text + 0xe0),
        (ProbeKind::GoClientRandom, text + 0x1a0),
    ];
    probes(TlsLibrary::Go, &points)
}

#[test]
fn a_stripped_libssl_is_probed_where_it_parses_what_a_peer_sent() {
    // Not where it prints, reads TLSA records, or is given a certificate of its own.
    assert_eq!(inspected("openssl_shared"), openssl([0xe1, 0x101]));
    assert_eq!(look(&seed("openssl_shared_aarch64"), Machine::Aarch64), openssl([0xe4, 0x104]));
}

#[test]
fn a_program_with_openssl_inside_is_probed_in_the_functions_of_those_names() {
    assert_eq!(inspected("openssl_static"), openssl([0xa1, 0xc1]));
}

#[test]
fn boringssl_is_not_taken_for_openssl() {
    assert_eq!(inspected("boringssl"), Contents::Unprobed(Unprobed::BoringSsl));
}

#[test]
fn gnutls_is_probed_at_the_call_of_a_handshake_or_not_at_all() {
    let point = |offset| probes(TlsLibrary::GnuTls, &[(ProbeKind::GnuTlsCertificate, offset)]);
    assert_eq!(inspected("gnutls"), point(0xa1));
    assert_eq!(inspected("gnutls_uncalled"), Contents::Unprobed(Unprobed::GnuTlsUnknownLayout));
}

#[test]
fn go_is_probed_in_all_forms_of_its_table() {
    assert_eq!(inspected("go120"), go(0xa0));
    assert_eq!(look(&seed("go120_aarch64"), Machine::Aarch64), go(0xa0));
    assert_eq!(inspected("go117"), go(0xa0));
    // Other code before Go's, and the table in no section of its own.
    assert_eq!(inspected("go118_moduledata"), go(0x100));
}

#[test]
fn go_that_passes_arguments_on_the_stack_is_too_old() {
    assert_eq!(inspected("go115"), Contents::Unprobed(Unprobed::GoTooOld));
    assert_eq!(inspected("go116"), Contents::Unprobed(Unprobed::GoTooOld));
}

#[test]
fn go_without_crypto_tls_has_no_tls() {
    assert_eq!(inspected("go_without_tls"), Contents::NoTls);
}

#[test]
fn go_whose_functions_begin_in_an_unknown_way_is_not_probed() {
    let mut bytes = seed("go120");
    // The beginning of verifyServerCertificate.
    bytes[0x120] = 0x90;
    assert_eq!(look(&bytes, Machine::X86_64), Contents::Unprobed(Unprobed::GoUnknownLayout));
}

#[test]
fn a_call_after_bytes_that_are_no_instruction_is_not_probed() {
    let mut bytes = seed("openssl_shared");
    // `push %es` does not exist in 64-bit mode.
    bytes[0xe0] = 0x06;
    let server = ProbePoint { kind: ProbeKind::OpenSslCertificate, offset: 0x101 };
    assert_eq!(look(&bytes, Machine::X86_64), Contents::Probes(vec![(TlsLibrary::OpenSsl, vec![server])]));
    bytes[0x100] = 0x06;
    assert_eq!(look(&bytes, Machine::X86_64), Contents::Unprobed(Unprobed::OpenSslUnknownLayout));
}

#[test]
fn another_processors_library_is_named_as_such() {
    let foreign = Contents::Unprobed(Unprobed::ForeignArchitecture);
    assert_eq!(inspected("openssl_shared_aarch64"), foreign);
    assert_eq!(look(&seed("go120"), Machine::Aarch64), foreign);
    // 32 bits: only the name is left to tell a loss from one of many files without TLS.
    let mut bytes = seed("openssl_shared");
    bytes[4] = 1;
    let inspect = |name| inspect_image(&bytes.as_slice(), Path::new(name), Machine::X86_64);
    assert_eq!(inspect("/usr/lib/libssl.so.3"), foreign);
    assert_eq!(inspect("/usr/lib/libc.so.6"), Contents::NoTls);
}

#[test]
fn what_is_no_elf_file_has_no_tls() {
    assert_eq!(look(b"", Machine::X86_64), Contents::NoTls);
    assert_eq!(look(&[b'#'; 100], Machine::X86_64), Contents::NoTls);
    assert_eq!(look(b"\x7fELF", Machine::X86_64), Contents::Unprobed(Unprobed::Unreadable));
}

#[test]
fn libraries_without_symbols_are_named_by_their_texts() {
    let name = |seed_name: &str| name_unprobed_image(&seed(seed_name).as_slice());
    assert_eq!(name("text_openssl"), Some(Unprobed::OpenSslWithoutSymbols));
    assert_eq!(name("text_boringssl"), Some(Unprobed::BoringSsl));
    assert_eq!(name("text_rustls"), Some(Unprobed::Rustls));
    assert_eq!(name("text_mbedtls"), Some(Unprobed::MbedTls));
    assert_eq!(name("text_wolfssl"), Some(Unprobed::WolfSsl));
}

#[test]
fn a_program_that_mentions_libraries_is_none_of_them() {
    assert_eq!(name_unprobed_image(&seed("text_mentions").as_slice()), None);
    // This one has all the texts that are looked for, and rustls in earnest, to speak with the Kubernetes API.
    let own = File::open(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(name_unprobed(&own), Some(Unprobed::Rustls));
}

/// What must hold for any bytes: an answer, and places in the file.
fn check(bytes: &[u8]) {
    for here in [Machine::X86_64, Machine::Aarch64] {
        if let Contents::Probes(libraries) = look(bytes, here) {
            let mut points = libraries.iter().flat_map(|(_, points)| points);
            assert!(points.all(|point| point.offset < bytes.len() as u64));
        }
    }
    name_unprobed_image(&bytes);
}

#[test]
fn files_cut_off_anywhere_are_survived() {
    for entry in std::fs::read_dir(seeds()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        (0..bytes.len()).step_by(3).for_each(|end| check(&bytes[..end]));
    }
}

#[test]
fn damaged_files_are_survived() {
    // A generator that is the same everywhere, so that what fails here can be repeated.
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for entry in std::fs::read_dir(seeds()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            for _ in 0..=random() % 4 {
                let at = random() % damaged.len();
                damaged[at] = [0, 0xff, 0x7f, random() as u8][random() % 4];
            }
            check(&damaged);
        }
    }
}

/// A file of a few kilobytes on disk that says that it is one of `size` bytes with `tables` symbol tables and as many
/// relocations and parts with code, all in one and the same hole.
fn mostly_hole(tables: u16, size: u64) -> File {
    let section = |kind: u32, flags: u64, link: u32, entry: u64| {
        let words = [flags, 0, 1 << 20, size - (1 << 20)];
        let mut bytes = [0u32.to_le_bytes(), kind.to_le_bytes()].concat();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([link.to_le_bytes(), 0u32.to_le_bytes()].concat());
        bytes.extend([8u64.to_le_bytes(), entry.to_le_bytes()].concat());
        bytes
    };
    let mut bytes = seed("openssl_shared")[..64].to_vec();
    bytes[32..48].copy_from_slice(&[64u64.to_le_bytes(), 64u64.to_le_bytes()].concat());
    bytes[54..64].copy_from_slice(&[56u16, 0, 64, tables, 0].map(u16::to_le_bytes).concat());
    for at in 0..tables {
        bytes.extend(match at % 4 {
            0 => section(3, 0, 0, 0),
            1 => section(11, 0, 0, 24),
            2 => section(2, 0, 0, 24),
            _ => section(4, 0, 1, 24),
        });
    }
    static N: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = N.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("tlsight-hole-{}-{n}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.set_len(size).unwrap();
    file
}

#[test]
fn a_file_that_is_nearly_all_hole_is_given_up_soon() {
    /// Counts what is read.
    struct Counting(File, std::cell::Cell<u64>);
    impl Image for Counting {
        fn read_at(&self, into: &mut [u8], offset: u64) -> std::io::Result<usize> {
            self.1.set(self.1.get() + into.len() as u64);
            Image::read_at(&self.0, into, offset)
        }
        fn size(&self) -> std::io::Result<u64> {
            self.0.size()
        }
    }
    const MOST: u64 = 4 << 20;
    // Four thousand tables, and names of 256 MiB for each: a terabyte.
    let file = Counting(mostly_hole(4000, 1 << 40), 0.into());
    let found = inspect_within(&file, Path::new("x"), Machine::X86_64, MOST);
    assert_eq!((found, file.1.get() <= MOST), (Contents::Unprobed(Unprobed::TooLargeToInspect), true));
    assert_eq!(name_unprobed(&file.0), None);
    // One table of each kind comes to an end.
    assert_eq!(inspect(&mostly_hole(4000, 8 << 20), Path::new("x")), Contents::NoTls);
}
