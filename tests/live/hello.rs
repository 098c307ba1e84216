//! Hellos of every kind: retried, without a name, with protocols, over many segments, in pieces of one byte, over IPv6.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use libtest_mimic::Trial;
use serde_json::json;
use tlsight_tests::expect::Owner;
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{KeyAlgorithm, pki};
use tlsight_tests::run::case;
use tlsight_tests::verdict::check;

use crate::support::{
    address, client_chain_length, full_handshake, only_success, owner, server, server_identity,
};

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    for client in ClientStack::ALL {
        for ask in [Ask::Never, Ask::Optional] {
            let name = format!("hello::retry_asked_of_{client:?}_{ask:?}").to_lowercase();
            trials.push(case(name, move || retried(client, ServerStack::OpenSsl, ask)));
        }
        let name = format!("hello::no_server_name_from_{client:?}").to_lowercase();
        trials.push(case(format!("{name}_tls12"), move || nameless(client, Version::Tls12)));
        trials.push(case(format!("{name}_tls13"), move || nameless(client, Version::Tls13)));
    }
    use ServerStack as S;
    for server in [S::Python, S::Node, S::Go, S::Java, S::GnuTls, S::Rustls] {
        let name = format!("hello::retry_asked_by_{server:?}").to_lowercase();
        trials.push(case(name, move || retried(ClientStack::OpenSsl, server, Ask::Optional)));
    }
    for (client, server) in [
        (ClientStack::OpenSsl, S::Go),
        (ClientStack::Curl, S::Nginx),
        (ClientStack::Python, S::Caddy),
        (ClientStack::Node, S::Python),
        (ClientStack::Go, S::Node),
        (ClientStack::Java, S::OpenSsl),
        (ClientStack::GnuTls, S::Rustls),
        (ClientStack::Rustls, S::GnuTls),
    ] {
        for version in [Version::Tls12, Version::Tls13] {
            let name = format!("hello::alpn_{client:?}_to_{server:?}_{version:?}").to_lowercase();
            trials.push(case(name, move || alpn(client, server, version)));
        }
    }
    for client in [ClientStack::Go, ClientStack::Rustls] {
        for server in [S::Go, S::Caddy, S::Rustls] {
            let name = format!("hello::post_quantum_{client:?}_to_{server:?}").to_lowercase();
            trials.push(case(name, move || post_quantum(client, server)));
        }
    }
    for version in [Version::Tls12, Version::Tls13] {
        for server in [S::OpenSsl, S::Nginx, S::Go, S::Java, S::GnuTls] {
            let name = format!("hello::one_byte_a_segment_to_{server:?}_{version:?}").to_lowercase();
            trials.push(case(name, move || drip(server, version)));
        }
        let name = |what: &str| format!("hello::{what}_{version:?}").to_lowercase();
        trials.push(case(name("ipv6_loopback"), move || ipv6(version)));
        trials.push(case(name("v4_mapped_server"), move || v4_mapped(version)));
        trials.push(case(name("v4_mapped_client"), move || v4_mapped_client(version)));
        trials.push(case(name("chain_with_intermediate"), move || intermediate(version)));
        trials.push(case(name("rsa_client_certificate"), move || rsa_client(version)));
    }
}

/// P-384 under each stack's name for it.
fn p384(stack: ServerStack) -> &'static str {
    match stack {
        ServerStack::Python | ServerStack::Asyncio | ServerStack::Java => "secp384r1",
        ServerStack::GnuTls => "+GROUP-SECP384R1",
        _ => "P-384",
    }
}

/// The server takes only a group for which the client sent no key share.
fn retried(client: ClientStack, stack: ServerStack, ask: Ask) {
    let config = ServerConfig { groups: Some(p384(stack)), ..ServerConfig::new(ask, server_identity(stack)) };
    let server = stack.start(&config);
    let at = address(&server);
    let mut config = ClientConfig::new(at).version(Version::Tls13);
    let certificate = if ask == Ask::Never { "not_requested" } else { "sent" };
    if ask != Ask::Never {
        config = config.identity(&pki().client);
    }
    let ran = client.run(&config);
    let mut expect = full_handshake(client, Version::Tls13, certificate, only_success(&ran), stack);
    expect.client = Owner::from(&ran);
    expect.server = owner(stack, &server);
    expect.tls().group = Some("secp384r1".to_owned());
    expect.tls().more.push(("tlsight.hello_retry_request", json!(true)));
    if ask != Ask::Never {
        expect.add_client_chain(stack.is_probed(), &pki().client, client_chain_length(client));
    }
    check(at, &expect);
}

fn nameless(client: ClientStack, version: Version) {
    let stack = ServerStack::Go;
    let server = server(stack, Ask::Never);
    let at = address(server);
    let ran = client.run(&ClientConfig { name: None, ..ClientConfig::new(at).version(version) });
    let mut expect = full_handshake(client, version, "not_requested", only_success(&ran), stack);
    expect.client = Owner::from(&ran);
    expect.server = owner(stack, server);
    expect.tls().server_name = None;
    check(at, &expect);
}

/// TLS 1.3 encrypts what the server chose (RFC 8446 section 4.3.1); up to 1.2 it is in the ServerHello.
fn alpn(client: ClientStack, stack: ServerStack, version: Version) {
    let config =
        ServerConfig { alpn: Some("http/1.1"), ..ServerConfig::new(Ask::Never, server_identity(stack)) };
    let server = stack.start(&config);
    let at = address(&server);
    let ran = client.run(&ClientConfig { alpn: Some("http/1.1"), ..ClientConfig::new(at).version(version) });
    let said = only_success(&ran);
    if client != ClientStack::GnuTls {
        assert_eq!(said.alpn.as_deref(), Some("http/1.1"), "{}", ran.text);
    }
    let mut expect = full_handshake(client, version, "not_requested", said, stack);
    expect.client = Owner::from(&ran);
    expect.server = owner(stack, &server);
    expect.tls().next_protocol = (version == Version::Tls12).then_some("http/1.1");
    check(at, &expect);
}

/// With its key share for X25519MLKEM768 a ClientHello is longer than one segment of most networks.
fn post_quantum(client: ClientStack, stack: ServerStack) {
    let server = server(stack, Ask::Optional);
    let at = address(server);
    let ran = client.run(&ClientConfig::new(at).identity(&pki().client));
    let said = only_success(&ran);
    assert_eq!(said.group.as_deref(), Some("X25519MLKEM768"), "{}", ran.text);
    let mut expect = full_handshake(client, Version::Tls13, "sent", said, stack);
    expect.add_client_chain(stack.is_probed(), &pki().client, client_chain_length(client));
    expect.client = Owner::from(&ran);
    expect.server = owner(stack, server);
    check(at, &expect);
}

fn drip(stack: ServerStack, version: Version) {
    let client = ClientStack::Python;
    let server = server(stack, Ask::Optional);
    let at = address(server);
    let config = ClientConfig::new(at).version(version).identity(&pki().client).extra(&["--drip"]);
    let ran = client.run(&config);
    let mut expect = full_handshake(client, version, "sent", only_success(&ran), stack);
    expect.client = Owner::from(&ran);
    expect.server = owner(stack, server);
    expect.add_client_chain(stack.is_probed(), &pki().client, client_chain_length(client));
    check(at, &expect);
}

fn ipv6(version: Version) {
    on_its_own(ServerStack::Go, Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), version);
    on_its_own(ServerStack::OpenSsl, Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), version);
}

/// The listener is an IPv6 socket, what it accepts are IPv4 connections: the two ends must agree on the addresses.
fn v4_mapped(version: Version) {
    on_its_own(
        ServerStack::Go,
        Ipv6Addr::UNSPECIFIED.into(),
        tlsight_tests::host::case_address().into(),
        version,
    );
}

/// The client's socket is an IPv6 one that connects to ::ffff:127.x.y.z.
fn v4_mapped_client(version: Version) {
    let stack = ServerStack::Node;
    let server = server(stack, Ask::Never);
    let at = address(server);
    let IpAddr::V4(v4) = at.ip() else { unreachable!("an IPv4 case address") };
    let mapped = SocketAddr::new(v4.to_ipv6_mapped().into(), at.port());
    let ran = ClientStack::Java.run(&ClientConfig::new(mapped).version(version));
    let python = ClientStack::Python.run(&ClientConfig::new(mapped).version(version));
    let expected = [(ClientStack::Java, ran), (ClientStack::Python, python)].map(|(client, ran)| {
        let mut expect = full_handshake(client, version, "not_requested", only_success(&ran), stack);
        expect.client = Owner::from(&ran);
        expect.server = owner(stack, server);
        expect
    });
    tlsight_tests::verdict::check_all(at, &expected);
}

fn on_its_own(stack: ServerStack, listens: IpAddr, connects: IpAddr, version: Version) {
    let config =
        ServerConfig { address: Some(listens), ..ServerConfig::new(Ask::Optional, server_identity(stack)) };
    let server = stack.start(&config);
    let at = SocketAddr::new(connects, server.port);
    let client = ClientStack::Python;
    let ran = client.run(&ClientConfig::new(at).version(version));
    let mut expect = full_handshake(client, version, "declined", only_success(&ran), stack);
    expect.client = Owner::from(&ran);
    expect.server = owner(stack, &server);
    if connects == listens && stack == ServerStack::OpenSsl {
        // Waiting for it to listen was a connection to the same address.
        let Some(agent) = tlsight_tests::agent::shared() else { return };
        let ends = agent.connections(at, 2);
        expect.check_ends(agent, at, &ends[1]);
    } else {
        check(at, &expect);
    }
}

fn intermediate(version: Version) {
    for client in [ClientStack::OpenSsl, ClientStack::Go] {
        let stack = ServerStack::Go;
        let server = server(stack, Ask::Optional);
        let at = address(server);
        let ran = client.run(&ClientConfig::new(at).version(version).identity(&pki().client_chain));
        let mut expect = full_handshake(client, version, "sent", only_success(&ran), stack);
        expect.client = Owner::from(&ran);
        expect.server = owner(stack, server);
        expect.add_client_chain(stack.is_probed(), &pki().client_chain, 2);
        check(at, &expect);
    }
}

fn rsa_client(version: Version) {
    assert_eq!(pki().client_rsa.key_algorithm, KeyAlgorithm::Rsa);
    let stack = ServerStack::Caddy;
    let server = server(stack, Ask::Optional);
    let at = address(server);
    let client = ClientStack::Rustls;
    let ran = client.run(&ClientConfig::new(at).version(version).identity(&pki().client_rsa));
    let mut expect = full_handshake(client, version, "sent", only_success(&ran), stack);
    expect.client = Owner::from(&ran);
    expect.server = owner(stack, server);
    expect.add_client_chain(stack.is_probed(), &pki().client_rsa, 1);
    check(at, &expect);
}
