//! File, environment and flags together. The later counts for more; within each, what is said of one signal counts for more
//! than what is said of all.

use std::collections::BTreeMap;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri};
use opentelemetry_sdk::metrics::Temporality;

use super::environment::{self, Lookup};
use super::options::{Limits, Logs, Metrics, Options, Queue, Target, Traces};
use crate::config::Switch;
use crate::config::otlp::{self, Compression, Connection, Headers, Otlp, Protocol, Ratio, Sampler};
use crate::exit::{Exit, Failure};

/// Time that a collector has for a batch, unless somebody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of records that wait.
const MAX_BYTES: usize = 16 << 20;
/// Most records that may be let wait, whatever is asked for.
const MAX_SIZE: usize = 1 << 20;

/// One signal.
#[derive(Clone, Copy)]
enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    const fn path(self) -> &'static str {
        match self {
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
            Signal::Metrics => "/v1/metrics",
        }
    }

    fn of(self, otlp: &Otlp) -> (Connection<'_>, Option<Switch>) {
        match self {
            Signal::Traces => (otlp.traces.connection(), otlp.traces.enabled),
            Signal::Logs => (otlp.logs.connection(), otlp.logs.enabled),
            Signal::Metrics => (otlp.metrics.connection(), otlp.metrics.enabled),
        }
    }
}

impl Options {
    /// What file, environment and flags say together.
    ///
    /// # Errors
    /// [`Failure`] that names what is wrong.
    pub fn resolve(
        file: &Otlp,
        lookup: &dyn Fn(&str) -> Option<String>,
        flags: &Otlp,
    ) -> Result<Self, Failure> {
        resolve(file, lookup, flags).map_err(|e| Failure::new(Exit::Usage, "set up the export over OTLP", e))
    }

    /// What [settled](settle) settings say.
    ///
    /// # Errors
    /// [`Failure`] that names what is wrong.
    pub fn settled(otlp: &Otlp) -> Result<Self, Failure> {
        Self::resolve(otlp, &|_| None, &Otlp::default())
    }
}

/// What file, environment and flags come to, as a file that says all of it: resolved again, it comes to the same.
///
/// # Errors
/// [`Failure`] that names what is wrong.
pub fn settle(file: &Otlp, lookup: &dyn Fn(&str) -> Option<String>, flags: &Otlp) -> Result<Otlp, Failure> {
    let options = Options::resolve(file, lookup, flags)?;
    let switch = |on: bool| Some(if on { Switch::On } else { Switch::Off });
    macro_rules! section {
        ($signal:ident: $kind:ident { $($field:ident: $value:expr,)* }) => {
            options.$signal.as_ref().map(|$signal| {
                let target = &$signal.target;
                let (client_certificate, client_key) = target.client.clone().unzip();
                otlp::$kind {
                    enabled: switch(true),
                    endpoint: Some(target.endpoint.to_string()),
                    protocol: Some(target.protocol),
                    headers: Some(target.headers.clone()).filter(|headers| !headers.0.is_empty()),
                    certificate: target.certificate.clone(),
                    client_certificate,
                    client_key,
                    compression: Some(if target.gzip { Compression::Gzip } else { Compression::None }),
                    timeout: Some(target.timeout),
                    insecure: None,
                    $($field: $value,)*
                }
            }).unwrap_or_else(|| otlp::$kind { enabled: switch(false), ..Default::default() })
        };
    }
    Ok(Otlp {
        enabled: switch(options.is_enabled()),
        traces: section!(traces: Traces {
            sampler: Some(Sampler::TraceIdRatio),
            ratio: Some(traces.ratio),
            queue: said(traces.queue),
            attribute_limits: said_limits(traces.limits),
        }),
        logs: section!(logs: Logs {
            plaintext: switch(logs.plaintext),
            findings: switch(logs.findings),
            audit: switch(logs.audit),
            queue: said(logs.queue),
            attribute_limits: said_limits(logs.limits),
        }),
        metrics: section!(metrics: Metrics {
            interval: Some(metrics.interval),
            temporality: Some(match metrics.temporality {
                Temporality::Delta => otlp::Temporality::Delta,
                Temporality::LowMemory => otlp::Temporality::LowMemory,
                _ => otlp::Temporality::Cumulative,
            }),
        }),
        resource: options.resource.iter().cloned().collect(),
        ..Otlp::default()
    })
}

const fn said(queue: Queue) -> otlp::Queue {
    otlp::Queue {
        max_size: Some(queue.max_size),
        max_bytes: Some(queue.max_bytes),
        max_batch: Some(queue.max_batch),
        delay: Some(queue.delay),
        export_timeout: Some(queue.export_timeout),
    }
}

fn said_limits(limits: Limits) -> otlp::AttributeLimits {
    otlp::AttributeLimits {
        count: Some(limits.count),
        value_length: Some(limits.value_length).filter(|length| *length != usize::MAX),
    }
}

fn resolve(file: &Otlp, lookup: Lookup<'_>, flags: &Otlp) -> Result<Options, String> {
    let env = environment::read(lookup)?;
    let layers = Layers([flags, &env, file]);
    let enabled = layers.first(|otlp| otlp.enabled);
    if enabled == Some(Switch::Off) {
        return Ok(Options::default());
    }
    let is_on = |signal: Signal, unless_said: bool| {
        let own = layers.first(|otlp| signal.of(otlp).1);
        let has_endpoint = layers.connection(signal, |c| c.endpoint).is_some();
        own.map_or(unless_said && (has_endpoint || enabled == Some(Switch::On)), |own| own == Switch::On)
    };
    let mut options = Options::default();
    if is_on(Signal::Traces, true) {
        options.traces = Some(Traces {
            target: layers.target(Signal::Traces)?,
            ratio: layers.sampled(),
            queue: layers.queue(|otlp| &otlp.traces.queue, Duration::from_secs(5), "otlp.traces.queue")?,
            limits: layers.limits(|otlp| &otlp.traces.attribute_limits),
        });
    }
    if is_on(Signal::Logs, true) {
        let on = |pick: fn(&Otlp) -> Option<Switch>| layers.first(pick) != Some(Switch::Off);
        options.logs = Some(Logs {
            target: layers.target(Signal::Logs)?,
            plaintext: on(|otlp| otlp.logs.plaintext),
            findings: on(|otlp| otlp.logs.findings),
            audit: on(|otlp| otlp.logs.audit),
            queue: layers.queue(|otlp| &otlp.logs.queue, Duration::from_secs(1), "otlp.logs.queue")?,
            limits: layers.limits(|otlp| &otlp.logs.attribute_limits),
        });
    }
    if is_on(Signal::Metrics, false) {
        options.metrics = Some(Metrics {
            target: layers.target(Signal::Metrics)?,
            interval: layers.first(|otlp| otlp.metrics.interval).unwrap_or(Duration::from_secs(60)),
            temporality: match layers.first(|otlp| otlp.metrics.temporality).unwrap_or_default() {
                otlp::Temporality::Cumulative => Temporality::Cumulative,
                otlp::Temporality::Delta => Temporality::Delta,
                otlp::Temporality::LowMemory => Temporality::LowMemory,
            },
        });
    }
    let attributes = file.resource.iter().chain(&env.resource);
    let attributes: BTreeMap<_, _> = attributes.map(|(key, value)| (key.clone(), value.clone())).collect();
    options.resource = attributes.into_iter().collect();
    Ok(options)
}

/// Flags, environment, file.
struct Layers<'a>([&'a Otlp; 3]);

impl<'a> Layers<'a> {
    fn first<T>(&self, pick: impl Fn(&'a Otlp) -> Option<T>) -> Option<T> {
        self.0.into_iter().find_map(pick)
    }

    /// The first that says something; whether it said it of this signal alone.
    fn connection<T>(&self, signal: Signal, pick: impl Fn(Connection<'a>) -> Option<T>) -> Option<(T, bool)> {
        self.first(|otlp| {
            let own = pick(signal.of(otlp).0).map(|value| (value, true));
            own.or_else(|| pick(otlp.connection()).map(|value| (value, false)))
        })
    }

    fn target(&self, signal: Signal) -> Result<Target, String> {
        let protocol = self.connection(signal, |c| c.protocol).map(|(p, _)| p).unwrap_or_default();
        let insecure = self.connection(signal, |c| c.insecure).map(|(s, _)| s) == Some(Switch::On);
        let endpoint = self.connection(signal, |c| c.endpoint);
        let endpoint = endpoint_of(endpoint, signal, protocol, insecure)?;
        let headers = self.connection(signal, |c| c.headers.cloned()).map(|(h, _)| h).unwrap_or_default();
        check(&headers)?;
        let path = |pick: fn(Connection<'a>) -> Option<&'a std::path::PathBuf>| {
            self.connection(signal, pick).map(|(path, _)| path.clone())
        };
        let client = match (path(|c| c.client_certificate), path(|c| c.client_key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err("a client certificate needs its key".to_owned()),
            (None, Some(_)) => return Err("a client key needs its certificate".to_owned()),
        };
        Ok(Target {
            endpoint,
            protocol,
            headers,
            certificate: path(|c| c.certificate),
            client,
            gzip: self.connection(signal, |c| c.compression).map(|(c, _)| c) == Some(Compression::Gzip),
            timeout: self.connection(signal, |c| c.timeout).map_or(TIMEOUT, |(timeout, _)| timeout),
        })
    }

    fn sampled(&self) -> Ratio {
        match self.first(|otlp| otlp.traces.sampler).unwrap_or_default() {
            Sampler::AlwaysOn => Ratio::ALL,
            Sampler::AlwaysOff => Ratio::NONE,
            Sampler::TraceIdRatio => self.first(|otlp| otlp.traces.ratio).unwrap_or(Ratio::ALL),
        }
    }

    fn queue(
        &self,
        pick: fn(&'a Otlp) -> &'a otlp::Queue,
        delay: Duration,
        name: &str,
    ) -> Result<Queue, String> {
        let size = |what: &str, set: Option<usize>, default: usize, most: usize| match set {
            Some(n) if !(1..=most).contains(&n) => {
                Err(format!("{name}.{what}: {n} is not between 1 and {most}"))
            }
            set => Ok(set.unwrap_or(default)),
        };
        let max_size = size("max_size", self.first(|otlp| pick(otlp).max_size), 2048, MAX_SIZE)?;
        let max_batch = size("max_batch", self.first(|otlp| pick(otlp).max_batch), 512, MAX_SIZE)?;
        Ok(Queue {
            max_size,
            max_bytes: size("max_bytes", self.first(|otlp| pick(otlp).max_bytes), MAX_BYTES, 1 << 30)?,
            max_batch: max_batch.min(max_size),
            delay: self.first(|otlp| pick(otlp).delay).unwrap_or(delay),
            export_timeout: self.first(|otlp| pick(otlp).export_timeout).unwrap_or(Duration::from_secs(30)),
        })
    }

    /// What is said of the signal, or else of all.
    fn limits(&self, pick: fn(&'a Otlp) -> &'a otlp::AttributeLimits) -> Limits {
        let default = Limits::default();
        let first = |part: fn(&otlp::AttributeLimits) -> Option<usize>| {
            self.first(|otlp| part(pick(otlp)).or_else(|| part(&otlp.attribute_limits)))
        };
        Limits {
            count: first(|limits| limits.count).unwrap_or(default.count),
            value_length: first(|limits| limits.value_length).unwrap_or(default.value_length),
        }
    }
}

/// Names and values that may stand in a request; a value is not shown.
fn check(headers: &Headers) -> Result<(), String> {
    for (name, value) in &headers.0 {
        HeaderName::try_from(name).map_err(|_| format!("{name} is no name of a header"))?;
        HeaderValue::try_from(value).map_err(|_| format!("the value of header {name} cannot be sent"))?;
    }
    Ok(())
}

fn endpoint_of(
    said: Option<(&str, bool)>,
    signal: Signal,
    protocol: Protocol,
    insecure: bool,
) -> Result<Uri, String> {
    let is_grpc = protocol == Protocol::Grpc;
    let (text, is_own) = said.unwrap_or(match is_grpc {
        true => ("http://localhost:4317", false),
        false => ("http://localhost:4318", false),
    });
    let wrong = |why: &dyn std::fmt::Display| format!("endpoint {text}: {why}");
    // gRPC's endpoints may go without a scheme; `insecure` tells what they mean then.
    let scheme =
        if is_grpc && !text.contains("://") { if insecure { "http://" } else { "https://" } } else { "" };
    let uri: Uri = format!("{scheme}{text}").parse().map_err(|e| wrong(&e))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong(&"expected http:// or https://"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong(&"there is no host in it"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("endpoint: a user's name has no place in it; send a header".to_owned());
    }
    if is_grpc || is_own {
        return Ok(uri);
    }
    // What is said of all signals has the signal's path put behind its own.
    let mut parts = uri.into_parts();
    let own = parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').to_owned();
    let path = PathAndQuery::try_from(format!("{own}{}", signal.path())).map_err(|e| wrong(&e))?;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|e| wrong(&e))
}
