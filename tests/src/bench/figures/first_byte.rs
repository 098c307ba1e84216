//! From the first byte of a connection in plaintext until a scrape shows it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Figure;
use crate::bench::beside::{self, label};
use crate::bench::numbers::Numbers;
use crate::bench::options::Options;
use crate::bench::row::Row;
use crate::host::pause;
use crate::service::Service;

pub(super) const FIGURE: Figure = Figure { name: "first byte to metric", run };

/// What is sent, and what it is called. A protocol that is not known is told by its silence.
const SENT: [(&str, &[u8]); 2] =
    [("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ("no known protocol", b"hello\r\n")];

fn run(options: &Options) -> Result<Vec<Row>> {
    let agent = beside::agent();
    let mut rows = Vec::new();
    for (name, bytes) in SENT {
        let mut millis = Numbers::default();
        for _ in 0..options.rounds {
            millis.0.push(once(&agent, bytes)?.as_secs_f64() * 1000.0);
        }
        // The budget is for bytes that say what they are.
        let has_budget = name == "HTTP";
        rows.push(Row {
            what: format!("first byte of plaintext ({name}) to metric, in ms"),
            measured: millis.text(0),
            budget: if has_budget { "<= 1000" } else { "" },
            met: has_budget.then(|| millis.median() <= 1000.0),
            numbers: millis.json(),
        });
    }
    agent.stop();
    Ok(rows)
}

fn once(agent: &Service, bytes: &[u8]) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    let mut client = TcpStream::connect(at)?;
    let (mut server, _) = listener.accept()?;
    let endpoint: SocketAddr = agent.url.trim_start_matches("http://").parse()?;
    let (start, limit) = (Instant::now(), Duration::from_secs(20));
    client.write_all(bytes)?;
    let mut received = vec![0; bytes.len()];
    server.read_exact(&mut received)?;
    while start.elapsed() < limit {
        if seen(endpoint, at.port())? {
            return Ok(start.elapsed());
        }
        pause(Duration::from_millis(2));
    }
    bail!("no metric of port {} within {limit:?}", at.port())
}

/// Whether a scrape tells of plaintext at this port.
fn seen(endpoint: SocketAddr, port: u16) -> Result<bool> {
    let mut stream = TcpStream::connect(endpoint)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut body = String::new();
    stream.read_to_string(&mut body).context("a scrape")?;
    let port = port.to_string();
    Ok(body.lines().any(|line| {
        line.starts_with("tlsight_connections_total{")
            && label(line, "server_port") == Some(port.as_str())
            && label(line, "tlsight_security").or(label(line, "security")) == Some("plaintext")
    }))
}
