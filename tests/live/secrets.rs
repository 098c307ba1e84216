//! Keys: what would decrypt a connection, or prove who somebody is, is nowhere in the agent: not in its memory, not in what it
//! writes. The same search finds them in the client, and finds in the agent what it does hold.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tlsight_tests::agent::binary;
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::host::{case_address, free_port, pause};
use tlsight_tests::peers::Version;
use tlsight_tests::pki::{Identity, SERVER_NAME, pki};
use tlsight_tests::run::case;
use tlsight_tests::service::Service;
use tlsight_tests::tools::scratch_dir;

const LIMIT: Duration = Duration::from_secs(60);
/// Crosses the connection encrypted.
const SAID: &str = "the-words-that-crossed-the-wire-encrypted";

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    for version in [Version::Tls12, Version::Tls13] {
        let name = format!("secrets::no_key_is_in_memory_or_outputs_{version:?}").to_lowercase();
        trials.push(case(name, move || no_key(version)));
    }
}

/// Something to look for.
struct Needle {
    name: String,
    bytes: Vec<u8>,
    /// The client must have it: shows that it is looked for rightly.
    is_in_client: bool,
}

fn no_key(version: Version) {
    let (identity, server_identity) = (&pki().client, &pki().server_p256);
    let folder = scratch_dir("secrets");
    let audit = folder.join("audit.log");
    let configuration = format!(
        "trust: {{system_roots: off, bundles: {{live: [{}]}}}}\naudit: {{log: {}}}\n",
        pki().ca.display(),
        audit.display()
    );
    let service = Service::start_in(&folder, &configuration, |_| {});
    let mut watch = Command::new(binary());
    watch.args(["watch", "-o", "json", "--no-existing", "--command-args"]);
    let watch = Child::spawn(watch);
    watch.wait_for_line("tlsight: watching", LIMIT);

    let at = std::net::SocketAddr::from((case_address(), free_port()));
    let mut cmd = command("openssl", ["s_server", "-accept", &at.port().to_string(), "-Verify", "2"]);
    cmd.arg("-cert").arg(&server_identity.cert).arg("-key").arg(&server_identity.key);
    cmd.arg("-CAfile").arg(&pki().ca);
    let server = Child::spawn_with_input(cmd, Some(Vec::new()), |_| None);
    server.wait_for_line("ACCEPT", LIMIT);
    let keys = folder.join("keys");
    let flag = if version == Version::Tls12 { "-tls1_2" } else { "-tls1_3" };
    let mut cmd = command("openssl", ["s_client", flag, "-msg", "-servername", SERVER_NAME]);
    cmd.args(["-connect", &at.to_string(), "-keylogfile"]).arg(&keys).arg("-CAfile").arg(&pki().ca);
    cmd.arg("-cert").arg(&identity.cert).arg("-key").arg(&identity.key);
    cmd.env("LD_PRELOAD", "/usr/libexec/coreutils/libstdbuf.so").env("_STDBUF_O", "L");
    let client = Child::spawn_with_input(cmd, Some(format!("{SAID}\n").into_bytes()), |_| None);
    server.wait_for_line(SAID, LIMIT);
    // Both agents have made up their minds.
    let line =
        wait_for(&audit, &identity.serial.to_lowercase(), || fs::read_to_string(&audit).unwrap_or_default());
    let port = format!("\"server.port\":{}", at.port());
    wait_for(&audit, &port, || watch.text());

    let mut needles = secrets(&fs::read_to_string(&keys).expect("a key log"), &client.text(), version);
    needles.extend(private_key("client", identity, true));
    needles.extend(private_key("server", server_identity, false));
    needles.push(Needle { name: "what was said".to_owned(), bytes: SAID.into(), is_in_client: true });
    // While the connection is open.
    let in_client = found(client.pid, &needles);
    for needle in needles.iter().filter(|needle| needle.is_in_client) {
        assert!(in_client.contains(&needle.name), "not even in the client: {}", needle.name);
    }
    // What it does hold: whose certificate that was.
    let id = identity
        .san
        .iter()
        .find_map(|name| name.find("spiffe://").map(|at| &name[at..]))
        .expect("a SPIFFE id");
    let known = Needle { name: "who it was".to_owned(), bytes: id.into(), is_in_client: true };
    needles.push(known);
    for pid in [service.child.pid, watch.pid] {
        assert_eq!(found(pid, &needles), ["who it was"], "in the memory of tlsight, process {pid}");
    }
    // And after it.
    client.type_in(None);
    client.finish(LIMIT);
    let mut report = Command::new(binary());
    report.args(["report", "-o", "json", "--socket"]).arg(&service.socket);
    let outputs =
        [line, output(report), service.get("/metrics", &[]).body, service.child.text(), watch.text()];
    needles.retain(|needle| needle.name != "who it was");
    for pid in [service.child.pid, watch.pid] {
        assert_eq!(found(pid, &needles), [""; 0], "in the memory of tlsight, process {pid}");
    }
    let audit = fs::read_to_string(&audit).expect("the audit log");
    for text in outputs.iter().chain([&audit]) {
        for needle in &needles {
            for spelled in spellings(&needle.bytes) {
                assert!(!text.contains(&spelled), "{} in:\n{text}", needle.name);
            }
        }
    }
    assert!(audit.contains(&identity.serial.to_lowercase()) || audit.contains(&identity.serial));
    assert!(service.stop().status.success(), "{}", service.child.text());
    watch.signal(libc::SIGINT);
    assert!(watch.finish(LIMIT).status.success(), "{}", watch.text());
}

/// Waits until a text contains something; upper and lower case are one.
fn wait_for(name: &Path, what: &str, mut text: impl FnMut() -> String) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let text = text();
        if text.to_lowercase().contains(what) {
            return text;
        }
        assert!(Instant::now() < deadline, "no {what} ({}) in:\n{text}", name.display());
        pause(Duration::from_millis(50));
    }
}

/// The secrets of a key log (NSS Key Log Format), and the keys that records are encrypted with, which come from them.
fn secrets(log: &str, messages: &str, version: Version) -> Vec<Needle> {
    let mut needles = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, is_in_client: bool| {
        assert!(bytes.len() >= 32, "{name}: {bytes:?}");
        needles.push(Needle { name: name.to_owned(), bytes, is_in_client });
    };
    for line in log.lines().filter(|line| !line.starts_with('#')) {
        let [label, random, secret] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        // OpenSSL keeps these as long as the connection lives.
        let is_kept =
            ["CLIENT_RANDOM", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"].contains(&label);
        add(label, unhex(secret), is_kept);
        if label == "CLIENT_RANDOM" && version == Version::Tls12 {
            let seed = format!("{}{}{random}", hex(b"key expansion"), hex(&server_random(messages)));
            let arguments = [format!("hexsecret:{secret}"), format!("hexseed:{seed}")];
            // TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: two keys of 32 bytes first (RFC 5246 section 6.3).
            let block = derive("TLS1-PRF", 72, "SHA2-384", &arguments);
            let [client, server] = [&block[..32], &block[32..64]];
            add("client_write_key", client.to_vec(), false);
            add("server_write_key", server.to_vec(), false);
        }
        if label.ends_with("TRAFFIC_SECRET_0") {
            // RFC 8446 section 7.3; TLS_AES_256_GCM_SHA384.
            let label_of_key = [&[0, 32, 9], b"tls13 key".as_slice(), &[0]].concat();
            let arguments = [
                "mode:EXPAND_ONLY".to_owned(),
                format!("hexkey:{secret}"),
                format!("hexinfo:{}", hex(&label_of_key)),
            ];
            add(&format!("key of {label}"), derive("HKDF", 32, "SHA2-384", &arguments), false);
        }
    }
    let expected = if version == Version::Tls12 { 3 } else { 7 };
    assert_eq!(needles.len(), expected, "{log}");
    needles
}

/// The random of the ServerHello, from the messages that `s_client -msg` prints: type, length, version, random.
fn server_random(messages: &str) -> Vec<u8> {
    let (_, rest) = messages.split_once("ServerHello\n").expect("a ServerHello");
    let dump: String =
        rest.lines().take_while(|line| line.starts_with("    ")).flat_map(str::split_whitespace).collect();
    unhex(&dump)[6..38].to_vec()
}

fn derive(kdf: &str, length: usize, digest: &str, arguments: &[String]) -> Vec<u8> {
    let mut cmd =
        command("openssl", ["kdf", "-keylen", &length.to_string(), "-kdfopt", &format!("digest:{digest}")]);
    for argument in arguments {
        cmd.args(["-kdfopt", argument]);
    }
    cmd.arg(kdf);
    unhex(&output(cmd).trim().replace(':', ""))
}

/// The number that a private key is, in both byte orders, and the file it is in.
fn private_key(whose: &str, identity: &Identity, is_loaded: bool) -> Vec<Needle> {
    let mut cmd = command("openssl", ["pkey", "-noout", "-text", "-in"]);
    cmd.arg(&identity.key);
    let text = output(cmd);
    let (_, rest) = text.split_once("priv:\n").expect("a private key");
    let lines = rest.lines().take_while(|line| line.starts_with("    "));
    let number = unhex(&lines.collect::<String>().replace([' ', ':'], ""));
    let number = number[number.len() - 32..].to_vec();
    let mut turned = number.clone();
    turned.reverse();
    let file = fs::read_to_string(&identity.key).expect("a key");
    let needle = |what: &str, bytes: Vec<u8>, is_in_client| Needle {
        name: format!("{whose} key, {what}"),
        bytes,
        is_in_client,
    };
    vec![
        needle("as DER has it", number, false),
        // As OpenSSL keeps it: words of eight bytes, the low one first.
        needle("as OpenSSL has it", turned, is_loaded),
        needle("as PEM has it", file.lines().nth(1).expect("base64").as_bytes().to_vec(), false),
    ]
}

/// How bytes are written in text.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let lower = hex(bytes);
    let mut all = vec![lower.to_uppercase(), lower, base64(bytes)];
    all.extend(std::str::from_utf8(bytes).map(str::to_owned));
    all
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Whole groups: what follows depends on what comes after.
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect(text);
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Names of those that are somewhere in a process's memory, in their own order.
fn found(pid: u32, needles: &[Needle]) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory");
    // By their first eight bytes; and by the first two, to tell quickly that it is none.
    let mut by_start: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut may_begin = vec![false; 1 << 16];
    let start = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    for (n, needle) in needles.iter().enumerate() {
        let start = start(&needle.bytes);
        by_start.entry(start).or_default().push(n);
        may_begin[(start & 0xffff) as usize] = true;
    }
    let mut is_there = vec![false; needles.len()];
    let mut read = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').expect(line);
        let (from, to) = range.split_once('-').expect(line);
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).expect(line));
        if !rest.starts_with('r') {
            continue;
        }
        let mut region = vec![0; usize::try_from(to - from).expect("a length")];
        // What the kernel keeps from everybody (vvar, the event buffer) cannot be read.
        let Ok(()) = memory.read_exact_at(&mut region, from) else { continue };
        read += region.len();
        for (at, pair) in region.windows(2).enumerate() {
            if !may_begin[usize::from(pair[0]) | usize::from(pair[1]) << 8] || region.len() - at < 8 {
                continue;
            }
            for n in by_start.get(&start(&region[at..])).into_iter().flatten() {
                is_there[*n] |= region[at..].starts_with(&needles[*n].bytes);
            }
        }
    }
    assert!(read > 1 << 20, "{read} bytes of process {pid} could be read");
    let names = needles.iter().zip(is_there).filter(|(_, is_there)| *is_there);
    names.map(|(needle, _)| needle.name.clone()).collect()
}
