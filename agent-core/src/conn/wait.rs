//! Bytes that are held while more is waited for. They may be as long as there is room for them, and give way to others where
//! there is not.

use super::Context;
use crate::engine::EngineConfig;
use crate::time::Timestamp;

/// Something that is not whole does not go on.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    since: Timestamp,
    /// When it is asked whether there is room for it to wait on.
    until: Timestamp,
}

impl Wait {
    pub(super) fn new(now: Timestamp, config: &EngineConfig) -> Self {
        Self { since: now, until: now + config.message_wait }
    }

    pub(super) const fn deadline(self) -> Timestamp {
        self.until
    }

    /// Its time is up.
    pub(super) fn is_over(self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// As long again, so that it is asked ever less often; `None` where all hold so much that this one, with what it holds
    /// itself, must give way.
    pub(super) fn again(self, held: usize, now: Timestamp, context: &Context<'_>) -> Option<Self> {
        let is_room = context.others_hold + held <= context.config.max_buffered_bytes / 4;
        let time = now.since(self.since).max(context.config.message_wait);
        is_room.then(|| Self { until: now + time, ..self })
    }
}
