//! Every client against every server, in the six modes of {TLS 1.2, TLS 1.3} and {no client certificate asked for,
//! asked for and declined, sent}.

use libtest_mimic::Trial;
use tlsight_tests::expect::Owner;
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerStack, Version};
use tlsight_tests::pki::pki;
use tlsight_tests::run::case;
use tlsight_tests::verdict::check;

use crate::support::{address, client_chain_length, full_handshake, only_success, owner, server};

/// What becomes of the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    NotAsked,
    Declines,
    Sends,
}

const MODES: [(Version, Client); 6] = [
    (Version::Tls12, Client::NotAsked),
    (Version::Tls13, Client::Sends),
    (Version::Tls12, Client::Declines),
    (Version::Tls13, Client::NotAsked),
    (Version::Tls12, Client::Sends),
    (Version::Tls13, Client::Declines),
];

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    for client in ClientStack::ALL {
        for server in ServerStack::ALL {
            for (version, certificate) in MODES {
                let name =
                    format!("matrix::{client:?}_to_{server:?}::{version:?}_{certificate:?}").to_lowercase();
                trials.push(case(name, move || run(client, server, version, certificate)));
            }
        }
    }
}

fn run(client: ClientStack, stack: ServerStack, version: Version, certificate: Client) {
    let ask = if certificate == Client::NotAsked { Ask::Never } else { Ask::Optional };
    let server = server(stack, ask);
    let at = address(server);
    let mut config = ClientConfig::new(at).version(version);
    if certificate == Client::Sends {
        config = config.identity(&pki().client);
    }
    let ran = client.run(&config);
    let said = only_success(&ran);

    let client_certificate = match certificate {
        Client::NotAsked => "not_requested",
        Client::Declines => "declined",
        Client::Sends => "sent",
    };
    let mut expect = full_handshake(client, version, client_certificate, said, stack);
    expect.client = Owner::from(&ran);
    expect.server = owner(stack, server);
    if certificate == Client::Sends {
        expect.add_client_chain(stack.is_probed(), &pki().client, client_chain_length(client));
    }
    check(at, &expect);
}
