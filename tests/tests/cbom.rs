//! What `tlsight report -o cbom` writes is CycloneDX 1.6 to the library of its makers.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tlsight_tests::agent::binary;
use tlsight_tests::tools::{repository, venv};

/// Prints what is wrong with the document on standard input.
const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
print(error if error else 'valid', end='')
";

fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let mut to = child.stdin.take().expect("piped");
    // Both read all of it before they write.
    to.write_all(input).expect("write");
    drop(to);
    child.wait_with_output().expect("its end")
}

/// What the library has against a document; nothing, where it is valid.
fn wrong_with(document: &Value) -> Option<String> {
    let mut python = Command::new(venv("python3"));
    python.args(["-c", VALIDATE]);
    let output = with_input(python, document.to_string().as_bytes());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (text != "valid").then_some(text)
}

fn bill(files: &[PathBuf], input: &[u8]) -> Value {
    let mut tlsight = Command::new(binary());
    tlsight.args(["report", "-o", "cbom", "--now", "2026-11-22", "--no-system-roots"]).args(files);
    let output = with_input(tlsight, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn of_captures() -> Value {
    let folder = repository().join("tests/captures");
    let files = std::fs::read_dir(folder).expect("tests/captures").map(|entry| entry.expect("a file").path());
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng");
    let mut files: Vec<PathBuf> = files.filter(is_capture).collect();
    files.sort();
    assert!(files.len() > 5);
    bill(&files, b"")
}

#[test]
fn captures_give_valid_bills() {
    let bill = of_captures();
    assert_eq!(wrong_with(&bill), None);
    let kinds = |kind: &str| {
        let all = bill["components"].as_array().expect("a list");
        all.iter().filter(|c| c["cryptoProperties"]["assetType"] == kind).count()
    };
    let counts =
        ["algorithm", "certificate", "protocol", "related-crypto-material"].map(|kind| kinds(kind) > 0);
    assert_eq!(counts, [true; 4], "{bill:#}");
}

#[test]
fn strange_input_gives_valid_bills() {
    let line = json!({
        "timestamp": "2026-01-01T10:00:00Z", "tlsight.connection": 1, "tlsight.phase": "final",
        "tlsight.security": "tls", "tlsight.role": "client",
        "network.local.address": "::1", "network.local.port": 1, "network.peer.address": "::1", "network.peer.port": 2,
        "tls.protocol.name": "ssl", "tls.protocol.version": "3", "tls.cipher": "0xBEEF", "tls.curve": "0x6666",
        "tls.server.hash.sha256": "no digest", "tls.server.subject": "", "tlsight.server.key_algorithm": "1.2.3",
        "tlsight.server.signature_algorithm": "2.3.4",
    });
    assert_eq!(wrong_with(&bill(&["-".into()], format!("{line}\n").as_bytes())), None);
    assert_eq!(wrong_with(&bill(&["-".into()], b"{\"tlsight.event\":\"certificate_replaced\"}\n")), None);
}

#[test]
fn the_library_tells_what_is_wrong() {
    let mut bill = of_captures();
    let components = bill["components"].as_array_mut().expect("a list");
    let algorithm = components.iter_mut().find(|c| c["cryptoProperties"]["assetType"] == "algorithm");
    algorithm.expect("an algorithm")["cryptoProperties"]["algorithmProperties"]["nistQuantumSecurityLevel"] =
        json!(9);
    assert!(wrong_with(&bill).is_some_and(|error| error.contains('9')));
}
