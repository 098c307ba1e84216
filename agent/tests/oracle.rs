//! What tlsight reads in the recorded captures is what tshark reads: server name, version, cipher, serial numbers,
//! JA3.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use agent_core::tls::codepoints::{CipherSuite, ProtocolVersion};
use serde_json::Value;

/// Both ends, as `address:port`: the client, then the server.
type Ends = (String, String);

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Facts {
    server_name: Option<String>,
    version: Option<String>,
    cipher: Option<String>,
    server_serial: Option<String>,
    client_serial: Option<String>,
    ja3: Option<String>,
}

#[test]
fn tshark_reads_the_same() {
    let mut compared = 0;
    for capture in common::captures() {
        let (ours, followed) = by_tlsight(&capture);
        let theirs = by_tshark(&capture, &followed);
        for (ends, facts) in &ours {
            match theirs.get(ends) {
                Some(other) => assert_eq!(facts, other, "{}: {ends:?}", capture.display()),
                None => panic!("{}: only tlsight sees {ends:?}", capture.display()),
            }
            compared += facts.len();
        }
        for ends in theirs.keys() {
            assert!(ours.contains_key(ends), "{}: only tshark sees {ends:?}", capture.display());
        }
    }
    assert!(compared >= 20, "only {compared} handshakes were compared");
}

/// Handshakes with a ServerHello by their ends, sorted: ports may be used more than once; and how tshark must be told to
/// decode a server's port, which it does not find out by itself where segments are small or another protocol comes first.
fn by_tlsight(capture: &Path) -> (BTreeMap<Ends, Vec<Facts>>, BTreeSet<String>) {
    let mut found: BTreeMap<Ends, Vec<Facts>> = BTreeMap::new();
    let mut followed = BTreeSet::new();
    for o in common::observations(capture) {
        let string = |key: &str| o.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
        if string("tlsight.phase").as_deref() != Some("final") || o.get("tls.protocol.version").is_none() {
            continue;
        }
        let end = |side: &str| {
            format!(
                "{}:{}",
                o[format!("network.{side}.address")].as_str().expect("address"),
                o[format!("network.{side}.port")]
            )
        };
        let ends = (end("local"), end("peer"));
        let dissector = match string("network.protocol.name").as_deref() {
            Some("postgresql") => "pgsql",
            Some("mysql") => "mysql",
            Some("smtp") => "smtp",
            _ => "tls",
        };
        followed.insert(format!("tcp.port=={},{dissector}", o["network.peer.port"]));
        // Of a resumed session tlsight remembers the certificates; tshark reads what is there: none.
        let fresh = o.get("tls.resumed") != Some(&Value::Bool(true));
        found.entry(ends).or_default().push(Facts {
            server_name: string("tlsight.server_name"),
            version: string("tls.protocol.version"),
            cipher: string("tls.cipher"),
            server_serial: string("tlsight.server.serial").filter(|_| fresh),
            client_serial: string("tlsight.client.serial").filter(|_| fresh),
            ja3: string("tls.client.ja3"),
        });
    }
    found.values_mut().for_each(|facts| facts.sort());
    (found, followed)
}

fn by_tshark(capture: &Path, followed: &BTreeSet<String>) -> BTreeMap<Ends, Vec<Facts>> {
    const FIELDS: [&str; 14] = [
        "tcp.stream",
        "ip.src",
        "ipv6.src",
        "tcp.srcport",
        "ip.dst",
        "ipv6.dst",
        "tcp.dstport",
        "tls.handshake.type",
        "tls.handshake.extensions_server_name",
        "tls.handshake.version",
        "tls.handshake.extensions.supported_version",
        "tls.handshake.ciphersuite",
        "x509af.serialNumber",
        "tls.handshake.ja3",
    ];
    let mut command = Command::new("tshark");
    command.args(["-n", "--enable-heuristic", "tls_tcp", "-r"]).arg(capture);
    command.args(["-o", "tcp.reassemble_out_of_order:TRUE"]);
    for port in followed {
        command.args(["-d", port]);
    }
    command.args(["-Y", "tls.handshake.type", "-T", "fields", "-E", "separator=|"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output =
        command.output().expect("tshark is needed for this test: install it (Debian package tshark)");
    assert!(output.status.success(), "tshark: {}", common::text(&output.stderr));

    let mut streams: BTreeMap<String, (Ends, bool, Facts)> = BTreeMap::new();
    for line in common::text(&output.stdout).lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [
            stream,
            src4,
            src6,
            source_port,
            dst4,
            dst6,
            destination_port,
            types,
            name,
            version,
            supported,
            cipher,
            serial,
            ja3,
        ] = fields.as_slice()
        else {
            panic!("tshark printed {line:?}")
        };
        let source = format!("{src4}{src6}:{source_port}");
        let destination = format!("{dst4}{dst6}:{destination_port}");
        let last = |list: &str| list.rsplit(',').next().filter(|s| !s.is_empty()).map(ToOwned::to_owned);
        let first = |list: &str| list.split(',').next().filter(|s| !s.is_empty()).map(ToOwned::to_owned);
        let has = |kind: &str| types.split(',').any(|t| t == kind);
        if has("1") {
            let fresh = || ((source.clone(), destination.clone()), false, Facts::default());
            let (_, _, facts) = streams.entry((*stream).to_owned()).or_insert_with(fresh);
            facts.server_name = first(name);
            // After a HelloRetryRequest there are two hellos; the fingerprint is of the first.
            facts.ja3 = facts.ja3.take().or_else(|| first(ja3));
        }
        let Some((ends, answered, facts)) = streams.get_mut(*stream) else { continue };
        if has("2") {
            *answered = true;
            // After a HelloRetryRequest the second ServerHello counts.
            let code = last(supported).or_else(|| last(version)).expect("version");
            facts.version = ProtocolVersion(number(&code)).otel_version().map(ToOwned::to_owned);
            facts.cipher = last(cipher).map(|c| CipherSuite(number(&c)).to_string());
        }
        if has("11") {
            // tshark prints the bytes of the DER integer, in which a leading zero is but a sign.
            let unsigned = |s: String| s.strip_prefix("00").map(ToOwned::to_owned).unwrap_or(s);
            let serial = first(serial).map(|s| unsigned(s.to_uppercase()));
            let side = if ends.0 == source { &mut facts.client_serial } else { &mut facts.server_serial };
            if side.is_none() {
                *side = serial;
            }
        }
    }
    let mut found: BTreeMap<Ends, Vec<Facts>> = BTreeMap::new();
    for (ends, answered, facts) in streams.into_values() {
        if answered {
            found.entry(ends).or_default().push(facts);
        }
    }
    found.values_mut().for_each(|facts| facts.sort());
    found
}

fn number(hex: &str) -> u16 {
    u16::from_str_radix(hex.trim_start_matches("0x"), 16).expect("hex number")
}
