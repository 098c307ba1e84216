//! SSL 3.0 to TLS 1.2: certificates and the request for them cross the wire in the clear.

use std::sync::Arc;

use super::Context;
use super::handshake::{Chosen, Handshake, Outcome};
use super::sessions::{Known, Session, SessionKey};
use crate::net::Side;
use crate::observation::{ClientCertificate, Reason, Security, Source};
use crate::time::Timestamp;

/// What only these versions show.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    /// CertificateRequest was seen.
    pub(super) requested: bool,
    /// The client answered it: with a certificate (true), or without.
    pub(super) client_sent: Option<bool>,
    pub(super) hello_done: bool,
    /// The ticket the server gave.
    pub(super) new_ticket: Option<SessionKey>,
}

impl Handshake {
    /// Its Finished was seen, or what can only follow it. Where bytes are missing, the other side's data tells.
    fn is_done(&self, side: Side) -> bool {
        let peer_has_data = self.half(side.peer()).application_data;
        let half = self.half(side);
        half.finished || half.application_data || half.gap && peer_has_data
    }

    /// This side has nothing to complain about in the handshake any more: its alert is a close_notify, or of no concern.
    pub(super) fn is_past_handshake(&self, side: Side) -> bool {
        self.is_done(side) && (self.is_done(side.peer()) || self.half(side.peer()).gap)
    }

    pub(super) fn evaluate_legacy(&mut self, chosen: Chosen, now: Timestamp, context: &mut Context<'_>) {
        let full = self.legacy.hello_done || !self.facts.server_chain.is_empty();
        if full {
            self.facts.resumed = Some(false);
        } else if self.server.change_cipher_spec && !self.server.gap {
            // RFC 5246 section 7.3, figure 2: ServerHello, [NewSessionTicket,] ChangeCipherSpec.
            self.facts.resumed = Some(true);
        }
        self.facts.client_certificate = self.legacy_client_certificate();
        if !self.is_done(Side::Client) || !self.is_done(Side::Server) {
            return;
        }
        let outcome = if self.facts.resumed == Some(true) {
            self.resumed_session(chosen, context)
        } else {
            self.remember_session(chosen, context);
            legacy_outcome(self.facts.client_certificate, Source::Wire)
        };
        self.establish(outcome, now);
    }

    fn legacy_client_certificate(&self) -> ClientCertificate {
        match self.legacy.client_sent {
            Some(true) => ClientCertificate::Sent,
            Some(false) => ClientCertificate::Declined,
            None if self.facts.resumed == Some(true) => ClientCertificate::Unknown,
            // A client that is asked answers, so its silence tells as much as the server's, once it has gone past it.
            None if self.client.change_cipher_spec && !self.client.gap && self.legacy.requested => {
                ClientCertificate::Declined
            }
            None if self.client.change_cipher_spec && !self.client.gap => ClientCertificate::NotRequested,
            None if self.legacy.hello_done && !self.server.gap && !self.legacy.requested => {
                ClientCertificate::NotRequested
            }
            None => ClientCertificate::Unknown,
        }
    }

    fn remember_session(&self, chosen: Chosen, context: &mut Context<'_>) {
        let keys = [chosen.session_id, self.legacy.new_ticket];
        if keys.iter().all(Option::is_none) || self.facts.client_certificate == ClientCertificate::Unknown {
            return;
        }
        // Resumed, it would seem to have been one without certificates.
        if self.facts.server_chain_not_kept || self.facts.client_chain_not_kept {
            return;
        }
        let facts = &self.facts;
        let made =
            context.sessions.session(facts.client_certificate, &facts.server_chain, &facts.client_chain);
        let Some((session, evicted)) = made else {
            context.counters.sessions_too_long += 1;
            return;
        };
        context.counters.sessions_evicted += evicted;
        for key in keys.into_iter().flatten() {
            store(key, &session, context);
        }
    }

    fn resumed_session(&mut self, chosen: Chosen, context: &mut Context<'_>) -> Outcome {
        let offered = self.offered.unwrap_or_default();
        // A client with a ticket may send any session id: the server echoes it to say that it took the ticket
        // (RFC 5077 section 3.4).
        let echoed = chosen.session_id.filter(|id| offered.session_id == Some(*id));
        let known = [offered.ticket, echoed].into_iter().flatten().find_map(|key| context.sessions.get(key));
        let Some(Known { session, server_chain, client_chain }) = known else {
            context.counters.sessions_missed += 1;
            return Outcome {
                security: Security::Tls,
                source: Some(Source::Resumed),
                reason: Some(Reason::ClientIdentityUnknown),
            };
        };
        context.counters.sessions_found += 1;
        if let Some(ticket) = self.legacy.new_ticket {
            store(ticket, &session, context);
        }
        self.facts.client_certificate = session.client_certificate;
        self.facts.server_chain = server_chain;
        self.facts.client_chain = client_chain;
        legacy_outcome(session.client_certificate, Source::Resumed)
    }
}

fn store(key: SessionKey, session: &Arc<Session>, context: &mut Context<'_>) {
    context.counters.sessions_stored += 1;
    context.counters.sessions_evicted += context.sessions.insert(key, Arc::clone(session));
}

fn legacy_outcome(certificate: ClientCertificate, source: Source) -> Outcome {
    let (security, reason) = match certificate {
        ClientCertificate::Sent => (Security::Mtls, None),
        ClientCertificate::Declined | ClientCertificate::NotRequested => (Security::Tls, None),
        ClientCertificate::Unknown => (Security::Tls, Some(Reason::ClientIdentityUnknown)),
    };
    Outcome { security, source: Some(source), reason }
}
