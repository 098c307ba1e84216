//! OpenSSL, in both roles.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use agent_common::{CERTIFICATES_CUT, CERTIFICATES_HAVE_EXTENSIONS, Counter, library, peer};
use tlsight::libraries::ProbeKind;

use crate::library::{Scratch, calls, copy_of};
use crate::pki::{Chain, chain};
use crate::watch::{Watch, is_off};

struct Host {
    scratch: Scratch,
    watch: Watch,
}

struct Handshake {
    client: u32,
    server: u32,
    port: u16,
}

fn host() -> Host {
    let scratch = Scratch::new();
    let libssl = copy_of("openssl", "libssl.so", &scratch.0);
    let points = calls(&libssl, "d2i_X509", ProbeKind::OpenSslCertificate);
    assert!(points.len() > 1, "{points:?}");
    let watch = Watch::new(&libssl, &points);
    Host { scratch, watch }
}

fn openssl(dir: &Path) -> Command {
    let mut cmd = Command::new("openssl");
    cmd.env("LD_LIBRARY_PATH", dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    cmd
}

fn show(cmd: &mut Command, chain: &Chain) {
    cmd.arg("-cert").arg(&chain.leaf).arg("-key").arg(&chain.key);
    if chain.der.len() > 1 {
        cmd.arg("-cert_chain").arg(&chain.issuers);
    }
}

/// Stopped at the end of its scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Host {
    /// One connection; the server asks for a certificate.
    fn handshake(&self, version: &str, server: &Chain, client: Option<&Chain>) -> Handshake {
        let dir = &self.scratch.0;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut cmd = openssl(dir);
        cmd.args(["s_server", "-www", "-verify", "9", "-accept", &format!("127.0.0.1:{port}")]);
        show(&mut cmd, server);
        let running = Running(cmd.spawn().unwrap());
        while std::fs::read_to_string("/proc/net/tcp").unwrap().lines().all(|l| {
            let mut fields = l.split_whitespace().skip(1);
            fields.next() != Some(&format!("0100007F:{port:04X}")) || fields.nth(1) != Some("0A")
        }) {
            std::thread::yield_now();
        }
        let mut cmd = openssl(dir);
        cmd.args(["s_client", version, "-connect", &format!("127.0.0.1:{port}")]);
        if let Some(chain) = client {
            show(&mut cmd, chain);
        }
        // A request makes the server read what the client sent in its last flight.
        let mut child = cmd.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let client = Running(child);
        let handshake = Handshake { client: client.0.id(), server: running.0.id(), port };
        let mut client = client;
        // The server closes after its answer, which ends the client.
        client.0.wait().unwrap();
        drop(stdin);
        handshake
    }
}

#[track_caller]
fn assert_message(watch: &Watch, pid: u32, cookie: u64, chain: &Chain) {
    let [message] = watch.messages_of(pid)[..] else {
        panic!("{} messages; {:?}", watch.messages_of(pid).len(), watch.counters(""))
    };
    let e = &message.event;
    let wire: usize = chain.der.iter().map(|der| 3 + der.len() + 2).sum();
    assert_eq!(
        (e.library, e.peer, e.flags, e.list_len as usize, e.cap_len as usize, e.header.cookie),
        (library::OPENSSL, peer::UNKNOWN, CERTIFICATES_HAVE_EXTENSIONS, wire, wire, cookie)
    );
    assert_eq!(message.chain(), chain.der);
}

impl Watch {
    fn connect_of(&self, pid: u32) -> u64 {
        self.connects.iter().find(|(p, _)| *p == pid).unwrap().1
    }

    fn accept_at(&self, port: u16) -> u64 {
        self.accepts.iter().find(|(p, _)| *p == port).unwrap().1
    }
}

#[test]
fn hands_over_chains_of_one_to_four_in_both_roles_and_names_the_connection() {
    if is_off() {
        return;
    }
    let mut host = host();
    for length in 1..=4 {
        let server = chain(&host.scratch.0, "server", length, 0);
        let client = chain(&host.scratch.0, "client", 5 - length, 0);
        let ran = host.handshake("-tls1_3", &server, Some(&client));
        let watch = &mut host.watch;
        watch.until(|w| w.messages.len() == 2 * length);
        assert_message(watch, ran.client, watch.connect_of(ran.client), &server);
        assert_message(watch, ran.server, watch.accept_at(ran.port), &client);
    }
    let hits = [("probe_hits_openssl", 20), ("probe_hits_without_message", 12)];
    assert_eq!(host.watch.counters("probe_"), hits);
    assert_eq!(host.watch.counters("certificates_"), [("certificates_openssl", 8)]);
}

#[test]
fn hands_over_a_chain_of_16_kilobytes() {
    if is_off() {
        return;
    }
    let mut host = host();
    let server = chain(&host.scratch.0, "long", 2, 650);
    assert!(server.der[0].len() > 15_000, "{}", server.der[0].len());
    let ran = host.handshake("-tls1_3", &server, None);
    host.watch.until(|w| w.messages.len() == 1);
    assert_message(&host.watch, ran.client, host.watch.connect_of(ran.client), &server);
}

#[test]
fn cuts_a_chain_longer_than_an_event() {
    if is_off() {
        return;
    }
    let mut host = host();
    let server = chain(&host.scratch.0, "huge", 1, 2000);
    let wire = 3 + server.der[0].len() + 2;
    assert!(wire > agent_common::MAX_CERTIFICATES as usize);
    let ran = host.handshake("-tls1_3", &server, None);
    host.watch.until(|w| w.messages.len() == 1);
    let [message] = host.watch.messages_of(ran.client)[..] else { panic!() };
    let e = &message.event;
    assert_eq!(
        (e.flags, e.list_len as usize, e.cap_len),
        (CERTIFICATES_HAVE_EXTENSIONS | CERTIFICATES_CUT, wire, agent_common::MAX_CERTIFICATES)
    );
    assert_eq!(message.entries[3..], server.der[0][..agent_common::MAX_CERTIFICATES as usize - 3]);
    assert_eq!(host.watch.kernel.counter(Counter::CertificatesCut), 1);
}

#[test]
fn copies_nothing_in_tls_1_2_nor_when_a_bundle_is_loaded() {
    if is_off() {
        return;
    }
    let mut host = host();
    let (server, client) = (chain(&host.scratch.0, "server", 3, 0), chain(&host.scratch.0, "client", 2, 0));
    host.handshake("-tls1_2", &server, Some(&client));
    host.watch.until(|w| !w.accepts.is_empty());
    let hits = [("probe_hits_openssl", 5), ("probe_hits_without_message", 5)];
    assert_eq!(host.watch.counters("probe_"), hits);
    assert_eq!(host.watch.counters("certificates_"), []);

    let bundle = host.scratch.0.join("bundle.pem");
    let one = std::fs::read(&server.leaf).unwrap();
    std::fs::write(&bundle, one.repeat(140)).unwrap();
    let mut cmd = openssl(&host.scratch.0);
    // Nobody listens there; the bundle is loaded before that turns out.
    let status = cmd.args(["s_client", "-connect", "127.0.0.1:1", "-CAfile"]).arg(&bundle).status().unwrap();
    assert!(!status.success());
    assert_eq!(host.watch.counters("probe_"), hits);
}

#[test]
fn takes_the_probes_out_again_and_reaches_a_deleted_file() {
    if is_off() {
        return;
    }
    let mut host = host();
    let server = chain(&host.scratch.0, "server", 1, 0);
    host.handshake("-tls1_3", &server, None);
    host.watch.until(|w| w.messages.len() == 1);
    host.watch.detach();
    host.handshake("-tls1_3", &server, None);
    assert_eq!(host.watch.kernel.counter(Counter::ProbeHitsOpenSsl), 1);

    let libssl = copy_of("openssl", "libssl.so", &host.scratch.0);
    let points = calls(&libssl, "d2i_X509", ProbeKind::OpenSslCertificate);
    let file = std::fs::File::open(&libssl).unwrap();
    std::fs::remove_file(&libssl).unwrap();
    let attached = host.watch.uprobes.attach(&file, &points).unwrap();
    assert_eq!(attached.probes(), points.len());
}

#[test]
fn attaches_all_points_or_none() {
    if is_off() {
        return;
    }
    let mut host = host();
    host.watch.detach();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let libssl = copy_of("openssl", "libssl.so", &host.scratch.0);
    let mut points = calls(&libssl, "d2i_X509", ProbeKind::OpenSslCertificate);
    points.push(tlsight::libraries::ProbePoint { kind: ProbeKind::OpenSslCertificate, offset: u64::MAX / 2 });
    let file = std::fs::File::open(&libssl).unwrap();
    let before = descriptors();
    let refused = host.watch.uprobes.attach(&file, &points).unwrap_err();
    assert!(
        refused.to_string().starts_with("attaching openssl_cert at offset 0x7fffffffffffffff: "),
        "{refused}"
    );
    assert_eq!(descriptors(), before);
}
