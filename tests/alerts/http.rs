//! Questions to Prometheus and the agent, in as little HTTP as that takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Status and body of an answer; `None` where nobody answers.
pub(crate) fn get(at: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut connection = TcpStream::connect_timeout(&at, Duration::from_secs(2)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    // 1.0: the answer ends with the connection, in one piece.
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Every byte as a query string takes it.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What Prometheus answers to a query now: labels and value of each series.
pub(crate) fn query(prometheus: SocketAddr, query: &str) -> Vec<(Value, f64)> {
    let path = format!("/api/v1/query?query={}", escaped(query));
    let (status, body) = get(prometheus, &path).expect("Prometheus answers");
    assert_eq!(status, 200, "{query}: {body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let series = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {body}"));
    let value = |of: &Value| of["value"][1].as_str().and_then(|text| text.parse().ok());
    series.iter().map(|of| (of["metric"].clone(), value(of).unwrap_or(f64::NAN))).collect()
}
