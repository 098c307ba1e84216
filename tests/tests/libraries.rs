//! The places for probes in real libraries and programs are those that disassemblers nobody here wrote print.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use tlsight::libraries::{Contents, Machine, ProbeKind, Unprobed, inspect, inspect_image, name_unprobed};
use tlsight_tests::child::{command, output};
use tlsight_tests::tools;

/// Kinds and offsets, all libraries of a file together.
type Places = BTreeSet<(ProbeKind, u64)>;

fn places(file: &Path) -> Places {
    places_for(file, Machine::X86_64)
}

fn places_for(file: &Path, machine: Machine) -> Places {
    let open = File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    match inspect_image(&open, file, machine) {
        Contents::Probes(found) => {
            found.iter().flat_map(|(_, points)| points).map(|point| (point.kind, point.offset)).collect()
        }
        other => panic!("{}: {other:?}", file.display()),
    }
}

/// An instruction that calls or jumps to something with a name.
struct Call {
    at: u64,
    to: String,
}

/// What objdump prints.
fn calls(file: &Path, flags: &[&str]) -> Vec<Call> {
    let mut objdump = command("objdump", ["-d", "--no-show-raw-insn"]);
    objdump.args(flags).arg(file);
    let parse = |line: &str| {
        let (at, rest) = line.trim_start().split_once(":\t")?;
        let (mnemonic, operand) = rest.split_once(' ')?;
        let (_, name) = operand.split_once('<')?;
        let call =
            Call { at: u64::from_str_radix(at, 16).ok()?, to: name.trim_end().trim_end_matches('>').into() };
        matches!(mnemonic, "call" | "jmp").then_some(call)
    };
    output(objdump).lines().filter_map(parse).collect()
}

/// How much greater than the offset the address of code is.
fn shift(file: &Path) -> u64 {
    let mut readelf = command("readelf", ["-SW"]);
    readelf.arg(file);
    let text = output(readelf);
    let line = text.lines().find(|line| line.contains(" .text ")).expect("a .text section");
    let mut numbers = line.split_whitespace().skip_while(|word| *word != "PROGBITS").skip(1);
    let mut number = || u64::from_str_radix(numbers.next().expect("a number"), 16).expect("a number");
    let address = number();
    address - number()
}

/// Beginnings and ends of functions by their unwind tables.
fn functions(file: &Path) -> Vec<std::ops::Range<u64>> {
    let mut readelf = command("readelf", ["--debug-dump=frames-interp"]);
    readelf.arg(file);
    let parse = |line: &str| {
        let (from, to) = line.split_once("pc=")?.1.split_once("..")?;
        Some(u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to.trim(), 16).ok()?)
    };
    output(readelf).lines().filter_map(parse).collect()
}

/// The calls of `d2i_X509` that a stripped libssl makes where it also collects certificates and does nothing else with them.
fn openssl_by_objdump(file: &Path) -> Places {
    let (calls, functions, shift) = (calls(file, &[]), functions(file), shift(file));
    let is = |call: &Call, name: &str| call.to.split('@').next() == Some(name);
    let chosen = |call: &&Call| {
        let function = functions.iter().find(|function| function.contains(&call.at)).expect("a function");
        let does = |name| calls.iter().any(|other| function.contains(&other.at) && is(other, name));
        does("OPENSSL_sk_push") && !does("OPENSSL_sk_insert") && !does("X509_print_ex")
    };
    let parses = calls.iter().filter(|call| is(call, "d2i_X509") && call.to.contains("@plt"));
    parses.filter(chosen).map(|call| (ProbeKind::OpenSslCertificate, call.at - shift)).collect()
}

fn assert_is_libssl(file: &Path) {
    let expected = openssl_by_objdump(file);
    assert_eq!(expected.len(), 2, "{}: a client and a server", file.display());
    assert_eq!(places(file), expected, "{}", file.display());
}

/// A library of this system.
fn system(name: &str) -> PathBuf {
    let dirs = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let found = dirs.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {name}: run `cargo xtask setup --tests`"))
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "objdump knows this machine's code only")]
fn openssl_3_of_the_system() {
    assert_is_libssl(&system("libssl.so.3"));
}

#[test]
fn openssl_1_1_1_under_another_name() {
    for file in tools::python_files("psycopg2_binary.libs", "libssl-") {
        assert!(file.to_string_lossy().ends_with(".so.1.1"), "{}", file.display());
        assert_is_libssl(&file);
    }
}

#[test]
fn openssl_inside_a_library_that_kept_its_symbols() {
    for file in tools::python_files("cryptography/hazmat/bindings", "_rust.") {
        let shift = shift(&file);
        let of = |function: &str| {
            let calls = calls(&file, &[&format!("--disassemble={function}")]);
            let places = calls.into_iter().filter(|call| call.to == "d2i_X509");
            places.map(|call| (ProbeKind::OpenSslCertificate, call.at - shift)).collect::<Vec<_>>()
        };
        let client = of("tls_process_server_certificate");
        let server = of("tls_process_client_certificate");
        assert_eq!((client.len(), server.len()), (1, 1));
        assert_eq!(places(&file), client.into_iter().chain(server).collect());
    }
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "objdump knows this machine's code only")]
fn gnutls_of_the_system() {
    let file = system("libgnutls.so.30");
    let shift = shift(&file);
    let calls = calls(&file, &["--disassemble=gnutls_pcert_import_x509_raw"]);
    let parses = calls.iter().filter(|call| call.to.split('@').next() == Some("gnutls_x509_crt_import"));
    let expected: Places = parses.map(|call| (ProbeKind::GnuTlsCertificate, call.at - shift)).collect();
    assert_eq!(expected.len(), 1);
    assert_eq!(places(&file), expected);
}

/// What Go's own tools say about a program with symbols.
fn go_by_its_tools(file: &Path) -> Places {
    let shift = shift(file);
    let go = |tool: &str, flags: &[&str]| {
        let mut go = command(tools::venv("go"), ["tool", tool]);
        go.args(flags).arg(file).env("GOTOOLCHAIN", "local");
        output(go)
    };
    // Behind the look at the stack, where there is an instruction that costs a probe less than the first one.
    let entry = |name: &str| {
        let code = go("objdump", &["-s", &format!("^{}$", regular(name))]);
        let lines: Vec<&str> = code.lines().filter(|line| line.contains("0x")).collect();
        let push = lines.iter().take(4).find(|line| line.trim_end().ends_with("PUSHQ BP"));
        let line = push.or(lines.first()).expect("an instruction");
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("0x")).expect("an address");
        u64::from_str_radix(address, 16).expect("an address") - shift
    };
    let first_call = |function: &str| {
        let code = go("objdump", &["-s", &format!("^{}$", regular(function))]);
        let call = "CALL crypto/tls.(*Config).writeKeyLog(SB)";
        let line = code.lines().find(|line| line.trim_end().ends_with(call)).expect("a call");
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("0x")).expect("an address");
        u64::from_str_radix(address, 16).expect("an address") - shift
    };
    Places::from([
        (ProbeKind::GoServerCertificates, entry("crypto/tls.(*Conn).verifyServerCertificate")),
        (ProbeKind::GoClientCertificates, entry("crypto/tls.(*Conn).processCertsFromClient")),
        (
            ProbeKind::GoClientRandom,
            first_call("crypto/tls.(*clientHandshakeStateTLS13).establishHandshakeKeys"),
        ),
        (
            ProbeKind::GoClientRandom,
            first_call("crypto/tls.(*serverHandshakeStateTLS13).sendServerParameters"),
        ),
    ])
}

/// The name as a regular expression.
fn regular(name: &str) -> String {
    name.replace('.', r"\.").replace('(', r"\(").replace(')', r"\)").replace('*', r"\*")
}

#[test]
fn go_with_and_without_symbols_at_a_fixed_place_or_any() {
    let dir = tools::scratch_dir("libraries");
    let (exe, pie) = ("-buildmode=exe", "-buildmode=pie");
    for (processor, machine, modes) in
        [("amd64", Machine::X86_64, &[exe, pie][..]), ("arm64", Machine::Aarch64, &[exe])]
    {
        for mode in modes {
            let (whole, stripped) = (dir.join("whole"), dir.join("stripped"));
            tools::build_go_peer(&whole, &[mode], Some(processor));
            tools::build_go_peer(&stripped, &[mode, "-ldflags=-s -w"], Some(processor));
            let expected = go_by_its_tools(&whole);
            assert_eq!(places_for(&whole, machine), expected, "{processor} {mode}");
            assert_eq!(places_for(&stripped, machine), expected, "{processor} {mode}, stripped");
        }
    }
}

#[test]
fn what_cannot_be_probed_is_named() {
    let open = |path: &Path| File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let envoy = tools::envoy();
    assert_eq!(inspect(&open(&envoy), &envoy), Contents::NoTls);
    assert_eq!(name_unprobed(&open(&envoy)), Some(Unprobed::BoringSsl));
    let rustls = tools::rustls_peer();
    assert_eq!(inspect(&open(&rustls), &rustls), Contents::NoTls);
    assert_eq!(name_unprobed(&open(&rustls)), Some(Unprobed::Rustls));
}
