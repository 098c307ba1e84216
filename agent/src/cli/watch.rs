//! `tlsight watch`: this host's connections, live.

use std::path::PathBuf;
use std::time::Duration;

use agent_core::observation;
use clap::{Args, ValueEnum};

use super::audit::AuditArgs;
use super::judging::{ConfigArgs, JudgingArgs};
use super::kubernetes::KubernetesArgs;
use super::limits::CaptureLimits;
use super::output::{Format, OutputArgs};
use super::probes::ProbeArgs;
use super::rules::RulesArgs;
use crate::config::parse_duration;
use crate::enrich::{self, Enricher};
use crate::exit::{Exit, Failure};
use crate::filter::{Filter, ProcessMatch};
use crate::harden::{self, Needs};
use crate::pipeline::{Phases, Pipeline, View};
use crate::report::limits::Limits;
use crate::report::socket::{DEFAULT_PATH, Server};
use crate::source;

/// Arguments of `tlsight watch`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo tlsight watch                             every connection, one line when its verdict is known
  sudo tlsight watch --security plaintext        only what crosses the wire readable
  sudo tlsight watch --port 5432,6379            only these ports (of either end)
  sudo tlsight watch --process nginx             only connections of nginx
  sudo tlsight watch --policy policies/ --findings
                                                 hold connections against policy; say what is wrong
  sudo tlsight watch -o json | jq .              for programs
  sudo tlsight watch --socket                    and answer `tlsight report` meanwhile
  sudo tlsight watch --duration 30s --count 100  stop after 30 seconds or 100 connections")]
pub struct WatchArgs {
    /// How it is printed.
    #[command(flatten)]
    pub output: OutputArgs,

    /// What is shown.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Leave out connections that were there before tlsight started
    #[arg(long, help_heading = "Filters")]
    pub no_existing: bool,

    /// Stop after this long: 10s, 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Stop after this many connections were shown
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Where names of pods and Services come from.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,

    /// Show the command lines of processes in JSON too; they may hold secrets
    #[arg(long)]
    pub command_args: bool,

    /// Answer `tlsight report` meanwhile, on this Unix socket (/run/tlsight/tlsight.sock where no path is given)
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = DEFAULT_PATH)]
    pub socket: Option<PathBuf>,

    /// How much is captured of each connection.
    #[command(flatten)]
    pub limits: CaptureLimits,

    /// What is expected, and what counts as wrong.
    #[command(flatten)]
    pub judging: JudgingArgs,

    /// Rules of one's own.
    #[command(flatten)]
    pub rules: RulesArgs,

    /// Who showed which certificate, and what became of it.
    #[command(flatten)]
    pub audit: AuditArgs,

    /// How certificates in TLS 1.3 are seen.
    #[command(flatten)]
    pub probes: ProbeArgs,

    /// Where other settings come from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Which connections are shown. Several filters narrow each other; several values of one widen it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only connections with this port at either end
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,

    /// Only connections of this process: name of the executable (`*` stands for any characters), or process id
    #[arg(long = "process", value_name = "NAME|PID", value_delimiter = ',')]
    pub processes: Vec<String>,

    /// Only connections with this verdict
    #[arg(long = "security", value_enum, value_name = "VERDICT", value_delimiter = ',')]
    pub security: Vec<Security>,
}

/// The verdicts, as arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Security {
    /// Application bytes cross the wire readable
    Plaintext,
    /// Encrypted; the client did not prove who it is
    Tls,
    /// Encrypted, and the client showed a certificate
    Mtls,
    /// None of these is proven; the reason is given
    Unknown,
}

impl FilterArgs {
    /// The filter that was asked for.
    pub fn filter(&self) -> Filter {
        Filter {
            ports: self.ports.clone(),
            processes: self.processes.iter().map(|p| ProcessMatch::parse(p)).collect(),
            security: self.security.iter().map(|s| (*s).into()).collect(),
            no_existing: false,
        }
    }
}

impl From<Security> for observation::Security {
    fn from(security: Security) -> Self {
        match security {
            Security::Plaintext => observation::Security::Plaintext,
            Security::Tls => observation::Security::Tls,
            Security::Mtls => observation::Security::Mtls,
            Security::Unknown => observation::Security::Unknown,
        }
    }
}

/// Watches until stopped.
pub(super) fn run(args: &WatchArgs) -> Result<Exit, Failure> {
    let config = args.config.load()?;
    let kubernetes = args.kubernetes.over(&config)?;
    let audit_log = args.audit.file(&config);
    // Before the first thread starts.
    let needs = Needs::of(kubernetes.as_ref(), &[audit_log.as_deref(), args.socket.as_deref()]);
    let hardened = harden::begin(&config, needs);
    let mut judging = args.judging.build(&config, true)?;
    if let Some(rules) = args.rules.build(&config)? {
        judging.add_rules(Box::new(rules));
    }
    let audit = args.audit.open(&config, false)?;
    let phases = match args.output.output {
        Format::Json => Phases::All,
        Format::Table if args.output.show_final => Phases::All,
        Format::Table => Phases::News,
    };
    let filter = Filter { no_existing: args.no_existing, ..args.filter.filter() };
    let view = View { filter, phases, client_is_local: false, count: args.count };
    let capture = args.limits.over(&config);
    let engine = capture.engine();
    let options = enrich::Options {
        max_connections: engine.max_connections,
        command_args: args.command_args,
        kubernetes,
        policies: Some(judging.policy_files().clone()),
        ..Default::default()
    };
    let enricher =
        Enricher::new(options).map_err(|e| Failure::new(Exit::Failure, "follow the Kubernetes API", e))?;
    let (sink, backlog) = args.output.live_sink_beside(audit.as_ref());
    let mut pipeline = Pipeline::new(engine, view, sink).with_enricher(enricher).with_judging(judging);
    if let Some(backlog) = backlog {
        pipeline = pipeline.with_outlet(backlog);
    }
    if let Some(audit) = audit {
        pipeline = pipeline.with_audit(audit);
    }
    // Answers until everything has ended.
    let mut server = None;
    if let Some(path) = &args.socket {
        let (started, feed) = Server::start(path, Limits::of_one_agent())?;
        pipeline = pipeline.with_recorder(Box::new(feed));
        server = Some(started);
    }
    let options = source::live::Options {
        capture,
        probes: args.probes.over(&config),
        duration: args.duration,
        stats: args.output.stats,
        attendance: None,
        hardened: Some(hardened),
    };
    let result = source::live::run(options, pipeline);
    drop(server);
    result
}
