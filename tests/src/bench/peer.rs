//! The ends of loads that need no program of somebody else: this program, run again as `bench peer WHAT ...`, so that each end
//! is a process of its own and may be in a network namespace of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Bytes written at a time.
const CHUNK: usize = 128 * 1024;

/// This program as a peer.
pub fn command(words: &[&str]) -> Command {
    let mut cmd = Command::new(std::env::current_exe().expect("this program"));
    cmd.arg("peer").args(words);
    cmd
}

/// Does what the words after `peer` say.
pub fn main(words: &[String]) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["sink", at] => sink(at.parse()?),
        ["send", at, seconds] => send(at.parse()?, seconds.parse()?),
        ["echo", at] => echo(at.parse()?),
        ["connect", at, seconds] => connect(at.parse()?, seconds.parse()?),
        ["http", at, seconds, connections] => http(at.parse()?, seconds.parse()?, connections.parse()?),
        ["hold", at, count] => hold(at.parse()?, count.parse()?),
        _ => bail!("{words:?} is no peer"),
    }
}

fn listen(at: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(at).context("listen")?;
    println!("listening");
    Ok(listener)
}

/// Reads whatever comes.
fn sink(at: SocketAddr) -> Result<()> {
    for stream in listen(at)?.incoming() {
        let mut stream = stream?;
        thread::spawn(move || {
            let mut buffer = vec![0; CHUNK];
            while matches!(stream.read(&mut buffer), Ok(n) if n > 0) {}
        });
    }
    Ok(())
}

/// Writes as much as fits.
fn send(at: SocketAddr, seconds: f64) -> Result<()> {
    let mut stream = TcpStream::connect(at)?;
    let (chunk, mut bytes) = (vec![b'x'; CHUNK], 0);
    let (start, end) = (Instant::now(), Duration::from_secs_f64(seconds));
    while start.elapsed() < end {
        stream.write_all(&chunk)?;
        bytes += chunk.len();
    }
    done(bytes, start);
    Ok(())
}

/// Sends back one line of each connection, and closes it.
fn echo(at: SocketAddr) -> Result<()> {
    let listener = listen(at)?;
    let serve = move |listener: TcpListener| {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut buffer = [0; 64];
            if let Ok(n) = stream.read(&mut buffer) {
                let _ = stream.write_all(&buffer[..n]);
            }
        }
    };
    let other = listener.try_clone()?;
    thread::spawn(move || serve(other));
    serve(listener);
    Ok(())
}

/// Opens connections one after the other, two at a time, a line each way.
fn connect(at: SocketAddr, seconds: f64) -> Result<()> {
    let (start, end) = (Instant::now(), Duration::from_secs_f64(seconds));
    let one = move || -> Result<usize> {
        let mut made = 0;
        while start.elapsed() < end {
            let mut stream = TcpStream::connect(at)?;
            stream.write_all(b"PING\r\n")?;
            let mut buffer = [0; 64];
            stream.read_exact(&mut buffer[..6])?;
            // The server closes first: its end, not this one's port, waits.
            let _ = stream.read(&mut buffer);
            made += 1;
        }
        Ok(made)
    };
    sum([thread::spawn(one), thread::spawn(one)], start)
}

/// Sends requests over connections that stay.
fn http(at: SocketAddr, seconds: f64, connections: usize) -> Result<()> {
    let (start, end) = (Instant::now(), Duration::from_secs_f64(seconds));
    let one = move || -> Result<usize> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        let (mut to, mut from) = (stream.try_clone()?, BufReader::new(stream));
        let (mut made, mut line) = (0, String::new());
        while start.elapsed() < end {
            to.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
            let mut length = 0;
            loop {
                line.clear();
                if from.read_line(&mut line)? == 0 {
                    bail!("the server closed");
                }
                if let Some(value) = line.strip_prefix("Content-Length: ") {
                    length = value.trim().parse()?;
                }
                if line == "\r\n" {
                    break;
                }
            }
            std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink())?;
            made += 1;
        }
        Ok(made)
    };
    sum((0..connections).map(|_| thread::spawn(one)), start)
}

/// Holds connections to a server that answers a line with a line, until its standard input ends.
fn hold(at: SocketAddr, count: usize) -> Result<()> {
    let mut held = Vec::with_capacity(count);
    for n in 0..count {
        // A client has 28,000 ports towards one address.
        let at = SocketAddr::new(([127, 0, 0, 1 + u8::try_from(n / 20_000)?]).into(), at.port());
        let mut stream = TcpStream::connect(at).with_context(|| format!("connection {n}"))?;
        stream.write_all(b"GET /held HTTP/1.1\r\n")?;
        held.push(stream);
    }
    println!("holding {}", held.len());
    let _ = std::io::stdin().read(&mut [0]);
    Ok(())
}

fn sum(threads: impl IntoIterator<Item = thread::JoinHandle<Result<usize>>>, start: Instant) -> Result<()> {
    let mut made = 0;
    for thread in threads {
        made += thread.join().expect("it does not panic")?;
    }
    done(made, start);
    Ok(())
}

fn done(made: usize, start: Instant) {
    println!("{made} {}", start.elapsed().as_secs_f64());
}
