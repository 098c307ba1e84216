//! The command line: one file per command.

mod agent;
pub mod audit;
mod check;
mod completions;
mod environment;
mod folder;
pub mod judging;
pub mod kubernetes;
pub mod limits;
pub mod otlp;
pub mod output;
mod pcap;
mod policy;
pub mod probes;
mod progress;
mod report;
pub mod rules;
mod top;
mod version;
mod watch;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::agent::AgentArgs;
pub use self::check::CheckArgs;
pub use self::completions::CompletionsArgs;
pub use self::pcap::PcapArgs;
pub use self::policy::PolicyArgs;
pub use self::report::ReportArgs;
pub use self::top::TopArgs;
pub use self::watch::{Security, WatchArgs};
use crate::exit::{Exit, Failure};

/// See every TCP connection of this host: plaintext, TLS or mutual TLS, with which certificates, and who is on both
/// ends. No application is touched, no key is needed, nothing is decrypted.
#[derive(Debug, Parser)]
#[command(
    name = "tlsight",
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Start with `sudo tlsight watch`, or without root: `tlsight pcap capture.pcapng`."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run for good: metrics for Prometheus, traces and logs in OpenTelemetry's protocol, audit log, answers to `report`
    Agent(AgentArgs),
    /// Show this host's TCP connections live, one line each
    Watch(WatchArgs),
    /// Show services, certificates, findings and connections live, in a terminal
    Top(TopArgs),
    /// Show the connections in capture files, one line each
    Pcap(PcapArgs),
    /// Tell what works on this host, what is lost without it, and how to get it
    Check(CheckArgs),
    /// Check policy documents, and tell which expectation applies to a connection
    Policy(PolicyArgs),
    /// Tell what would break if services insisted on mutual TLS, which certificates end soon, which algorithms are in use
    Report(ReportArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// The command line as clap knows it, with version and exit codes filled in.
pub fn command() -> clap::Command {
    let exit_codes = Exit::help();
    let mut command =
        Cli::command().version(version::short()).long_version(version::long()).after_long_help(format!(
            "Start with `sudo tlsight watch`, or without root: `tlsight pcap capture.pcapng`.\n\n{exit_codes}"
        ));
    // A newcomer asks one command for its help: the exit codes are there too.
    for name in ["agent", "watch", "top", "pcap", "check", "policy", "report"] {
        command = command.mut_subcommand(name, |c| {
            let examples = c.get_after_help().map(ToString::to_string).unwrap_or_default();
            c.after_long_help(format!("{examples}\n\n{exit_codes}"))
        });
    }
    command
}

/// Runs the program: parses the arguments, runs the command, prints what went wrong.
pub fn main() -> ExitCode {
    let lookup = &|name: &OsStr| env::var_os(name);
    let line: Vec<OsString> = env::args_os().collect();
    let command = environment::without_empty(command(), lookup);
    let parsed = command.clone().try_get_matches_from(&line);
    let (cli, given) = match parsed.and_then(|m| Ok((Cli::from_arg_matches(&m)?, report::given(&m)))) {
        Ok(parsed) => parsed,
        Err(e) => {
            let exit = explain(&e);
            if let Some(variable) = environment::source(&e, &command, &line, lookup) {
                say(&format!("the value comes from the environment: {variable}"));
            }
            return exit.into();
        }
    };
    let result = match &cli.command {
        Command::Agent(args) => agent::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Top(args) => top::run(args),
        Command::Pcap(args) => pcap::run(args),
        Command::Check(args) => check::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Report(args) => report::run(args, &given),
        Command::Completions(args) => completions::run(args),
    };
    match result {
        Ok(exit) => exit,
        Err(failure) => report(&failure),
    }
    .into()
}

/// Prints counters to standard error, one a line.
pub fn print_stats<N: std::fmt::Display>(counters: impl IntoIterator<Item = (N, u64)>) {
    let mut text = String::new();
    for (name, n) in counters {
        text.push_str(&format!("{name} {n}\n"));
    }
    // Nobody is left to tell when standard error is gone too.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints a line to standard error, for the person at the terminal.
pub(crate) fn say(text: &str) {
    // Nobody is left to tell when standard error is gone too.
    let _ = writeln!(io::stderr(), "tlsight: {text}");
}

/// Prints a failure to standard error and gives its exit code.
pub fn report(failure: &Failure) -> Exit {
    if !failure.is_quiet() {
        // Nobody is left to tell when standard error is gone too.
        let _ = writeln!(io::stderr(), "tlsight: {failure}");
    }
    failure.exit
}

/// Prints what clap has to say: help and version to standard output, errors to standard error.
fn explain(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        let _ = error.print();
        return Exit::Usage;
    }
    match error.print().and_then(|()| io::stdout().flush()) {
        Ok(()) => Exit::Ok,
        Err(e) => report(&Failure::output("standard output", &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_of_watch_pcap_and_report_lists_examples_and_exit_codes() {
        for name in ["watch", "top", "pcap", "report"] {
            let mut command = command();
            let help = command.find_subcommand_mut(name).map(|c| c.render_long_help().to_string());
            let help = help.unwrap_or_default();
            assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
        }
    }
}
