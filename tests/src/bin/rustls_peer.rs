//! A TLS server and client on rustls; it takes the same arguments as the other peer programs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion, version,
};
use serde_json::json;

type Args = HashMap<String, String>;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: server.tlsight.test\r\nConnection: close\r\n\r\n";
const RESPONSE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let mode = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let args: Args = words
        .chunks_exact(2)
        .map(|pair| (pair[0].trim_start_matches("--").to_owned(), pair[1].clone()))
        .collect();
    if mode == "server" { server(&args) } else { client(&args) }
}

fn provider(args: &Args) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(groups) = args.get("groups") {
        let wanted = |name: &str| match name {
            "P-256" => aws_lc_rs::kx_group::SECP256R1,
            "P-384" => aws_lc_rs::kx_group::SECP384R1,
            "X25519" => aws_lc_rs::kx_group::X25519,
            "X25519MLKEM768" => aws_lc_rs::kx_group::X25519MLKEM768,
            other => panic!("group {other}?"),
        };
        provider.kx_groups = groups.split(',').map(wanted).collect();
    }
    Arc::new(provider)
}

static ONLY_TLS12: [&SupportedProtocolVersion; 1] = [&version::TLS12];
static ONLY_TLS13: [&SupportedProtocolVersion; 1] = [&version::TLS13];

fn versions(args: &Args) -> &'static [&'static SupportedProtocolVersion] {
    match args.get("tls").map(String::as_str) {
        Some("1.2") => &ONLY_TLS12,
        Some("1.3") => &ONLY_TLS13,
        _ => rustls::ALL_VERSIONS,
    }
}

fn roots(args: &Args) -> anyhow::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&args["ca"])?)?;
    Ok(Arc::new(roots))
}

fn identity(args: &Args) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_file_iter(&args["cert"])?.collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_file(&args["key"])?))
}

fn alpn(args: &Args) -> Vec<Vec<u8>> {
    args.get("alpn").iter().flat_map(|a| a.split(',')).map(|p| p.as_bytes().to_vec()).collect()
}

fn server(args: &Args) -> anyhow::Result<()> {
    let builder =
        ServerConfig::builder_with_provider(provider(args)).with_protocol_versions(versions(args))?;
    let verifier =
        || roots(args).map(|roots| WebPkiClientVerifier::builder_with_provider(roots, provider(args)));
    let builder = match args.get("ask").map(String::as_str) {
        Some("optional") => builder.with_client_cert_verifier(verifier()?.allow_unauthenticated().build()?),
        Some("require") => builder.with_client_cert_verifier(verifier()?.build()?),
        _ => builder.with_no_client_auth(),
    };
    let (chain, key) = identity(args)?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = alpn(args);
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    let config = Arc::new(config);
    let address = args.get("address").map_or("0.0.0.0", String::as_str);
    let listener = TcpListener::bind((address, args["port"].parse::<u16>()?))?;
    println!("listening");
    for conn in listener.incoming() {
        let (conn, config) = (conn?, config.clone());
        thread::spawn(move || serve(conn, config).unwrap_or_else(|e| println!("connection failed: {e}")));
    }
    Ok(())
}

fn serve(conn: TcpStream, config: Arc<ServerConfig>) -> anyhow::Result<()> {
    let mut tls = StreamOwned::new(ServerConnection::new(config)?, conn);
    let mut line = String::new();
    {
        let mut reader = BufReader::new(&mut tls);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
    }
    tls.write_all(RESPONSE.as_bytes())?;
    tls.conn.send_close_notify();
    tls.flush()?;
    Ok(())
}

fn client(args: &Args) -> anyhow::Result<()> {
    let builder =
        ClientConfig::builder_with_provider(provider(args)).with_protocol_versions(versions(args))?;
    let builder = builder.with_root_certificates(roots(args)?);
    let mut config = if args.contains_key("cert") {
        let (chain, key) = identity(args)?;
        builder.with_client_auth_cert(chain, key)?
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = alpn(args);
    config.enable_sni = args.contains_key("name");
    config.enable_early_data = args.contains_key("early-data");
    let config = Arc::new(config);
    for _ in 0..args.get("times").map_or(Ok(1), |t| t.parse::<u32>())? {
        let said = once(args, config.clone()).unwrap_or_else(|e| json!({ "error": e.to_string() }));
        println!("{said}");
    }
    Ok(())
}

fn once(args: &Args, config: Arc<ClientConfig>) -> anyhow::Result<serde_json::Value> {
    let conn = TcpStream::connect((args["address"].as_str(), args["port"].parse::<u16>()?))?;
    // Without SNI the certificate is checked against the address that every server certificate here names.
    let name = args.get("name").map_or("127.0.0.1", String::as_str).to_owned();
    let mut tls = StreamOwned::new(ClientConnection::new(config, ServerName::try_from(name)?)?, conn);
    tls.write_all(REQUEST.as_bytes())?;
    let mut body = String::new();
    tls.read_to_string(&mut body)?;
    tls.conn.send_close_notify();
    // The server may be gone already, having said all it had to say.
    let _ = tls.flush();
    let c = &tls.conn;
    Ok(json!({
        "version": match c.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
            _ => "?",
        },
        "cipher": c.negotiated_cipher_suite().map(|s| format!("{:?}", s.suite())),
        "group": c.negotiated_key_exchange_group().map(|g| format!("{:?}", g.name())),
        "alpn": c.alpn_protocol().map(String::from_utf8_lossy),
        "resumed": c.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        "body": body,
    }))
}
