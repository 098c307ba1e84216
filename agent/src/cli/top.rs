//! `tlsight top`: a live view of services, certificates, findings and connections.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::judging::{ConfigArgs, JudgingArgs};
use super::kubernetes::KubernetesArgs;
use super::limits::CaptureLimits;
use super::output::{Color, stdout};
use super::probes::ProbeArgs;
use super::rules::RulesArgs;
use super::watch::FilterArgs;
use crate::config::{Capture, Config, parse_duration};
use crate::enrich::{self, Enricher};
use crate::exit::{Exit, Failure};
use crate::export::silent::SilentSink;
use crate::filter::Filter;
use crate::harden::{self, Hardened, Needs};
use crate::pipeline::{Phases, Pipeline, View};
use crate::report::socket::{DEFAULT_PATH, client};
use crate::source::live;
use crate::top::app::App;
use crate::top::attendant::Attendant;
use crate::top::feed::TopFeed;
use crate::top::keeper;
use crate::top::model::limits::Limits;
use crate::top::run;
use crate::top::source::Source;
use crate::top::state::Key;
use crate::top::terminal;

/// How long one screen is waited for where nothing else is said.
const SNAPSHOT_AFTER: Duration = Duration::from_secs(10);

/// Arguments of `tlsight top`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo tlsight top                             the running agent, where one answers; else this host, by itself
  sudo tlsight top --socket                    the running agent, and nothing else
  sudo tlsight top --own --policy policies/    this host by itself, held against these policies
  sudo tlsight top --port 5432,6379            by itself, only these ports
  sudo tlsight top --snapshot 200x50           one screen as text
  sudo tlsight top --snapshot 80x24 --keys 1,enter
                                               the same after these keys

Without --socket and --own, an agent that answers at /run/tlsight/tlsight.sock is asked: it knows what was before, and a second
capture costs. What it does not know (filters, policies, rules, bundles of this command line) asks for an own capture.")]
pub struct TopArgs {
    /// Ask the agent at this Unix socket (/run/tlsight/tlsight.sock where no path is given) instead of capturing
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = DEFAULT_PATH, conflicts_with = "own")]
    pub socket: Option<PathBuf>,

    /// Capture by itself, whether or not an agent answers
    #[arg(long)]
    pub own: bool,

    /// Print one screen of this size as text, and end
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    pub snapshot: Option<Size>,

    /// With --snapshot, of an own capture: after this long [default: 10s]; without, end after this long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Press these keys first: characters, and enter, esc, up, down, pageup, pagedown, home, end, tab
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    pub keys: Vec<Key>,

    /// When to use colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Color,

    /// Show times in this zone
    #[arg(long, value_enum, value_name = "ZONE", default_value_t)]
    pub time: Zone,

    /// What is shown.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Leave out connections that were there before tlsight started
    #[arg(long, help_heading = "Filters")]
    pub no_existing: bool,

    /// Where names of pods and Services come from.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,

    /// How much is captured.
    #[command(flatten)]
    pub limits: CaptureLimits,

    /// What is expected, and what counts as wrong.
    #[command(flatten)]
    pub judging: JudgingArgs,

    /// Rules of one's own.
    #[command(flatten)]
    pub rules: RulesArgs,

    /// How certificates in TLS 1.3 are seen.
    #[command(flatten)]
    pub probes: ProbeArgs,

    /// Where other settings come from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Whose time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Zone {
    /// This host's time zone
    #[default]
    Local,
    /// UTC
    Utc,
}

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected WIDTHxHEIGHT, both from 1 to 1000: 80x24".to_owned();
        let (width, height) = text.split_once('x').ok_or_else(expected)?;
        let number = |text: &str| text.parse().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(expected);
        Ok(Self { width: number(width)?, height: number(height)? })
    }
}

impl TopArgs {
    /// The agent to ask, if it is not this process that captures.
    fn agent(&self) -> Option<&Path> {
        if let Some(path) = &self.socket {
            return Some(path);
        }
        let wants_own = self.own
            || self.no_existing
            || !self.filter.ports.is_empty()
            || !self.filter.processes.is_empty()
            || !self.filter.security.is_empty()
            || !self.judging.policies.is_empty()
            || !self.judging.ca_bundles.is_empty()
            || !self.rules.rules.is_empty()
            || self.config.config.is_some();
        let path = Path::new(DEFAULT_PATH);
        (!wants_own && client::is_there(path)).then_some(path)
    }

    fn app(&self, source: &Source) -> App {
        let zone = match self.time {
            Zone::Local => TimeZone::system(),
            Zone::Utc => TimeZone::UTC,
        };
        let env = |name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
        let color = self.color.decide(true, env("NO_COLOR").as_deref(), env("TERM").as_deref());
        App::new(source.words(), zone, color)
    }

    /// Shows the view, or prints one screen, of a source that answers.
    fn show(&self, source: Source, stop: &AtomicBool) -> Result<(), Failure> {
        let mut app = self.app(&source);
        let Some(size) = self.snapshot else {
            return run::run(app, source, stop);
        };
        app.update(source.snapshot()?);
        for key in &self.keys {
            // As the person would see it who presses them one after the other.
            app.text(size.width, size.height);
            if !app.key(*key) {
                break;
            }
        }
        let text = app.text(size.width, size.height);
        stdout().write_all(text.as_bytes()).map_err(|e| Failure::output("standard output", &e))
    }

    /// The settings of an own capture; the process has given up what that does not need. To be called before the first thread
    /// starts.
    fn hardened(&self) -> Result<(Config, Hardened), Failure> {
        let config = self.config.load()?;
        let needs = Needs::of(self.kubernetes.over(&config)?.as_ref(), &[]);
        let hardened = harden::begin(&config, needs);
        Ok((config, hardened))
    }

    /// As `watch` has it.
    fn pipeline(&self, config: &Config, capture: &Capture, feed: TopFeed) -> Result<Pipeline, Failure> {
        let mut judging = self.judging.build(config, true)?;
        if let Some(rules) = self.rules.build(config)? {
            judging.add_rules(Box::new(rules));
        }
        let filter = Filter { no_existing: self.no_existing, ..self.filter.filter() };
        let view = View { filter, phases: Phases::All, client_is_local: false, count: None };
        let engine = capture.engine();
        let options = enrich::Options {
            max_connections: engine.max_connections,
            kubernetes: self.kubernetes.over(config)?,
            policies: Some(judging.policy_files().clone()),
            ..Default::default()
        };
        let enricher = Enricher::new(options)
            .map_err(|e| Failure::new(Exit::Failure, "follow the Kubernetes API", e))?;
        Ok(Pipeline::new(engine, view, Box::new(SilentSink))
            .with_enricher(enricher)
            .with_judging(judging)
            .with_recorder(Box::new(feed)))
    }
}

/// Shows the view until it is ended.
pub(super) fn run(args: &TopArgs) -> Result<Exit, Failure> {
    let agent = args.agent();
    let own = agent.is_none().then(|| args.hardened()).transpose()?;
    if args.snapshot.is_none() {
        terminal::check()?;
    }
    let stop = terminal::stop_on_signals()?;
    if let Some((config, hardened)) = own {
        return capture(args, &config, hardened, &stop);
    }
    if let Some(path) = agent {
        let source = Source::Agent(path.to_owned());
        // Who names an agent that is not there is told so before the screen is taken over.
        source.snapshot()?;
        if args.snapshot.is_none()
            && let Some(duration) = args.duration
        {
            stop_after(duration, &stop)?;
        }
        args.show(source, &stop)?;
    }
    Ok(Exit::Ok)
}

fn stop_after(duration: Duration, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let stop = Arc::clone(stop);
    let wait = move || {
        let end = Instant::now() + duration;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        stop.store(true, Ordering::Release);
    };
    let started = thread::Builder::new().name("clock".to_owned()).spawn(wait);
    started.map(drop).map_err(|e| Failure::new(Exit::Failure, "start the thread that ends it in time", e))
}

/// Captures on this thread, as `watch` does; another one shows the view, and a third ends the capture when that is over.
fn capture(
    args: &TopArgs,
    config: &Config,
    hardened: Hardened,
    stop: &Arc<AtomicBool>,
) -> Result<Exit, Failure> {
    let capture = args.limits.over(config);
    let (feed, asker) = keeper::start(Limits::default())?;
    let pipeline = args.pipeline(config, &capture, feed)?;
    let (remote, attendance) = live::remote();
    let attendant = Attendant::start(remote, asker.clone())?;
    let options = live::Options {
        capture,
        probes: args.probes.over(config),
        attendance: Some(attendance),
        hardened: Some(hardened),
        ..live::Options::default()
    };
    let source = Source::Own(asker);
    thread::scope(|scope| {
        let view = thread::Builder::new()
            .name("view".to_owned())
            .spawn_scoped(scope, move || view(args, source, attendant, stop))
            .map_err(|e| Failure::new(Exit::Failure, "start the thread that draws", e))?;
        let captured = live::run(options, pipeline);
        // The screen goes before whatever is to be said.
        stop.store(true, Ordering::Release);
        let shown = view.join().unwrap_or_else(|_| {
            Err(Failure::new(Exit::Failure, "draw the view", "a mistake in tlsight: please report it"))
        });
        captured.and_then(|exit| shown.map(|()| exit))
    })
}

/// Ends the capture when it ends, however it does: the attendant goes with it.
fn view(args: &TopArgs, source: Source, attendant: Attendant, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    // Where the capture cannot begin, that is said on a screen that nobody touched.
    if !attendant.wait() {
        return Ok(());
    }
    if args.snapshot.is_some() {
        let end = Instant::now() + args.duration.unwrap_or(SNAPSHOT_AFTER);
        while !stop.load(Ordering::Acquire) {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            thread::park_timeout(left.min(Duration::from_millis(100)));
        }
    } else if let Some(duration) = args.duration {
        stop_after(duration, stop)?;
    }
    args.show(source, stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!("80x24".parse(), Ok(Size { width: 80, height: 24 }));
        for bad in ["", "80", "80x", "0x24", "80x24x2", "80x100000", "-1x5"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
