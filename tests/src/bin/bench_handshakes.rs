//! What tlsight costs: full TLS 1.3 handshakes a second, and small requests a second, both ends on this host, without an
//! agent, with one that leaves TLS 1.3 certificates alone, and with one that probes for them. The three take turns, in
//! random order within each round. Run by `cargo xtask bench handshakes`; nothing is asserted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tlsight_tests::agent::binary;
use tlsight_tests::child::{Child, command, output, stop_all};
use tlsight_tests::host::{free_port, wait_until_listening};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, Server, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::{Identity, pki};
use tlsight_tests::tools;

/// What is on the host beside the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Beside {
    Nothing,
    Off,
    On,
}

const TURNS: [Beside; 3] = [Beside::Nothing, Beside::Off, Beside::On];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// `openssl s_time` to `openssl s_server`.
    OpenSsl,
    /// Go to Go, four connections at a time.
    Go,
    /// Two Python programs to nginx.
    PythonToNginx,
    /// `redis-benchmark` in plaintext: what the noting of reads costs where there is no TLS.
    Redis,
}

const LOADS: [Load; 4] = [Load::OpenSsl, Load::Go, Load::PythonToNginx, Load::Redis];

struct Options {
    rounds: usize,
    seconds: f64,
    only: Option<String>,
    json: Option<String>,
}

/// Time on a processor that the agent takes.
const CPU: &str = "agent.cpu_microseconds";

/// One measurement.
#[derive(Clone, Debug)]
struct Sample {
    per_second: f64,
    /// The agent's counters for each unit of work.
    counters: BTreeMap<String, f64>,
}

fn main() -> Result<()> {
    let options = options()?;
    let mut results = Vec::new();
    println!("rounds {}, seconds {}; a second: median (lowest to highest)", options.rounds, options.seconds);
    for load in LOADS {
        for mutual in [false, true] {
            let name = format!("{load:?}{}", if mutual { " mutual" } else { "" }).to_lowercase();
            let wanted = options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
            if wanted && !(mutual && load == Load::Redis) {
                results.push(measure(load, mutual, &name, &options)?);
            }
        }
    }
    stop_all();
    let result = json!({ "rounds": options.rounds, "seconds": options.seconds, "results": results });
    if let Some(file) = options.json {
        std::fs::write(&file, format!("{result:#}\n")).with_context(|| format!("writing {file}"))?;
    }
    let _ = std::fs::remove_dir_all(tools::scratch());
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options { rounds: 9, seconds: 2.0, only: None, json: None };
    let words: Vec<String> = std::env::args().skip(1).collect();
    for pair in words.chunks(2) {
        let [flag, value] = pair else { bail!("{pair:?}: a flag and its value") };
        match flag.as_str() {
            "--rounds" => options.rounds = value.parse().context("--rounds")?,
            "--seconds" => options.seconds = value.parse().context("--seconds")?,
            "--only" => options.only = Some(value.clone()),
            "--json" => options.json = Some(value.clone()),
            _ => bail!("{flag}? known are --rounds, --seconds, --only and --json"),
        }
    }
    Ok(options)
}

/// All rounds of one load.
fn measure(load: Load, mutual: bool, name: &str, options: &Options) -> Result<Value> {
    let running = Running::start(load, mutual);
    let mut random = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64 | 1;
    let mut samples: BTreeMap<Beside, Vec<Sample>> = BTreeMap::new();
    running.run(options.seconds.min(1.0))?;
    for _ in 0..options.rounds {
        let mut turns = TURNS;
        for i in (1..turns.len()).rev() {
            // xorshift
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            turns.swap(i, (random % (i as u64 + 1)) as usize);
        }
        for beside in turns {
            samples.entry(beside).or_default().push(sample(&running, beside, options.seconds)?);
        }
    }
    Ok(report(name, &samples))
}

fn sample(running: &Running, beside: Beside, seconds: f64) -> Result<Sample> {
    let agent = Agent::start(beside)?;
    let cpu = |agent: &Option<Agent>| agent.as_ref().map_or(0, Agent::cpu);
    let before = cpu(&agent);
    let (done, time) = running.run(seconds)?;
    let used = cpu(&agent).saturating_sub(before);
    let counters = agent.map(Agent::stop).transpose()?.unwrap_or_default();
    let mut counters: BTreeMap<String, f64> =
        counters.into_iter().map(|(name, n)| (name, n as f64 / done)).collect();
    counters.insert(CPU.to_owned(), used as f64 / 1000.0 / done);
    Ok(Sample { per_second: done / time, counters })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn report(name: &str, samples: &BTreeMap<Beside, Vec<Sample>>) -> Value {
    let rates = |b: Beside| -> Vec<f64> { samples[&b].iter().map(|s| s.per_second).collect() };
    let ratio = |a: Beside, b: Beside| median(rates(a).iter().zip(rates(b)).map(|(a, b)| a / b).collect());
    let shown = |b: Beside| {
        let all = rates(b);
        let (low, high) = all.iter().fold((f64::MAX, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
        format!("{:.0} ({low:.0} to {high:.0})", median(all))
    };
    let ratios = [
        ratio(Beside::Off, Beside::Nothing),
        ratio(Beside::On, Beside::Nothing),
        ratio(Beside::On, Beside::Off),
    ];
    println!(
        "{name}: no agent {}, certificates off {}, on {}; off/none {:.3}, on/none {:.3}, on/off {:.3}",
        shown(Beside::Nothing),
        shown(Beside::Off),
        shown(Beside::On),
        ratios[0],
        ratios[1],
        ratios[2]
    );
    let each = |beside: Beside| -> BTreeMap<String, f64> {
        let all = &samples[&beside];
        let names = all.iter().flat_map(|s| s.counters.keys()).collect::<std::collections::BTreeSet<_>>();
        names
            .into_iter()
            .map(|n| {
                let each = all.iter().map(|s| s.counters.get(n).copied().unwrap_or(0.0)).collect();
                (n.clone(), median(each))
            })
            // Less is of something else: the counters are those of the whole host.
            .filter(|(_, per)| *per >= 0.01)
            .collect()
    };
    let (each_off, each_on) = (each(Beside::Off), each(Beside::On));
    for (counter, per) in &each_on {
        println!("    {counter} {per:.2} each");
    }
    println!("    {CPU} {:.2} each with certificates off", each_off.get(CPU).copied().unwrap_or(0.0));
    json!({
        "load": name,
        "per_second": {
            "no_agent": rates(Beside::Nothing),
            "certificates_off": rates(Beside::Off),
            "certificates_on": rates(Beside::On),
        },
        "median_ratio": {
            "off_to_no_agent": ratios[0],
            "on_to_no_agent": ratios[1],
            "on_to_off": ratios[2],
        },
        "counters_each": each_on,
        "counters_each_certificates_off": each_off,
    })
}

/// An agent whose output nobody reads.
struct Agent {
    process: std::process::Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Agent {
    fn start(beside: Beside) -> Result<Option<Agent>> {
        let how = match beside {
            Beside::Nothing => return Ok(None),
            Beside::Off => "off",
            Beside::On => "on",
        };
        let mut cmd = Command::new(binary());
        cmd.args(["watch", "-o", "json", "--no-existing", "--stats", "--tls13-certificates", how]);
        cmd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = cmd.spawn().context("starting the agent")?;
        let mut errors = BufReader::new(process.stderr.take().context("its standard error")?);
        let (mut line, mut said) = (String::new(), String::new());
        while !line.contains("tlsight: watching") {
            line.clear();
            if errors.read_line(&mut line)? == 0 {
                bail!("the agent does not watch: {said}");
            }
            said.push_str(&line);
        }
        Ok(Some(Agent { process, errors }))
    }

    /// Time that its threads ran so far, in nanoseconds.
    fn cpu(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).into_iter().flatten();
        let ran = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        tasks.flatten().filter_map(ran).sum()
    }

    /// Its counters of probes and certificates, and of what was lost.
    fn stop(mut self) -> Result<BTreeMap<String, u64>> {
        output(command("kill", ["-INT", &self.process.id().to_string()]));
        let mut said = String::new();
        self.errors.read_to_string(&mut said)?;
        if !self.process.wait()?.success() {
            bail!("the agent failed: {said}");
        }
        let wanted = |name: &str| {
            let ours = ["kernel.probe_", "kernel.certificates_", "association."];
            ours.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with("lost")
        };
        let counter = |line: &str| {
            let (name, n) = line.split_once(' ')?;
            Some((name.to_owned(), n.trim().parse::<u64>().ok()?)).filter(|(name, _)| wanted(name))
        };
        Ok(said.lines().filter_map(counter).collect())
    }
}

/// The servers of a load.
struct Running {
    load: Load,
    identity: Option<&'static Identity>,
    server: Server,
}

impl Running {
    fn start(load: Load, mutual: bool) -> Running {
        let ask = if mutual { Ask::Required } else { Ask::Never };
        let config = ServerConfig::new(ask, &pki().server_p256);
        let server = match load {
            Load::OpenSsl => ServerStack::OpenSsl.start(&config.extra(&["-quiet", "-www"])),
            Load::Go => ServerStack::Go.start(&config),
            Load::PythonToNginx => ServerStack::Nginx.start(&config),
            Load::Redis => redis(),
        };
        Running { load, identity: mutual.then_some(&pki().client), server }
    }

    /// Work done, and in how many seconds.
    fn run(&self, seconds: f64) -> Result<(f64, f64)> {
        let at = SocketAddr::from(([127, 0, 0, 1], self.server.port));
        let config =
            ClientConfig { identity: self.identity, ..ClientConfig::new(at).version(Version::Tls13) };
        let limit = Duration::from_secs_f64(seconds * 3.0 + 30.0);
        match self.load {
            Load::OpenSsl => {
                let seconds = seconds.ceil().max(1.0).to_string();
                let mut cmd = command(
                    "openssl",
                    ["s_time", "-new", "-tls1_3", "-www", "/", "-time", &seconds, "-connect"],
                );
                // It reads an answer: a client that is gone before its certificate was looked at is no measure.
                cmd.arg(at.to_string()).arg("-CAfile").arg(&pki().ca).args(["-verify", "2"]);
                if let Some(i) = self.identity {
                    cmd.arg("-cert").arg(&i.cert).arg("-key").arg(&i.key);
                }
                // Its own clock has no fractions of seconds.
                let start = Instant::now();
                let text = Child::spawn(cmd).finish(limit).text;
                let time = start.elapsed().as_secs_f64();
                // "812 connections in 3 real seconds, 0 bytes read per connection"
                let n = text.lines().find_map(|l| {
                    Some(l.split_once(" connections in ")?.0).filter(|_| l.contains("real seconds"))
                });
                Ok((n.with_context(|| format!("s_time said {text}"))?.trim().parse()?, time))
            }
            Load::Go => {
                let mut cmd = bench_of(ClientStack::Go, &config, "bench");
                cmd.args(["--seconds", &seconds.to_string()]);
                two_numbers(&Child::spawn(cmd).finish(limit).text)
            }
            Load::PythonToNginx => {
                let start = || {
                    let with = ClientStack::Python.command(&config);
                    let mut cmd = Command::new(with.get_program());
                    cmd.arg(tools::peer_source("python/bench.py")).args(with.get_args().skip(1));
                    cmd.env("BENCH_SECONDS", seconds.to_string());
                    Child::spawn(cmd)
                };
                let both = [start(), start()].map(|c| two_numbers(&c.finish(limit).text));
                let [(a, time), (b, _)] = both.into_iter().collect::<Result<Vec<_>>>()?[..] else {
                    bail!("two")
                };
                Ok((a + b, time))
            }
            Load::Redis => {
                // As many as take about that long on a slow machine.
                let n = (seconds * 30_000.0) as u64;
                let mut cmd =
                    command("redis-benchmark", ["-q", "-t", "get", "-c", "20", "--threads", "1", "-p"]);
                cmd.args([&self.server.port.to_string(), "-n", &n.to_string()]);
                let text = Child::spawn(cmd).finish(limit).text;
                let rate = text.rsplit("GET: ").next().and_then(|t| t.split_whitespace().next());
                let rate: f64 = rate.with_context(|| format!("redis-benchmark said {text}"))?.parse()?;
                Ok((n as f64, n as f64 / rate))
            }
        }
    }
}

/// The command line of a client, told to do something else.
fn bench_of(stack: ClientStack, config: &ClientConfig<'_>, mode: &str) -> Command {
    let with = stack.command(config);
    let mut cmd = Command::new(with.get_program());
    cmd.args(with.get_args().map(|arg| if arg == "client" { mode.as_ref() } else { arg }));
    cmd
}

fn two_numbers(text: &str) -> Result<(f64, f64)> {
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(|w| w.parse().ok()).collect();
    match numbers.as_deref() {
        Some([done, time]) => Ok((*done, *time)),
        _ => bail!("not two numbers: {text}"),
    }
}

fn redis() -> Server {
    let port = free_port();
    let mut cmd =
        command("redis-server", ["--save", "", "--appendonly", "no", "--port", &port.to_string(), "--dir"]);
    cmd.arg(tools::scratch_dir("redis"));
    let child = Child::spawn(cmd);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(wait_until_listening(at, Duration::from_secs(20), || child.is_running()), "{}", child.text());
    Server { child, port }
}
