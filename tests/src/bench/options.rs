//! What is measured, and for how long.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The command line of the program that measures.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds; everything beside the load has one turn in each.
    pub rounds: usize,
    /// Seconds of load in each turn.
    pub seconds: f64,
    /// Only loads and figures whose name contains one of these.
    pub only: Vec<String>,
    /// Where every number is written.
    pub json: Option<PathBuf>,
    /// TLS handshakes in the capture file that is read.
    pub handshakes: u32,
    /// The program that reads a capture file with one TLS parser or another; without it they are not compared.
    pub parsers: Option<PathBuf>,
}

impl Options {
    /// From flags and their values.
    pub fn parse(words: &[String]) -> Result<Options> {
        let mut options = Options {
            rounds: 5,
            seconds: 1.5,
            only: Vec::new(),
            json: None,
            handshakes: 100_000,
            parsers: None,
        };
        for pair in words.chunks(2) {
            let [flag, value] = pair else { bail!("{pair:?}: a flag and its value") };
            match flag.as_str() {
                "--rounds" => options.rounds = value.parse().context("--rounds")?,
                "--seconds" => options.seconds = value.parse().context("--seconds")?,
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                "--json" => options.json = Some(value.into()),
                "--handshakes" => options.handshakes = value.parse().context("--handshakes")?,
                "--parsers" => options.parsers = Some(value.into()),
                _ => {
                    bail!("{flag}? known are --rounds, --seconds, --only, --json, --handshakes and --parsers")
                }
            }
        }
        Ok(options)
    }

    /// Whether something of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }
}
