//! TLS 1.3: what follows the ServerHello is encrypted; record lengths and the order of records tell the rest.

use super::handshake::{Chosen, Handshake, Outcome};
use super::records::Record;
use crate::engine::EngineConfig;
use crate::net::Side;
use crate::observation::{AlertFact, ClientCertificate, Reason, Security, Source};
use crate::time::Timestamp;
use crate::tls::client_flight::{
    ClientFlight, FirstRecord, classify_client_flight, classify_first_client_record, classify_unpadded,
};
use crate::tls::codepoints::CipherSuite;

/// What the client sends within this time after an alert may have been on its way, or written before the alert was read.
const ON_ITS_WAY: std::time::Duration = std::time::Duration::from_millis(10);

/// What only TLS 1.3 needs.
#[derive(Debug, Default)]
pub(super) struct Tls13 {
    flight: Option<Flight>,
    /// When the server sent what could be an alert: the only thing it said since the client's flight.
    alert: Option<Timestamp>,
    /// The server sent something since the client's flight that is no alert.
    other: bool,
    /// The server sent two records in a row that could be alerts, and nothing else.
    unclear: bool,
    /// The client closed before the server said anything: what looks like an alert may be the close_notify that answers that.
    client_closed: bool,
    /// The client sent something although the server had had its time to object.
    client_unopposed: bool,
    /// The client went on after what could have been an alert.
    client_went_on: bool,
    /// The server let its time to object pass, and the verdict was given. It may still object.
    presumed: bool,
    /// A server's probe showed the client's certificates.
    chain_seen: bool,
}

/// The client's answer to the server's flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    certificate: Certificate,
    /// When it was seen: its first record, then the one with its Finished.
    at: Timestamp,
    /// Records of the server that come now answer it.
    ordered: bool,
    /// Encrypted records of the server that came before it.
    others_before: u32,
}

/// Did the client send a certificate?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certificate {
    /// It is as clear as it will ever be.
    Settled(ClientCertificate),
    /// The client's next records tell; this if none comes.
    Open(ClientCertificate),
}

impl Certificate {
    fn or_what_it_seems(self) -> ClientCertificate {
        match self {
            Certificate::Settled(certificate) | Certificate::Open(certificate) => certificate,
        }
    }
}

/// The record that begins the client's flight, by what came before it.
enum Start {
    /// Nothing.
    Certain(Record),
    /// Early data, which the client may still be sending.
    EarlyData(Record),
    /// Early data, and it is not known whether this is the first record that follows the server's flight.
    Unordered(Record),
}

impl Tls13 {
    pub(super) fn deadline(&self, config: &EngineConfig) -> Option<Timestamp> {
        let flight = self.flight?;
        Some(match self.alert {
            // Time tells nothing here; only what either side still sends may.
            _ if self.is_open_question() => flight.at + config.late_rejection_timeout,
            Some(alert) if !self.client_went_on || !self.presumed => alert + config.acceptance_timeout,
            _ if self.presumed => flight.at + config.late_rejection_timeout,
            _ => flight.at + config.acceptance_timeout,
        })
    }

    fn is_rejected(&self) -> bool {
        self.alert.is_some() && !self.client_went_on && !self.client_closed
    }

    /// The client said that it is done, the server answered with what may be its close_notify as well as a fatal alert, and
    /// nothing else shows that it accepted the client.
    fn is_open_question(&self) -> bool {
        self.client_closed && (self.alert.is_some() || self.unclear) && !self.other && !self.presumed
    }
}

impl Handshake {
    /// An encrypted record was logged.
    pub(super) fn record_tls13(&mut self, side: Side, len: u16, now: Timestamp) {
        let Some(chosen) = self.chosen else { return };
        let Some(flight) = self.tls13.flight else {
            // The server begins with EncryptedExtensions (RFC 8446 section 4.3.1), of which even an empty one is longer than
            // an alert.
            let first = side == Side::Server && !self.server.gap && self.server.records.count() == 1;
            if first && classify_unpadded(chosen.suite, len) == FirstRecord::Alert {
                self.reject();
            }
            return;
        };
        match side {
            Side::Client => {
                if let Some(alert) = self.tls13.alert {
                    // Its own close_notify answers a rejection as well as anything else.
                    self.tls13.client_went_on |= now > alert + ON_ITS_WAY && !is_alert(chosen.suite, len);
                } else if !self.tls13.other
                    && classify_first_client_record(chosen.suite, len) == FirstRecord::Finished
                {
                    self.tls13.flight = Some(Flight { at: now, ..flight });
                } else if !self.tls13.other && !is_alert(chosen.suite, len) {
                    // As long as the whole handshake took, which is a round trip and more, and some for a busy host.
                    let time =
                        self.facts.handshake_started.map(|started| flight.at.since(started) + ON_ITS_WAY);
                    self.tls13.client_unopposed |= time.is_some_and(|time| now > flight.at + time);
                }
            }
            Side::Server if !flight.ordered => {}
            // Two in a row, and the client did not go on in between: an alert and the close_notify that should not follow it
            // but does (GnuTLS), or two bytes of data and a close_notify. The connection's end tells nothing more.
            Side::Server
                if !self.tls13.other
                    && self.tls13.alert.is_some()
                    && !self.tls13.client_went_on
                    && self.is_server_alert(chosen.suite, flight, len) =>
            {
                self.tls13.alert = None;
                self.tls13.unclear = true;
            }
            // Nothing else follows a fatal alert: another record shows that the first was none. Nor is anything said before
            // it.
            Side::Server
                if !self.tls13.other
                    && !self.tls13.unclear
                    && self.tls13.alert.is_none()
                    && self.is_server_alert(chosen.suite, flight, len) =>
            {
                self.tls13.alert = Some(now);
                // Its first record is the flight; a last one of an alert's length is its close_notify.
                let closed = self.client.records.count() > 1
                    && self.client.records.last_len().is_some_and(|len| is_alert(chosen.suite, len));
                self.tls13.other = closed && self.tls13.client_unopposed;
                self.tls13.client_closed = closed;
            }
            Side::Server => {
                self.tls13.alert = None;
                self.tls13.other = true;
            }
        }
    }

    pub(super) fn evaluate_tls13(&mut self, chosen: Chosen, now: Timestamp, config: &EngineConfig) {
        self.facts.resumed = Some(chosen.psk);
        if chosen.psk {
            self.evaluate_psk(chosen, now, config);
            return;
        }
        let flight = match self.tls13.flight {
            Some(flight) if matches!(flight.certificate, Certificate::Settled(_)) => flight,
            known => {
                let Some(flight) = self.read_flight(chosen, known, now) else { return };
                self.tls13.flight = Some(flight);
                flight
            }
        };
        let answered = self.server.records.count() > flight.others_before;
        let accepted = match flight.certificate {
            // A client that got as far as Finished without being asked for anything is content, and has given the server
            // nothing to object to.
            Certificate::Settled(ClientCertificate::NotRequested) => true,
            Certificate::Open(ClientCertificate::NotRequested) => answered,
            Certificate::Settled(_) => self.tls13.other,
            Certificate::Open(_) => false,
        };
        if accepted {
            self.accept(flight);
        }
    }

    /// Reads the client's flight, again while its records so far do not settle it.
    fn read_flight(&mut self, chosen: Chosen, known: Option<Flight>, now: Timestamp) -> Option<Flight> {
        let start = self.flight_start()?;
        let reading = match &start {
            // With bytes missing it may not be the first one; without the hello there may have been early data.
            _ if self.client.gap || self.offered.is_none() => ClientFlight::Is(FirstRecord::Unknown),
            Start::Certain(_) => {
                let lengths: Vec<u16> = self.client.records.first().iter().map(|record| record.len).collect();
                classify_client_flight(chosen.suite, &lengths)
            }
            // Early data goes on until the client reads the server's flight: only a length that little else has tells.
            Start::EarlyData(record) => ClientFlight::Is(match classify_unpadded(chosen.suite, record.len) {
                kind @ (FirstRecord::Finished
                | FirstRecord::EmptyCertificate
                | FirstRecord::DeclinedFlight) => kind,
                _ => FirstRecord::Unknown,
            }),
            Start::Unordered(_) => ClientFlight::Is(FirstRecord::Unknown),
        };
        let certificate = match reading {
            ClientFlight::Is(FirstRecord::Alert) => {
                self.fail(Source::RecordLength, Some(AlertFact { sender: Side::Client, content: None }));
                return None;
            }
            ClientFlight::Is(kind) => Certificate::Settled(match kind {
                FirstRecord::Finished => ClientCertificate::NotRequested,
                FirstRecord::EmptyCertificate | FirstRecord::DeclinedFlight => ClientCertificate::Declined,
                FirstRecord::Certificate => ClientCertificate::Sent,
                FirstRecord::Alert | FirstRecord::EndOfEarlyData | FirstRecord::Unknown => {
                    ClientCertificate::Unknown
                }
            }),
            ClientFlight::CertificateOrPadding => Certificate::Open(ClientCertificate::Unknown),
            ClientFlight::FinishedOrFragment => Certificate::Open(ClientCertificate::NotRequested),
        };
        let certificate =
            if self.tls13.chain_seen { Certificate::Settled(ClientCertificate::Sent) } else { certificate };
        self.facts.client_certificate = certificate.or_what_it_seems();
        let (Start::Certain(first) | Start::EarlyData(first) | Start::Unordered(first)) = start;
        Some(Flight {
            certificate,
            at: known.map_or(now, |flight| flight.at),
            ordered: first.after_server_hello,
            others_before: first.others_before,
        })
    }

    /// The server parsed certificates of the client: they were sent, whatever the lengths say. Accepted they are not yet.
    pub(super) fn client_chain_seen(&mut self) {
        self.tls13.chain_seen = true;
        self.facts.client_certificate = ClientCertificate::Sent;
        if let Some(flight) = &mut self.tls13.flight {
            flight.certificate = Certificate::Settled(ClientCertificate::Sent);
        }
    }

    /// The server has had its time to object.
    pub(super) fn acceptance_timeout(&mut self, now: Timestamp, config: &EngineConfig) {
        let Some(flight) = self.tls13.flight else { return };
        if self.tls13.is_rejected() {
            self.reject();
        } else if self.tls13.is_open_question() {
            self.settle(Outcome::unknown(Reason::HandshakeIncomplete));
        } else if self.tls13.presumed || flight.at + config.late_rejection_timeout <= now {
            self.accept(flight);
        } else {
            self.tls13.presumed = true;
            self.presume(self.accepted(flight), flight.at);
        }
    }

    /// The connection is over before its verdict was certain.
    pub(super) fn close_tls13(&mut self) -> Option<Outcome> {
        let flight = self.tls13.flight?;
        let content = matches!(flight.certificate, Certificate::Open(ClientCertificate::NotRequested));
        if self.tls13.is_rejected() {
            self.reject();
        } else if self.tls13.other || self.tls13.presumed || content {
            self.accept(flight);
        } else {
            // The server said nothing (some close without an alert when they do not like the certificate), or what may have
            // been an alert, but the client went on, or had closed before.
            return Some(Outcome::unknown(Reason::HandshakeIncomplete));
        }
        self.outcome()
    }

    /// So much followed the client's flight that no more is looked at.
    pub(super) fn settle_tls13(&mut self) -> Option<Outcome> {
        let flight = self.tls13.flight?;
        if self.tls13.is_rejected() {
            self.reject();
        } else {
            self.accept(flight);
        }
        self.outcome()
    }

    /// A verdict was given that waits for the server's objection no longer.
    pub(super) fn is_presumed(&self) -> bool {
        self.tls13.presumed
    }

    /// A PSK was selected: no certificates cross the wire (RFC 8446 section 2.2).
    fn evaluate_psk(&mut self, chosen: Chosen, now: Timestamp, config: &EngineConfig) {
        let early_data = self.offered.is_some_and(|offered| offered.early_data);
        // Early data crosses before the handshake is complete; without it every record is of the flight or after it.
        let answer = if early_data {
            self.client.records.answer()
        } else {
            self.client.records.first().first().copied()
        };
        if self.server.records.count() == 0 {
            return;
        }
        let Some(answer) = answer else {
            // So much early data that its end may never be shown.
            if self.client.records.count() >= config.max_encrypted_records {
                self.close_psk();
            }
            return;
        };
        if !early_data && is_alert(chosen.suite, answer.len) {
            self.fail(Source::RecordLength, Some(AlertFact { sender: Side::Client, content: None }));
            return;
        }
        self.establish(RESUMED, now);
    }

    /// A PSK was selected, and the client's Finished not seen. Both sides use the keys that it gives all the same.
    pub(super) fn close_psk(&mut self) -> Option<Outcome> {
        let psk = self.chosen.is_some_and(|chosen| chosen.psk && super::facts::is_tls13(chosen.version));
        if !psk || self.server.records.count() == 0 || self.client.records.count() == 0 {
            return None;
        }
        self.settle(RESUMED);
        self.outcome()
    }

    /// The record that begins the client's flight.
    fn flight_start(&self) -> Option<Start> {
        if !self.offered.is_some_and(|offered| offered.early_data) {
            return self.client.records.first().first().copied().map(Start::Certain);
        }
        // No PSK was selected, so the early data is rejected. At the client's own end the first record sent after the
        // server's flight came in may be the answer to it; elsewhere early data may still be under way.
        let answer = self.client.records.answer()?;
        Some(if self.client_order_exact { Start::EarlyData(answer) } else { Start::Unordered(answer) })
    }

    /// Can this record, the first one of the server after the client's flight, be an alert?
    fn is_server_alert(&self, suite: CipherSuite, flight: Flight, len: u16) -> bool {
        classify_unpadded(suite, len) == FirstRecord::Alert
            || is_alert(suite, len) && !self.server_does_not_pad(suite, flight)
    }

    /// The server's flight ended in a record with Finished alone, or began with one of an empty EncryptedExtensions, and
    /// neither was padded.
    fn server_does_not_pad(&self, suite: CipherSuite, flight: Flight) -> bool {
        const EMPTY_ENCRYPTED_EXTENSIONS: usize = 4 + 2;
        let records = self.server.records.first();
        let last = usize::try_from(flight.others_before).ok().and_then(|count| count.checked_sub(1));
        let finished = last.filter(|last| *last > 0).and_then(|last| records.get(last));
        finished.is_some_and(|record| classify_unpadded(suite, record.len) == FirstRecord::Finished)
            || records.first().is_some_and(|record| {
                suite
                    .tag_len()
                    .is_some_and(|tag| usize::from(record.len) == EMPTY_ENCRYPTED_EXTENSIONS + 1 + tag)
            })
    }

    fn accepted(&self, flight: Flight) -> Outcome {
        let (security, reason) = match flight.certificate.or_what_it_seems() {
            ClientCertificate::Sent => (Security::Mtls, None),
            ClientCertificate::Declined | ClientCertificate::NotRequested => (Security::Tls, None),
            ClientCertificate::Unknown => (Security::Tls, Some(Reason::ClientIdentityUnknown)),
        };
        Outcome { security, source: Some(Source::RecordLength), reason }
    }

    fn accept(&mut self, flight: Flight) {
        self.establish(self.accepted(flight), flight.at);
    }

    fn reject(&mut self) {
        self.facts.handshake_duration = None;
        self.fail(Source::RecordLength, Some(AlertFact { sender: Side::Server, content: None }));
    }
}

const RESUMED: Outcome = Outcome {
    security: Security::Tls,
    source: Some(Source::Resumed),
    reason: Some(Reason::ClientIdentityUnknown),
};

fn is_alert(suite: CipherSuite, len: u16) -> bool {
    classify_first_client_record(suite, len) == FirstRecord::Alert
}
