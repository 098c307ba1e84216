//! Hours in little: traffic of all kinds for some minutes, an agent with every exporter, and what it holds all along. Run by
//! `cargo xtask soak`, which fails where something grows or traffic is harmed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tlsight_tests::agent::binary;
use tlsight_tests::child::{Child, command, stop_all};
use tlsight_tests::flood::{MIX, allow_descriptors, flood_at, target};
use tlsight_tests::host::pause;
use tlsight_tests::mixed::Mixed;
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::pki;
use tlsight_tests::service::Service;
use tlsight_tests::{held, tools};

/// Samples of a run, however long it is.
const SAMPLES: u32 = 60;
/// Pause between two connections of a thread that makes well-behaved ones.
const PACE: Duration = Duration::from_millis(20);
/// Connections of a round of each kind of flood.
const FLOOD: usize = 20;
/// How much more the last third may hold than the one before: a part of it, and that many besides.
const GROWTH: [(&str, f64, f64); 4] = [
    ("memory, KiB", 0.03, 1024.0),
    ("descriptors", 0.0, 4.0),
    ("threads", 0.0, 1.0),
    ("map entries", 0.2, 200.0),
];

struct Options {
    minutes: f64,
    json: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = options()?;
    allow_descriptors();
    let outcome = soak(&options);
    stop_all();
    let _ = std::fs::remove_dir_all(tools::scratch());
    Ok(if outcome? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options() -> Result<Options> {
    let mut options = Options { minutes: 30.0, json: None };
    let words: Vec<String> = std::env::args().skip(1).collect();
    for pair in words.chunks(2) {
        let [flag, value] = pair else { bail!("{pair:?}: a flag and its value") };
        match flag.as_str() {
            "--minutes" => options.minutes = value.parse().context("--minutes")?,
            "--json" => options.json = Some(value.clone()),
            _ => bail!("{flag}? known are --minutes and --json"),
        }
    }
    Ok(options)
}

/// What was done so far.
#[derive(Default)]
struct Done {
    well_behaved: AtomicU64,
    programs: AtomicU64,
    flooded: AtomicU64,
    requests: AtomicU64,
    harmed: Mutex<Vec<String>>,
}

impl Done {
    fn harm(&self, what: String) {
        self.harmed.lock().unwrap().push(what);
    }
}

fn soak(options: &Options) -> Result<bool> {
    let done = Arc::new(Done::default());
    let collector = collector(done.clone())?;
    let folder = tools::scratch_dir("soak");
    let configuration = format!(
        "trust: {{system_roots: off, bundles: {{soak: [{}]}}}}\naudit: {{log: {}/audit.log, max_size: 10000000, keep: 1}}\n\
         otlp: {{endpoint: \"http://{collector}\", protocol: http/protobuf}}\n",
        pki().ca.display(),
        folder.display()
    );
    let servers = [ServerStack::Nginx, ServerStack::Go]
        .map(|stack| stack.start(&ServerConfig::new(Ask::Optional, &pki().server_p256)));
    let service = Service::start_in(&folder, &configuration, |_| {});
    let mixed = Mixed::start();
    let over = AtomicBool::new(false);
    let is_over = || over.load(Ordering::Acquire);
    let mut samples = Vec::new();
    thread::scope(|scope| {
        for first in 0..2 {
            let (done, mixed, is_over) = (&done, &mixed, &is_over);
            scope.spawn(move || {
                for n in (first..).step_by(2).take_while(|_| !is_over()) {
                    match mixed.connect(n) {
                        Ok(_) => drop(done.well_behaved.fetch_add(1, Ordering::Relaxed)),
                        Err(e) => done.harm(e),
                    }
                    pause(PACE);
                }
            });
        }
        // Programs that others wrote, whose libraries are probed; they come and go.
        scope.spawn(|| {
            let stacks = [ClientStack::OpenSsl, ClientStack::Curl, ClientStack::Python, ClientStack::Go];
            let turns = stacks.iter().flat_map(|stack| servers.iter().map(move |server| (*stack, server)));
            for (n, (stack, server)) in turns.cycle().enumerate().take_while(|_| !is_over()) {
                let at = SocketAddr::from(([127, 0, 0, 1], server.port));
                let version = if n % 3 == 0 { Version::Tls12 } else { Version::Tls13 };
                let config = ClientConfig::new(at).version(version);
                let ran = stack.run(&if n % 2 == 0 { config.identity(&pki().client) } else { config });
                match ran.said.iter().find_map(|said| said.error.clone()) {
                    None => drop(done.programs.fetch_add(1, Ordering::Relaxed)),
                    Some(e) => done.harm(format!("{stack:?}: {e}")),
                }
                pause(Duration::from_millis(200));
            }
        });
        scope.spawn(|| {
            // Always the same, as a server would be: a report keeps what it knows of each.
            let target = target();
            for (kind, _) in MIX.iter().cycle().take_while(|_| !is_over()) {
                flood_at(&target, *kind, FLOOD);
                done.flooded.fetch_add(FLOOD as u64, Ordering::Relaxed);
                pause(Duration::from_millis(500));
            }
        });
        // Reports are asked for too.
        scope.spawn(|| {
            while !is_over() {
                let mut cmd = command(binary(), ["report", "-o", "json", "--socket"]);
                cmd.arg(&service.socket);
                let asked = Child::spawn(cmd).finish(Duration::from_secs(30));
                if !asked.status.success() {
                    done.harm(format!("report: {}", asked.text));
                }
                pause(Duration::from_secs(5));
            }
        });
        let every = Duration::from_secs_f64(options.minutes * 60.0 / f64::from(SAMPLES));
        println!("{} minutes, a sample every {:.0} s", options.minutes, every.as_secs_f64());
        let started = Instant::now();
        for n in 1..=SAMPLES {
            pause(every);
            if !service.child.is_running() {
                done.harm("the agent ended".to_owned());
                break;
            }
            let sample = sample(&service);
            if n % (SAMPLES / 10) == 0 {
                println!("{:6.0} s {sample:?}", started.elapsed().as_secs_f64());
            }
            samples.push(sample);
        }
        over.store(true, Ordering::Release);
    });
    let ended = service.stop();
    if !ended.status.success() {
        done.harm(format!("the agent ended with {}: {}", ended.status, ended.text));
    }
    report(&samples, &done, options)
}

type Sample = BTreeMap<&'static str, f64>;

/// What the agent holds, and what it says of itself.
fn sample(service: &Service) -> Sample {
    let pid = service.child.pid;
    let text = service.get("/metrics", &[]).body;
    let of = |metric: &str| -> f64 {
        let lines = text
            .lines()
            .filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    BTreeMap::from([
        ("memory, KiB", held::status(pid, "VmRSS") as f64),
        ("descriptors", held::descriptors(pid).values().sum::<usize>() as f64),
        ("threads", held::status(pid, "Threads") as f64),
        ("map entries", held::map_entries(pid).values().sum::<usize>() as f64),
        ("series", text.lines().filter(|line| !line.starts_with('#')).count() as f64),
        ("connections followed", of("tlsight_connections_open")),
        ("connections counted", of("tlsight_connections_total")),
        ("events lost", of("tlsight_events_lost_total")),
        ("processor time, s", of("process_cpu_seconds_total")),
    ])
}

fn median(samples: &[Sample], what: &str) -> f64 {
    let mut values: Vec<f64> = samples.iter().filter_map(|sample| sample.get(what).copied()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The table, and whether all is flat.
fn report(samples: &[Sample], done: &Done, options: &Options) -> Result<bool> {
    // The first third fills caches.
    let third = samples.len() / 3;
    let (Some(middle), Some(last)) = (samples.get(third..2 * third), samples.get(2 * third..)) else {
        bail!("too few samples");
    };
    let names: Vec<&str> = samples.first().context("no samples")?.keys().copied().collect();
    println!(
        "\n| what | at first | second third, median | last third, median | at most | verdict |\n|---|--:|--:|--:|--:|---|"
    );
    let mut flat = true;
    let mut rows = Vec::new();
    for name in names {
        let first = samples[0][name];
        let most = samples.iter().map(|sample| sample[name]).fold(0.0, f64::max);
        let (before, after) = (median(middle, name), median(last, name));
        let bound = GROWTH.iter().find(|(bounded, _, _)| *bounded == name);
        let verdict = match bound {
            None => "",
            Some((_, part, besides)) if after <= before * (1.0 + part) + besides => "flat",
            Some(_) => {
                flat = false;
                "GROWS"
            }
        };
        println!("| {name} | {first:.0} | {before:.0} | {after:.0} | {most:.0} | {verdict} |");
        rows.push(json!({ "what": name, "first": first, "middle": before, "last": after, "most": most, "verdict": verdict }));
    }
    let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let harmed = done.harmed.lock().unwrap();
    println!(
        "\nmade: {} well-behaved connections, {} by other programs, {} to do harm; OTLP requests taken: {}; harmed: {}",
        n(&done.well_behaved),
        n(&done.programs),
        n(&done.flooded),
        n(&done.requests),
        harmed.len()
    );
    harmed.iter().take(10).for_each(|what| println!("  {what}"));
    println!("{}", if flat { "flat" } else { "NOT FLAT" });
    if let Some(file) = &options.json {
        let value: Value =
            json!({ "minutes": options.minutes, "rows": rows, "samples": samples, "harmed": *harmed });
        std::fs::write(file, format!("{value:#}\n")).with_context(|| format!("writing {file}"))?;
    }
    Ok(flat && harmed.is_empty())
}

/// Takes what OTLP exporters send, and says that all of it was good.
fn collector(done: Arc<Done>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let done = done.clone();
            // Whoever goes away is done.
            thread::spawn(move || drop(take(stream, &done)));
        }
    });
    Ok(at)
}

fn take(mut stream: TcpStream, done: &Done) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        done.requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
        )?;
    }
}
