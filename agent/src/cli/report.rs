//! `tlsight report`: what would break, which certificates end soon, which algorithms are in use.

use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use agent_core::engine::EngineConfig;
use agent_core::time::Timestamp;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};

use super::judging::{ConfigArgs, JudgingArgs};
use super::output::stdout;
use super::pcap::{Files, capture, open, tell};
use super::rules::RulesArgs;
use crate::exit::{Exit, Failure};
use crate::export::json::to_line;
use crate::export::text::visible;
use crate::filter::Filter;
use crate::pipeline::{Phases, Pipeline, View};
use crate::report::cbom::cbom;
use crate::report::document::Report;
use crate::report::limits::Limits;
use crate::report::line::Line;
use crate::report::markdown::markdown;
use crate::report::model::{Model, Taken};
use crate::report::sink::{ModelSink, SharedModel};
use crate::report::socket::{DEFAULT_PATH, client};
use crate::report::summary::{MIN_CONNECTIONS, Options};
use crate::report::text::text;
use crate::source::pcap::flow::FlowLimits;
use crate::source::pcap::run::CaptureReader;

/// Longest line of JSON that is read, in bytes.
const MAX_LINE: usize = 1024 * 1024;

/// Arguments of `tlsight report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo tlsight report                              what `tlsight watch --socket` has seen so far
  tlsight report watch.jsonl                       of a file that `tlsight watch -o json` wrote
  tlsight report capture.pcapng                    of a capture file
  tlsight report -o markdown watch.jsonl           for a ticket
  tlsight report -o cbom watch.jsonl > cbom.json   CycloneDX 1.6
  tlsight report -o json | jq '.services[] | select(.readiness == \"not_ready\") | .name'

docs/report.md tells what a report says and how it counts.")]
pub struct ReportArgs {
    /// JSON lines of `watch -o json` and `pcap -o json`, or capture files; `-` is standard input. Without any, the running
    /// agent is asked
    #[arg(value_name = "FILE", conflicts_with = "socket")]
    pub files: Vec<PathBuf>,

    /// The socket of the running agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    pub socket: PathBuf,

    /// How to print the report
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,

    /// Connections with mutual TLS that a service must have had to be called ready
    #[arg(long, value_name = "N", default_value_t = MIN_CONNECTIONS, value_parser = clap::value_parser!(u64).range(1..))]
    pub min_connections: u64,

    /// Count days left from this time or day, and not from now: 2026-01-02T03:04:05Z, 2026-01-02
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub now: Option<Timestamp>,

    /// Of capture files: what is expected, and what counts as wrong.
    #[command(flatten)]
    pub judging: JudgingArgs,

    /// Of capture files: rules of one's own.
    #[command(flatten)]
    pub rules: RulesArgs,

    /// Where other settings come from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Aligned text for people
    #[default]
    Text,
    /// One JSON document, for programs
    Json,
    /// For tickets and pull requests
    Markdown,
    /// Cryptography bill of materials: CycloneDX 1.6
    Cbom,
}

/// `2026-01-02T03:04:05Z`, or a day, which begins at midnight in UTC.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| Some(day()?.timestamp()));
    time.and_then(|time| u64::try_from(time.as_nanosecond()).ok())
        .map(Timestamp)
        .ok_or_else(|| "expected a time such as 2026-01-02T03:04:05Z, or a day".to_owned())
}

/// Options that count only for capture files, of those on the command line. The environment may speak of them for others.
pub(super) fn given(matches: &ArgMatches) -> Vec<&'static str> {
    const JUDGING: [(&str, &str); 3] =
        [("policies", "--policy"), ("ca_bundles", "--ca-bundle"), ("rules", "--rules")];
    let Some(matches) = matches.subcommand_matches("report") else { return Vec::new() };
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    JUDGING.into_iter().filter(|(id, _)| is_given(id)).map(|(_, flag)| flag).collect()
}

/// These connections were judged when they were seen.
fn judged_before(given: &[&str], what: &str) -> Result<(), Failure> {
    if given.is_empty() {
        return Ok(());
    }
    let cause = format!("{} count only for capture files", given.join(", "));
    let failure = Failure::new(Exit::Usage, format!("report on {what}"), cause);
    Err(failure
        .hint("what is seen is judged where it is seen: give them to `tlsight watch` or `tlsight pcap`"))
}

/// Makes the report and prints it. `given`: [`given`].
pub(super) fn run(args: &ReportArgs, given: &[&str]) -> Result<Exit, Failure> {
    if args.files.is_empty() {
        judged_before(given, "what a running agent saw")?;
        let report = client::report(&args.socket, args.now.map(|now| now.0), args.min_connections)?;
        print(&report, args.output)?;
        return Ok(Exit::Ok);
    }
    let model: SharedModel = Arc::new(Mutex::new(Model::new(Limits::default())));
    let mut files = Files::default();
    let mut captures = None;
    for (source, path) in (1u32..).zip(&args.files) {
        files.count(read(path, source, &model, (args, given), &mut captures))?;
    }
    if files.exit() == Exit::InputUnreadable {
        return Ok(Exit::InputUnreadable);
    }
    let options = Options { now: args.now.unwrap_or_else(now), min_connections: args.min_connections };
    let report = model.lock().unwrap_or_else(PoisonError::into_inner).report(options);
    print(&report, args.output)?;
    Ok(files.exit())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn print(report: &Report, form: Form) -> Result<(), Failure> {
    let no_value = |error: serde_json::Error| Failure::new(Exit::Failure, "write the report as JSON", error);
    let text = match form {
        Form::Text => text(report),
        Form::Markdown => markdown(report),
        Form::Json => to_line(&serde_json::to_value(report).map_err(no_value)?),
        Form::Cbom => to_line(&cbom(report)),
    };
    let mut out = stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output("standard output", &error))
}

/// What capture files go through, made for the first of them.
struct Captures {
    reader: CaptureReader,
    pipeline: Pipeline,
}

impl Captures {
    fn new(args: &ReportArgs, model: &SharedModel) -> Result<Self, Failure> {
        let settings = args.config.load()?;
        let mut judging = args.judging.build(&settings, false)?;
        if let Some(rules) = args.rules.build(&settings)? {
            judging.add_rules(Box::new(rules));
        }
        let view =
            View { filter: Filter::default(), phases: Phases::All, client_is_local: true, count: None };
        // A capture may have been taken anywhere on the way.
        let config = EngineConfig { seen_at_local_end: false, ..EngineConfig::default() };
        let sink = ModelSink::new(Arc::clone(model), 0);
        let pipeline = Pipeline::new(config, view, Box::new(sink)).with_judging(judging);
        Ok(Self { reader: CaptureReader::new(FlowLimits::default()), pipeline })
    }
}

/// Reads a file of either kind, told by its first byte.
fn read(
    path: &Path,
    source: u32,
    model: &SharedModel,
    (args, given): (&ReportArgs, &[&str]),
    captures: &mut Option<Captures>,
) -> Result<Exit, Failure> {
    let name = path.display().to_string();
    let (mut input, total) = open(path, &name)?;
    let cannot_read = |error: io::Error| Failure::new(Exit::InputUnreadable, format!("read {name}"), error);
    let first =
        input.fill_buf().map_err(cannot_read)?.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
    if first == Some(b'{') {
        judged_before(given, &format!("the JSON lines of {name}"))?;
        let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
        return lines(&mut input, source, &mut model, &name).map_err(cannot_read);
    }
    let Captures { reader, pipeline } = match captures {
        Some(captures) => captures,
        None => captures.insert(Captures::new(args, model)?),
    };
    let outcome = capture(input, total, &name, "report", reader, pipeline)?;
    while let Some(message) = pipeline.poll_message() {
        super::say(&visible(&message));
    }
    Ok(tell(&name, &outcome))
}

/// Reads JSON lines; what is none is counted and said.
fn lines(input: &mut dyn BufRead, source: u32, model: &mut Model, name: &str) -> io::Result<Exit> {
    let (mut read, mut unreadable, mut strange) = (0u64, 0u64, 0u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.take(MAX_LINE as u64).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() >= MAX_LINE && line.last() != Some(&b'\n') {
            unreadable += 1;
            input.skip_until(b'\n')?;
            continue;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match Line::parse(&line).map(|line| model.take(source, &line)) {
            Ok(Taken::Counted) => read += 1,
            Ok(Taken::NotOurs) => strange += 1,
            Err(_) => unreadable += 1,
        }
    }
    for (n, what) in [(unreadable, "are no JSON objects"), (strange, "are not tlsight's")] {
        if n > 0 {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "tlsight: {name}: {n} lines {what}; they were left out");
        }
    }
    Ok(match (read, unreadable + strange) {
        (_, 0) => Exit::Ok,
        (0, _) => Exit::InputUnreadable,
        _ => Exit::InputPartlyUnreadable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_only_for_capture_files_is_refused_elsewhere() {
        let given = |line: &[&str]| given(&super::super::command().get_matches_from(line));
        let line =
            ["tlsight", "report", "--policy", "a.yaml", "--ca-bundle", "b.pem", "--rules", "c.rego", "x"];
        assert_eq!(given(&line), ["--policy", "--ca-bundle", "--rules"]);
        assert!(given(&["tlsight", "report"]).is_empty());
        assert!(judged_before(&[], "it").is_ok());
        let failure = judged_before(&["--policy"], "the JSON lines of a").expect_err("refused");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("--policy count"), "{failure}");
    }

    #[test]
    fn times_and_days_are_understood() {
        let at = |text: &str| parse_time(text).map(|time| time.as_nanos());
        assert_eq!(at("2026-01-02"), Ok(1_767_312_000_000_000_000));
        assert_eq!(at("2026-01-02T00:00:01Z"), Ok(1_767_312_001_000_000_000));
        assert!(at("tomorrow").is_err() && at("1900-01-01").is_err());
    }
}
