//! Servers: how each is configured and started, and how to tell that it listens.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::client::java;
use super::{Ask, Version, listen_address, loopback};
use crate::child::{Child, command};
use crate::host::{free_port, wait_until_listening};
use crate::pki::{Identity, pki};
use crate::tools;

/// Long enough for a JVM or Envoy on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);

/// What a server is told to do.
#[derive(Clone, Debug)]
pub struct ServerConfig<'a> {
    /// Whether it asks for a client certificate.
    pub ask: Ask,
    /// Its own certificate.
    pub identity: &'a Identity,
    /// Where it listens; `None` is every IPv4 address.
    pub address: Option<IpAddr>,
    /// Only this version, or both.
    pub version: Option<Version>,
    /// ALPN protocols it takes, comma-separated.
    pub alpn: Option<&'a str>,
    /// Groups it takes, in the spelling of the stack.
    pub groups: Option<&'a str>,
    /// More arguments.
    pub extra: Vec<String>,
}

impl<'a> ServerConfig<'a> {
    /// A server that asks as told and shows `identity`.
    pub fn new(ask: Ask, identity: &'a Identity) -> Self {
        Self { ask, identity, address: None, version: None, alpn: None, groups: None, extra: Vec::new() }
    }

    /// With more arguments.
    #[must_use]
    pub fn extra(mut self, args: &[&str]) -> Self {
        self.extra.extend(args.iter().map(|a| (*a).to_owned()));
        self
    }
}

/// A program that can be a TLS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerStack {
    /// `openssl s_server`.
    OpenSsl,
    /// nginx.
    Nginx,
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
    /// `gnutls-serv`.
    GnuTls,
    /// rustls.
    Rustls,
    /// Envoy (BoringSSL).
    Envoy,
    /// Caddy (Go).
    Caddy,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// The process that was started; it may have workers.
    pub child: Child,
    /// Where it listens.
    pub port: u16,
}

impl ServerStack {
    /// Every server.
    pub const ALL: [ServerStack; 11] = [
        ServerStack::OpenSsl,
        ServerStack::Nginx,
        ServerStack::Python,
        ServerStack::Asyncio,
        ServerStack::Node,
        ServerStack::Go,
        ServerStack::Java,
        ServerStack::GnuTls,
        ServerStack::Rustls,
        ServerStack::Envoy,
        ServerStack::Caddy,
    ];

    /// Whether what it parses can be seen: there are no probes for JSSE, rustls and BoringSSL.
    pub const fn is_probed(self) -> bool {
        !matches!(self, ServerStack::Java | ServerStack::Rustls | ServerStack::Envoy)
    }

    /// Starts a server and waits until it listens.
    pub fn start(self, c: &ServerConfig<'_>) -> Server {
        let port = free_port();
        self.wait_for(Child::spawn(self.command(c, port)), port, c.address)
    }

    /// The same without one of the arguments it is started with otherwise.
    pub fn start_without(self, c: &ServerConfig<'_>, argument: &str) -> Server {
        let port = free_port();
        let with = self.command(c, port);
        let mut cmd = Command::new(with.get_program());
        cmd.args(with.get_args().filter(|a| *a != argument));
        self.wait_for(Child::spawn_with_input(cmd, Some(Vec::new()), |_| None), port, c.address)
    }

    fn wait_for(self, child: Child, port: u16, address: Option<IpAddr>) -> Server {
        match self {
            ServerStack::Python
            | ServerStack::Asyncio
            | ServerStack::Node
            | ServerStack::Go
            | ServerStack::Java
            | ServerStack::Rustls => drop(child.wait_for_line("listening", LIMIT)),
            _ => {
                let up = wait_until_listening(loopback(address, port), LIMIT, || child.is_running());
                assert!(up, "{child:?} does not listen on port {port}; it said:\n{}", child.text());
            }
        }
        Server { child, port }
    }

    /// The command line, for a server that is started in a special place.
    pub fn command_line(self, c: &ServerConfig<'_>, port: u16) -> Command {
        self.command(c, port)
    }

    fn command(self, c: &ServerConfig<'_>, port: u16) -> Command {
        match self {
            ServerStack::OpenSsl => openssl(c, port),
            ServerStack::Nginx => nginx(c, port),
            ServerStack::GnuTls => gnutls(c, port),
            ServerStack::Envoy => envoy(c, port),
            ServerStack::Caddy => caddy(c, port),
            ServerStack::Python => {
                peer(command(tools::venv("python3"), [tools::peer_source("python/blocking.py")]), c, port)
            }
            ServerStack::Asyncio => {
                peer(command(tools::venv("python3"), [tools::peer_source("python/aio.py")]), c, port)
            }
            ServerStack::Node => peer(command("node", [tools::peer_source("node/peer.js")]), c, port),
            ServerStack::Go => peer(command(tools::go_peer(), [""; 0]), c, port),
            ServerStack::Java => peer(java(c.groups), c, port),
            ServerStack::Rustls => peer(command(tools::rustls_peer(), [""; 0]), c, port),
        }
    }
}

fn peer(mut cmd: Command, c: &ServerConfig<'_>, port: u16) -> Command {
    let ask = match c.ask {
        Ask::Never => "none",
        Ask::Optional => "optional",
        Ask::Required => "require",
    };
    cmd.arg("server").args([
        "--address",
        &listen_address(c.address),
        "--port",
        &port.to_string(),
        "--ask",
        ask,
    ]);
    cmd.arg("--ca").arg(&pki().ca).arg("--cert").arg(&c.identity.cert).arg("--key").arg(&c.identity.key);
    let optional = [("--alpn", c.alpn), ("--groups", c.groups), ("--tls", c.version.map(Version::as_str))];
    for (flag, value) in optional {
        if let Some(value) = value {
            cmd.args([flag, value]);
        }
    }
    cmd.args(&c.extra);
    cmd
}

fn openssl(c: &ServerConfig<'_>, port: u16) -> Command {
    let at = match c.address {
        Some(IpAddr::V6(a)) => format!("[{a}]:{port}"),
        _ => format!("{}:{port}", listen_address(c.address)),
    };
    let mut cmd = command("openssl", ["s_server", "-www", "-accept", &at]);
    cmd.arg("-cert").arg(&c.identity.cert).arg("-key").arg(&c.identity.key).arg("-CAfile").arg(&pki().ca);
    if c.identity.chain_length > 1 {
        cmd.arg("-cert_chain").arg(&c.identity.issuers);
    }
    match c.ask {
        Ask::Never => {}
        Ask::Optional => drop(cmd.args(["-verify", "4", "-verify_return_error"])),
        Ask::Required => drop(cmd.args(["-Verify", "4", "-verify_return_error"])),
    }
    match c.version {
        Some(Version::Tls12) => drop(cmd.arg("-tls1_2")),
        Some(Version::Tls13) => drop(cmd.arg("-tls1_3")),
        None => {}
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

fn gnutls(c: &ServerConfig<'_>, port: u16) -> Command {
    let mut cmd = command("gnutls-serv", ["--http", "--port", &port.to_string()]);
    cmd.arg("--x509certfile").arg(&c.identity.cert).arg("--x509keyfile").arg(&c.identity.key);
    cmd.arg("--x509cafile").arg(&pki().ca);
    match c.ask {
        Ask::Never => drop(cmd.arg("--disable-client-cert")),
        Ask::Optional => {}
        Ask::Required => drop(cmd.args(["--require-client-cert", "--verify-client-cert"])),
    }
    for protocol in c.alpn.iter().flat_map(|a| a.split(',')) {
        cmd.arg(format!("--alpn={protocol}"));
    }
    let groups = c.groups.map(|g| format!(":-GROUP-ALL:{g}")).unwrap_or_default();
    let versions = match c.version {
        Some(Version::Tls12) => ":-VERS-ALL:+VERS-TLS1.2",
        Some(Version::Tls13) => ":-VERS-ALL:+VERS-TLS1.3",
        None => "",
    };
    cmd.arg(format!("--priority=NORMAL{versions}{groups}"));
    cmd.args(&c.extra);
    cmd
}

fn nginx(c: &ServerConfig<'_>, port: u16) -> Command {
    let dir = tools::scratch_dir("nginx");
    let at = match c.address {
        Some(IpAddr::V6(a)) => format!("[{a}]:{port}"),
        _ => format!("{}:{port}", listen_address(c.address)),
    };
    let verify = match c.ask {
        Ask::Never => "off",
        Ask::Optional => "optional",
        Ask::Required => "on",
    };
    let http2 = if c.alpn.is_some_and(|a| a.contains("h2")) { " http2" } else { "" };
    let conf = format!(
        "daemon off;\nworker_processes 2;\npid {dir}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
         access_log off;\nclient_body_temp_path {dir}/b;\nproxy_temp_path {dir}/p;\nfastcgi_temp_path {dir}/f;\n\
         uwsgi_temp_path {dir}/u;\nscgi_temp_path {dir}/s;\nserver {{\nlisten {at} ssl{http2} backlog=64;\n\
         ssl_certificate {cert};\nssl_certificate_key {key};\nssl_protocols TLSv1.2 TLSv1.3;\n\
         ssl_session_cache shared:s:1m;\nssl_verify_client {verify};\nssl_verify_depth 4;\n\
         ssl_client_certificate {ca};\nlocation / {{ return 200 \"hello\\n\"; }}\n}}\n}}\n",
        dir = dir.display(),
        cert = c.identity.cert.display(),
        key = c.identity.key.display(),
        ca = pki().ca.display(),
    );
    let file = write(&dir, "nginx.conf", &conf);
    command("/usr/sbin/nginx", ["-p", &dir.to_string_lossy(), "-e", "stderr", "-c", &file])
}

fn envoy(c: &ServerConfig<'_>, port: u16) -> Command {
    let dir = tools::scratch_dir("envoy");
    let ca = pki().ca.display();
    let validation = match c.ask {
        Ask::Never => String::new(),
        _ => format!("\n            validation_context: {{ trusted_ca: {{ filename: \"{ca}\" }} }}"),
    };
    let conf = format!(
        r#"static_resources:
  listeners:
  - address: {{ socket_address: {{ address: "{address}", port_value: {port} }} }}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: {required}
          common_tls_context:
            tls_params: {{ tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - certificate_chain: {{ filename: "{cert}" }}
              private_key: {{ filename: "{key}" }}{validation}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: t
          codec_type: AUTO
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                direct_response: {{ status: 200, body: {{ inline_string: "hello\n" }} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#,
        address = listen_address(c.address),
        required = c.ask == Ask::Required,
        cert = c.identity.cert.display(),
        key = c.identity.key.display(),
    );
    let file = write(&dir, "envoy.yaml", &conf);
    command(
        tools::envoy(),
        ["--config-path", &file, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"],
    )
}

fn caddy(c: &ServerConfig<'_>, port: u16) -> Command {
    let dir = tools::scratch_dir("caddy");
    let client_auth = |mode: &str| {
        format!(" client_auth {{\nmode {mode}\ntrust_pool file {{ pem_file {} }}\n}}\n", pki().ca.display())
    };
    let auth = match c.ask {
        Ask::Never => String::new(),
        Ask::Optional => client_auth("verify_if_given"),
        Ask::Required => client_auth("require_and_verify"),
    };
    let auth = auth.replace("file { pem_file", "file {\npem_file").replace(".pem }", ".pem\n}");
    // No site name: whatever SNI comes, or none, is served with the one certificate.
    let conf = format!(
        "{{\nadmin off\nauto_https off\ndefault_sni {name}\nservers {{ protocols h1 h2 }}\n}}\n\
         https://{name}:{port}, https://:{port} {{\ntls {cert} {key} {{\nprotocols tls1.2 tls1.3\n{auth}}}\nrespond \"hello\n\"\n}}\n",
        name = crate::pki::SERVER_NAME,
        cert = c.identity.cert.display(),
        key = c.identity.key.display(),
    );
    let conf = conf.replace("servers { protocols h1 h2 }", "servers {\nprotocols h1 h2\n}");
    let file = write(&dir, "Caddyfile", &conf);
    let mut cmd = command(tools::venv("caddy"), ["run", "--adapter", "caddyfile", "--config", &file]);
    cmd.env("XDG_DATA_HOME", &dir).env("XDG_CONFIG_HOME", &dir).env("HOME", &dir);
    cmd
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    std::fs::write(&file, text).expect("write a configuration");
    file.to_string_lossy().into_owned()
}
