//! Clients: the command line of each, and what it says afterwards.

use std::net::SocketAddr;

use std::process::Command;
use std::time::Duration;

use super::{Said, Version};
use crate::child::{Child, Ended, command};
use crate::netns::Namespace;
use crate::pki::{Identity, SERVER_NAME, pki};
use crate::tools;

/// Long enough for a JVM on a busy machine; a client that needs longer hangs.
const LIMIT: Duration = Duration::from_secs(40);

/// The request the command-line clients send; the peer programs of this package send the same.
pub(crate) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: server.tlsight.test\r\nConnection: close\r\n\r\n";

/// What a client is told to do.
#[derive(Clone, Debug)]
pub struct ClientConfig<'a> {
    /// Where to connect.
    pub to: SocketAddr,
    /// SNI; `None` sends none.
    pub name: Option<&'a str>,
    /// Only this version, or whatever the program offers on its own.
    pub version: Option<Version>,
    /// The certificate to show when asked.
    pub identity: Option<&'a Identity>,
    /// ALPN protocols to offer, comma-separated.
    pub alpn: Option<&'a str>,
    /// Groups to offer, in the spelling of the stack.
    pub groups: Option<&'a str>,
    /// Connections to make one after the other, resuming where the stack can.
    pub times: u32,
    /// More arguments.
    pub extra: Vec<String>,
}

impl<'a> ClientConfig<'a> {
    /// A client that names the server, has no certificate and offers what it likes.
    pub fn new(to: SocketAddr) -> Self {
        Self {
            to,
            name: Some(SERVER_NAME),
            version: None,
            identity: None,
            alpn: None,
            groups: None,
            times: 1,
            extra: Vec::new(),
        }
    }

    /// Only `version`.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// With a certificate.
    #[must_use]
    pub fn identity(mut self, identity: &'a Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn extra(mut self, args: &[&str]) -> Self {
        self.extra.extend(args.iter().map(|a| (*a).to_owned()));
        self
    }
}

/// A program that can be a TLS client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientStack {
    /// `openssl s_client`.
    OpenSsl,
    /// `curl`.
    Curl,
    /// Python's `ssl` on blocking sockets.
    Python,
    /// Python's asyncio.
    Asyncio,
    /// Node's `tls`.
    Node,
    /// Go's `crypto/tls`.
    Go,
    /// Java's JSSE.
    Java,
    /// `gnutls-cli`.
    GnuTls,
    /// rustls.
    Rustls,
}

/// A client program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its process id.
    pub pid: u32,
    /// Its executable's file name.
    pub executable: String,
    /// Its name as it was started.
    pub program: String,
    /// What it says of its connections, in order.
    pub said: Vec<Said>,
    /// Everything it printed.
    pub text: String,
    /// It exited with 0.
    pub success: bool,
}

impl ClientStack {
    /// Every client.
    pub const ALL: [ClientStack; 9] = [
        ClientStack::OpenSsl,
        ClientStack::Curl,
        ClientStack::Python,
        ClientStack::Asyncio,
        ClientStack::Node,
        ClientStack::Go,
        ClientStack::Java,
        ClientStack::GnuTls,
        ClientStack::Rustls,
    ];

    /// Whether what it parses can be seen: there are no probes for JSSE and rustls.
    pub const fn is_probed(self) -> bool {
        !matches!(self, ClientStack::Java | ClientStack::Rustls)
    }

    /// Runs the client to its end.
    pub fn run(self, c: &ClientConfig<'_>) -> Ran {
        self.run_in(None, c)
    }

    /// The same in a network namespace.
    pub fn run_in(self, namespace: Option<&Namespace>, c: &ClientConfig<'_>) -> Ran {
        let command = self.command(c);
        let command = namespace.map_or_else(|| self.command(c), |n| n.enter(&command));
        let child = match self {
            ClientStack::OpenSsl | ClientStack::GnuTls => {
                Child::spawn_with_input(command, Some(REQUEST.as_bytes().to_vec()), |_| None)
            }
            _ => Child::spawn(command),
        };
        let ended = child.finish(LIMIT);
        Ran {
            pid: child.pid,
            executable: child.executable.clone(),
            program: child.program.clone(),
            said: self.said(&ended),
            success: ended.status.success(),
            text: ended.text,
        }
    }

    fn said(self, ended: &Ended) -> Vec<Said> {
        match self {
            ClientStack::OpenSsl => vec![Said::from_s_client(&ended.text)],
            ClientStack::Curl => vec![Said::from_curl(&ended.text)],
            ClientStack::GnuTls => vec![Said::from_gnutls(&ended.text)],
            _ => ended.text.lines().filter_map(Said::from_json).collect(),
        }
    }

    /// The command line.
    pub fn command(self, c: &ClientConfig<'_>) -> Command {
        match self {
            ClientStack::OpenSsl => openssl(c),
            ClientStack::Curl => curl(c),
            ClientStack::GnuTls => gnutls(c),
            ClientStack::Python => {
                peer(command(tools::venv("python3"), [tools::peer_source("python/blocking.py")]), c)
            }
            ClientStack::Asyncio => {
                peer(command(tools::venv("python3"), [tools::peer_source("python/aio.py")]), c)
            }
            ClientStack::Node => peer(command("node", [tools::peer_source("node/peer.js")]), c),
            ClientStack::Go => peer(command(tools::go_peer(), [""; 0]), c),
            ClientStack::Java => peer(java(c.groups), c),
            ClientStack::Rustls => peer(command(tools::rustls_peer(), [""; 0]), c),
        }
    }
}

/// A JVM about to run the Java peer; groups are a property of the whole JVM.
pub(super) fn java(groups: Option<&str>) -> Command {
    let mut java = command("java", ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]);
    if let Some(groups) = groups {
        java.arg(format!("-Djdk.tls.namedGroups={groups}"));
    }
    java.arg("-cp").arg(tools::java_peer()).arg("Peer");
    java
}

fn peer(mut cmd: Command, c: &ClientConfig<'_>) -> Command {
    cmd.arg("client").args(["--address", &c.to.ip().to_string(), "--port", &c.to.port().to_string()]);
    cmd.arg("--ca").arg(&pki().ca).args(["--times", &c.times.to_string()]);
    let optional = [("--name", c.name), ("--alpn", c.alpn), ("--groups", c.groups)];
    for (flag, value) in optional.into_iter().chain([("--tls", c.version.map(Version::as_str))]) {
        if let Some(value) = value {
            cmd.args([flag, value]);
        }
    }
    if let Some(identity) = c.identity {
        cmd.arg("--cert").arg(&identity.cert).arg("--key").arg(&identity.key);
    }
    cmd.args(&c.extra);
    cmd
}

fn openssl(c: &ClientConfig<'_>) -> Command {
    let mut cmd =
        command("openssl", ["s_client", "-ign_eof", "-verify_return_error", "-connect", &c.to.to_string()]);
    cmd.arg("-CAfile").arg(&pki().ca);
    match c.name {
        Some(name) => cmd.args(["-servername", name]),
        None => cmd.arg("-noservername"),
    };
    match c.version {
        Some(Version::Tls12) => drop(cmd.arg("-tls1_2")),
        Some(Version::Tls13) => drop(cmd.arg("-tls1_3")),
        None => {}
    }
    if let Some(i) = c.identity {
        cmd.arg("-cert").arg(&i.cert).arg("-key").arg(&i.key);
        if i.chain_length > 1 {
            cmd.arg("-cert_chain").arg(&i.issuers);
        }
    }
    if let Some(alpn) = c.alpn {
        cmd.args(["-alpn", alpn]);
    }
    if let Some(groups) = c.groups {
        cmd.args(["-groups", groups]);
    }
    cmd.args(&c.extra);
    cmd
}

fn curl(c: &ClientConfig<'_>) -> Command {
    let (ip, port) = (c.to.ip(), c.to.port());
    let mut cmd =
        command("curl", ["--verbose", "--silent", "--show-error", "--max-time", "30", "--noproxy", "*"]);
    cmd.arg("--cacert").arg(&pki().ca);
    let tls = match c.version {
        Some(Version::Tls12) => ["--tlsv1.2", "--tls-max", "1.2"],
        Some(Version::Tls13) => ["--tlsv1.3", "--tls-max", "1.3"],
        None => ["--tlsv1.2", "--tls-max", "1.3"],
    };
    cmd.args(tls);
    match c.alpn {
        None => drop(cmd.arg("--no-alpn")),
        Some("http/1.1") => drop(cmd.arg("--http1.1")),
        Some("h2,http/1.1") => drop(cmd.arg("--http2")),
        Some(other) => panic!("curl cannot offer {other}"),
    }
    if let Some(i) = c.identity {
        cmd.arg("--cert").arg(&i.cert).arg("--key").arg(&i.key);
    }
    if let Some(groups) = c.groups {
        cmd.args(["--curves", groups]);
    }
    cmd.args(&c.extra);
    match c.name {
        Some(name) => {
            cmd.arg("--resolve").arg(format!("{name}:{port}:{ip}")).arg(format!("https://{name}:{port}/"));
        }
        // An address literal is never sent as SNI (RFC 6066 section 3), and is not in the certificate.
        None => drop(cmd.arg("--insecure").arg(format!("https://{}/", c.to))),
    }
    cmd
}

fn gnutls(c: &ClientConfig<'_>) -> Command {
    let mut cmd = command("gnutls-cli", ["--port", &c.to.port().to_string()]);
    cmd.arg("--x509cafile").arg(&pki().ca);
    let versions = match c.version {
        Some(Version::Tls12) => ":-VERS-ALL:+VERS-TLS1.2",
        Some(Version::Tls13) => ":-VERS-ALL:+VERS-TLS1.3",
        None => "",
    };
    let groups = c.groups.map(|g| format!(":-GROUP-ALL:{g}")).unwrap_or_default();
    cmd.arg(format!("--priority=NORMAL{versions}{groups}"));
    match c.name {
        Some(name) => cmd.arg(format!("--sni-hostname={name}")).arg(format!("--verify-hostname={name}")),
        None => cmd.args(["--disable-sni", "--no-ca-verification"]),
    };
    if let Some(i) = c.identity {
        cmd.arg("--x509certfile").arg(&i.cert).arg("--x509keyfile").arg(&i.key);
    }
    for protocol in c.alpn.iter().flat_map(|a| a.split(',')) {
        cmd.arg(format!("--alpn={protocol}"));
    }
    cmd.args(&c.extra).arg(c.to.ip().to_string());
    cmd
}
