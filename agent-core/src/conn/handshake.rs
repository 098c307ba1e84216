//! A TLS handshake from both sides' messages and records to a verdict.
//!
//! Facts are collected per side as they come; rules look at the collected facts, so that the order in which the two
//! directions are delivered matters only where a rule says so. The rules up to TLS 1.2 are in [`super::legacy`], those of
//! TLS 1.3 in [`super::tls13`].

use super::Context;
use super::facts;
use super::legacy::Legacy;
use super::records::{Record, RecordLog};
use super::sessions::SessionKey;
use super::tls13::Tls13;
use crate::engine::EngineConfig;
use crate::event::CloseKind;
use crate::net::Side;
use crate::observation::{AlertFact, Reason, Security, Source, TlsFacts};
use crate::time::Timestamp;
use crate::tls::codepoints::{
    AlertDescription, AlertLevel, CipherSuite, ContentType, ExtensionType, ProtocolVersion,
};
use crate::tls::{ClientHello, ServerHello, TlsEvent};

/// The part of a verdict that a handshake decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) security: Security,
    pub(super) source: Option<Source>,
    pub(super) reason: Option<Reason>,
}

impl Outcome {
    pub(super) const fn unknown(reason: Reason) -> Self {
        Self { security: Security::Unknown, source: None, reason: Some(reason) }
    }
}

/// What one side has sent.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// Clear-text messages may be missing.
    pub(super) gap: bool,
    /// Nothing more can be read: bytes missing, or not TLS.
    pub(super) dead: Option<Reason>,
    pub(super) change_cipher_spec: bool,
    /// TLS <= 1.2: the encrypted Finished.
    pub(super) finished: bool,
    /// TLS <= 1.2: application data, which nobody sends before its own Finished.
    pub(super) application_data: bool,
    pub(super) records: RecordLog,
}

/// What the server chose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) version: ProtocolVersion,
    pub(super) suite: CipherSuite,
    pub(super) psk: bool,
    /// `ServerHello.random`.
    pub(super) random: [u8; 32],
    /// TLS <= 1.2: the session id it gave or took up.
    pub(super) session_id: Option<SessionKey>,
}

/// What the client offered, as far as rules need it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offered {
    pub(super) random: [u8; 32],
    pub(super) early_data: bool,
    /// It can read compressed certificates (RFC 8879).
    pub(super) certificate_compression: bool,
    pub(super) session_id: Option<SessionKey>,
    pub(super) ticket: Option<SessionKey>,
}

/// A handshake in progress.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) facts: Box<TlsFacts>,
    pub(super) offered: Option<Offered>,
    pub(super) chosen: Option<Chosen>,
    pub(super) client: Half,
    pub(super) server: Half,
    pub(super) legacy: Legacy,
    pub(super) tls13: Tls13,
    /// What the local end sends after it received something is seen after it.
    pub(super) client_order_exact: bool,
    outcome: Option<Outcome>,
    /// A verdict to be given now, though it may still be corrected.
    presumption: Option<Outcome>,
}

impl Handshake {
    pub(super) fn new(client_order_exact: bool) -> Self {
        Self {
            facts: Box::default(),
            offered: None,
            chosen: None,
            client: Half::default(),
            server: Half::default(),
            legacy: Legacy::default(),
            tls13: Tls13::default(),
            client_order_exact,
            outcome: None,
            presumption: None,
        }
    }

    /// The verdict, once known.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    pub(super) fn half(&self, side: Side) -> &Half {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Takes one thing seen.
    pub(super) fn event(&mut self, side: Side, event: TlsEvent, now: Timestamp, context: &mut Context<'_>) {
        if self.outcome.is_some() {
            return;
        }
        match event {
            TlsEvent::ClientHello(hello) if side == Side::Client => self.client_hello(&hello, now, context),
            TlsEvent::ServerHello(hello) if side == Side::Server => self.server_hello(&hello),
            TlsEvent::HelloRetryRequest(hello) if side == Side::Server => {
                self.facts.hello_retry_request = true;
                facts::server_hello(&mut self.facts, &hello);
            }
            TlsEvent::ClientHello(_) | TlsEvent::ServerHello(_) | TlsEvent::HelloRetryRequest(_) => {
                facts::note(&mut self.facts, Some("hello_from_the_wrong_side"));
            }
            TlsEvent::Certificate(chain) => {
                if side == Side::Client {
                    self.legacy.client_sent = Some(!chain.is_empty());
                }
                // There may be no room for it: then it is not known what was in it.
                let chain = context.certificates.chain(&chain);
                let is_kept = chain.is_some();
                let facts = &mut self.facts;
                let (place, not_kept) = match side {
                    Side::Client => (&mut facts.client_chain, &mut facts.client_chain_not_kept),
                    Side::Server => (&mut facts.server_chain, &mut facts.server_chain_not_kept),
                };
                *place = chain.unwrap_or_default();
                *not_kept = !is_kept;
            }
            TlsEvent::CertificateStatus(der) if side == Side::Server => {
                self.facts.ocsp_response = context.certificates.response(der);
            }
            TlsEvent::ServerKeyExchange(group) => self.facts.group = group.or(self.facts.group),
            TlsEvent::CertificateRequest if side == Side::Server => self.legacy.requested = true,
            TlsEvent::ServerHelloDone => self.legacy.hello_done = true,
            TlsEvent::NewSessionTicket(ticket) => self.legacy.new_ticket = SessionKey::of_ticket(&ticket),
            TlsEvent::ChangeCipherSpec => self.half_mut(side).change_cipher_spec = true,
            TlsEvent::Alert(level, description) => self.alert(side, level, description),
            TlsEvent::Encrypted(content_type, len) => self.encrypted(side, content_type, len, now),
            TlsEvent::Malformed(error) => {
                facts::note(&mut self.facts, Some(error.reason()));
                self.half_mut(side).gap = true;
                if error.is_fatal() {
                    self.half_mut(side).dead.get_or_insert(Reason::MalformedTls);
                }
            }
            TlsEvent::Gap { in_sync } => {
                self.half_mut(side).gap = true;
                if !in_sync {
                    self.half_mut(side).dead.get_or_insert(Reason::MissingBytes);
                }
            }
            TlsEvent::CertificateStatus(_)
            | TlsEvent::CertificateRequest
            | TlsEvent::ClientKeyExchange
            | TlsEvent::CertificateVerify
            | TlsEvent::HelloRequest
            | TlsEvent::OtherHandshake(_) => {}
        }
        self.evaluate(now, context);
    }

    /// When [`timeout`](Self::timeout) decides.
    pub(super) fn deadline(&self, config: &EngineConfig) -> Option<Timestamp> {
        if self.outcome.is_some() { None } else { self.tls13.deadline(config) }
    }

    /// Time has passed.
    pub(super) fn timeout(&mut self, now: Timestamp, context: &Context<'_>) {
        if self.deadline(context.config).is_some_and(|due| due <= now) {
            self.acceptance_timeout(now, context.config);
        }
    }

    /// The connection is over: always a verdict.
    pub(super) fn close(&mut self, how: CloseKind, config: &EngineConfig) -> Outcome {
        self.outcome
            .or_else(|| self.close_tls13())
            .or_else(|| self.close_psk())
            .or_else(|| self.without_hello())
            .unwrap_or_else(|| self.give_up(how, config))
    }

    /// The verdict to be given now although it may still be corrected; once.
    pub(super) fn take_presumption(&mut self) -> Option<Outcome> {
        self.presumption.take()
    }

    /// The handshake completed.
    pub(super) fn establish(&mut self, outcome: Outcome, at: Timestamp) {
        self.completed(at);
        self.settle(outcome);
    }

    /// The handshake completed as far as can be told now.
    pub(super) fn presume(&mut self, outcome: Outcome, at: Timestamp) {
        self.completed(at);
        self.presumption = Some(self.qualified(outcome));
    }

    /// This is the verdict.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        self.outcome = Some(self.qualified(outcome));
    }

    fn completed(&mut self, at: Timestamp) {
        self.facts.established = Some(true);
        if let Some(started) = self.facts.handshake_started {
            self.facts.handshake_duration = Some(at.since(started));
        }
    }

    /// What the chosen suite takes away from a verdict.
    fn qualified(&self, outcome: Outcome) -> Outcome {
        let Some(suite) = self.chosen.map(|chosen| chosen.suite) else { return outcome };
        if suite.is_unencrypted() {
            // Whoever proved what: the bytes are readable, and the suite crossed the wire in the clear.
            return Outcome {
                security: Security::Plaintext,
                source: Some(Source::Wire),
                reason: Some(Reason::NullCipher),
            };
        }
        // Neither kind of suite has certificates, so that there is none of the client to wonder about.
        let reason = if suite.is_anonymous() {
            Some(Reason::Anonymous)
        } else if suite.is_psk_only() {
            Some(Reason::PreSharedKey)
        } else {
            outcome.reason
        };
        Outcome { reason, ..outcome }
    }

    /// The handshake failed.
    pub(super) fn fail(&mut self, source: Source, alert: Option<AlertFact>) {
        self.facts.established = Some(false);
        if alert.is_some() {
            self.facts.alert = alert;
        }
        self.outcome = Some(Outcome {
            security: Security::Unknown,
            source: Some(source),
            reason: Some(Reason::HandshakeFailed),
        });
    }

    fn client_hello(&mut self, hello: &ClientHello, now: Timestamp, context: &mut Context<'_>) {
        if self.offered.is_none() {
            self.facts.handshake_started = Some(now);
            context.counters.offered_values_cut += facts::client_hello(&mut self.facts, hello);
            self.offered = Some(Offered {
                random: hello.random,
                early_data: hello.early_data,
                certificate_compression: hello.extensions.contains(&ExtensionType::COMPRESS_CERTIFICATE),
                session_id: SessionKey::of_session_id(&hello.session_id),
                ticket: hello.session_ticket.as_deref().and_then(SessionKey::of_ticket),
            });
        } else if let Some(offered) = &mut self.offered {
            // After a HelloRetryRequest: early data that followed the first hello is rejected, and not sent again
            // (RFC 8446 section 4.2.10).
            offered.early_data = false;
            self.client.records.clear();
        }
    }

    fn server_hello(&mut self, hello: &ServerHello) {
        facts::server_hello(&mut self.facts, hello);
        self.chosen = Some(Chosen {
            version: hello.negotiated_version(),
            suite: hello.cipher_suite,
            psk: hello.selected_psk.is_some(),
            random: hello.random,
            session_id: SessionKey::of_session_id(&hello.session_id),
        });
    }

    fn alert(&mut self, side: Side, level: AlertLevel, description: AlertDescription) {
        if description == AlertDescription::CLOSE_NOTIFY {
            return;
        }
        if side == Side::Client && description == AlertDescription::NO_CERTIFICATE {
            // SSL 3.0 declines by this warning (RFC 6101 section 5.4.2).
            self.legacy.client_sent = Some(false);
        }
        let alert = AlertFact { sender: side, content: Some((level, description)) };
        // In TLS 1.3 every error alert is fatal, whatever its level says (RFC 8446 section 6.2).
        let tls13 = self.chosen.is_some_and(|c| facts::is_tls13(c.version));
        if level == AlertLevel::FATAL || tls13 && description != AlertDescription::USER_CANCELED {
            self.fail(Source::Wire, Some(alert));
        } else {
            self.facts.alert = Some(alert);
        }
    }

    fn encrypted(&mut self, side: Side, content_type: ContentType, len: u16, now: Timestamp) {
        let record = Record {
            len,
            after_server_hello: self.chosen.is_some(),
            others_before: self.half(side.peer()).records.count(),
            at: now,
        };
        let half = self.half_mut(side);
        half.records.push(record);
        match content_type {
            ContentType::HANDSHAKE => half.finished = true,
            ContentType::APPLICATION_DATA => half.application_data = true,
            _ => {}
        }
        match self.chosen {
            Some(chosen) if facts::is_tls13(chosen.version) => self.record_tls13(side, len, now),
            // The type of the record tells even though its content is encrypted.
            Some(_) if content_type == ContentType::ALERT && !self.is_past_handshake(side) => {
                self.fail(Source::Wire, Some(AlertFact { sender: side, content: None }));
            }
            _ => {}
        }
    }

    pub(super) fn evaluate(&mut self, now: Timestamp, context: &mut Context<'_>) {
        if self.outcome.is_some() {
            return;
        }
        match self.chosen {
            Some(chosen) if facts::is_tls13(chosen.version) => {
                self.evaluate_tls13(chosen, now, context.config)
            }
            Some(chosen) => self.evaluate_legacy(chosen, now, context),
            None => {}
        }
        if self.outcome.is_some() {
            return;
        }
        // A side whose record boundaries are lost counts none: the other one alone must do at last.
        let [fewer, more] = {
            let (client, server) = (self.client.records.count(), self.server.records.count());
            [client.min(server), client.max(server)]
        };
        let limit = context.config.max_encrypted_records;
        if fewer >= limit || more >= limit.saturating_mul(4) {
            context.counters.encrypted_record_limits += 1;
            let outcome = self.settle_tls13().or_else(|| self.close_psk()).or_else(|| self.without_hello());
            self.outcome = outcome.or(Some(Outcome::unknown(Reason::MissingBytes)));
        } else if self.client.dead.is_some() && self.server.dead.is_some() {
            let outcome = if self.is_presumed() { self.close_tls13() } else { None };
            self.outcome = outcome.or_else(|| Some(self.give_up(CloseKind::Unknown, context.config)));
        }
    }

    /// Hellos or Finished messages are missing, but both sides send record after record: that is TLS all the same.
    fn without_hello(&mut self) -> Option<Outcome> {
        const ENOUGH: u32 = 2;
        if self.client.records.count() < ENOUGH || self.server.records.count() < ENOUGH {
            return None;
        }
        let missing = self.client.gap || self.server.gap || self.offered.is_none();
        missing.then(|| {
            self.facts.established = Some(true);
            self.qualified(Outcome {
                security: Security::Tls,
                source: Some(Source::Wire),
                reason: Some(Reason::ClientIdentityUnknown),
            })
        })
    }

    fn give_up(&mut self, how: CloseKind, config: &EngineConfig) -> Outcome {
        let dead = [self.client.dead, self.server.dead];
        if dead.contains(&Some(Reason::MalformedTls)) {
            return Outcome::unknown(Reason::MalformedTls);
        }
        if dead.contains(&Some(Reason::MissingBytes)) || self.client.gap || self.server.gap {
            return Outcome::unknown(Reason::MissingBytes);
        }
        // The source shows no more records of a direction: what ended the handshake may have been among the rest.
        let limit = config.max_encrypted_records;
        if self.client.records.count() >= limit || self.server.records.count() >= limit {
            return Outcome::unknown(Reason::MissingBytes);
        }
        if matches!(how, CloseKind::Finished | CloseKind::Reset | CloseKind::Unknown) {
            self.facts.established = Some(false);
        }
        Outcome::unknown(Reason::HandshakeIncomplete)
    }
}
