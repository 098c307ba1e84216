//! Which records are of one connection: those with its number, and those of its other end where both are on this host. Each
//! record replaces what was told of its end before, so that a connection counts once, as it is known last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agent_core::net::{ConnId, Endpoint, Side};
use agent_core::observation::Security;
use agent_core::policy::expectation::Mode;
use agent_core::time::Timestamp;
use hashlink::LinkedHashMap;

use crate::top::record::{ConnectionRecord, Facts};

/// Both ends come into view within a round trip.
const APART: Duration = Duration::from_secs(5);

/// What a service is counted by.
pub(super) type ServiceKey = (Arc<str>, u16);

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Entry {
    #[expect(
        clippy::vec_box,
        reason = "a vector of records makes room for four, and most connections have two"
    )]
    ends: Vec<Box<ConnectionRecord>>,
    /// As it was counted last.
    pub(super) counted: Option<Counted>,
    /// What counts once, whatever else is told later.
    pub(super) has_handshake: bool,
    pub(super) has_failed: bool,
    pub(super) has_bytes: bool,
}

/// How a connection was counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) place: Place,
    pub(super) security: Security,
    pub(super) is_open: bool,
    pub(super) met: Option<Met>,
}

/// Where a connection was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Inside a pod.
    Pod,
    /// It is not known who the client is.
    Unplaced,
    /// With a service and one of its callers.
    Service(ServiceKey, Arc<str>),
}

/// How a connection compares with what is expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Yes,
    No,
    Unproven,
}

/// What the ends of a connection tell together.
#[derive(Debug)]
pub(super) struct View {
    pub(super) service: ServiceKey,
    pub(super) caller: Arc<str>,
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
    pub(super) has_role: bool,
    pub(super) is_in_pod: bool,
    pub(super) is_over: bool,
    pub(super) time: Timestamp,
    pub(super) last: Timestamp,
    pub(super) targets: Vec<Arc<str>>,
    pub(super) facts: Facts,
}

impl Entry {
    fn new(record: Box<ConnectionRecord>) -> Self {
        Self { ends: vec![record], counted: None, has_handshake: false, has_failed: false, has_bytes: false }
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.is_final)
    }

    /// When it came into view.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.ends.iter().map(|end| end.time).min()
    }

    /// What its ends tell together.
    pub(super) fn view(&self) -> Option<View> {
        let with = |role| self.ends.iter().find(|end| end.role == role);
        let (client, server) = (with(Some(Side::Client)), with(Some(Side::Server)));
        let first = client.or(server).or_else(|| self.ends.first())?;
        let mut facts = first.facts.clone();
        for end in self.ends.iter().filter(|end| !std::ptr::eq(*end, first)) {
            add(&mut facts, &end.facts);
        }
        // The observed server itself knows best who it is, and the client who calls.
        let names = server.unwrap_or(first);
        Some(View {
            service: names.service.clone(),
            caller: Arc::clone(&first.caller),
            client: first.client,
            server: names.server,
            has_role: client.or(server).is_some(),
            is_in_pod: self.ends.iter().any(|end| end.is_in_pod()),
            is_over: self.is_over(),
            time: self.time()?,
            last: self.ends.iter().map(|end| end.last).max()?,
            targets: self.ends.iter().filter_map(|end| end.target.clone()).collect(),
            facts,
        })
    }
}

/// The more that is proven, the more it counts: an end that saw less does not take it back.
const fn rank(security: Security) -> u8 {
    match security {
        Security::Unknown => 0,
        Security::Plaintext => 1,
        Security::Tls => 2,
        Security::Mtls => 3,
    }
}

/// What the other end tells besides.
fn add(mine: &mut Facts, other: &Facts) {
    fn fill<T: Clone>(mine: &mut Option<T>, other: &Option<T>) {
        if mine.is_none() {
            mine.clone_from(other);
        }
    }
    if rank(other.security) > rank(mine.security) {
        (mine.security, mine.source, mine.reason) = (other.security, other.source, other.reason);
    }
    fill(&mut mine.protocol, &other.protocol);
    fill(&mut mine.server_name, &other.server_name);
    fill(&mut mine.scope, &other.scope);
    match (&mut mine.tls, &other.tls) {
        (Some(mine), Some(other)) => {
            fill(&mut mine.version, &other.version);
            fill(&mut mine.cipher, &other.cipher);
            fill(&mut mine.group, &other.group);
            fill(&mut mine.established, &other.established);
            fill(&mut mine.resumed, &other.resumed);
            fill(&mut mine.duration, &other.duration);
        }
        (mine, other) => fill(mine, other),
    }
    fill(&mut mine.server_certificate, &other.server_certificate);
    fill(&mut mine.client_certificate, &other.client_certificate);
    fill(&mut mine.expectation, &other.expectation);
    fill(&mut mine.bytes, &other.bytes);
    fill(&mut mine.closed, &other.closed);
    for (rule, severity) in &other.findings {
        match mine.findings.iter_mut().find(|(known, _)| known == rule) {
            Some((_, worst)) => *worst = (*worst).max(*severity),
            None => mine.findings.push((rule.clone(), *severity)),
        }
    }
}

impl Met {
    /// As the rules `plaintext_traffic` and `mtls_missing` have it; nothing where nothing was exchanged.
    pub(super) fn of(facts: &Facts) -> Option<Self> {
        use agent_core::observation::Reason;
        let (mode, _) = facts.expectation.as_ref()?;
        let is_certain = facts.reason != Some(Reason::ClientIdentityUnknown);
        Some(match (mode, facts.security) {
            (_, Security::Unknown) => match facts.reason {
                Some(
                    Reason::NoData
                    | Reason::TooFewBytes
                    | Reason::HandshakeFailed
                    | Reason::HandshakeIncomplete,
                ) => {
                    return None;
                }
                _ => Met::Unproven,
            },
            (Mode::Permissive | Mode::Disable, _)
            | (Mode::Tls | Mode::Strict, Security::Mtls)
            | (Mode::Tls, Security::Tls) => Met::Yes,
            (Mode::Strict, Security::Tls) if !is_certain => Met::Unproven,
            (Mode::Strict, Security::Tls) | (Mode::Tls | Mode::Strict, Security::Plaintext) => Met::No,
        })
    }
}

/// The connections that are kept.
#[derive(Debug, Default)]
pub(super) struct Connections {
    next: u64,
    numbers: HashMap<ConnId, u64>,
    /// By the client's address, which both ends know.
    clients: HashMap<Endpoint, Vec<u64>>,
    /// Least recently heard of first.
    open: LinkedHashMap<u64, Entry>,
    over: LinkedHashMap<u64, Entry>,
}

impl Connections {
    /// Takes what a record tells; which connection it is of.
    pub(super) fn take(&mut self, record: Box<ConnectionRecord>) -> u64 {
        let conn = record.conn;
        let id = self.numbers.get(&conn).copied().or_else(|| self.other_end(&record));
        let id = id.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.numbers.insert(conn, id);
        let ids = self.clients.entry(record.client).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
        let entry = self.open.remove(&id).or_else(|| self.over.remove(&id));
        let entry = match entry {
            None => Entry::new(record),
            Some(mut entry) => {
                match entry.ends.iter_mut().find(|end| end.conn == conn) {
                    Some(end) => *end = record,
                    None => entry.ends.push(record),
                }
                entry
            }
        };
        let list = if entry.is_over() { &mut self.over } else { &mut self.open };
        list.insert(id, entry);
        id
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        match self.open.contains_key(&id) {
            true => self.open.get_mut(&id),
            false => self.over.get_mut(&id),
        }
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// All that are kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.open.iter().chain(self.over.iter()).map(|(id, entry)| (*id, entry))
    }

    /// Forgets one that is open beyond `open`; those that are over beyond `over` are shown no more.
    pub(super) fn tidy(&mut self, open: usize, over: usize) -> Option<Entry> {
        while self.over.len() > over {
            let Some((id, entry)) = self.over.pop_front() else { break };
            self.unlist(id, &entry);
        }
        if self.open.len() <= open {
            return None;
        }
        let (id, entry) = self.open.pop_front()?;
        self.unlist(id, &entry);
        Some(entry)
    }

    fn unlist(&mut self, id: u64, entry: &Entry) {
        for end in &entry.ends {
            self.numbers.remove(&end.conn);
            if let Some(ids) = self.clients.get_mut(&end.client) {
                ids.retain(|known| *known != id);
                if ids.is_empty() {
                    self.clients.remove(&end.client);
                }
            }
        }
    }

    /// The connection whose only end is the other end of this one; the nearest in time of several.
    fn other_end(&self, mine: &ConnectionRecord) -> Option<u64> {
        let candidates = self.clients.get(&mine.client)?.iter();
        let fits = candidates.filter_map(|id| {
            let entry = self.open.get(id).or_else(|| self.over.get(id))?;
            let [other] = entry.ends.as_slice() else { return None };
            is_other_end(mine, other).then_some((other.time.0.abs_diff(mine.time.0), *id))
        });
        fits.min().map(|(_, id)| id)
    }
}

/// The roles, the addresses and the time fit. Where the address of the server was translated, each says the other's process.
fn is_other_end(one: &ConnectionRecord, two: &ConnectionRecord) -> bool {
    let roles = matches!(
        (one.role, two.role),
        (Some(Side::Client), Some(Side::Server)) | (Some(Side::Server), Some(Side::Client))
    );
    let apart = Duration::from_nanos(one.time.0.abs_diff(two.time.0));
    let says =
        |one: &ConnectionRecord, two: &ConnectionRecord| one.peer_pid.is_some() && one.peer_pid == two.pid;
    roles && apart <= APART && (one.server == two.server || says(one, two) || says(two, one))
}
