//! OpenSSL, in both roles.

use std::fs::File;

use agent_common::{CERTIFICATES_CUT, CERTIFICATES_HAVE_EXTENSIONS, CaptureConfig, Counter, library};
use tlsight::libraries::{ProbeKind, ProbePoint};
use tlsight::loader::{CgroupRoot, Kernel, KernelConfig};

use crate::host::{Ends, Host};
use crate::library::{copy_of, points};
use crate::pki::{Chain, chain};
use crate::watch::is_off;

fn host() -> Host {
    Host::new("openssl", "libssl.so")
}

fn show(cmd: &mut std::process::Command, chain: &Chain) {
    cmd.arg("-cert").arg(&chain.leaf).arg("-key").arg(&chain.key);
    if chain.der.len() > 1 {
        cmd.arg("-cert_chain").arg(&chain.issuers);
    }
}

impl Host {
    /// One connection; the server asks for a certificate.
    fn handshake(&self, version: &str, server: &Chain, client: Option<&Chain>) -> Ends {
        let at = |port| format!("127.0.0.1:{port}");
        self.connect(
            "openssl",
            |cmd, port| {
                cmd.args(["s_server", "-www", "-verify", "9", "-accept", &at(port)]);
                show(cmd, server);
            },
            "openssl",
            |cmd, port| {
                cmd.args(["s_client", version, "-connect", &at(port)]);
                if let Some(chain) = client {
                    show(cmd, chain);
                }
            },
        )
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
        watch.assert_message(library::OPENSSL, ran.client, watch.connect_of(ran.client), &server);
        watch.assert_message(library::OPENSSL, ran.server, watch.accept_at(ran.port), &client);
    }
    let hits = [("probe_hits_openssl", 20), ("probe_hits_without_message", 12)];
    assert_eq!(host.watch.counters("probe_"), hits);
    assert_eq!(host.watch.counters("certificates_"), [("certificates_openssl", 8)]);
}

#[test]
fn takes_the_second_certificate_for_no_list_whatever_the_first_ends_in() {
    if is_off() {
        return;
    }
    let mut host = host();
    let ends = [[11, 0, 0, 9, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0xFD], [11, 1, 0, 4, 0, 1]];
    for (n, end) in ends.iter().enumerate() {
        let mut server = chain(&host.scratch.0, &format!("server{n}"), 2, 0);
        server.end_leaf_in(end);
        let ran = host.handshake("-tls1_3", &server, None);
        let watch = &mut host.watch;
        watch.until(|w| w.messages.len() > n);
        watch.assert_message(library::OPENSSL, ran.client, watch.connect_of(ran.client), &server);
    }
    let hits = [("probe_hits_openssl", 8), ("probe_hits_without_message", 4)];
    assert_eq!(host.watch.counters("probe_"), hits);
    assert_eq!(host.watch.counters("certificates_"), [("certificates_openssl", 4)]);
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
    let cookie = host.watch.connect_of(ran.client);
    host.watch.assert_message(library::OPENSSL, ran.client, cookie, &server);
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
    let mut cmd = host.command("openssl");
    // Nobody listens there; the bundle is loaded before that turns out.
    let status = cmd.args(["s_client", "-connect", "127.0.0.1:1", "-CAfile"]).arg(&bundle).status().unwrap();
    assert!(!status.success());
    assert_eq!(host.watch.counters("probe_"), hits);
}

#[test]
fn counts_what_found_the_ring_buffer_full() {
    if is_off() {
        return;
    }
    // No share of it is for anything but opens and closes.
    let capture = CaptureConfig { ring_data_max: 0, ..CaptureConfig::DEFAULT };
    let mut host = Host::with(&KernelConfig { capture, ..KernelConfig::default() }, "openssl", "libssl.so");
    let server = chain(&host.scratch.0, "server", 1, 0);
    host.handshake("-tls1_3", &server, None);
    host.watch.until(|w| !w.accepts.is_empty());
    assert_eq!(host.watch.messages.len(), 0);
    assert_eq!(host.watch.counters("certificates_"), [("certificates_lost", 1)]);
}

#[test]
fn has_no_probes_where_certificates_are_switched_off() {
    if is_off() {
        return;
    }
    let config = KernelConfig { certificates: false, ..KernelConfig::default() };
    let root = CgroupRoot::open(None).unwrap();
    let (kernel, _events, uprobes) = Kernel::attach(&config, &root).unwrap();
    assert!(uprobes.is_none());
    assert!(kernel.degraded.is_empty());
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
    let points = points(&libssl);
    let file = File::open(&libssl).unwrap();
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
    let mut points = points(&libssl);
    points.push(ProbePoint { kind: ProbeKind::OpenSslCertificate, offset: u64::MAX / 2 });
    let file = File::open(&libssl).unwrap();
    let before = descriptors();
    let refused = host.watch.uprobes.attach(&file, &points).unwrap_err();
    assert!(
        refused.to_string().starts_with("attaching openssl_cert at offset 0x7fffffffffffffff: "),
        "{refused}"
    );
    assert_eq!(descriptors(), before);
}
