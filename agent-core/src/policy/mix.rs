//! Which protections connections to one target had in the recent past.

use std::time::Duration;

use crate::observation::{Observation, Reason, Security};
use crate::time::Timestamp;

/// A protection that was seen for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// None.
    Plaintext,
    /// TLS, without a certificate of the client.
    Tls,
    /// Mutual TLS.
    Mtls,
    /// TLS; whether the client proved who it is cannot be told.
    TlsAtLeast,
}

impl Protection {
    const ALL: [Protection; 4] =
        [Protection::Plaintext, Protection::Tls, Protection::Mtls, Protection::TlsAtLeast];

    /// What an observation proves.
    pub fn of(observation: &Observation) -> Option<Self> {
        match observation.security {
            Security::Plaintext => Some(Protection::Plaintext),
            Security::Tls if observation.reason == Some(Reason::ClientIdentityUnknown) => {
                Some(Protection::TlsAtLeast)
            }
            Security::Tls => Some(Protection::Tls),
            Security::Mtls => Some(Protection::Mtls),
            Security::Unknown => None,
        }
    }

    const fn index(self) -> usize {
        match self {
            Protection::Plaintext => 0,
            Protection::Tls => 1,
            Protection::Mtls => 2,
            Protection::TlsAtLeast => 3,
        }
    }

    /// `plaintext`, `tls` or `mtls`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protection::Plaintext => "plaintext",
            Protection::Tls | Protection::TlsAtLeast => "tls",
            Protection::Mtls => "mtls",
        }
    }
}

/// When each protection was last seen, and by whom.
#[derive(Clone, Debug, Default)]
pub struct Mix {
    last: [Option<(Timestamp, String)>; 4],
}

impl Mix {
    /// A connection of this protection was seen.
    pub fn see(&mut self, protection: Protection, client: String, time: Timestamp) {
        if let Some(last) = self.last.get_mut(protection.index())
            && last.as_ref().is_none_or(|(before, _)| *before <= time)
        {
            *last = Some((time, client));
        }
    }

    /// Protections seen within `window` before `now`, each with the client that was seen last.
    pub fn within(&self, window: Duration, now: Timestamp) -> Vec<(Protection, &str)> {
        let recent = |protection: &Protection| {
            let (time, client) = self.last.get(protection.index())?.as_ref()?;
            (now.since(*time) <= window).then_some((*protection, client.as_str()))
        };
        Protection::ALL.iter().filter_map(recent).collect()
    }
}

/// Do these contradict each other? TLS whose client may have proved who it is contradicts plaintext only.
pub(super) fn is_mixed(seen: &[(Protection, &str)]) -> bool {
    let has = |protection| seen.iter().any(|(seen, _)| *seen == protection);
    let encrypted = has(Protection::Tls) || has(Protection::Mtls) || has(Protection::TlsAtLeast);
    has(Protection::Plaintext) && encrypted || has(Protection::Tls) && has(Protection::Mtls)
}
