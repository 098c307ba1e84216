//! GnuTLS, in both roles.

use std::process::Command;

use agent_common::library;

use crate::host::{Ends, Host};
use crate::pki::{Chain, chain};
use crate::watch::is_off;

fn show(cmd: &mut Command, version: &str, chain: &Chain) {
    cmd.arg("--priority").arg(format!("NORMAL:-VERS-ALL:+VERS-{version}"));
    cmd.arg("--x509certfile").arg(&chain.all).arg("--x509keyfile").arg(&chain.key);
}

fn handshake(host: &Host, version: &str, server: &Chain, client: &Chain) -> Ends {
    host.connect(
        "gnutls-serv",
        |cmd, port| {
            cmd.args(["--http", "--port", &port.to_string()]);
            show(cmd, version, server);
        },
        "gnutls-cli",
        |cmd, port| {
            cmd.args(["--insecure", "--port", &port.to_string(), "127.0.0.1"]);
            show(cmd, version, client);
        },
    )
}

#[test]
fn hands_over_the_chains_of_tls_1_3_and_nothing_of_tls_1_2() {
    if is_off() {
        return;
    }
    let mut host = Host::new("gnutls-cli", "libgnutls.so");
    for (server_length, client_length) in [(1, 2), (4, 1), (3, 4)] {
        let server = chain(&host.scratch.0, "server", server_length, 0);
        let client = chain(&host.scratch.0, "client", client_length, 0);
        let ran = handshake(&host, "TLS1.3", &server, &client);
        let watch = &mut host.watch;
        watch.until(|w| w.messages_of(ran.client).len() == 1 && w.messages_of(ran.server).len() == 1);
        watch.assert_message(library::GNUTLS, ran.client, watch.connect_of(ran.client), &server);
        watch.assert_message(library::GNUTLS, ran.server, watch.accept_at(ran.port), &client);
    }
    let (server, client) = (chain(&host.scratch.0, "server", 2, 0), chain(&host.scratch.0, "client", 2, 0));
    let ran = handshake(&host, "TLS1.2", &server, &client);
    host.watch.until(|w| w.accepts.iter().any(|(port, _)| *port == ran.port));
    assert_eq!(host.watch.counters("certificates_"), [("certificates_gnutls", 6)]);
    // In TLS 1.2 each side parses the other's chain thrice.
    let hits = [("probe_hits_gnutls", 12), ("probe_hits_without_message", 6)];
    assert_eq!(host.watch.counters("probe_"), hits);
}
