//! The long-running agent: capture on the main thread, and a thread that serves metrics and health, reads settings anew,
//! and talks to systemd. What is served never waits for the capture for long, and the capture never waits for it at all.

mod files;
mod http;
mod patience;
mod reload;
mod systemd;
mod tls;
mod token;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use self::http::Endpoint;
use self::reload::{Reloader, Reloads};
use self::systemd::Word;
use self::tls::{Shown, Tls};
use self::token::{Secret, Token};
use crate::cli::audit::AuditArgs;
use crate::cli::judging::JudgingArgs;
use crate::cli::kubernetes::KubernetesArgs;
use crate::cli::probes::ProbeArgs;
use crate::cli::rules::RulesArgs;
use crate::cli::{AgentArgs, say};
use crate::config::{Config, Switch, metrics};
use crate::enrich::{self, Enricher};
use crate::exit::{Exit, Failure};
use crate::export::otlp;
use crate::export::prometheus::{self, Exposition, Health, Queue, negotiate};
use crate::export::silent::SilentSink;
use crate::filter::Filter;
use crate::harden::{self, Needs};
use crate::judging::Judging;
use crate::pipeline::{Phases, Pipeline, View};
use crate::report::limits::Limits;
use crate::report::socket::{DEFAULT_PATH, Server};
use crate::source::live::{self, Remote, Stage};
use crate::top::attendant;

/// How often the thread looks how far the capture has come, while it starts.
const LOOK: Duration = Duration::from_millis(50);

/// How long what is seen of a connection waits for what comes next before it is judged and counted. Short connections are over by
/// then; nobody who looks at metrics, reports or alerts sees the difference.
const SETTLE: Duration = Duration::from_millis(100);

/// Runs until stopped. `args` are what a reload reads again; `config` is what they come to now.
///
/// # Errors
/// [`Failure`] when something that was asked for cannot be had.
pub fn run(config: Config, args: AgentArgs) -> Result<Exit, Failure> {
    let kubernetes = KubernetesArgs::default().over(&config)?;
    // Before the first thread starts.
    let hardened = harden::begin(&config, needs(&config, kubernetes.as_ref()));
    let (remote, attendance) = live::remote();
    let audit = AuditArgs::default().open(&config, false)?;
    let capture = config.capture.clone();
    let engine = capture.engine();
    let judging = judging(&config)?;
    let options = enrich::Options {
        max_connections: engine.max_connections,
        command_args: config.agent.command_args == Some(Switch::On),
        kubernetes,
        policies: Some(judging.policy_files().clone()),
        ..Default::default()
    };
    let enricher =
        Enricher::new(options).map_err(|e| Failure::new(Exit::Failure, "follow the Kubernetes API", e))?;
    let view = View { filter: Filter::default(), phases: Phases::All, client_is_local: false, count: None };
    let mut pipeline = Pipeline::new(engine, view, Box::new(SilentSink))
        .with_enricher(enricher)
        .with_judging(judging)
        .settling(SETTLE);
    if let Some(audit) = audit {
        pipeline = pipeline.with_audit(audit);
    }
    let options = config.metrics.options();
    let (metrics, exposition) = options
        .and_then(prometheus::metrics)
        .map_err(|e| Failure::new(Exit::Usage, "use the settings of metrics", e))?;
    pipeline = pipeline.with_recorder(Box::new(metrics));
    let mut server = None;
    if let Some((started, feed)) = answer(&config)? {
        pipeline = pipeline.with_recorder(Box::new(feed));
        attendant::tell_losses(remote.clone(), started.top().clone())?;
        server = Some(started);
    }
    let mut exporter = None;
    if let Some((handle, sink)) = export(&config)? {
        pipeline = pipeline.with_recorder(Box::new(sink));
        exporter = Some(handle);
    }
    let exported = Exported {
        exposition,
        reloads: Arc::new(Reloads::new()),
        otlp: exporter.as_ref().map(otlp::OtlpHandle::status),
    };
    let service = Service::start(&config, args, remote, exported)?;
    let options = live::Options {
        capture,
        probes: ProbeArgs::default().over(&config),
        attendance: Some(attendance),
        hardened: Some(hardened),
        ..live::Options::default()
    };
    let result = live::run(options, pipeline);
    systemd::tell(Word::Stopping);
    drop(server);
    service.stop();
    if let Some(exporter) = exporter {
        exporter.shutdown(config.agent.shutdown_timeout());
    }
    result
}

/// What these settings need beyond what every capture needs.
fn needs(config: &Config, kubernetes: Option<&enrich::Kubernetes>) -> Needs {
    let audit_log = AuditArgs::default().file(config);
    let socket = config.agent.socket.as_deref().filter(|_| config.agent.answer != Some(Switch::Off));
    let port = config.metrics.listen.unwrap_or(metrics::DEFAULT_LISTEN).port();
    Needs { low_port: (1..1024).contains(&port), ..Needs::of(kubernetes, &[audit_log.as_deref(), socket]) }
}

/// Sends spans and the like, where that is wanted.
fn export(config: &Config) -> Result<Option<(otlp::OtlpHandle, otlp::OtlpSink)>, Failure> {
    let node_name = config.kubernetes.node_name.clone();
    let options = otlp::Options { node_name, ..otlp::Options::settled(&config.otlp)? };
    options.is_enabled().then(|| otlp::start(&options)).transpose()
}

/// What settings come to, for the judge; read again on a reload.
fn judging(config: &Config) -> Result<Judging, Failure> {
    let mut judging = JudgingArgs::default().build(config, true)?;
    if let Some(rules) = RulesArgs::default().build(config)? {
        judging.add_rules(Box::new(rules));
    }
    Ok(judging)
}

/// Answers `tlsight report`, where that is wanted. A socket that nobody asked for is no reason not to run.
fn answer(config: &Config) -> Result<Option<(Server, crate::report::socket::FeedSink)>, Failure> {
    let Some(path) = config.agent.socket.as_deref().filter(|_| config.agent.answer != Some(Switch::Off))
    else {
        return Ok(None);
    };
    match Server::start(path, Limits::of_one_agent()) {
        Ok(started) => Ok(Some(started)),
        Err(failure) if path.as_os_str() == DEFAULT_PATH => {
            say(&format!("`tlsight report` will not be answered: {failure}"));
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// The thread beside the capture.
struct Service {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Service {
    /// Starts it. When this returns, the endpoint listens.
    fn start(config: &Config, args: AgentArgs, remote: Remote, exported: Exported) -> Result<Self, Failure> {
        let cannot =
            |e: std::io::Error| Failure::new(Exit::Failure, "start the thread that serves metrics", e);
        let address = config.metrics.listen.unwrap_or(metrics::DEFAULT_LISTEN);
        let token = Token::default();
        token.set(Secret::read(config.metrics.bearer_token_file.as_deref())?);
        let tls = config.metrics.tls.as_ref().map(Shown::read).transpose()?;
        let reloads = Arc::clone(&exported.reloads);
        let endpoint = Arc::new(Endpoint {
            remote,
            metrics: Box::new(exported),
            tls: tls.map(Tls::new),
            token,
            counters: http::Counters::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let listener = runtime.block_on(http::listen(address))?;
        let hangup = {
            let _inside = runtime.enter();
            signal(SignalKind::hangup()).map_err(|e| Failure::new(Exit::Failure, "listen for signals", e))?
        };
        let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
        if let Ok(address) = listener.local_addr() {
            say(&format!("metrics at {scheme}://{address}/metrics"));
        }
        let reloader = Reloader { args, config: config.clone(), endpoint: Arc::clone(&endpoint), reloads };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("service".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    // Told, or the main thread is gone.
                    _ = stopped => {}
                    () = http::serve(listener, Arc::clone(&endpoint)) => {}
                    () = reloader.run(hangup) => {}
                    () = attend(&endpoint.remote) => {}
                }
            });
            // Whoever is in the middle of an answer does not hold up the end.
            runtime.shutdown_background();
        });
        Ok(Self { stop, thread: thread.map_err(cannot)? })
    }

    /// Ends it.
    fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Tells systemd how the capture is doing.
async fn attend(remote: &Remote) {
    while remote.stage() == Stage::Starting {
        tokio::time::sleep(LOOK).await;
    }
    if remote.stage() == Stage::Watching {
        say("watching");
        systemd::tell(Word::Ready);
    }
    let Some(every) = systemd::watchdog() else { return std::future::pending().await };
    loop {
        // A capture that does not answer is one that systemd should start anew.
        if remote.health(every).await.is_ok() {
            systemd::tell(Word::Alive);
        }
        tokio::time::sleep(every).await;
    }
}

/// What the endpoint says.
struct Exported {
    exposition: Exposition,
    reloads: Arc<Reloads>,
    /// Absent where nothing is sent over OTLP.
    otlp: Option<otlp::Status>,
}

impl http::Metrics for Exported {
    fn render(&self, accept: Option<&str>, health: live::Health) -> Result<(&'static str, Vec<u8>), String> {
        let format = negotiate(accept);
        let live::Health { mut counters, connections_open, programs } = health;
        counters.extend(self.reloads.named());
        let mut queues = Vec::new();
        if let Some(otlp) = &self.otlp {
            counters.extend(otlp.counters().into_iter().map(|(name, n)| (name.to_owned(), n)));
            queues.extend(otlp.queues().into_iter().map(|queue| Queue {
                name: queue.name.to_owned(),
                length: count(queue.length),
                capacity: count(queue.capacity),
            }));
        }
        let health = Health {
            connections_open,
            probes: probes(&counters),
            counters,
            gauges: Vec::new(),
            queues,
            programs,
            reload: Some(self.reloads.last()),
        };
        let body = self.exposition.render(format, &health).map_err(|e| e.to_string())?;
        Ok((format.content_type(), body))
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// What is attached now, by kind.
fn probes(counters: &[(String, u64)]) -> Vec<(String, u64)> {
    let of = |name: &str| counters.iter().find(|(known, _)| known == name).map(|(_, n)| *n);
    let kinds = [("uprobe", "probe.points_attached"), ("file", "probe.files_probed")];
    kinds.into_iter().filter_map(|(kind, name)| Some((kind.to_owned(), of(name)?))).collect()
}

/// Bytes as what a client of the endpoint sends; what it gets for them.
#[cfg(fuzzing)]
pub fn fuzz_endpoint(request: &[u8]) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map(|runtime| runtime.block_on(http::fuzz(request))).unwrap_or_default()
}
