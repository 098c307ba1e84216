//! Certificates in TLS 1.3, which encrypts them: chains of every length, key types, and one longer than a record, shown by
//! servers and by clients to every stack that can be probed. Each case is two connections to one server, without a client
//! certificate and with one. What a client shows and what the server shows is of the same kind.

use std::process::Command;

use libtest_mimic::Trial;
use tlsight_tests::child::{command, output};
use tlsight_tests::expect::{Expect, Owner};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{Identity, SERVER_NAME, Variant, pki};
use tlsight_tests::run::case;
use tlsight_tests::verdict::check_all;

use crate::support::{address, client_chain_length, only_success, owner, server_chain_length};

use ClientStack as C;
use ServerStack as S;

/// Every stack with a probe is on either side. Where the other side has none, one chain alone is seen, and at both ends.
const PAIRS: [(ClientStack, ServerStack); 12] = [
    (C::OpenSsl, S::Go),
    (C::Curl, S::Nginx),
    (C::Python, S::Caddy),
    (C::Asyncio, S::Node),
    (C::Node, S::Python),
    (C::Go, S::OpenSsl),
    (C::GnuTls, S::Asyncio),
    (C::Go, S::GnuTls),
    (C::OpenSsl, S::Envoy),
    (C::Node, S::Java),
    (C::Java, S::Nginx),
    (C::Rustls, S::Go),
];

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    for (client, server) in PAIRS {
        for variant in Variant::ALL {
            if !can_show(client, server, variant) {
                continue;
            }
            let name = format!("certificates::{client:?}_to_{server:?}::{variant:?}").to_lowercase();
            trials.push(case(name, move || both_modes(client, server, variant)));
        }
    }
    trials.push(case("certificates::openssl_reads_the_same_from_them", openssl_agrees));
}

/// JSSE does not look up Ed25519 keys by itself, and BoringSSL has it switched off.
fn can_show(client: ClientStack, server: ServerStack, variant: Variant) -> bool {
    variant != Variant::Ed25519 || !(matches!(client, C::Java) || matches!(server, S::Java | S::Envoy))
}

/// OpenSSL adds the root it finds among those it trusts to a leaf that stands alone, never to a chain it was given.
fn sent(identity: &Identity, alone: usize) -> usize {
    if identity.chain_length == 1 { alone } else { identity.chain_length }
}

fn both_modes(client: ClientStack, stack: ServerStack, variant: Variant) {
    let (theirs, ours) = (variant.server(), variant.client());
    let server = stack.start(&ServerConfig::new(Ask::Optional, theirs));
    let at = address(&server);
    let expected = [None, Some(ours)].map(|identity| {
        let config = ClientConfig { identity, ..ClientConfig::new(at).version(Version::Tls13) };
        let ran = client.run(&config);
        let said = only_success(&ran);
        let certificate = if identity.is_some() { "sent" } else { "declined" };
        let mut expect = Expect::handshake(Version::Tls13, certificate);
        let tls = expect.tls();
        tls.cipher.clone_from(&said.cipher);
        tls.group = said.group.clone().or_else(|| Some("x25519".to_owned()));
        tls.server_name = Some(SERVER_NAME);
        expect.add_server_chain(client.is_probed(), theirs, sent(theirs, server_chain_length(stack)));
        if let Some(identity) = identity {
            expect.add_client_chain(stack.is_probed(), identity, sent(identity, client_chain_length(client)));
        }
        expect.client = Owner::from(&ran);
        expect.server = owner(stack, &server);
        expect
    });
    check_all(at, &expected);
}

/// What is expected of certificates comes from the library that made them; another one says the same.
fn openssl_agrees() {
    let variants = Variant::ALL.into_iter().flat_map(|v| [v.server(), v.client()]);
    for identity in variants.chain([&pki().server_rsa, &pki().server_p256, &pki().client]) {
        let mut cmd: Command =
            command("openssl", ["x509", "-noout", "-nameopt", "RFC2253", "-dateopt", "iso_8601"]);
        cmd.args([
            "-subject",
            "-issuer",
            "-serial",
            "-enddate",
            "-startdate",
            "-fingerprint",
            "-sha256",
            "-in",
        ]);
        let said = output({
            cmd.arg(&identity.cert);
            cmd
        });
        let value = |key: &str| {
            let line = said.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {key} in {said}")).to_owned()
        };
        let date = |secs: i64| {
            let time = time::OffsetDateTime::from_unix_timestamp(secs).expect("in range");
            let text = time.format(&time::format_description::well_known::Rfc3339).expect("formats");
            text.replace('T', " ")
        };
        let name = |common: &str| format!("CN={common},O=tlsight tests");
        assert_eq!(value("subject"), name(&identity.subject));
        assert_eq!(value("issuer"), name(&identity.issuer));
        assert_eq!(value("serial"), identity.serial);
        assert_eq!(value("notAfter"), date(identity.not_after));
        assert_eq!(value("notBefore"), date(identity.not_before));
        assert_eq!(value("sha256 Fingerprint").replace(':', ""), identity.sha256);
    }
    let long = Variant::Long;
    assert!(long.server().der_length > 16 * 1024 && long.client().der_length > 16 * 1024);
}
