//! Sightings that wait a moment before they are judged and handed on. Much of what a host does is over within milliseconds, so that
//! the verdict and the end of a connection come together: the later one says all that the earlier one does. And many that
//! are judged in a row cost less than each on its own between the work of others.

use std::collections::VecDeque;
use std::time::Duration;

use agent_core::identity::Sighting;
use agent_core::net::ConnMap;
use agent_core::time::Timestamp;

/// Most sightings that wait, those that a later one took the place of included.
const MAX_WAITING: usize = 1024;

/// A sighting, and who gets it.
pub(super) struct Waiting {
    pub(super) sighting: Sighting,
    pub(super) uses: Uses,
}

/// Who gets a sighting.
#[derive(Clone, Copy)]
pub(super) struct Uses {
    /// The sink.
    pub(super) is_shown: bool,
    /// The recorders.
    pub(super) is_recorded: bool,
    /// Nobody: it is only judged, and nothing is told of what is wrong with it.
    pub(super) is_too_late: bool,
}

/// What waits.
pub(super) struct Settling {
    after: Duration,
    /// In the order in which they came. Empty: a later one took its place.
    waiting: VecDeque<Option<Waiting>>,
    /// How many came and went before those.
    gone: usize,
    /// Where in the order of all that ever came one of this end waits.
    places: ConnMap<usize>,
    /// All before this place go in one row, once it has begun.
    row_end: usize,
    due: Option<Timestamp>,
    /// Of those that came since the row began.
    next_due: Option<Timestamp>,
    superseded: u64,
    cut_short: u64,
}

impl Settling {
    /// Nothing waits; what will, waits this long.
    pub(super) fn new(after: Duration) -> Self {
        Self {
            after,
            waiting: VecDeque::new(),
            gone: 0,
            places: ConnMap::default(),
            row_end: 0,
            due: None,
            next_due: None,
            superseded: 0,
            cut_short: 0,
        }
    }

    /// Lets one wait, in the place of one of the same connection end; true where no more may wait and some have to go.
    pub(super) fn add(&mut self, mut new: Waiting, now: Timestamp) -> bool {
        let conn = new.sighting.observation.conn;
        let earlier = self.places.insert(conn, self.gone.saturating_add(self.waiting.len()));
        let place = earlier.and_then(|place| place.checked_sub(self.gone));
        if let Some(old) = place.and_then(|place| self.waiting.get_mut(place)).and_then(Option::take) {
            // Nobody who was to get the earlier one is left out.
            new.uses.is_shown |= old.uses.is_shown;
            new.uses.is_recorded |= old.uses.is_recorded;
            new.uses.is_too_late &= old.uses.is_too_late;
            self.superseded = self.superseded.saturating_add(1);
        }
        self.waiting.push_back(Some(new));
        let due = if self.is_in_row() { &mut self.next_due } else { &mut self.due };
        due.get_or_insert(now + self.after);
        let is_full = self.waiting.len() >= MAX_WAITING;
        self.cut_short = self.cut_short.saturating_add(u64::from(is_full));
        is_full
    }

    /// When those that wait have waited long enough.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// They have waited long enough. So have those whose time is further ahead than they are to wait: the time of day was set
    /// back meanwhile.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now || due > now + self.after)
    }

    /// All that wait now go one after the other, if a row of earlier ones is not under way.
    pub(super) fn begin(&mut self) {
        if !self.is_in_row() {
            self.row_end = self.gone.saturating_add(self.waiting.len());
        }
    }

    /// The next of the row, in the order in which they came; `None` when it is over.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        while self.is_in_row() {
            let next = self.waiting.pop_front();
            self.gone = self.gone.saturating_add(1);
            if !self.is_in_row() {
                self.due = self.next_due.take();
            }
            if let Some(next) = next.flatten() {
                self.places.remove(&next.sighting.observation.conn);
                return Some(next);
            }
        }
        None
    }

    fn is_in_row(&self) -> bool {
        self.gone < self.row_end
    }

    /// What was counted, by name.
    pub(super) fn named_counters(&self) -> [(&'static str, u64); 2] {
        [("sightings.superseded", self.superseded), ("sightings.settled_early", self.cut_short)]
    }
}
