//! The Prometheus text format 0.0.4, written from the protobuf messages: the library writes OpenMetrics only, in which names
//! and types of counters differ.

use std::fmt::Write;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{
    LabelPair, Metric, MetricFamily, MetricType,
};

pub(super) fn write(out: &mut String, families: &[MetricFamily]) -> std::fmt::Result {
    for family in families {
        let kind = match family.r#type() {
            MetricType::Counter => "counter",
            MetricType::Histogram => "histogram",
            MetricType::Gauge => "gauge",
            MetricType::Summary | MetricType::Untyped | MetricType::GaugeHistogram => "untyped",
        };
        write!(out, "# HELP {} ", family.name)?;
        escape(out, &family.help, false)?;
        write!(out, "\n# TYPE {} {kind}\n", family.name)?;
        for metric in &family.metric {
            samples(out, &family.name, metric)?;
        }
    }
    Ok(())
}

fn samples(out: &mut String, name: &str, metric: &Metric) -> std::fmt::Result {
    let labels = &metric.label;
    if let Some(counter) = &metric.counter {
        line(out, name, "", labels, None, counter.value)?;
    }
    if let Some(gauge) = &metric.gauge {
        line(out, name, "", labels, None, gauge.value)?;
    }
    if let Some(histogram) = &metric.histogram {
        for bucket in &histogram.bucket {
            line(out, name, "_bucket", labels, Some(bucket.upper_bound), as_float(bucket.cumulative_count))?;
        }
        line(out, name, "_sum", labels, None, histogram.sample_sum)?;
        line(out, name, "_count", labels, None, as_float(histogram.sample_count))?;
    }
    Ok(())
}

fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    upper_bound: Option<f64>,
    value: f64,
) -> std::fmt::Result {
    write!(out, "{name}{suffix}")?;
    if !labels.is_empty() || upper_bound.is_some() {
        let mut separator = '{';
        for label in labels {
            write!(out, "{separator}{}=\"", label.name)?;
            escape(out, &label.value, true)?;
            out.push('"');
            separator = ',';
        }
        if let Some(upper_bound) = upper_bound {
            write!(out, "{separator}le=\"")?;
            number(out, upper_bound)?;
            out.push('"');
        }
        out.push('}');
    }
    out.push(' ');
    number(out, value)?;
    out.push('\n');
    Ok(())
}

fn number(out: &mut String, value: f64) -> std::fmt::Result {
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        Ok(())
    } else {
        write!(out, "{value}")
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) -> std::fmt::Result {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
    Ok(())
}

/// Exact below 2^53.
#[allow(clippy::cast_precision_loss)]
const fn as_float(n: u64) -> f64 {
    n as f64
}
