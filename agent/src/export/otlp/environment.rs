//! OpenTelemetry's environment variables, those too that the Rust exporter does not read itself. One that is empty is as good
//! as none; one that is wrong is named.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::config::Switch;
use crate::config::otlp::{AttributeLimits, Headers, Otlp, Queue, Ratio};

/// Where variables are looked up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wrong, with the name of the variable.
type Wrong = String;

struct Reader<'a>(Lookup<'a>);

/// What the environment says, as a section of the file would say it.
pub(super) fn read(lookup: Lookup<'_>) -> Result<Otlp, Wrong> {
    let vars = Reader(lookup);
    let mut otlp = Otlp::default();
    if vars.flag("OTEL_SDK_DISABLED") == Some(true) {
        otlp.enabled = Some(Switch::Off);
    }
    macro_rules! connection {
        ($section:expr, $signal:literal) => {
            let name = |what: &str| format!(concat!("OTEL_EXPORTER_OTLP_", $signal, "{}"), what);
            $section.endpoint = vars.text(&name("ENDPOINT"));
            $section.protocol = vars.word(&name("PROTOCOL"))?;
            $section.headers =
                vars.pairs(&name("HEADERS"))?.map(|pairs| Headers(pairs.into_iter().collect()));
            $section.certificate = vars.path(&name("CERTIFICATE"));
            $section.client_certificate = vars.path(&name("CLIENT_CERTIFICATE"));
            $section.client_key = vars.path(&name("CLIENT_KEY"));
            $section.insecure = vars.flag(&name("INSECURE")).map(switch);
            $section.compression = vars.word(&name("COMPRESSION"))?;
            $section.timeout = vars.milliseconds(&name("TIMEOUT"))?;
        };
    }
    connection!(otlp, "");
    connection!(otlp.traces, "TRACES_");
    connection!(otlp.logs, "LOGS_");
    connection!(otlp.metrics, "METRICS_");
    otlp.traces.enabled = vars.exporter("OTEL_TRACES_EXPORTER")?;
    otlp.logs.enabled = vars.exporter("OTEL_LOGS_EXPORTER")?;
    otlp.metrics.enabled = vars.exporter("OTEL_METRICS_EXPORTER")?;
    otlp.traces.sampler = vars.word("OTEL_TRACES_SAMPLER")?;
    otlp.traces.ratio = vars.ratio("OTEL_TRACES_SAMPLER_ARG")?;
    otlp.traces.queue = vars.queue("BSP")?;
    otlp.logs.queue = vars.queue("BLRP")?;
    otlp.metrics.interval = vars.milliseconds("OTEL_METRIC_EXPORT_INTERVAL")?;
    if otlp.metrics.timeout.is_none() {
        otlp.metrics.timeout = vars.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT")?;
    }
    otlp.attribute_limits = vars.limits("OTEL_ATTRIBUTE")?;
    otlp.resource = vars.pairs("OTEL_RESOURCE_ATTRIBUTES")?.unwrap_or_default().into_iter().collect();
    if let Some(name) = vars.text("OTEL_SERVICE_NAME") {
        otlp.resource.insert("service.name".to_owned(), name);
    }
    otlp.traces.attribute_limits = vars.limits("OTEL_SPAN_ATTRIBUTE")?;
    otlp.logs.attribute_limits = vars.limits("OTEL_LOGRECORD_ATTRIBUTE")?;
    otlp.metrics.temporality = vars.word("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")?;
    Ok(otlp)
}

const fn switch(on: bool) -> Switch {
    if on { Switch::On } else { Switch::Off }
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// True only where it says so (OpenTelemetry, "Boolean value").
    fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A word that the file may say too.
    fn word<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>, Wrong> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let deserializer: StrDeserializer<'_, ValueError> = value.as_str().into_deserializer();
        T::deserialize(deserializer).map(Some).map_err(|e| format!("{name}: {e}"))
    }

    fn number(&self, name: &str) -> Result<Option<usize>, Wrong> {
        let parse = |value: String| value.parse().map_err(|_| format!("{name}: expected a whole number"));
        self.text(name).map(parse).transpose()
    }

    fn milliseconds(&self, name: &str) -> Result<Option<Duration>, Wrong> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.parse() {
            Ok(millis @ 1..) => Ok(Some(Duration::from_millis(millis))),
            _ => Err(format!("{name}: expected milliseconds, a whole number above zero")),
        }
    }

    fn ratio(&self, name: &str) -> Result<Option<Ratio>, Wrong> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let ratio = value.parse().ok().and_then(|ratio: f64| Ratio::try_from(ratio).ok());
        ratio.map(Some).ok_or_else(|| format!("{name}: expected a share from 0 to 1"))
    }

    /// `otlp`, `none`, or both by a comma.
    fn exporter(&self, name: &str) -> Result<Option<Switch>, Wrong> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let mut on = false;
        for word in value.split(',').map(str::trim) {
            match word {
                "otlp" => on = true,
                "none" => {}
                other => return Err(format!("{name}: expected otlp or none, not {other}")),
            }
        }
        Ok(Some(switch(on)))
    }

    /// `key1=value1,key2=value2`, percent-encoded (W3C Baggage).
    fn pairs(&self, name: &str) -> Result<Option<Vec<(String, String)>>, Wrong> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let wrong =
            || format!("{name}: expected key=value, separated by commas, in percent-encoding where need be");
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let (key, value) = (decode(key.trim())?, decode(value.trim())?);
            (!key.is_empty()).then_some((key, value))
        };
        let pairs = value.split(',').filter(|text| !text.trim().is_empty());
        pairs.map(|text| pair(text).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>().map(Some)
    }

    fn queue(&self, processor: &str) -> Result<Queue, Wrong> {
        let name = |what: &str| format!("OTEL_{processor}_{what}");
        Ok(Queue {
            max_size: self.number(&name("MAX_QUEUE_SIZE"))?,
            max_bytes: None,
            max_batch: self.number(&name("MAX_EXPORT_BATCH_SIZE"))?,
            delay: self.milliseconds(&name("SCHEDULE_DELAY"))?,
            export_timeout: self.milliseconds(&name("EXPORT_TIMEOUT"))?,
        })
    }

    fn limits(&self, prefix: &str) -> Result<AttributeLimits, Wrong> {
        Ok(AttributeLimits {
            count: self.number(&format!("{prefix}_COUNT_LIMIT"))?,
            value_length: self.number(&format!("{prefix}_VALUE_LENGTH_LIMIT"))?,
        })
    }
}

/// RFC 3986 section 2.1; `None` where it is not well-formed.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
