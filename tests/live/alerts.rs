//! Handshakes that fail: which alert, at which level, from whom. Up to TLS 1.2 it is in the clear; in TLS 1.3 only its
//! length and its sender show. What the other side's program says of the alert it received is the oracle.

use std::time::Duration;

use libtest_mimic::Trial;
use tlsight_tests::expect::{Expect, Owner, Tls};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, Server, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{Identity, SERVER_NAME, pki};
use tlsight_tests::run::case;
use tlsight_tests::verdict::{check, check_ends};

use crate::support::{address, only_success, owner, server, server_chain_length, server_identity};

const LIMIT: Duration = Duration::from_secs(10);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    use ServerStack as S;
    for version in [Version::Tls12, Version::Tls13] {
        for stack in
            [S::OpenSsl, S::Python, S::Asyncio, S::Go, S::Java, S::GnuTls, S::Rustls, S::Envoy, S::Caddy]
        {
            let name = |what: &str| format!("alerts::{what}_by_{stack:?}_{version:?}").to_lowercase();
            trials.push(case(name("missing_client_certificate_refused"), move || {
                refused(stack, version, None)
            }));
            trials.push(case(name("expired_client_certificate_refused"), move || {
                refused(stack, version, Some(&pki().client_expired));
            }));
            trials.push(case(name("untrusted_client_certificate_refused"), move || {
                refused(stack, version, Some(&pki().client_untrusted));
            }));
        }
        for client in ClientStack::ALL {
            let name = format!("alerts::untrusted_server_refused_by_{client:?}_{version:?}").to_lowercase();
            trials.push(case(name, move || untrusted_server(client, version)));
        }
    }
    for stack in [S::OpenSsl, S::Go, S::Java, S::GnuTls, S::Rustls] {
        let name = |what: &str| format!("alerts::{what}_by_{stack:?}").to_lowercase();
        trials.push(case(name("no_common_version"), move || no_common_version(stack)));
        // gnutls-serv goes on without a protocol.
        if stack != S::GnuTls {
            trials.push(case(name("no_common_protocol"), move || no_common_protocol(stack)));
        }
    }
}

/// Names of alerts (IANA "TLS Alerts") by the number that OpenSSL prints.
fn alert_name(number: u8) -> &'static str {
    match number {
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        80 => "internal_error",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        other => panic!("alert {other}?"),
    }
}

/// The alert that an OpenSSL program says it received.
fn received_alert(text: &str) -> &'static str {
    let number = text
        .split("SSL alert number ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()));
    alert_name(number.unwrap_or_else(|| panic!("no alert received in:\n{text}")))
}

/// A server that insists on a trusted client certificate meets a client without one, or with a bad one.
fn refused(stack: ServerStack, version: Version, identity: Option<&'static Identity>) {
    let server = server(stack, Ask::Required);
    let at = address(server);
    let config = ClientConfig { identity, ..ClientConfig::new(at).version(version) };
    let ran = ClientStack::OpenSsl.run(&config);

    let mut expect = failed(version, stack, server);
    expect.client = Owner::from(&ran);
    let tls = expect.tls();
    tls.client_certificate = Some(if identity.is_some() { "sent" } else { "declined" });
    if stack != ServerStack::Asyncio {
        // In TLS 1.3 the client has sent its request by then; a server that hangs up without reading it resets the
        // connection, and the client may lose the alert that was on its way.
        let content = (version == Version::Tls12).then(|| ("fatal", received_alert(&ran.text)));
        tls.alert = Some(("server", content));
    }
    let said = &ran.said[0];
    tls.cipher.clone_from(&said.cipher);
    tls.group = Some(said.group.clone().unwrap_or_else(|| "x25519".to_owned()));
    expect.add_server_chain(true, server_identity(stack), server_chain_length(stack));
    if let Some(identity) = identity {
        // OpenSSL sends the issuer along where it knows it.
        let trusted = identity.issuer != pki().client_untrusted.issuer;
        expect.add_client_chain(stack.is_probed(), identity, if trusted { 2 } else { 1 });
    }
    if stack == ServerStack::GnuTls && version == Version::Tls13 && identity.is_some() {
        // A close_notify follows its alert, encrypted as well: two bytes of data and a close_notify look the same. The client
        // may be gone before the second one.
        let mut unclear = expect.clone();
        unclear.source = None;
        unclear.reason = Some("handshake_incomplete");
        unclear.tls().established = None;
        unclear.tls().alert = None;
        check_ends(at, &[expect, unclear.clone()], &[unclear]);
        return;
    }
    if stack != ServerStack::Asyncio {
        check(at, &expect);
        return;
    }
    // It hangs up without the alert that OpenSSL wrote into its memory buffer.
    assert!(!ran.text.contains("SSL alert number"), "{}", ran.text);
    let mut silent = expect.clone();
    silent.source = None;
    silent.reason = Some("handshake_incomplete");
    match version {
        // Of its Finished the client cannot know whether it was accepted.
        Version::Tls13 => {
            silent.tls().established = None;
            check(at, &silent);
        }
        // The client objects, encrypted, to the missing end of the handshake; it may come too late for the server.
        Version::Tls12 => {
            expect.tls().alert = Some(("client", None));
            check_ends(at, &[expect.clone()], &[expect, silent]);
        }
    }
}

/// A client that does not know the root of the server's certificate.
fn untrusted_server(client: ClientStack, version: Version) {
    let stack = ServerStack::OpenSsl;
    // What the two agree on is told by a connection that goes well.
    let trusted = stack.start(&ServerConfig::new(Ask::Never, &pki().server_p256));
    let ran = client.run(&ClientConfig::new(address(&trusted)).version(version));
    let said = only_success(&ran).clone();

    let server = stack.start(&ServerConfig::new(Ask::Never, &pki().server_untrusted));
    let at = address(&server);
    let ran = client.run(&ClientConfig::new(at).version(version));
    assert!(ran.said[0].error.is_some(), "{}", ran.text);

    let mut expect = failed(version, stack, &server);
    expect.client = Owner::from(&ran);
    let tls = expect.tls();
    tls.cipher = said.cipher;
    tls.group = Some(said.group.unwrap_or_else(|| "x25519".to_owned()));
    match version {
        Version::Tls12 => {
            tls.client_certificate = Some("not_requested");
            if client == ClientStack::Go {
                tls.more.push(("tlsight.resumption_offered", serde_json::json!(true)));
            }
        }
        // Whether the server asked is encrypted, and the client did not get as far as an answer.
        Version::Tls13 => tls.client_certificate = Some("unknown"),
    }
    match (client, version) {
        // It looks at the certificate when the handshake is complete.
        (ClientStack::Node, Version::Tls12) => {
            tls.established = Some(true);
            expect.security = "tls";
            expect.reason = None;
        }
        // It hangs up without the alert that OpenSSL wrote into its memory buffer. In TLS 1.2 the server objects to that.
        (ClientStack::Asyncio, Version::Tls12) => {
            tls.alert = Some(("server", Some(("fatal", "decode_error"))))
        }
        // Node's own Finished has not left yet when it looks at the certificate.
        (ClientStack::Asyncio | ClientStack::Node, Version::Tls13) => {
            expect.source = None;
            expect.reason = Some("handshake_incomplete");
        }
        _ => {
            server.child.wait_for_line("SSL alert number", LIMIT);
            let alert = received_alert(&server.child.text());
            // OpenSSL sends it in the clear, not having taken its keys into use.
            let clear = version == Version::Tls12
                || matches!(client, ClientStack::OpenSsl | ClientStack::Curl | ClientStack::Python);
            tls.alert = Some(("client", clear.then_some(("fatal", alert))));
            expect.source = Some(if clear { "wire" } else { "record_length" });
        }
    }
    // It was looked at, and turned down.
    expect.add_server_chain(client.is_probed(), &pki().server_untrusted, 1);
    check(at, &expect);
}

fn failed<'a>(version: Version, stack: ServerStack, server: &Server) -> Expect<'a> {
    Expect {
        source: Some(if version == Version::Tls12 { "wire" } else { "record_length" }),
        server: owner(stack, server),
        tls: Some(Tls {
            version: Some(version.as_str()),
            established: Some(false),
            resumed: Some(false),
            server_name: Some(SERVER_NAME),
            ..Tls::default()
        }),
        ..Expect::unknown("handshake_failed")
    }
}

/// The server answers the ClientHello with an alert: in the clear, whatever the version.
fn turned_down(stack: ServerStack, server: &Server, config: &ClientConfig<'_>) {
    let ran = ClientStack::OpenSsl.run(config);
    let alert = received_alert(&ran.text);
    let mut expect = failed(Version::Tls12, stack, server);
    expect.client = Owner::from(&ran);
    let tls = expect.tls();
    tls.version = None;
    tls.resumed = None;
    tls.client_certificate = Some("unknown");
    tls.alert = Some(("server", Some(("fatal", alert))));
    check(config.to, &expect);
}

fn no_common_version(stack: ServerStack) {
    let version = Some(Version::Tls13);
    let config = ServerConfig { version, ..ServerConfig::new(Ask::Never, server_identity(stack)) };
    let server = stack.start(&config);
    turned_down(stack, &server, &ClientConfig::new(address(&server)).version(Version::Tls12));
}

fn no_common_protocol(stack: ServerStack) {
    let config =
        ServerConfig { alpn: Some("http/1.1"), ..ServerConfig::new(Ask::Never, server_identity(stack)) };
    let server = stack.start(&config);
    let config = ClientConfig { alpn: Some("nonsense"), ..ClientConfig::new(address(&server)) };
    if stack != ServerStack::Rustls {
        turned_down(stack, &server, &config);
        return;
    }
    // rustls has sent its ServerHello by then, so that its alert is encrypted.
    let ran = ClientStack::OpenSsl.run(&config);
    assert_eq!(received_alert(&ran.text), "no_application_protocol");
    let mut expect = failed(Version::Tls13, stack, &server);
    expect.client = Owner::from(&ran);
    let tls = expect.tls();
    tls.cipher = Some("TLS_AES_256_GCM_SHA384".to_owned());
    tls.group = Some("x25519".to_owned());
    tls.client_certificate = Some("unknown");
    tls.alert = Some(("server", None));
    check(config.to, &expect);
}
