//! A TLS handshake as a span.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use agent_core::net::Side;
use agent_core::observation::{Observation, Phase, Reason, TlsFacts};
use agent_core::time::Timestamp;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::attributes::Attributes;
use super::options::Limits;
use super::record::Handshake;
use crate::export::fields::{self, Fields};

/// Makes spans.
#[derive(Debug)]
pub(super) struct Spans {
    pub(super) scope: InstrumentationScope,
    pub(super) limits: Limits,
}

impl Spans {
    /// The span of a handshake, and how many bytes its attributes have. `None` without TLS.
    pub(super) fn span(&self, handshake: &Handshake) -> Option<(SpanData, usize)> {
        let o = &handshake.seen.sighting.observation;
        let tls = o.tls.as_deref()?;
        let error = error_type(o, tls);
        let mut attributes = Attributes::new(self.limits);
        if let Some(error) = &error {
            // First, so that no limit takes it.
            attributes.text("error.type", error).ok()?;
        }
        let written = match handshake.seen.as_judged() {
            Some(judged) => fields::judged(&mut attributes, &judged),
            None => fields::sighting(&mut attributes, &handshake.seen.sighting),
        };
        // Collecting attributes cannot fail.
        written.ok()?;
        let (attributes, dropped_attributes_count, bytes) = attributes.done();
        let (start, end) = times(o, tls);
        let span = SpanData {
            span_context: SpanContext::new(
                handshake.trace,
                handshake.span,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name(o, tls),
            start_time: system_time(start),
            end_time: system_time(end),
            attributes,
            dropped_attributes_count,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match error {
                Some(error) => Status::error(error),
                None => Status::Unset,
            },
            instrumentation_scope: self.scope.clone(),
        };
        Some((span, bytes))
    }
}

fn name(o: &Observation, tls: &TlsFacts) -> Cow<'static, str> {
    match o.local_side {
        Some(Side::Client) => Cow::Owned(match &tls.server_name {
            Some(name) => format!("TLS client handshake {name}"),
            None => format!("TLS client handshake {}", o.tuple.peer.addr),
        }),
        Some(Side::Server) => Cow::Borrowed("TLS server handshake"),
        None => Cow::Borrowed("TLS handshake"),
    }
}

/// Why it failed: the alert where there is one that can be read, else the reason. A closed set, but for alerts that have no
/// name. `None` where it did not fail, or nobody can tell.
pub(super) fn error_type(o: &Observation, tls: &TlsFacts) -> Option<Cow<'static, str>> {
    let reason = o.reason.filter(|reason| {
        matches!(reason, Reason::HandshakeFailed | Reason::HandshakeIncomplete | Reason::MalformedTls)
    });
    let failed = tls.established == Some(false);
    if !failed && (reason.is_none() || tls.established == Some(true)) {
        return None;
    }
    let alert = tls.alert.filter(|_| failed).and_then(|alert| alert.content);
    Some(match (alert, reason) {
        (Some((_, description)), _) => Cow::Owned(description.to_string()),
        (None, Some(reason)) => Cow::Borrowed(reason.as_str()),
        (None, None) => Cow::Borrowed(Reason::HandshakeFailed.as_str()),
    })
}

/// From the ClientHello (or the first sight of the connection, where none was seen) to the end of the handshake. One that
/// came to no end lasted as long as its connection, where that is known, and is a point in time where it is not.
fn times(o: &Observation, tls: &TlsFacts) -> (Timestamp, Timestamp) {
    let start = tls.handshake_started.unwrap_or(o.time);
    let closed = || o.duration.filter(|_| o.phase == Phase::Final && tls.established != Some(true));
    let end = match tls.handshake_duration {
        Some(duration) => start + duration,
        None => closed().map_or(start, |duration| (o.time + duration).max(start)),
    };
    (start, end)
}

pub(super) fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(at.as_nanos())
}
