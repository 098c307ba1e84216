//! What a connection has to say on whether a Certificate message of that length crossed it.

use std::time::Duration;

use crate::net::Side;
use crate::time::Timestamp;
use crate::tls::codepoints::CipherSuite;

/// Records of one side looked at: EncryptedExtensions, CertificateRequest and a Certificate in a few fragments.
pub(crate) const SIGHTINGS: usize = 8;

/// Message header, empty `certificate_request_context`, length of `certificate_list` (RFC 8446 section 4.4.2).
const AROUND_LIST: usize = 4 + 1 + 3;

/// Fragments of these lengths are what RFC 8446 section 5.1 and RFC 6066 section 4 allow, or what libraries are set to.
const FULL_FRAGMENTS: [usize; 6] = [1 << 14, 512, 1024, 2048, 4096, 8192];

/// Messages before Finished in a flight with a Certificate: EncryptedExtensions, Certificate, CertificateVerify; or the
/// last two.
const BEFORE_FINISHED: [usize; 2] = [2, 3];

/// Length of a Certificate message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageLength {
    Exactly(usize),
    /// Its end is not known, or its extensions.
    AtLeast(usize),
}

impl MessageLength {
    /// Of a message with a `certificate_list` of that length.
    pub(crate) fn of_list(len: u32) -> Self {
        Self::Exactly(AROUND_LIST + usize::try_from(len).unwrap_or(usize::MAX / 2))
    }

    /// Of a message whose list has at least so many bytes.
    pub(crate) const fn of_list_at_least(len: usize) -> Self {
        Self::AtLeast(AROUND_LIST.saturating_add(len))
    }
}

/// Does a connection's side fit?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// A record, or a run of full ones and a rest, has exactly that length.
    Exact,
    /// It may be among several messages in one record, or compressed, or not all was seen.
    Possible,
    /// It did not cross this connection.
    Impossible,
}

/// One encrypted record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) len: u16,
    pub(crate) at: Timestamp,
}

/// The first encrypted records of one side. Small, because every connection has two of them for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flight {
    lengths: [u16; SIGHTINGS],
    /// When each was seen, in microseconds behind the first.
    after: [u32; SIGHTINGS],
    first: Timestamp,
    /// How many of them there are.
    known: u8,
    /// There are more.
    more: bool,
    /// None is missing among those before the last.
    pub(crate) complete: bool,
}

impl Flight {
    pub(crate) fn new(records: impl Iterator<Item = Sighting>, count: u32, complete: bool) -> Self {
        let mut new = Self { complete, ..Self::default() };
        for ((length, after), record) in new.lengths.iter_mut().zip(&mut new.after).zip(records) {
            if new.known == 0 {
                new.first = record.at;
            }
            *length = record.len;
            *after = u32::try_from(record.at.since(new.first).as_micros()).unwrap_or(u32::MAX);
            new.known += 1;
        }
        new.more = count > u32::from(new.known);
        new
    }

    fn lengths(&self) -> &[u16] {
        self.lengths.get(..usize::from(self.known)).unwrap_or_default()
    }

    /// Those that had been seen by then.
    fn by(&self, time: Timestamp) -> impl Iterator<Item = u16> {
        let seen = move |after: u32| self.first + Duration::from_micros(u64::from(after)) <= time;
        self.lengths().iter().zip(self.after).take_while(move |(_, after)| seen(*after)).map(|(len, _)| *len)
    }
}

/// What the server chose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerEvidence {
    /// `ServerHello.random`.
    pub(crate) random: [u8; 32],
    pub(crate) is_tls13: bool,
    /// A PSK was selected.
    pub(crate) is_resumed: bool,
    pub(crate) suite: CipherSuite,
}

/// What a connection's certificates could be, as far as its version tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No ServerHello was seen.
    Unknown,
    /// TLS 1.2 or before: certificates were on the wire.
    Older,
    /// No certificates crossed the wire.
    Resumed,
    /// A full handshake of TLS 1.3.
    Full,
}

/// What a connection has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    /// The part of the local end.
    pub(crate) local: Side,
    pub(crate) client_random: Option<[u8; 32]>,
    pub(crate) server: Option<ServerEvidence>,
    /// The client can read compressed certificates (RFC 8879), and may send them.
    pub(crate) compression: bool,
    /// The client sent records before the server's hello.
    pub(crate) early_data: bool,
    /// Its first record shows that the client sent no certificate.
    pub(crate) no_client_certificate: bool,
    pub(crate) client: Flight,
    pub(crate) server_flight: Flight,
}

impl Evidence {
    pub(crate) fn standing(&self) -> Standing {
        match self.server {
            None => Standing::Unknown,
            Some(server) if !server.is_tls13 => Standing::Older,
            Some(server) if server.is_resumed => Standing::Resumed,
            Some(_) => Standing::Full,
        }
    }

    /// Do both observe one handshake? A hello can be replayed, the server's answer to it not.
    pub(crate) fn is_same_handshake(&self, other: &Evidence) -> bool {
        let server = |evidence: &Evidence| evidence.server.map(|server| server.random);
        self.client_random.is_some()
            && self.client_random == other.client_random
            && self.server.is_some()
            && server(self) == server(other)
    }

    /// Can a Certificate message of this length have come from this side by then?
    pub(crate) fn fit(&self, side: Side, message: MessageLength, by: Timestamp) -> Fit {
        let flight = match side {
            Side::Client => &self.client,
            Side::Server => &self.server_flight,
        };
        if matches!(self.standing(), Standing::Older | Standing::Resumed)
            || side == Side::Client && self.no_client_certificate
        {
            return Fit::Impossible;
        }
        let Some(server) = self.server else {
            // Without a ServerHello there are no keys that a Certificate could be encrypted with.
            return if self.server_flight.complete { Fit::Impossible } else { Fit::Possible };
        };
        let overhead = 1 + server.suite.tag_len().unwrap_or(0);
        let bodies: Vec<usize> = flight.by(by).map(|len| usize::from(len).saturating_sub(overhead)).collect();
        let run = match message {
            MessageLength::Exactly(len) if server.suite.tag_len().is_some() => self
                .first_places(side, flight)
                .filter_map(|at| run(bodies.get(at..)?, len))
                .min_by_key(|fit| match fit {
                    Fit::Exact => 0,
                    Fit::Possible | Fit::Impossible => 1,
                }),
            _ => None,
        };
        if let Some(fit) = run {
            return fit;
        }
        if !flight.complete {
            return Fit::Possible;
        }
        if bodies.is_empty() && !flight.more {
            return Fit::Impossible;
        }
        if self.compression {
            return Fit::Possible;
        }
        let (MessageLength::Exactly(len) | MessageLength::AtLeast(len)) = message;
        let all_seen = bodies.len() < flight.lengths().len() || !flight.more;
        if all_seen && bodies.iter().sum::<usize>() < len {
            return Fit::Impossible;
        }
        let is_exact = matches!(message, MessageLength::Exactly(_));
        if is_exact && self.sends_one_message_a_record(side, flight, server.suite) {
            return Fit::Impossible;
        }
        Fit::Possible
    }

    /// Where the Certificate's record is, if each message has one of its own: behind EncryptedExtensions and perhaps
    /// CertificateRequest; first in the client's flight.
    fn first_places(&self, side: Side, flight: &Flight) -> std::ops::Range<usize> {
        match side {
            _ if !flight.complete => 0..SIGHTINGS,
            Side::Server => 1..3,
            Side::Client if self.early_data => 0..SIGHTINGS,
            Side::Client => 0..1,
        }
    }

    /// A flight that ends in a record of Finished alone: whoever sends several messages in a record sends Finished in it too.
    fn sends_one_message_a_record(&self, side: Side, flight: &Flight, suite: CipherSuite) -> bool {
        const FINISHED_HEADER: usize = 4;
        let (Some(hash), Some(tag)) = (suite.hash_len(), suite.tag_len()) else { return false };
        let [client, server] = BEFORE_FINISHED;
        let before = if side == Side::Client { client } else { server };
        let finished = FINISHED_HEADER + hash + 1 + tag;
        flight.lengths().iter().skip(before).any(|len| usize::from(*len) == finished)
    }
}

/// Do these records begin with a message of that length, in one record or in full fragments and a rest? `None` when they do
/// not.
fn run(bodies: &[usize], message: usize) -> Option<Fit> {
    /// The smallest limit (RFC 8449 section 4) leaves this much beside the content type.
    const MIN_FRAGMENT: usize = 63;
    let first = *bodies.first()?;
    if first == message {
        return Some(Fit::Exact);
    }
    if first > message || first < MIN_FRAGMENT {
        return None;
    }
    let full = (message - 1) / first;
    let rest = message - full * first;
    let (head, tail) = bodies.split_at_checked(full)?;
    let fits = head.iter().all(|body| *body == first) && tail.first() == Some(&rest);
    fits.then(|| if FULL_FRAGMENTS.contains(&first) { Fit::Exact } else { Fit::Possible })
}

#[cfg(test)]
mod tests;
