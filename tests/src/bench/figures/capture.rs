//! Reading a capture file of many handshakes, on one core, against tshark.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::json;

use super::Figure;
use crate::agent::binary;
use crate::bench::numbers::Numbers;
use crate::bench::options::Options;
use crate::bench::row::Row;
use crate::child::{command, output};
use crate::tools;

pub(super) const FIGURE: Figure = Figure { name: "capture file", run };

fn run(options: &Options) -> Result<Vec<Row>> {
    let file = tools::scratch().join("many.pcap");
    let mut make =
        command(tools::repository().join("tests/captures/multiply.py"), [options.handshakes.to_string()]);
    make.arg(&file);
    let made = output(make);
    // Once, so that every program finds it in memory.
    std::io::copy(&mut std::fs::File::open(&file)?, &mut std::io::sink())?;
    let pinned = |program: &Path, words: &[&str]| {
        let mut cmd = command("taskset", ["--cpu-list", "0"]);
        cmd.arg(program).args(words).arg(&file);
        cmd
    };
    let table = seconds(pinned(&binary(), &["pcap", "--no-system-roots"]))?;
    let lines = seconds(pinned(&binary(), &["pcap", "--no-system-roots", "-o", "json"]))?;
    // What of the handshakes is in its fields, as far as it goes; it neither verifies chains nor judges.
    let mut fields = pinned("tshark".as_ref(), &["-Y", "tls.handshake", "-T", "fields", "-r"]);
    for field in [
        "tcp.stream",
        "tls.handshake.type",
        "tls.handshake.extensions_server_name",
        "tls.handshake.ciphersuite",
        "tls.handshake.extensions.supported_version",
        "tls.handshake.ja3",
        "x509sat.printableString",
    ] {
        fields.args(["-e", field]);
    }
    let tshark = seconds(fields)?;
    let parsers = options.parsers.as_deref().map(|program| parsers(program, pinned, options)).transpose()?;
    std::fs::remove_file(&file)?;
    let row = |what: &str, (wall, cpu): (f64, f64)| {
        let times = tshark.1 / cpu;
        Row {
            what: format!("capture file, {what}: times as fast as tshark (CPU)"),
            measured: format!(
                "{times:.1} ({:.1} us of CPU for each handshake, {wall:.1} s in all; tshark {:.1} us)",
                cpu * 1e6 / f64::from(options.handshakes),
                tshark.1 * 1e6 / f64::from(options.handshakes),
            ),
            budget: ">= 20",
            met: Some(times >= 20.0),
            numbers: json!({ "file": made.trim(), "wall": wall, "cpu": cpu, "tshark_wall": tshark.0, "tshark_cpu": tshark.1 }),
        }
    };
    Ok([row("as a table", table), row("as JSON", lines)].into_iter().chain(parsers).collect())
}

/// The TLS of the file by tlsight's own parser, and by the crate `tls-parser`: what each takes longer than reading the packets
/// alone. Both have to find the same.
fn parsers(program: &Path, pinned: impl Fn(&Path, &[&str]) -> Command, options: &Options) -> Result<Row> {
    let mut cpu = [const { Numbers(Vec::new()) }; 3];
    let mut found = BTreeSet::new();
    for _ in 0..options.rounds {
        for (name, cpu) in ["none", "tlsight", "tls-parser"].into_iter().zip(&mut cpu) {
            let before = children();
            let said = output(pinned(program, &[name]));
            cpu.0.push(children() - before);
            if name != "none" {
                found.insert(said);
            }
        }
    }
    if found.len() != 1 {
        bail!("the parsers do not agree: {found:?}");
    }
    let [none, own, theirs] = cpu.map(|all| all.median());
    let each = |cpu: f64| (cpu - none).max(0.0) * 1e6 / f64::from(options.handshakes);
    Ok(Row {
        what: "capture file, TLS alone: times as fast as the crate tls-parser (CPU)".to_owned(),
        measured: format!(
            "{:.2} ({:.2} us of CPU for each handshake; tls-parser {:.2} us; packets and their order {:.2} us)",
            each(theirs) / each(own),
            each(own),
            each(theirs),
            none * 1e6 / f64::from(options.handshakes),
        ),
        budget: "",
        met: None,
        numbers: json!({ "found": found, "none_cpu": none, "tlsight_cpu": own, "tls_parser_cpu": theirs }),
    })
}

/// Seconds that passed, and seconds on a processor.
fn seconds(mut cmd: Command) -> Result<(f64, f64)> {
    cmd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let before = children();
    let start = Instant::now();
    let status = cmd.status()?;
    let wall = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{cmd:?} failed");
    }
    Ok((wall, children() - before))
}

/// Seconds on a processor of all processes that were waited for.
fn children() -> f64 {
    // SAFETY: all zeroes are a valid value, which the call overwrites.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` outlives the call.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    let of = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    of(usage.ru_utime) + of(usage.ru_stime)
}
