//! Which of the formats a scraper gets: the one that it likes best (RFC 9110 section 12.5.1).

/// A format of exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0 text.
    OpenMetrics,
    /// Delimited protobuf messages `io.prometheus.client.MetricFamily`: the only one with native histograms.
    Protobuf,
}

impl Format {
    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// The format for this Accept header. Who accepts nothing of it gets text, as do those who say nothing: a person at a
/// terminal can read it.
pub fn negotiate(accept: Option<&str>) -> Format {
    let ranges = accept.unwrap_or_default().split(',').filter_map(range);
    // The first of those that are liked the same.
    let best = ranges.fold(None, |best: Option<(u16, Format)>, (weight, format)| match best {
        Some((most, _)) if most >= weight => best,
        _ if weight == 0 => best,
        _ => Some((weight, format)),
    });
    best.map_or(Format::Text, |(_, format)| format)
}

/// The weight of a media range in thousandths, and the format that it means.
fn range(text: &str) -> Option<(u16, Format)> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let mut weight = 1000;
    let (mut version, mut proto, mut encoding) = (None, None, None);
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = thousandths(value)?,
            "version" => version = Some(value),
            "proto" => proto = Some(value),
            "encoding" => encoding = Some(value),
            _ => {}
        }
    }
    let format = match media_type.as_str() {
        "application/vnd.google.protobuf" => {
            let is_ours = proto == Some("io.prometheus.client.MetricFamily") && encoding == Some("delimited");
            is_ours.then_some(Format::Protobuf)?
        }
        "application/openmetrics-text" => {
            matches!(version, None | Some("1.0.0" | "0.0.1")).then_some(Format::OpenMetrics)?
        }
        "text/plain" | "text/*" | "*/*" => matches!(version, None | Some("0.0.4")).then_some(Format::Text)?,
        _ => return None,
    };
    Some((weight, format))
}

/// `0.8` as 800.
fn thousandths(value: &str) -> Option<u16> {
    let weight: f64 = value.parse().ok()?;
    // In range, as the condition says.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (0.0..=1.0).contains(&weight).then_some((weight * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_is_liked_best() {
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        // What Prometheus 2.42 sends, without and with native histograms, and what Prometheus 3 sends.
        let plain = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let native = format!("{protobuf},{plain};q=0.8");
        let third = format!(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,{protobuf};q=0.7,*/*;q=0.2"
        );
        for (accept, expected) in [
            (None, Format::Text),
            (Some(""), Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Format::Text),
            (Some("text/plain"), Format::Text),
            (Some("application/json"), Format::Text),
            (Some(plain), Format::OpenMetrics),
            (Some(&native), Format::Protobuf),
            (Some(&third), Format::Protobuf),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8"), Format::OpenMetrics),
            (Some("application/openmetrics-text; version=2.0.0"), Format::Text),
            (Some("application/openmetrics-text;q=0, text/plain;q=0.1"), Format::Text),
            (Some("application/openmetrics-text;q=nan,application/openmetrics-text;q=7"), Format::Text),
            (Some("text/plain;q=0.1,application/openmetrics-text;q=0.2"), Format::OpenMetrics),
            (Some("application/vnd.google.protobuf"), Format::Text),
            (Some(";;;,=,q=1;q"), Format::Text),
        ] {
            assert_eq!(negotiate(accept), expected, "{accept:?}");
        }
    }
}
