//! HTTP for the exporter: OpenTelemetry's crate leaves it to whoever uses it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use prost::Message;

use super::connect::Connector;
use super::counters::{Counters, SignalCounters};
use super::trouble::say;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 1 << 20;

/// Which signal's counters to count in.
pub(super) type Pick = fn(&Counters) -> Option<&SignalCounters>;

/// What went wrong last, as the crate does not hand on what a client said.
pub(super) type LastError = Arc<Mutex<Option<String>>>;

/// A client for one collector.
pub(super) struct HyperClient {
    client: Client<Connector, Full<Bytes>>,
    headers: HeaderMap,
    timeout: Duration,
    counters: Arc<Counters>,
    pick: Pick,
    last_error: LastError,
}

impl std::fmt::Debug for HyperClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers have secrets.
        f.debug_struct("HyperClient").finish_non_exhaustive()
    }
}

impl HyperClient {
    pub(super) fn new(
        connector: Connector,
        headers: HeaderMap,
        timeout: Duration,
        (counters, pick): (Arc<Counters>, Pick),
        last_error: LastError,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Self { client, headers, timeout, counters, pick, last_error }
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let answer = async {
            let (head, body) = self.client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        let answer = tokio::time::timeout(self.timeout, answer)
            .await
            .unwrap_or_else(|_| Err("no answer in time".into()))?;
        if answer.status().is_success() {
            self.note_rejected(&answer);
        }
        Ok(answer)
    }

    /// The collector took the request, and not all that is in it.
    fn note_rejected(&self, answer: &Response<Bytes>) {
        let Some(counters) = (self.pick)(&self.counters) else { return };
        let is_json = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        let Some((rejected, message)) = rejected(answer.body(), is_json) else { return };
        if rejected > 0 {
            counters.rejected.fetch_add(rejected, Ordering::Relaxed);
            say(&format!("the collector rejects {rejected} records of a request: {message}"));
        }
    }
}

impl HttpClient for HyperClient {
    // What `async_trait` would write.
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let result = self.send(request).await;
            // What went wrong before an answer came is not why that answer was what it was.
            let error = result.as_ref().err().map(|error| chain(error.as_ref()));
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
            result
        })
    }
}

/// An error with its causes.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some repeat what they wrap.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// `ExportTraceServiceResponse` and its like: the numbers are the same for every signal.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

/// How many records were rejected, and why; `None` where the answer does not say, or cannot be read.
fn rejected(body: &[u8], is_json: bool) -> Option<(u64, String)> {
    let (rejected, message) = if is_json {
        let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
        let partial = answer.get("partialSuccess")?.as_object()?;
        let number = partial.iter().find(|(key, _)| key.starts_with("rejected")).map(|(_, value)| value)?;
        // 64-bit numbers are texts in protobuf's JSON.
        let number = number.as_i64().or_else(|| number.as_str()?.parse().ok())?;
        let message = partial.get("errorMessage").and_then(serde_json::Value::as_str).unwrap_or_default();
        (number, message.to_owned())
    } else {
        let partial = Answer::decode(body).ok()?.partial_success?;
        (partial.rejected, partial.message)
    };
    Some((u64::try_from(rejected).ok()?, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_many_were_rejected_and_why() {
        let partial = PartialSuccess { rejected: 3, message: "too old".to_owned() };
        let answer = Answer { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(rejected(&answer, false), Some((3, "too old".to_owned())));
        let json = br#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}"#;
        assert_eq!(rejected(json, true), Some((3, "too old".to_owned())));
        for (body, is_json) in
            [(&b""[..], false), (b"{}", true), (b"", true), (b"\xff", false), (b"[]", true)]
        {
            assert_eq!(rejected(body, is_json), None);
        }
    }
}
