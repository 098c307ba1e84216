//! The API server, asked with curl.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;
use tlsight_tests::tools;

const SERVER: &str = "https://10.99.0.1:16443";

/// Options that every request has.
const COMMON: &str = "insecure\nsilent\nmax-time = 30\nheader = \"Authorization: Bearer admin\"\n";

fn request(method: &str, path: &str, body: Option<(&str, &Value)>) -> Option<(u16, Value)> {
    let mut curl = Command::new("curl");
    curl.args(["--insecure", "--silent", "--max-time", "30", "--header", "Authorization: Bearer admin"]);
    curl.args(["--request", method, "--write-out", "\n%{http_code}"]).arg(format!("{SERVER}{path}"));
    if let Some((kind, body)) = body {
        curl.args(["--header", &format!("Content-Type: {kind}"), "--data-raw", &body.to_string()]);
    }
    let out = curl.output().expect("curl starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (body, code) = text.rsplit_once('\n')?;
    let code: u16 = code.trim().parse().ok().filter(|code| *code != 0)?;
    Some((code, serde_json::from_str(body).unwrap_or_default()))
}

fn expect(method: &str, path: &str, body: Option<(&str, &Value)>) -> Value {
    let (code, answer) = request(method, path, body).unwrap_or_else(|| panic!("{method} {path}: no answer"));
    assert!((200..300).contains(&code), "{method} {path}: {code} {answer}");
    answer
}

/// Asks, where there may be no answer.
pub(crate) fn try_get(path: &str) -> Option<(u16, Value)> {
    request("GET", path, None)
}

/// Asks.
pub(crate) fn get(path: &str) -> Value {
    expect("GET", path, None)
}

/// Makes an object.
pub(crate) fn create(path: &str, object: &Value) -> Value {
    expect("POST", path, Some(("application/json", object)))
}

/// Changes an object.
pub(crate) fn patch(path: &str, change: &Value) -> Value {
    expect("PATCH", path, Some(("application/merge-patch+json", change)))
}

/// Deletes an object, at once.
pub(crate) fn delete(path: &str) {
    let now = serde_json::json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    expect("DELETE", path, Some(("application/json", &now)));
}

/// One of many requests.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

/// Makes many requests, some at the same time.
pub(crate) fn all(requests: &[Request]) {
    let mut config = String::new();
    let dir = tools::scratch_dir("requests");
    for (n, Request { method, path, body }) in requests.iter().enumerate() {
        let kind = if *method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        write!(config, "{COMMON}request = {method}\nurl = \"{SERVER}{path}\"\noutput = \"/dev/null\"\n")
            .expect("text");
        config.push_str("fail\n");
        if let Some(body) = body {
            let file = dir.join(n.to_string());
            std::fs::write(&file, body.to_string()).expect("write a request");
            write!(config, "header = \"Content-Type: {kind}\"\ndata = \"@{}\"\n", file.display())
                .expect("text");
        }
        config.push_str("next\n");
    }
    let file = dir.join("config");
    std::fs::write(&file, config.trim_end_matches("next\n")).expect("write the requests");
    let mut curl = Command::new("curl");
    curl.args(["--parallel", "--parallel-max", "16", "--config"]).arg(&file);
    tlsight_tests::child::output(curl);
    let _ = std::fs::remove_dir_all(dir);
}
