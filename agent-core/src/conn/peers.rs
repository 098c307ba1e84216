//! Certificates of TLS 1.3 that probes show: what a connection says on whether they are its own, and what they change.

use std::sync::Arc;

use super::handshake::Handshake;
use super::{Connection, Context, State};
use crate::associate::{Evidence, Flight, NameFit, ServerEvidence, Sighting, Standing, Tie, Window};
use crate::engine::Output;
use crate::net::Side;
use crate::observation::{ClientCertificate, Phase, Reason, Security, Source, TlsFacts};
use crate::time::Timestamp;
use crate::x509::{CertificateSummary, OcspResponse};

/// A chain that is tied to a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbedChain<'a> {
    /// Whose it is.
    pub(crate) side: Side,
    pub(crate) chain: &'a [Arc<CertificateSummary>],
    pub(crate) ocsp_response: Option<&'a Arc<OcspResponse>>,
    pub(crate) tie: Tie,
}

impl ProbedChain<'_> {
    fn write(&self, facts: &mut TlsFacts) {
        match self.side {
            Side::Client => {
                facts.client_chain = self.chain.to_vec();
                facts.client_certificate = ClientCertificate::Sent;
            }
            Side::Server => {
                facts.server_chain = self.chain.to_vec();
                facts.ocsp_response = self.ocsp_response.cloned();
            }
        }
        // Whoever resumes a session sends none.
        facts.resumed.get_or_insert(false);
    }
}

impl Connection {
    /// What it has to say on certificates, as long as some may come.
    pub(crate) fn evidence(&self) -> Option<Evidence> {
        match &self.state {
            _ if self.window == Window::Over => None,
            State::Active(active) => active.evidence(),
            State::Silent => None,
            State::Done => self.evidence.as_deref().copied(),
        }
    }

    /// `ClientHello.random`, once a hello was seen; `Some(None)` when only the server's was.
    pub(crate) fn hello(&self) -> Option<Option<[u8; 32]>> {
        match &self.state {
            State::Active(active) => active.tls()?.hello(),
            State::Silent => None,
            State::Done => self.evidence.as_ref().map(|evidence| evidence.client_random),
        }
    }

    /// Its verdict was given, for good or for now.
    pub(crate) fn has_verdict(&self) -> bool {
        self.is_presumed || matches!(self.state, State::Done)
    }

    /// Certificates of it that probes could show are encrypted, as far as is known.
    pub(crate) fn is_older_version(&self) -> bool {
        match self.evidence() {
            Some(evidence) => evidence.standing() == Standing::Older,
            None => self
                .tls
                .as_ref()
                .is_some_and(|tls| tls.negotiated_version.is_some() && !tls.encrypts_certificates()),
        }
    }

    /// None come any more, or never did: plaintext, a resumed session, a handshake long over.
    pub(crate) fn shows_no_certificates(&self) -> bool {
        self.window == Window::Over || self.verdict.security == Security::Plaintext
    }

    /// No certificates will come any more.
    pub(crate) fn forget_evidence(&mut self) {
        self.window = Window::Over;
        self.evidence = None;
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// The chain of one side, and what tied it if a probe showed it.
    pub(crate) fn chain(&self, side: Side) -> (&[Arc<CertificateSummary>], Option<Tie>) {
        let chain = match &self.state {
            State::Active(active) => active.tls().map_or(&[][..], |tls| tls.facts().chain(side)),
            State::Silent | State::Done => self.tls.as_ref().map_or(&[][..], |tls| tls.chain(side)),
        };
        (chain, self.ties.get(index(side)).copied().flatten())
    }

    /// Is this leaf of the server's for the name that was asked for, or for the address?
    pub(crate) fn name_fit(&self, leaf: &CertificateSummary) -> NameFit {
        let facts = match &self.state {
            State::Active(active) => active.tls().map(|tls| tls.facts()),
            State::Silent | State::Done => self.tls.as_deref(),
        };
        let Some(facts) = facts else { return NameFit::Unknown };
        match &facts.server_name {
            Some(name) => match leaf.is_for_name(name) {
                Some(true) => NameFit::Yes,
                // The name inside an encrypted hello is another one.
                Some(false) if !facts.ech_offered => NameFit::No,
                Some(false) | None => NameFit::Unknown,
            },
            None if leaf.is_for_address(self.tuple.peer.addr) => NameFit::Yes,
            None => NameFit::Unknown,
        }
    }

    /// Takes a chain; a verdict that was given already is given again with it.
    pub(crate) fn give_chain(&mut self, probed: &ProbedChain<'_>, now: Timestamp, context: &mut Context<'_>) {
        if let Some(tie) = self.ties.get_mut(index(probed.side)) {
            *tie = Some(probed.tie);
        }
        let had_verdict = self.has_verdict();
        if let Some(facts) = &mut self.tls {
            probed.write(Arc::make_mut(facts));
        }
        self.note_source();
        if had_verdict {
            self.note_client(probed.side);
            context.outputs.push_back(Output::Observation(Box::new(self.observation(Phase::Verdict))));
        }
        if let State::Active(active) = &mut self.state
            && let Some(conclusion) = active.peer_chain(probed, now, context)
        {
            self.conclude(conclusion, context);
        }
    }

    /// A verdict on record lengths for which a probe gave certificates rests on both.
    pub(super) fn note_source(&mut self) {
        let proven = matches!(self.verdict.security, Security::Tls | Security::Mtls);
        if proven
            && self.verdict.source == Some(Source::RecordLength)
            && self.ties.iter().any(Option::is_some)
        {
            self.verdict.source = Some(Source::Probe);
        }
    }

    /// A verdict that waited for the server's objection and could not tell whether there was a client certificate.
    fn note_client(&mut self, side: Side) {
        let waited = self.verdict.source == Some(Source::Probe)
            && self.tls.as_ref().is_some_and(|tls| tls.established == Some(true));
        if side == Side::Client
            && waited
            && self.verdict.security == Security::Tls
            && self.verdict.reason == Some(Reason::ClientIdentityUnknown)
        {
            self.verdict.security = Security::Mtls;
            self.verdict.reason = None;
        }
    }
}

const fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

impl Handshake {
    pub(super) fn hello(&self) -> Option<Option<[u8; 32]>> {
        let client = self.offered.map(|offered| offered.random);
        (client.is_some() || self.chosen.is_some()).then_some(client)
    }

    /// What it has to say on certificates, once a hello was seen. `complete`: nothing is held back before it.
    pub(super) fn evidence(&self, local: Side, complete: bool) -> Option<Evidence> {
        let client_random = self.hello()?;
        let flight = |side: Side| {
            let half = self.half(side);
            let records = half.records.first().iter().filter(|record| record.after_server_hello);
            let count = records.clone().count();
            let more = half.records.count().saturating_sub(half.records.first().len() as u32);
            let whole = complete && !half.gap && half.dead.is_none();
            Flight::new(
                records.map(|record| Sighting { len: record.len, at: record.at }),
                count as u32 + more,
                whole,
            )
        };
        let offered = self.offered.unwrap_or_default();
        let declined = matches!(
            self.facts.client_certificate,
            ClientCertificate::NotRequested | ClientCertificate::Declined
        );
        Some(Evidence {
            local,
            client_random,
            server: self.chosen.map(|chosen| ServerEvidence {
                random: chosen.random,
                is_tls13: super::facts::is_tls13(chosen.version),
                is_resumed: chosen.psk,
                suite: chosen.suite,
            }),
            compression: offered.certificate_compression,
            early_data: offered.early_data,
            no_client_certificate: declined && !self.client.gap,
            client: flight(Side::Client),
            server_flight: flight(Side::Server),
        })
    }

    /// A probe showed the certificates of one side.
    pub(super) fn peer_chain(&mut self, probed: &ProbedChain<'_>, now: Timestamp, context: &mut Context<'_>) {
        probed.write(&mut self.facts);
        if probed.side == Side::Client {
            self.client_chain_seen();
        }
        self.evaluate(now, context);
    }
}
