//! TLS 1.3: what follows the ServerHello is encrypted; record lengths and the order of records tell the rest.

use super::handshake::{Chosen, Handshake, Outcome};
use super::records::Record;
use crate::engine::EngineConfig;
use crate::net::Side;
use crate::observation::{AlertFact, ClientCertificate, Reason, Security, Source};
use crate::time::Timestamp;
use crate::tls::client_flight::{FirstRecord, classify_first_client_record};
use crate::tls::codepoints::CipherSuite;

/// What only TLS 1.3 needs.
#[derive(Debug, Default)]
pub(super) struct Tls13 {
    flight: Option<Flight>,
    /// The server said no more than what could be an alert since the client's flight.
    alert: bool,
    /// The server sent something since the client's flight that is no alert.
    other: bool,
    /// The client closed first: the server's alert answers that.
    client_closed: bool,
    /// The client went on after what could have been an alert.
    client_went_on: bool,
}

/// The client's answer to the server's flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    certificate: ClientCertificate,
    /// When it was seen: its first record, then the one with its Finished.
    at: Timestamp,
    /// Records of the server that come now answer it.
    ordered: bool,
}

impl Tls13 {
    pub(super) fn deadline(&self, config: &EngineConfig) -> Option<Timestamp> {
        self.flight.map(|flight| flight.at + config.acceptance_timeout)
    }
}

impl Handshake {
    /// An encrypted record was logged.
    pub(super) fn record_tls13(&mut self, side: Side, len: u16, now: Timestamp) {
        let Some(chosen) = self.chosen else { return };
        let Some(flight) = &mut self.tls13.flight else {
            // The server begins with EncryptedExtensions (RFC 8446 section 4.3.1), of which even an empty one is longer than
            // an alert.
            let first = side == Side::Server && !self.server.gap && self.server.records.count() == 1;
            if first && chosen.suite.tag_len().is_some_and(|tag| usize::from(len) == 2 + 1 + tag) {
                self.reject();
            }
            return;
        };
        match side {
            Side::Client => {
                if self.tls13.alert {
                    self.tls13.client_went_on = true;
                } else if !self.tls13.other
                    && classify_first_client_record(chosen.suite, len) == FirstRecord::Finished
                {
                    flight.at = now;
                }
            }
            Side::Server if !flight.ordered => {}
            Side::Server if is_alert(chosen.suite, len) => {
                self.tls13.alert = true;
                // Its first record is the flight; a last one of an alert's length is its close_notify.
                self.tls13.client_closed |= self.client.records.count() > 1
                    && self.client.records.last_len().is_some_and(|len| is_alert(chosen.suite, len));
            }
            Side::Server => self.tls13.other = true,
        }
    }

    pub(super) fn evaluate_tls13(&mut self, chosen: Chosen, now: Timestamp) {
        self.facts.resumed = Some(chosen.psk);
        if chosen.psk {
            self.evaluate_psk(chosen, now);
            return;
        }
        if self.tls13.flight.is_none() {
            let Some(first) = self.flight_record() else { return };
            // With bytes missing it may not be the first one; with early data, or without the hello that would have
            // offered it, not the flight.
            let kind = match first {
                Ok(record) if !self.client.gap && self.offered.is_some() => {
                    classify_first_client_record(chosen.suite, record.len)
                }
                _ => FirstRecord::Unknown,
            };
            let certificate = match kind {
                FirstRecord::Alert => {
                    self.fail(Source::RecordLength, Some(AlertFact { sender: Side::Client, content: None }));
                    return;
                }
                FirstRecord::Finished => ClientCertificate::NotRequested,
                FirstRecord::EmptyCertificate | FirstRecord::DeclinedFlight => ClientCertificate::Declined,
                FirstRecord::Certificate => ClientCertificate::Sent,
                FirstRecord::EndOfEarlyData | FirstRecord::Unknown => ClientCertificate::Unknown,
            };
            self.facts.client_certificate = certificate;
            let ordered = first.unwrap_or_else(|record| record).after_server_hello;
            self.tls13.flight = Some(Flight { certificate, at: now, ordered });
        }
        let Some(flight) = self.tls13.flight else { return };
        // A client that got as far as Finished without being asked for anything is content, and has given the server
        // nothing to object to.
        if flight.certificate == ClientCertificate::NotRequested
            || self.tls13.other
            || self.tls13.client_closed
        {
            self.accept(flight);
        }
    }

    /// The server has had its time to object.
    pub(super) fn acceptance_timeout(&mut self) {
        let Some(flight) = self.tls13.flight else { return };
        if self.tls13.alert && !self.tls13.client_went_on {
            self.reject();
        } else {
            self.accept(flight);
        }
    }

    /// The connection is over before its verdict was known.
    pub(super) fn close_tls13(&mut self) -> Option<Outcome> {
        let flight = self.tls13.flight?;
        if self.tls13.alert {
            self.reject();
        } else if self.tls13.other {
            self.accept(flight);
        } else {
            // The server said nothing. Some close without an alert when they do not like the certificate.
            return Some(Outcome::unknown(Reason::HandshakeIncomplete));
        }
        self.outcome()
    }

    /// A PSK was selected: no certificates cross the wire (RFC 8446 section 2.2).
    fn evaluate_psk(&mut self, chosen: Chosen, now: Timestamp) {
        let early_data = self.offered.is_some_and(|offered| offered.early_data);
        let mut records = self.client.records.first().iter();
        // Early data crosses before the handshake is complete; without it every record is of the flight or after it.
        let answer =
            records.find(|record| !early_data || record.after_server_hello && record.others_before > 0);
        let Some(answer) = answer.copied() else { return };
        if self.server.records.count() == 0 {
            return;
        }
        if !early_data && is_alert(chosen.suite, answer.len) {
            self.fail(Source::RecordLength, Some(AlertFact { sender: Side::Client, content: None }));
            return;
        }
        let outcome = Outcome {
            security: Security::Tls,
            source: Some(Source::Resumed),
            reason: Some(Reason::ClientIdentityUnknown),
        };
        self.establish(outcome, now);
    }

    /// The record that begins the client's flight, `Err` when it cannot be told from early data.
    fn flight_record(&self) -> Option<Result<Record, Record>> {
        let records = self.client.records.first();
        if !self.offered.is_some_and(|offered| offered.early_data) {
            return records.first().copied().map(Ok);
        }
        // No PSK was selected, so the early data is rejected. At the client's own end the first record sent after the
        // server's flight came in is the answer to it; elsewhere early data may still be under way.
        let answer = records.iter().find(|record| record.after_server_hello && record.others_before > 0)?;
        Some(if self.client_order_exact { Ok(*answer) } else { Err(*answer) })
    }

    fn accept(&mut self, flight: Flight) {
        let (security, reason) = match flight.certificate {
            ClientCertificate::Sent => (Security::Mtls, None),
            ClientCertificate::Declined | ClientCertificate::NotRequested => (Security::Tls, None),
            ClientCertificate::Unknown => (Security::Tls, Some(Reason::ClientIdentityUnknown)),
        };
        self.establish(Outcome { security, source: Some(Source::RecordLength), reason }, flight.at);
    }

    fn reject(&mut self) {
        self.fail(Source::RecordLength, Some(AlertFact { sender: Side::Server, content: None }));
    }
}

fn is_alert(suite: CipherSuite, len: u16) -> bool {
    classify_first_client_record(suite, len) == FirstRecord::Alert
}
