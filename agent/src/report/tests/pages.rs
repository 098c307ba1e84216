//! The formats.

use super::*;
use crate::report::cbom::cbom;
use crate::report::markdown::markdown;
use crate::report::text::text;

fn everything() -> Report {
    report_of(&[
        line(
            1,
            "client",
            "mtls",
            json!({"tls.protocol.name": "tls", "tls.protocol.version": "1.3",
            "tls.cipher": "TLS_AES_128_GCM_SHA256", "tls.curve": "X25519MLKEM768",
            "tls.server.hash.sha256": "AB".repeat(32), "tls.server.subject": "CN=db",
            "tls.server.not_after": "2026-02-01T00:00:00Z", "tlsight.server.key_algorithm": "EC",
            "tlsight.server.key_curve": "P-256", "tlsight.server.key_bits": 256,
            "tlsight.server.signature_algorithm": "ecdsa-with-SHA256"}),
        ),
        line(
            2,
            "client",
            "plaintext",
            json!({"network.protocol.name": "http", "tlsight.findings": ["plaintext_traffic"]}),
        ),
    ])
}

#[test]
fn a_report_survives_the_way_through_json() {
    let report = everything();
    let json = serde_json::to_string(&report).expect("JSON");
    assert_eq!(serde_json::from_str::<Report>(&json).expect("a report"), report);
}

#[test]
fn names_from_the_wire_can_neither_move_the_cursor_nor_make_markup() {
    let report = report_of(&[line(
        1,
        "client",
        "plaintext",
        json!({
        "tlsight.peer.k8s.workload.kind": "\u{1b}[2J", "tlsight.peer.k8s.workload.name": "<b>|\n# x", "network.protocol.name": "h\u{202e}"}),
    )]);
    let (text, markdown) = (text(&report), markdown(&report));
    for page in [&text, &markdown] {
        assert!(!page.contains(['\u{1b}', '\u{202e}']), "{page:?}");
    }
    assert!(!markdown.contains("<b>") && !markdown.contains("\n# x"), "{markdown}");
}

#[test]
fn nothing_seen_is_a_report_too() {
    let report = report_of(&[]);
    let page = text(&report);
    assert!(page.contains("Nothing was seen.") && page.contains("No service was seen."), "{page}");
    assert_eq!(cbom(&report)["components"], json!([]));
}

#[test]
fn every_reference_of_the_bill_of_materials_has_its_component() {
    let bom = cbom(&everything());
    let references: Vec<&str> = ["components", "services"]
        .iter()
        .flat_map(|list| bom[*list].as_array().expect("a list"))
        .map(|component| component["bom-ref"].as_str().expect("a reference"))
        .collect();
    let mut sorted = references.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), references.len(), "references are unique");
    fn mentioned<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    if key.ends_with("Ref") || matches!(key.as_str(), "ref" | "dependsOn" | "algorithms") {
                        match value {
                            Value::String(text) => found.push(text),
                            Value::Array(list) => found.extend(list.iter().filter_map(Value::as_str)),
                            _ => {}
                        }
                    } else {
                        mentioned(value, found);
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| mentioned(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    mentioned(&bom, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        assert!(references.contains(&reference), "{reference} is nowhere in\n{bom:#}");
    }
    assert_eq!(bom, cbom(&everything()), "the same report is the same document");
    let depends = |of: &str| {
        let all = bom["dependencies"].as_array().expect("a list");
        all.iter().find(|d| d["ref"] == of).expect("a dependency")["dependsOn"].clone()
    };
    assert_eq!(
        depends("service/10.0.0.2:443"),
        json!([
            "crypto/algorithm/X25519MLKEM768",
            format!("crypto/certificate/{}", "ab".repeat(32)),
            "crypto/protocol/TLS 1.3"
        ])
    );
    assert_eq!(
        depends("crypto/algorithm/X25519MLKEM768"),
        json!(["crypto/algorithm/MLKEM768", "crypto/algorithm/x25519"])
    );
}

#[test]
fn endpoints_of_the_bill_of_materials_are_iris() {
    let v6 = json!({"network.local.address": "::1", "network.peer.address": "::1"});
    let bom = cbom(&report_of(&[line(1, "client", "tls", json!({})), line(2, "client", "tls", v6)]));
    let endpoints = |n: usize| bom["services"][n]["endpoints"].clone();
    assert_eq!(
        [endpoints(0), endpoints(1)],
        [json!(["tcp://10.0.0.2:443"]), json!(["tcp://[0:0:0:0:0:0:0:1]:443"])]
    );
}
