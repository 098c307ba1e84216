//! `tlsight agent`: the long-running mode.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::audit::AuditArgs;
use super::judging::{ConfigArgs, JudgingArgs};
use super::kubernetes::KubernetesArgs;
use super::limits::CaptureLimits;
use super::otlp::OtlpArgs;
use super::probes::ProbeArgs;
use super::rules::RulesArgs;
use crate::agent;
use crate::config::{Config, Switch};
use crate::exit::{Exit, Failure};

/// Arguments of `tlsight agent`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  sudo tlsight agent                               metrics on http://127.0.0.1:9465/metrics
  sudo tlsight agent --config /etc/tlsight.yaml    as that file says
  tlsight agent --config tlsight.yaml --print-config
                                                   what file, environment, flags and defaults come to
  sudo kill -HUP PID                               read policies, rules, thresholds, authorities and certificates anew")]
pub struct AgentArgs {
    /// Where other settings come from.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Print what file, environment, flags and defaults come to, as a configuration file, and end
    #[arg(long, help_heading = "Configuration")]
    pub print_config: bool,

    /// Serve metrics, /healthz and /readyz at this address [default: 127.0.0.1:9465]
    #[arg(long, value_name = "ADDRESS:PORT", env = "TLSIGHT_METRICS_LISTEN", help_heading = "Exporters")]
    pub metrics_listen: Option<SocketAddr>,

    /// Answer `tlsight report` and `tlsight top` on this Unix socket [default: /run/tlsight/tlsight.sock]
    #[arg(long, value_name = "PATH", env = "TLSIGHT_SOCKET", help_heading = "Exporters")]
    pub socket: Option<PathBuf>,

    /// Who showed which certificate, and what became of it.
    #[command(flatten)]
    pub audit: AuditArgs,

    /// Where spans, log records and metrics go.
    #[command(flatten)]
    pub otlp: OtlpArgs,

    /// Where names of pods and Services come from.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,

    /// What is expected, and what counts as wrong.
    #[command(flatten)]
    pub judging: JudgingArgs,

    /// Rules of one's own.
    #[command(flatten)]
    pub rules: RulesArgs,

    /// How certificates in TLS 1.3 are seen.
    #[command(flatten)]
    pub probes: ProbeArgs,

    /// How much is captured of each connection.
    #[command(flatten)]
    pub limits: CaptureLimits,
}

impl AgentArgs {
    /// What file, environment, flags and defaults come to.
    ///
    /// # Errors
    /// [`Failure`] when the file cannot be read or is wrong.
    pub fn settle(&self) -> Result<Config, Failure> {
        let config = self.config.load()?;
        let capture = self.limits.over(&config);
        let Config {
            capture: _,
            agent,
            kubernetes,
            tls13,
            policy,
            trust,
            findings,
            rules,
            audit,
            metrics,
            otlp,
        } = config;
        let mut agent = agent.settled();
        let mut kubernetes = kubernetes.settled();
        if let Some(socket) = &self.socket {
            agent.answer = Some(Switch::On);
            agent.socket = Some(socket.clone());
        }
        over(&mut kubernetes.kubeconfig, &self.kubernetes.kubeconfig);
        over(&mut kubernetes.node_name, &self.kubernetes.node_name);
        Ok(Config {
            agent,
            capture,
            kubernetes,
            tls13: self.probes.settle(tls13),
            policy: self.judging.settle_policy(policy),
            trust: self.judging.settle_trust(trust),
            findings,
            rules: self.rules.settle(rules),
            audit: self.audit.settle(audit),
            metrics: metrics.settled(self.metrics_listen),
            otlp: self.otlp.settle(&otlp)?,
        })
    }
}

/// The flag counts for more than what there is.
fn over<T: Clone>(setting: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        setting.clone_from(flag);
    }
}

/// Runs until stopped.
pub(super) fn run(args: &AgentArgs) -> Result<Exit, Failure> {
    let config = args.settle()?;
    if args.print_config {
        let text = config.to_string();
        return match io::stdout().write_all(text.as_bytes()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::output("standard output", &e)),
            _ => Ok(Exit::Ok),
        };
    }
    agent::run(config, args.clone())
}
