//! What the cases of several modules share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use tlsight_tests::expect::{Expect, Owner};
use tlsight_tests::host::case_address;
use tlsight_tests::peers::{Ask, ClientStack, Ran, Said, Server, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{Identity, pki};

type Servers = Mutex<HashMap<(ServerStack, Ask), Arc<OnceLock<&'static Server>>>>;

/// A server that many cases share, started on first use.
pub(crate) fn server(stack: ServerStack, ask: Ask) -> &'static Server {
    static SERVERS: LazyLock<Servers> = LazyLock::new(Mutex::default);
    let cell = SERVERS.lock().unwrap().entry((stack, ask)).or_default().clone();
    // Runs until the end of the test binary.
    cell.get_or_init(|| Box::leak(Box::new(stack.start(&ServerConfig::new(ask, server_identity(stack))))))
}

/// Starts a server on each file with a TLS library in it, so that all have their probes when the agent watches: a client that
/// lives for some milliseconds, of a program that nobody else runs, may be over before it has any.
pub(crate) fn map_libraries() {
    for stack in
        [ServerStack::Python, ServerStack::Node, ServerStack::Go, ServerStack::GnuTls, ServerStack::Caddy]
    {
        server(stack, Ask::Never);
    }
}

/// Half of the servers show an RSA certificate, half one of P-256.
pub(crate) fn server_identity(stack: ServerStack) -> &'static Identity {
    use ServerStack::{Asyncio, Caddy, Go, Nginx, OpenSsl, Rustls};
    match stack {
        OpenSsl | Nginx | Asyncio | Go | Rustls | Caddy => &pki().server_rsa,
        _ => &pki().server_p256,
    }
}

/// An address of this case's own on a server's port.
pub(crate) fn address(server: &Server) -> SocketAddr {
    SocketAddr::from((case_address(), server.port))
}

/// How many certificates a server sends: OpenSSL adds the issuers it finds among those it trusts.
pub(crate) fn server_chain_length(stack: ServerStack) -> usize {
    match stack {
        ServerStack::OpenSsl | ServerStack::Python | ServerStack::Asyncio | ServerStack::Node => 2,
        // nginx tells OpenSSL not to.
        _ => 1,
    }
}

/// The same of a client with a certificate that its trusted root signed.
pub(crate) fn client_chain_length(stack: ClientStack) -> usize {
    match stack {
        ClientStack::OpenSsl
        | ClientStack::Curl
        | ClientStack::Python
        | ClientStack::Asyncio
        | ClientStack::Node => 2,
        _ => 1,
    }
}

/// Who owns the server's end.
pub(crate) fn owner(stack: ServerStack, server: &Server) -> Owner {
    match stack {
        // The master listens, one of its workers accepts.
        ServerStack::Nginx => Owner::Executable("nginx".to_owned()),
        _ => Owner::from(&server.child),
    }
}

/// The one connection that a client says went well.
pub(crate) fn only_success(ran: &Ran) -> &Said {
    assert_eq!(ran.said.len(), 1, "{}", ran.text);
    succeeded(ran, 0)
}

/// The `n`th connection of a client, which says it went well.
pub(crate) fn succeeded(ran: &Ran, n: usize) -> &Said {
    let said = ran.said.get(n).unwrap_or_else(|| panic!("no connection {n}:\n{}", ran.text));
    assert_eq!(said.error, None, "{}", ran.text);
    assert!(said.body.to_lowercase().contains("200 ok"), "no response in:\n{}", ran.text);
    assert!(said.cipher.is_some(), "{}", ran.text);
    said
}

/// What is expected of a full handshake between `client` and `stack`, as far as the client itself told.
pub(crate) fn full_handshake<'a>(
    client: ClientStack,
    version: Version,
    client_certificate: &'static str,
    said: &Said,
    stack: ServerStack,
) -> Expect<'a> {
    assert_eq!(said.version.as_deref(), Some(version.as_str()));
    let mut expect = Expect::handshake(version, client_certificate);
    let tls = expect.tls();
    tls.cipher.clone_from(&said.cipher);
    tls.group = said.group.clone().or_else(|| Some("x25519".to_owned()));
    tls.server_name = Some(tlsight_tests::pki::SERVER_NAME);
    if client == ClientStack::Go && version == Version::Tls12 {
        // It always fills in a session id, to see from the ServerHello whether a ticket was taken.
        tls.more.push(("tlsight.resumption_offered", serde_json::json!(true)));
    }
    expect.add_server_chain(client.is_probed(), server_identity(stack), server_chain_length(stack));
    expect
}
