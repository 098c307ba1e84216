//! Resumed sessions: tickets of TLS 1.3, tickets and session ids of TLS 1.2, and early data.

use std::time::Duration;

use libtest_mimic::Trial;
use tlsight_tests::child::{Child, command};
use tlsight_tests::expect::{Expect, Owner};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, Ran, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{SERVER_NAME, pki};
use tlsight_tests::run::case;
use tlsight_tests::tools::scratch_dir;
use tlsight_tests::verdict::{check_all, check_ends};

use serde_json::json;

use crate::support::{
    address, client_chain_length, full_handshake, owner, server, server_chain_length, server_identity,
    succeeded,
};

const LIMIT: Duration = Duration::from_secs(20);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    use ClientStack as C;
    use ServerStack as S;
    // Clients that keep sessions in memory, against servers that issue tickets.
    let in_memory = [
        (C::Python, S::Nginx),
        (C::Python, S::Go),
        (C::Python, S::OpenSsl),
        (C::Node, S::Node),
        (C::Node, S::Envoy),
        (C::Go, S::Go),
        (C::Go, S::Nginx),
        (C::Go, S::Caddy),
        (C::Java, S::Java),
        (C::Java, S::Nginx),
        (C::Rustls, S::Rustls),
        (C::Rustls, S::Envoy),
    ];
    for (client, server) in in_memory {
        for version in [Version::Tls12, Version::Tls13] {
            let name = |kind: &str| {
                format!("resumption::{client:?}_to_{server:?}::{version:?}_{kind}").to_lowercase()
            };
            trials.push(case(name("ticket"), move || twice(client, server, version, false)));
            // Caddy lets nobody resume who was asked for a certificate.
            if server != S::Caddy {
                trials.push(case(name("ticket_of_mutual_tls"), move || twice(client, server, version, true)));
            }
        }
    }
    for stack in [S::OpenSsl, S::Nginx, S::GnuTls] {
        let name = |kind: &str| format!("resumption::openssl_to_{stack:?}::{kind}").to_lowercase();
        trials.push(case(name("tls13_ticket"), move || s_client(stack, Version::Tls13, &[])));
        trials.push(case(name("tls12_ticket"), move || s_client(stack, Version::Tls12, &[])));
        trials.push(case(name("tls12_session_id"), move || s_client(stack, Version::Tls12, &["-no_ticket"])));
    }
    trials.push(case("resumption::early_data_accepted", || early_data(false)));
    trials.push(case("resumption::early_data_rejected", || early_data(true)));
}

/// One program connects twice.
fn twice(client: ClientStack, stack: ServerStack, version: Version, mutual: bool) {
    let ask = if mutual { Ask::Optional } else { Ask::Never };
    let server = server(stack, ask);
    let at = address(server);
    let mut config = ClientConfig { times: 2, ..ClientConfig::new(at).version(version) };
    if mutual {
        config = config.identity(&pki().client);
    }
    let ran = client.run(&config);
    assert_eq!(ran.said.len(), 2, "{}", ran.text);
    let said = [succeeded(&ran, 0), succeeded(&ran, 1)];
    // JSSE does not say.
    if client != ClientStack::Java {
        assert_eq!(said.map(|s| s.resumed), [Some(false), Some(true)], "{}", ran.text);
    }
    let certificate = if mutual { "sent" } else { "not_requested" };
    let mut first = full_handshake(client, version, certificate, said[0], stack);
    first.client = Owner::from(&ran);
    first.server = owner(stack, server);
    if mutual {
        first.add_client_chain(stack.is_probed(), &pki().client, client_chain_length(client));
    }
    let second = resumed(version, &first, said[1].cipher.clone());
    check_all(at, &[first, second]);
}

/// The verdict on the resumption of `first`.
fn resumed<'a>(version: Version, first: &Expect<'a>, cipher: Option<String>) -> Expect<'a> {
    let mut second = first.clone();
    second.source = Some("resumed");
    let tls = second.tls();
    tls.resumed = Some(true);
    tls.cipher = cipher;
    tls.more.push(("tlsight.resumption_offered", json!(true)));
    match version {
        // The session is known from the handshake that made it, so who is who is too; no group is negotiated.
        Version::Tls12 => tls.group = None,
        Version::Tls13 => {
            // Nobody shows a certificate.
            tls.server_chain = None;
            tls.client_chain = None;
            tls.client_certificate = Some("unknown");
            second.security = "tls";
            second.reason = Some("client_identity_unknown");
        }
    }
    second
}

/// `s_client` leaves its session in a file for a second one.
fn s_client(stack: ServerStack, version: Version, extra: &[&str]) {
    let server = server(stack, Ask::Never);
    let at = address(server);
    let file = scratch_dir("session").join("session.pem");
    let file = file.to_string_lossy();
    let run = |option: &str| -> Ran {
        ClientStack::OpenSsl.run(&ClientConfig::new(at).version(version).extra(extra).extra(&[option, &file]))
    };
    let (first, second) = (run("-sess_out"), run("-sess_in"));
    let said = [succeeded(&first, 0), succeeded(&second, 0)];
    assert_eq!(said.map(|s| s.resumed), [Some(false), Some(true)], "{}\n{}", first.text, second.text);

    let mut full = full_handshake(ClientStack::OpenSsl, version, "not_requested", said[0], stack);
    full.server = owner(stack, server);
    full.client = Owner::from(&first);
    let mut again = resumed(version, &full, said[1].cipher.clone());
    again.client = Owner::from(&second);
    check_all(at, &[full, again]);
}

/// Early data is accepted once per ticket: a second use of the same one is turned down, and so is its ticket.
fn early_data(replay: bool) {
    let config = ServerConfig::new(Ask::Never, server_identity(ServerStack::OpenSsl)).extra(&["-early_data"]);
    let server = ServerStack::OpenSsl.start_without(&config, "-www");
    let dir = scratch_dir("early");
    let session = dir.join("session.pem");
    let data = dir.join("early");
    std::fs::write(&data, "GET /early HTTP/1.0\r\n\r\n").unwrap();
    let session = session.to_string_lossy();
    let data = data.to_string_lossy();

    let first_at = address(&server);
    let first = interactive(first_at, &["-sess_out", &session]);
    first.wait_for_line("Post-Handshake New Session Ticket arrived", LIMIT);
    first.wait_for_line("Start Time", LIMIT);
    first.type_in(Some(b"Q\n"));
    first.finish(LIMIT);

    let use_ticket = |at, outcome: &str| {
        let client = interactive(at, &["-sess_in", &session, "-early_data", &data]);
        client.wait_for_line(outcome, LIMIT);
        client.type_in(Some(b"Q\n"));
        client.finish(LIMIT);
        client
    };
    let second_at = address(&server);
    let second = use_ticket(second_at, "Early data was accepted");
    let (at, client) = if replay {
        let third_at = address(&server);
        (third_at, use_ticket(third_at, "Early data was rejected"))
    } else {
        (second_at, second)
    };

    let mut expect = Expect::handshake(Version::Tls13, if replay { "not_requested" } else { "unknown" });
    if !replay {
        expect.source = Some("resumed");
        expect.reason = Some("client_identity_unknown");
    }
    expect.client = Owner::from(&client);
    expect.server = Owner::from(&server.child);
    let tls = expect.tls();
    tls.resumed = Some(!replay);
    tls.cipher = Some("TLS_AES_256_GCM_SHA384".to_owned());
    tls.group = Some("x25519".to_owned());
    tls.server_name = Some(SERVER_NAME);
    tls.more.push(("tlsight.resumption_offered", json!(true)));
    tls.more.push(("tlsight.early_data", json!(true)));
    if replay {
        expect.add_server_chain(true, &pki().server_rsa, server_chain_length(ServerStack::OpenSsl));
    }
    let mut server_end = expect.clone();
    if replay {
        // Early data may still arrive when the server has answered: the client's flight cannot be told from it.
        server_end.reason = Some("client_identity_unknown");
        server_end.tls().client_certificate = Some("unknown");
    }
    check_ends(at, &[expect], &[server_end]);
}

/// An `s_client` that waits for what is typed.
fn interactive(at: std::net::SocketAddr, extra: &[&str]) -> Child {
    let mut cmd =
        command("openssl", ["s_client", "-connect", &at.to_string(), "-tls1_3", "-servername", SERVER_NAME]);
    cmd.arg("-CAfile").arg(&pki().ca).args(extra);
    // Its standard output is block-buffered; this is what `stdbuf -oL` does, without being another program first.
    cmd.env("LD_PRELOAD", "/usr/libexec/coreutils/libstdbuf.so").env("_STDBUF_O", "L");
    Child::spawn_with_input(cmd, Some(Vec::new()), |_| None)
}
