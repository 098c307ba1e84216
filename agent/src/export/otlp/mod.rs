//! OTLP: a span for each TLS handshake; log records of plaintext connections, findings and what clients showed; metrics, where
//! somebody asks for them. docs/otlp.md is its reference.
//!
//! The capture thread hands over copies through queues that are bounded, and never waits. A thread of the exporter's own
//! makes spans and records of them and sends them, a batch of each signal at a time. A collector that is down, slow, or
//! refuses costs those records and nothing else.

mod attributes;
mod batch;
mod client;
mod connect;
mod counters;
mod environment;
mod event;
mod exporters;
mod hold;
mod metrics;
mod options;
mod own;
mod queue;
mod record;
mod resolve;
mod resource;
mod signals;
mod sink;
mod span;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry_sdk::logs::LogExporter as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

use self::batch::Task;
use self::counters::Counters;
use self::event::Events;
use self::exporters::Maker;
use self::hold::Hold;
pub use self::options::{Limits, Logs, Metrics, Options, Queue, Target, Traces};
use self::own::OwnConnections;
use self::queue::{Fill, queue};
pub use self::resolve::settle;
use self::signals::{LogSignal, SpanSignal};
use self::sink::EventSink;
pub use self::sink::OtlpSink;
use self::span::Spans;
use self::trouble::Trouble;
use crate::audit::Auditor;
use crate::exit::{Exit, Failure};

/// Connections that are open at once, of which the audit records are made once.
const AUDITED: usize = 65_536;

/// A queue, for whoever shows how full it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLength {
    /// `otlp_spans` or `otlp_logs`.
    pub name: &'static str,
    /// Records that wait.
    pub length: usize,
    /// Records that may.
    pub capacity: usize,
}

/// The exporter's other end: what it counted, and its end.
#[derive(Debug)]
pub struct OtlpHandle {
    status: Status,
    stop: watch::Sender<Option<Instant>>,
    meters: Option<SdkMeterProvider>,
    thread: Option<JoinHandle<()>>,
    done: Receiver<()>,
}

/// What the exporter counted, for whoever shows it, from any thread.
#[derive(Clone, Debug)]
pub struct Status {
    counters: Arc<Counters>,
    queues: Vec<(&'static str, Arc<Fill>)>,
}

impl Status {
    /// Every counter with its name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.counters.named()
    }

    /// How full the queues are.
    pub fn queues(&self) -> Vec<QueueLength> {
        let length = |(name, fill): &(&'static str, Arc<Fill>)| {
            let (length, capacity) = fill.length();
            QueueLength { name, length, capacity }
        };
        self.queues.iter().map(length).collect()
    }
}

impl OtlpHandle {
    /// What it counted; stays true after the handle is gone.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Every counter with its name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.status.counters()
    }

    /// How full the queues are.
    pub fn queues(&self) -> Vec<QueueLength> {
        self.status.queues()
    }

    /// Sends what waits, until the time is over; what is left then is counted. To be called when the sink has its last record.
    pub fn shutdown(mut self, within: Duration) -> Vec<(&'static str, u64)> {
        self.finish(within);
        self.counters()
    }

    fn finish(&mut self, within: Duration) {
        let Some(thread) = self.thread.take() else { return };
        let deadline = std::time::Instant::now() + within;
        if let Some(meters) = self.meters.take() {
            // On the thread that asks, as its exporter needs the runtime to go on meanwhile.
            let (tell, over) = sync_channel(1);
            let last = move || {
                let _ = meters.shutdown_with_timeout(within);
                let _ = tell.send(());
            };
            if std::thread::Builder::new().name("otlp metrics".to_owned()).spawn(last).is_ok() {
                let _ = over.recv_timeout(within);
            }
        }
        // The tasks are over then, or never will be.
        let _ = self.stop.send(Some(Instant::from_std(deadline)));
        let patience = deadline.saturating_duration_since(std::time::Instant::now()) + Duration::from_secs(1);
        if self.done.recv_timeout(patience).is_ok() {
            let _ = thread.join();
        }
    }
}

impl Drop for OtlpHandle {
    fn drop(&mut self) {
        self.finish(Duration::ZERO);
    }
}

/// A task of the exporter's thread.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts the exporter. With nothing to send there is a sink that takes nothing, and no thread does anything.
///
/// # Errors
/// [`Failure`] when certificates cannot be read, or a target cannot be right.
pub fn start(options: &Options) -> Result<(OtlpHandle, OtlpSink), Failure> {
    let cannot = |e: std::io::Error| Failure::new(Exit::Failure, "start the exporter of OTLP", e);
    // Names of hosts are looked up on threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_name("otlp names")
        .build()
        .map_err(cannot)?;
    let counters = Arc::new(Counters::default());
    let own = Arc::new(OwnConnections::default());
    let (stop, stopped) = watch::channel(None);
    let maker = Maker { own: Arc::clone(&own), counters: Arc::clone(&counters) };
    let mut sink = OtlpSink::new(own, Arc::clone(&counters));
    let mut queues = Vec::new();
    let mut tasks: Vec<Running> = Vec::new();
    let resource = resource::resource(options);
    let entered = runtime.enter();
    if let Some(traces) = &options.traces {
        let (to, from) = queue(traces.queue.max_size, traces.queue.max_bytes);
        queues.push(("otlp_spans", to.fill()));
        sink.spans = Some(to);
        sink.ratio = traces.ratio;
        let last_error = client::LastError::default();
        let mut exporter = maker.spans(&traces.target, Arc::clone(&last_error))?;
        exporter.set_resource(&resource);
        let spans = Spans { scope: resource::scope(), limits: traces.limits };
        let counters = Arc::clone(&counters);
        let task = Task {
            signal: SpanSignal { exporter, spans, hold: Hold::new(), counters, last_error },
            queue: from,
            settings: traces.queue,
            timeout: traces.target.timeout,
            stop: stopped.clone(),
            trouble: Trouble::new(format!("spans to {}", traces.target.endpoint)),
        };
        tasks.push(Box::pin(task.run()));
    }
    if let Some(logs) = &options.logs {
        let (to, from) = queue(logs.queue.max_size, logs.queue.max_bytes);
        queues.push(("otlp_logs", to.fill()));
        let audit = logs.audit.then(|| Auditor::new(AUDITED));
        sink.events = Some(EventSink { to, plaintext: logs.plaintext, findings: logs.findings, audit });
        let last_error = client::LastError::default();
        let mut exporter = maker.logs(&logs.target, Arc::clone(&last_error))?;
        exporter.set_resource(&resource);
        let events = Events::new(logs.limits);
        let counters = Arc::clone(&counters);
        let task = Task {
            signal: LogSignal { exporter, events, scope: resource::scope(), counters, last_error },
            queue: from,
            settings: logs.queue,
            timeout: logs.target.timeout,
            stop: stopped.clone(),
            trouble: Trouble::new(format!("log records to {}", logs.target.endpoint)),
        };
        tasks.push(Box::pin(task.run()));
    }
    let mut meters = None;
    let gate = metrics::Gate::new();
    if let Some(metrics) = &options.metrics {
        let last_error = client::LastError::default();
        let exporter = metrics::OnRuntime {
            exporter: maker.metrics(&metrics.target, metrics.temporality, Arc::clone(&last_error))?,
            runtime: runtime.handle().clone(),
            timeout: metrics.target.timeout,
            counters: Arc::clone(&counters),
            last_error,
            trouble: Trouble::new(format!("metrics to {}", metrics.target.endpoint)).into(),
            stopped: stopped.clone(),
            gate: gate.clone(),
        };
        let provider = metrics::provider(exporter, metrics.interval, resource);
        sink.metrics = Some(metrics::Instruments::new(&provider));
        meters = Some(provider);
    }
    drop(entered);
    let (tell, done) = sync_channel(1);
    let work = move || {
        run(&runtime, tasks, stopped, &gate);
        // A name that is being looked up keeps nobody.
        runtime.shutdown_background();
        let _ = tell.send(());
    };
    let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(work).map_err(cannot)?;
    Ok((OtlpHandle { status: Status { counters, queues }, stop, meters, thread: Some(thread), done }, sink))
}

/// Until it is told to stop, and all tasks are over.
fn run(
    runtime: &Runtime,
    tasks: Vec<Running>,
    mut stopped: watch::Receiver<Option<Instant>>,
    gate: &metrics::Gate,
) {
    runtime.block_on(async {
        let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        // Metrics need the runtime even when there is no task.
        let _ = stopped.wait_for(Option::is_some).await;
        for task in running {
            let _ = task.await;
        }
        gate.close().await;
    });
}
