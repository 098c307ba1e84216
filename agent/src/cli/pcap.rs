//! `tlsight pcap`: the connections in capture files.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use agent_core::engine::EngineConfig;
use clap::Args;

use super::audit::AuditArgs;
use super::judging::{ConfigArgs, JudgingArgs};
use super::output::{Format, OutputArgs};
use super::progress::Progress;
use super::rules::RulesArgs;
use super::watch::FilterArgs;
use crate::exit::{Exit, Failure};
use crate::export::text::visible;
use crate::pipeline::{Phases, Pipeline, View};
use crate::source::pcap::file::OpenError;
use crate::source::pcap::flow::FlowLimits;
use crate::source::pcap::run::{CaptureReader, Outcome, RunError};

/// The file name that means standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// Arguments of `tlsight pcap`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tlsight pcap capture.pcapng                       every connection in the file
  tlsight pcap -o json capture.pcap | jq .          for programs
  tlsight pcap --security plaintext,unknown *.pcap  what is not proven to be encrypted
  tlsight pcap --policy policies/ --findings c.pcap what of it policy does not allow
  tcpdump -i any -w - tcp | tlsight pcap -          from standard input

Reads pcap and pcapng with Ethernet, VLAN, Linux cooked, raw IP, BSD loopback and PPP packets, and looks into GRE, VXLAN,
GENEVE, IP-in-IP and MPLS tunnels. The client counts as the local end. Each file stands alone.")]
pub struct PcapArgs {
    /// Capture files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// How it is printed.
    #[command(flatten)]
    pub output: OutputArgs,

    /// What is shown.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// What is expected, and what counts as wrong.
    #[command(flatten)]
    pub judging: JudgingArgs,

    /// Rules of one's own.
    #[command(flatten)]
    pub rules: RulesArgs,

    /// Who showed which certificate, and what became of it.
    #[command(flatten)]
    pub audit: AuditArgs,

    /// Where other settings come from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Reads the files one after the other.
pub(super) fn run(args: &PcapArgs) -> Result<Exit, Failure> {
    let settings = args.config.load()?;
    let mut judging = args.judging.build(&settings, false)?;
    if let Some(rules) = args.rules.build(&settings)? {
        judging.add_rules(Box::new(rules));
    }
    let audit = args.audit.open(&settings, true)?;
    let standard_input = args.files.iter().any(|f| f.as_os_str() == STANDARD_INPUT);
    // Whoever pipes packets in may be capturing right now: lines must not wait for a full buffer.
    let sink = args.output.sink_beside(audit.as_ref(), standard_input);
    let phases = match args.output.output {
        Format::Json => Phases::All,
        Format::Table if args.output.show_final => Phases::All,
        Format::Table => Phases::ProvenNews,
    };
    let view = View { filter: args.filter.filter(), phases, client_is_local: true, count: None };
    // A capture may have been taken anywhere on the way.
    let config = EngineConfig { seen_at_local_end: false, ..EngineConfig::default() };
    let mut pipeline = Pipeline::new(config, view, sink).with_judging(judging);
    if let Some(audit) = audit {
        pipeline = pipeline.with_audit(audit);
    }
    let mut reader = CaptureReader::new(FlowLimits::default());
    let mut files = Files::default();
    for path in &args.files {
        let name = path.display().to_string();
        let read = open(path, &name)
            .and_then(|(input, total)| capture(input, total, &name, "pcap", &mut reader, &mut pipeline));
        files.count(read.map(|outcome| tell(&name, &outcome)))?;
        while let Some(message) = pipeline.poll_message() {
            super::say(&visible(&message));
        }
    }
    pipeline.finish_audit()?;
    if args.output.stats {
        super::print_stats(pipeline.counters().named());
        super::print_stats(pipeline.judging_counters());
        super::print_stats(pipeline.audit_counters());
    }
    Ok(files.exit())
}

/// How many files were read, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Files {
    whole: u64,
    partly: u64,
    unread: u64,
}

impl Files {
    /// Counts a file by the exit code that it alone would mean. One that cannot be read is said and does not hide the others.
    pub(super) fn count(&mut self, read: Result<Exit, Failure>) -> Result<(), Failure> {
        match read {
            Ok(Exit::Ok) => self.whole += 1,
            Ok(Exit::InputUnreadable) => self.unread += 1,
            Ok(_) => self.partly += 1,
            Err(failure) if failure.exit == Exit::InputUnreadable => {
                super::report(&failure);
                self.unread += 1;
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// The exit code of all of them.
    pub(super) fn exit(self) -> Exit {
        match (self.whole, self.partly, self.unread) {
            (_, 0, 0) => Exit::Ok,
            (0, 0, _) => Exit::InputUnreadable,
            _ => Exit::InputPartlyUnreadable,
        }
    }
}

/// Opens a file, or standard input; says its size where it has one.
pub(super) fn open(path: &Path, name: &str) -> Result<(Box<dyn BufRead>, Option<u64>), Failure> {
    let cannot_open = |e: io::Error| {
        let failure = Failure::new(Exit::InputUnreadable, format!("open {name}"), &e);
        match e.kind() {
            io::ErrorKind::NotFound => failure.hint("check the name; `-` reads standard input"),
            io::ErrorKind::PermissionDenied => {
                failure.hint("read it as a user who may (captures are often root's)")
            }
            _ => failure,
        }
    };
    if path.as_os_str() == STANDARD_INPUT {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path).map_err(cannot_open)?;
    let total = file.metadata().ok().filter(fs::Metadata::is_file).map(|m| m.len());
    Ok((Box::new(BufReader::with_capacity(256 * 1024, file)), total))
}

/// Runs a capture file through a pipeline; `command` is what reads it, for what to try.
pub(super) fn capture(
    input: impl Read,
    total: Option<u64>,
    name: &str,
    command: &str,
    reader: &mut CaptureReader,
    pipeline: &mut Pipeline,
) -> Result<Outcome, Failure> {
    let mut progress = Progress::new(name, total);
    let result = reader.run(input, pipeline, &mut |bytes| progress.at(bytes));
    progress.done();
    result.map_err(|error| match error {
        RunError::Output(failure) => failure,
        RunError::Open(error) => {
            let failure = Failure::new(Exit::InputUnreadable, format!("read {name}"), &error);
            match error {
                OpenError::Compressed(program) => {
                    failure.hint(format!("{program} {name} | tlsight {command} -"))
                }
                OpenError::NotACapture => {
                    failure.hint("save it as pcap or pcapng, as tcpdump, dumpcap and Wireshark do")
                }
                OpenError::Empty | OpenError::Io(_) => failure,
            }
        }
    })
}

/// Says on standard error what of a file could not be read, and gives the exit code that this means.
pub(super) fn tell(name: &str, outcome: &Outcome) -> Exit {
    let counters = &outcome.counters;
    let mut notes = counters.notes();
    if let Some(damage) = &outcome.damage {
        notes.insert(0, format!("{damage}; what comes before that was read"));
    }
    for note in &notes {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(io::stderr(), "tlsight: {name}: {note}");
    }
    if counters.packets > 0 && counters.unknown_link_type == counters.packets {
        return Exit::InputUnreadable;
    }
    match outcome.damage.is_some() || counters.is_damaged() || counters.unknown_link_type > 0 {
        true => Exit::InputPartlyUnreadable,
        false => Exit::Ok,
    }
}
