//! Certificates from probes on their way to connections, see [`crate::associate`].

use std::sync::Arc;

use super::{Engine, Output};
use crate::associate::{
    Candidate, Choice, Evidence, Fit, MessageLength, NameFit, Pending, Standing, Tie, choose,
};
use crate::conn::{Connection, ProbedChain};
use crate::event::PeerCertificates;
use crate::net::{ConnId, Side};
use crate::observation::{NotTied, ProcessCertificates};
use crate::time::Timestamp;
use crate::tls::certificate_list;

/// Later than anything: whatever came is looked at.
const EVER: Timestamp = Timestamp(u64::MAX);

/// What is known of a chain now.
enum Decision {
    /// It is of this side of this connection.
    Tied(ConnId, Side, Tie),
    /// As many chains of these certificates are of all of these connections.
    Equals(Vec<ConnId>),
    /// The connection has it.
    Repeated,
    /// It was on the wire.
    OlderVersion,
    Untied(NotTied),
}

/// What a connection has of the side whose chain came.
enum Held {
    Nothing,
    /// The same.
    Same,
    /// Another one, tied by weaker evidence.
    Weaker,
    Another,
}

impl Engine {
    pub(super) fn peer_certificates(&mut self, event: &PeerCertificates<'_>, now: Timestamp) {
        let list = certificate_list::parse(event.entries, event.has_extensions);
        let is_cut = event.is_cut || list.is_long;
        let chain = self.certificates.chain(&list.certificates);
        let ocsp_response = list.ocsp_response.and_then(|der| self.certificates.response(der));
        self.counters.certificates = self.certificates.counters();
        let counters = &mut self.counters.association;
        counters.chains += 1;
        counters.cut += u64::from(is_cut);
        counters.malformed += u64::from(list.malformed.is_some() && !event.is_cut);
        let is_kept = chain.is_some();
        let chain = chain.unwrap_or_default();
        if is_kept && chain.is_empty() {
            counters.empty += 1;
            return;
        }
        let pending = Pending {
            time: now,
            process: Arc::clone(&event.process),
            library: event.library,
            peer: event.peer,
            last_read: event.last_read,
            read_before: event.read_before.map(|read| (read.conn, now.before(read.ago))),
            client_random: event.client_random,
            message: match event.list_len {
                Some(len) => MessageLength::of_list(len),
                None if event.has_extensions && !is_cut => {
                    MessageLength::of_list(u32::try_from(event.entries.len()).unwrap_or(u32::MAX))
                }
                None => MessageLength::of_list_at_least(event.entries.len()),
            },
            chain,
            ocsp_response,
            candidates: Vec::new(),
            is_spoiled: false,
            hint_counted: false,
            looks: 0,
        };
        if !is_kept {
            // It was counted. Whose it is is not found out: what is left of the candidates of others says nothing.
            let fitting: Vec<ConnId> = self.candidates(&pending).iter().map(|fitting| fitting.conn).collect();
            self.pending.spoil(&fitting);
            return;
        }
        if self.pending.len() >= self.config.max_pending_certificates
            && let Some(oldest) = self.pending.pop_first()
        {
            self.counters.association.pending_evicted += 1;
            self.look(oldest, true, now);
        }
        self.look(pending, false, now);
    }

    /// Looks again at chains whose time has come.
    pub(super) fn look_again(&mut self, now: Timestamp) {
        while let Some(pending) = self.pending.pop(now) {
            let last = pending.is_due(now, self.config.certificate_wait);
            self.look(pending, last, now);
        }
    }

    /// Decides on chains that may be of a connection that is about to go.
    pub(super) fn look_before_close(&mut self, conn: ConnId, now: Timestamp) {
        while let Some(pending) = self.pending.take_fitting(conn) {
            self.look(pending, true, now);
        }
    }

    /// Decides on all chains: nothing more will come.
    pub(super) fn give_up_pending(&mut self, now: Timestamp) {
        while let Some(pending) = self.pending.pop_first() {
            self.look(pending, true, now);
        }
    }

    /// Forgets what was kept of handshakes that no certificates are expected of any more.
    pub(super) fn end_windows(&mut self, now: Timestamp) {
        while let Some(id) = self.index.pop_ended(now, &mut self.counters.association) {
            self.index.remove(id);
            if let Some(conn) = self.connections.get_mut(&id) {
                conn.forget_evidence();
            }
        }
    }

    fn look(&mut self, mut pending: Pending, last: bool, now: Timestamp) {
        pending.looks += 1;
        match self.decide(&mut pending, last) {
            Decision::Tied(conn, side, tie) => self.tie(&pending, conn, side, tie, now),
            Decision::Repeated => self.counters.association.repeated += 1,
            Decision::OlderVersion => self.counters.association.older_versions += 1,
            Decision::Untied(_) | Decision::Equals(_) if !last => {
                self.pending.push(pending, self.config.certificate_wait);
            }
            Decision::Equals(conns) => self.tie_equals(pending, &conns, now),
            Decision::Untied(reason) => self.tell(pending, reason),
        }
    }

    fn decide(&mut self, pending: &mut Pending, last: bool) -> Decision {
        if let Some(random) = &pending.client_random
            && let Some(decision) = self.by_random(pending, random)
        {
            return decision;
        }
        if let Some(conn) = pending.last_read {
            if let Some(decision) = self.by_last_read(pending, conn, last) {
                return decision;
            }
            self.counters.association.hints_contradicted += u64::from(!pending.hint_counted);
            pending.hint_counted = true;
        }
        if pending.client_random.is_some() {
            // Its hello was not seen: there is nothing to compare with.
            return Decision::Untied(NotTied::NoConnection);
        }
        self.by_length(pending)
    }

    fn by_random(&self, pending: &Pending, random: &[u8; 32]) -> Option<Decision> {
        let found = self.index.with_random(random).iter().filter_map(|id| {
            let conn = self.connections.get(id)?;
            Some((*id, conn, conn.evidence()?))
        });
        let found: Vec<_> = found.collect();
        found.first()?;
        if found.iter().all(|(_, _, evidence)| evidence.standing() == Standing::Older) {
            return Some(Decision::OlderVersion);
        }
        let untied = Some(Decision::Untied(NotTied::NoConnection));
        let several = Some(Decision::Untied(NotTied::SeveralConnections));
        // A random crosses the wire in the clear: it tells the handshake apart from others of the process that parsed, and
        // says nothing of what a process at no end of it parses.
        let at_its_end = |pid: Option<u32>| {
            let fits = move |(_, conn, evidence): &&(ConnId, &Connection, Evidence)| {
                conn.pid() == pid && pending.peer.is_none_or(|peer| evidence.local == peer.peer())
            };
            found.iter().filter(fits).collect::<Vec<_>>()
        };
        let own = at_its_end(Some(pending.process.pid));
        let own = if own.is_empty() { at_its_end(None) } else { own };
        let (id, conn, evidence) = match own.as_slice() {
            [one] => *one,
            [] => return untied,
            _ => return several,
        };
        let side = pending.peer.unwrap_or(evidence.local.peer());
        // A goroutine that gave a handshake up may have gone on to another one.
        if !may_show(evidence, side) || evidence.fit(side, pending.message, EVER) == Fit::Impossible {
            return untied;
        }
        Some(match held(conn.chain(side), pending, Tie::ClientRandom) {
            Held::Nothing | Held::Weaker => Decision::Tied(*id, side, Tie::ClientRandom),
            Held::Same => Decision::Repeated,
            Held::Another => Decision::Untied(NotTied::NoConnection),
        })
    }

    /// `None`: it is not that connection's. As long as it may be, nothing else is looked at.
    fn by_last_read(&self, pending: &Pending, id: ConnId, last: bool) -> Option<Decision> {
        let untied = Some(Decision::Untied(NotTied::NoConnection));
        let Some(conn) = self.connections.get(&id) else { return untied };
        // Of a thread id that another process had before, or of a process that has not been seen reading yet.
        if conn.pid().is_some_and(|pid| pid != pending.process.pid) {
            return untied;
        }
        if conn.is_older_version() {
            return Some(Decision::OlderVersion);
        }
        let Some(evidence) = conn.evidence() else {
            return if conn.shows_no_certificates() { None } else { untied };
        };
        let side = pending.peer.unwrap_or(evidence.local.peer());
        let random_differs = pending.client_random.is_some()
            && evidence.client_random.is_some()
            && evidence.client_random != pending.client_random;
        if side != evidence.local.peer() || random_differs {
            return None;
        }
        if evidence.fit(side, pending.message, pending.time) == Fit::Impossible {
            // The event that would show it may have been lost, which the ones that follow tell.
            let may_be_lost = !last && !conn.has_verdict() && conn.chain(side).0.is_empty();
            return if may_be_lost { untied } else { None };
        }
        match held(conn.chain(side), pending, Tie::LastRead) {
            Held::Nothing | Held::Weaker if self.may_be_of_another(pending, id, side) => None,
            Held::Nothing | Held::Weaker => Some(Decision::Tied(id, side, Tie::LastRead)),
            Held::Same => Some(Decision::Repeated),
            Held::Another => None,
        }
    }

    /// Programs may read from several connections before they parse what they read. So a connection that the thread read
    /// from before, which misses a chain of that length that had come by then, makes names decide; and a name that is not
    /// in the certificate makes way for a connection whose name is.
    fn may_be_of_another(&self, pending: &Pending, id: ConnId, side: Side) -> bool {
        let name = |conn: &Connection| match pending.chain.first() {
            Some(leaf) if side == Side::Server => conn.name_fit(leaf),
            _ => NameFit::Unknown,
        };
        let own = self.connections.get(&id).map_or(NameFit::Unknown, name);
        let rival = pending.read_before.and_then(|(other, at)| {
            let conn = self.connections.get(&other).filter(|_| other != id)?;
            let evidence = conn.evidence()?;
            let is_rival = conn.pid().is_none_or(|pid| pid == pending.process.pid)
                && evidence.local == side.peer()
                && conn.chain(side).0.is_empty()
                && evidence.fit(side, pending.message, at) != Fit::Impossible;
            is_rival.then(|| name(conn))
        });
        match (own, rival) {
            (NameFit::Yes, None | Some(NameFit::No | NameFit::Unknown)) => false,
            (NameFit::No, None) => {
                self.candidates(pending).iter().any(|other| other.conn != id && other.name == NameFit::Yes)
            }
            (NameFit::Unknown, None) => false,
            (_, Some(_)) => true,
        }
    }

    fn by_length(&mut self, pending: &mut Pending) -> Decision {
        let candidates = self.candidates(pending);
        let fitting: Vec<ConnId> = candidates.iter().map(|candidate| candidate.conn).collect();
        if fitting.len() > self.config.max_certificate_candidates {
            self.counters.association.candidates_cut += u64::from(!pending.is_spoiled);
            pending.is_spoiled = true;
        }
        // One that is gone took its certificates with it, and these may have been its.
        let gone = |id: &ConnId| {
            !fitting.contains(id) && self.connections.get(id).is_none_or(|conn| conn.evidence().is_none())
        };
        pending.is_spoiled = pending.is_spoiled || pending.candidates.iter().any(gone);
        if pending.is_spoiled {
            return Decision::Untied(NotTied::SeveralConnections);
        }
        pending.candidates = fitting;
        match choose(&candidates) {
            // A lone one of another name is believed, unless the thread's own reads spoke against this already.
            Choice::One(id)
                if pending.hint_counted
                    && candidates.iter().any(|c| c.conn == id && c.name == NameFit::No) =>
            {
                Decision::Untied(NotTied::SeveralConnections)
            }
            Choice::One(id) => match self.connections.get(&id).and_then(|conn| conn.evidence()) {
                Some(evidence) => Decision::Tied(id, evidence.local.peer(), Tie::Length),
                None => Decision::Untied(NotTied::NoConnection),
            },
            Choice::Equals(conns) => Decision::Equals(conns),
            Choice::Several => Decision::Untied(NotTied::SeveralConnections),
            Choice::None => Decision::Untied(NotTied::NoConnection),
        }
    }

    /// Connections of the process, or of nobody known, that miss a chain of this length.
    fn candidates(&self, pending: &Pending) -> Vec<Candidate> {
        let own = self.index.wanted_by(Some(pending.process.pid)).map(|id| (id, true));
        let unowned = self.index.wanted_by(None).map(|id| (id, false));
        let candidates = own.chain(unowned).filter_map(|(conn, is_own)| {
            let connection = self.connections.get(&conn)?;
            let evidence = connection.evidence()?;
            let side = evidence.local.peer();
            if pending.peer.is_some_and(|peer| peer != side) {
                return None;
            }
            let fit = match evidence.fit(side, pending.message, pending.time) {
                Fit::Impossible => return None,
                Fit::Exact if is_own => Fit::Exact,
                Fit::Exact | Fit::Possible => Fit::Possible,
            };
            let leaf = pending.chain.first().filter(|_| side == Side::Server);
            let name = leaf.map_or(NameFit::Unknown, |leaf| connection.name_fit(leaf));
            Some(Candidate { conn, fit, name })
        });
        candidates.take(self.config.max_certificate_candidates.saturating_add(1)).collect()
    }

    /// As many equal chains as connections that they fit: each gets one, unless something else may be theirs.
    fn tie_equals(&mut self, pending: Pending, conns: &[ConnId], now: Timestamp) {
        let others = self.pending.iter().filter(|other| {
            other.process.pid == pending.process.pid && other.candidates.iter().any(|id| conns.contains(id))
        });
        let same = |other: &Pending| {
            other.is_alike(&pending) && !other.is_spoiled && other.candidates == pending.candidates
        };
        let (mut count, mut all_same) = (1, true);
        for other in others {
            count += 1;
            all_same &= same(other);
        }
        if !all_same || count != conns.len() {
            self.tell(pending, NotTied::SeveralConnections);
            return;
        }
        let rest = self.pending.take_alike(&pending);
        for (chain, conn) in std::iter::once(pending).chain(rest).zip(conns) {
            if let Some(evidence) = self.connections.get(conn).and_then(|conn| conn.evidence()) {
                self.tie(&chain, *conn, evidence.local.peer(), Tie::Length, now);
            }
        }
    }

    /// Gives a chain to a connection and to all that observe the same handshake.
    fn tie(&mut self, pending: &Pending, id: ConnId, side: Side, tie: Tie, now: Timestamp) {
        let counters = &mut self.counters.association;
        match tie {
            Tie::ClientRandom => counters.tied_by_client_random += 1,
            Tie::LastRead => counters.tied_by_last_read += 1,
            Tie::Length => counters.tied_by_length += 1,
        }
        let Some(evidence) = self.connections.get(&id).and_then(|conn| conn.evidence()) else { return };
        let random = evidence.client_random.unwrap_or_default();
        let shares = |other: &&ConnId| {
            let other = self.connections.get(other).and_then(|conn| conn.evidence());
            other.is_some_and(|other| other.is_same_handshake(&evidence) && may_show(&other, side))
        };
        let others: Vec<ConnId> = self
            .index
            .with_random(&random)
            .iter()
            .filter(|other| **other != id)
            .filter(shares)
            .copied()
            .collect();
        for (conn, is_shared) in std::iter::once((id, false)).chain(others.into_iter().map(|id| (id, true))) {
            let Some(connection) = self.connections.get(&conn) else { continue };
            match held(connection.chain(side), pending, tie) {
                Held::Nothing => {}
                // What the process at this end parsed itself counts for more than what the one at the other end did.
                Held::Weaker if !is_shared => self.counters.association.replaced += 1,
                Held::Weaker | Held::Same | Held::Another => continue,
            }
            self.counters.association.shared += u64::from(is_shared);
            if connection.evidence().is_some_and(|evidence| evidence.local != side) {
                self.index.satisfy(conn);
            }
            let ocsp_response = pending.ocsp_response.as_ref();
            let probed = ProbedChain { side, chain: &pending.chain, ocsp_response, tie };
            self.with(conn, now, |conn, context| conn.give_chain(&probed, now, context));
        }
    }

    fn tell(&mut self, pending: Pending, reason: NotTied) {
        match reason {
            NotTied::NoConnection => self.counters.association.no_connection += 1,
            NotTied::SeveralConnections => self.counters.association.several_connections += 1,
        }
        // It may have been the chain of any of them.
        self.pending.spoil(&pending.candidates);
        self.outputs.push_back(Output::ProcessCertificates(Box::new(ProcessCertificates {
            time: pending.time,
            process: pending.process,
            library: pending.library,
            peer: pending.peer,
            chain: pending.chain,
            reason,
        })));
    }
}

/// Can a chain of this side have crossed this connection at all?
fn may_show(evidence: &Evidence, side: Side) -> bool {
    let full = matches!(evidence.standing(), Standing::Unknown | Standing::Full);
    full && !(side == Side::Client && evidence.no_client_certificate)
}

fn held(
    (chain, tie): (&[Arc<crate::x509::CertificateSummary>], Option<Tie>),
    pending: &Pending,
    by: Tie,
) -> Held {
    if chain.is_empty() {
        return Held::Nothing;
    }
    if chain.iter().map(|c| c.sha256).eq(pending.chain.iter().map(|c| c.sha256)) {
        return Held::Same;
    }
    match tie {
        Some(tie) if tie < by => Held::Weaker,
        _ => Held::Another,
    }
}
