//! docs/metrics.md is written from the metrics' own texts.

use std::fmt::Write;
use std::path::Path;

use super::counters::{Class, all};
use super::descriptor::{Descriptor, Kind, Values};
use super::registry::{BUCKETS, NATIVE_BUCKETS};
use super::{MAX_VALUE_BYTES, Options, descriptors};

const HEAD: &str = "\
# Metrics

<!-- Written from the code by `cargo xtask docs`; do not edit. -->

`tlsight agent` serves metrics for Prometheus at `/metrics` ([settings](configuration.md)). Which format a scraper gets is for
its Accept header to say: OpenMetrics text 1.0.0, the Prometheus text format 0.0.4 (who asks for nothing in particular gets
it), or delimited protobuf, the only one that has native histograms (Prometheus asks for it with
`--enable-feature=native-histograms`).

A label whose value is not known is left out, which to Prometheus is the same as empty. Connections are counted by *end*: one
whose two ends are both on this host is seen twice, once with `role=\"client\"` and once with `role=\"server\"`. A query that
wants connections asks for one role, or knows that it sees both.

What is seen of a connection waits up to 100 ms for what comes next before it is counted: one that is over by then is counted
once, as it ended.
";

/// Everything in docs/metrics.md.
fn reference() -> String {
    let mut out = HEAD.to_owned();
    bounds(&mut out);
    out.push_str("\n## All metrics\n\n| metric | type | unit | labels |\n|---|---|---|---|\n");
    for d in descriptors() {
        let labels: Vec<&str> = d.labels.iter().map(|label| label.name).collect();
        let unit = d.unit.map_or("", |unit| unit.as_str());
        let labels = labels.join(", ");
        let _ = writeln!(out, "| [{0}](#{0}) | {1} | {unit} | {labels} |", d.name, d.kind.as_str());
    }
    for d in descriptors() {
        metric(&mut out, d);
    }
    counters(&mut out);
    out
}

fn bounds(out: &mut String) {
    let default = Options::default();
    let (series, values) = (default.max_series, default.max_values);
    let hours = |duration: std::time::Duration| duration.as_secs() / 3600;
    let _ = write!(
        out,
        "
## Bounds

Names from the wire are without number: anybody can ask a server for ten thousand names. So

- a label marked *capped* has at most `max_values` ({values}) values a metric; the others are `other`;
- a metric about what was seen has at most `max_series` ({series}) series; what does not fit goes to one more, all of whose
  labels are `other`. `tlsight_metric_series_limited_total` counts both;
- characters that a terminal obeys, or that hide, are written out (`\\u{{1b}}`), and a value is cut to {MAX_VALUE_BYTES} bytes, an ellipsis (`…`) included, and one that is `other` by itself is one of the others;
- a series that nothing was added to for `series_retention` ({} h) goes, which makes room. Counters that come back begin at
  zero, as after a restart. The series of a certificate goes when it was not seen for `certificate_retention` ({} h); findings
  stay until they are cleared;
- times cannot be added up: where a series of `tlsight_certificate_not_after_timestamp_seconds` stands for several
  certificates (`other`, or labels that are not kept), it shows the earliest end of those seen within one to two times the
  retention.

| setting | default | meaning |
|---|---|---|
| `metrics.labels` | none | labels that are kept of a metric, by its name; of one that is not named, all |
| `metrics.max_series` | `{series}` | series of one metric about what was seen |
| `metrics.max_values` | `{values}` | values of one capped label of one metric |
| `metrics.series_retention` | `{}h` | a series that nothing was added to for this long goes |
| `metrics.certificate_retention` | `{}h` | the series of a certificate that was not seen for this long goes |
| `metrics.native_histograms` | `on` | native histograms besides the classic ones, for scrapes in protobuf |

What differs in labels that are not kept only is one series:

```yaml
metrics:
  labels:
    tlsight_connections_total: [security, expectation, role, scope, server_namespace, server_workload]
```
",
        hours(default.series_retention),
        hours(default.certificate_retention),
        hours(default.series_retention),
        hours(default.certificate_retention),
    );
}

fn metric(out: &mut String, d: &Descriptor) {
    let _ = write!(out, "\n## {}\n\n{}\n", d.name, d.help);
    if d.kind == Kind::Histogram {
        let buckets: Vec<String> = BUCKETS.iter().map(ToString::to_string).collect();
        let _ = write!(
            out,
            "\nClassic buckets: {}. Native: schema 3 (each bucket ends at 2^(1/8) times the end of the one before), halved in \
             resolution above {NATIVE_BUCKETS} buckets.\n",
            buckets.join(", ")
        );
    }
    if d.labels.is_empty() {
        return;
    }
    out.push_str("\n| label | meaning | bound |\n|---|---|---|\n");
    for label in d.labels {
        let bound = match label.values {
            Values::Closed => "",
            Values::Capped => "capped",
            Values::PerSeries => "as many as series",
        };
        let _ = writeln!(out, "| `{}` | {} | {bound} |", label.name, label.meaning);
    }
}

fn counters(out: &mut String) {
    out.push_str(
        "\n## The agent's own counters\n\nWhich of them is shown where. Those of TLS libraries that cannot be probed \
         (`probe.unprobed.*`) and of failing packages of rules (`rego.failed.*`) are named by what they are about.\n\
         \n| counter | metric | label |\n|---|---|---|\n",
    );
    for (name, class) in all() {
        let (metric, label) = match class {
            Class::Lost(place) => ("tlsight_events_lost_total", format!("place=\"{place}\"")),
            Class::Dropped => ("tlsight_dropped_total", format!("what=\"{name}\"")),
            Class::Counter => ("tlsight_agent_events_total", format!("name=\"{name}\"")),
            Class::Gauge => ("tlsight_agent_state", format!("name=\"{name}\"")),
        };
        let _ = writeln!(out, "| `{name}` | {metric} | `{label}` |");
    }
}

#[test]
fn the_reference_says_what_the_metrics_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = reference();
    if std::env::var_os("TLSIGHT_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&path, &text).expect("write docs/metrics.md");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/metrics.md is out of date: cargo xtask docs writes it anew");
}
