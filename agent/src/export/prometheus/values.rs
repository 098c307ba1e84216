//! Values of one label: each text is kept once, has a small number, and goes when no series has it any more.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::export::text::visible;

/// What stands in place of values that there is no room for.
pub const OTHER: &str = "other";

/// Longest value of a label in bytes; of a longer one the beginning is kept, and an ellipsis.
pub const MAX_VALUE_BYTES: usize = 256;

/// Number of the empty value: nothing is known.
const EMPTY_ID: u32 = 0;
/// Number of [`OTHER`].
pub(super) const OTHER_ID: u32 = 1;
/// Numbers below are not of a slot.
const FIRST_ID: u32 = 2;

struct Slot {
    text: Arc<str>,
    uses: u32,
}

/// The values of a label.
pub(super) struct Values {
    ids: HashMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    max: usize,
}

impl Values {
    pub(super) fn new(max: usize) -> Self {
        Self { ids: HashMap::new(), slots: Vec::new(), free: Vec::new(), max }
    }

    /// The number of a value that some series has.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        match text {
            "" => Some(EMPTY_ID),
            OTHER => Some(OTHER_ID),
            _ => self.ids.get(text).copied(),
        }
    }

    /// Whether one more value fits.
    pub(super) fn has_room(&self) -> bool {
        self.ids.len() < self.max
    }

    /// Notes that one more series has this value.
    pub(super) fn acquire(&mut self, text: &str) -> u32 {
        let id = match self.find(text) {
            Some(id) => id,
            None => self.insert(text),
        };
        if let Some(slot) = self.slot(id) {
            slot.uses += 1;
        }
        id
    }

    /// One series less has it.
    pub(super) fn release(&mut self, id: u32) {
        let Some(slot) = self.slot(id) else { return };
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses == 0 {
            let text = std::mem::replace(&mut slot.text, Arc::from(""));
            self.ids.remove(&text);
            self.free.push(id);
        }
    }

    pub(super) fn text(&self, id: u32) -> Arc<str> {
        let at = id.checked_sub(FIRST_ID).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.slots.get(at)) {
            Some(slot) => Arc::clone(&slot.text),
            None if id == OTHER_ID => Arc::from(OTHER),
            None => Arc::from(""),
        }
    }

    fn insert(&mut self, text: &str) -> u32 {
        let text: Arc<str> = Arc::from(text);
        let slot = Slot { text: Arc::clone(&text), uses: 0 };
        let id = self.free.pop().unwrap_or_else(|| {
            let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX - FIRST_ID);
            self.slots.push(Slot { text: Arc::clone(&text), uses: 0 });
            next + FIRST_ID
        });
        if let Some(place) = self.slot(id) {
            *place = slot;
        }
        self.ids.insert(text, id);
        id
    }

    fn slot(&mut self, id: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(id.checked_sub(FIRST_ID)?).ok()?)
    }
}

/// The value that stands for `text`: without what a terminal would obey, and not too long. In `buffer` where it is another.
pub(super) fn tidy<'a>(text: &'a str, buffer: &'a mut String) -> &'a str {
    // Nearly always, and quick to tell.
    if text.len() <= MAX_VALUE_BYTES && text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return text;
    }
    match visible(text) {
        shown if shown.len() > MAX_VALUE_BYTES => cut(&shown, buffer),
        Cow::Borrowed(text) => return text,
        Cow::Owned(shown) => *buffer = shown,
    }
    buffer
}

/// The longest beginning that fits, with an ellipsis in place of the rest.
fn cut(text: &str, buffer: &mut String) {
    const ELLIPSIS: char = '…';
    let mut end = MAX_VALUE_BYTES - ELLIPSIS.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    buffer.clear();
    buffer.push_str(text.get(..end).unwrap_or_default());
    buffer.push(ELLIPSIS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_once_and_goes_with_its_last_series() {
        let mut values = Values::new(2);
        let a = values.acquire("a");
        assert_eq!(values.acquire("a"), a);
        let b = values.acquire("b");
        assert_eq!((values.find("a"), values.find("b"), values.find("c")), (Some(a), Some(b), None));
        assert!(!values.has_room());
        values.release(a);
        assert_eq!(values.find("a"), Some(a));
        values.release(a);
        assert_eq!((values.find("a"), values.has_room()), (None, true));
        let c = values.acquire("c");
        assert_eq!((c, &*values.text(c), &*values.text(b)), (a, "c", "b"));
    }

    #[test]
    fn the_empty_value_and_other_take_no_room() {
        let mut values = Values::new(0);
        for text in ["", OTHER] {
            let id = values.acquire(text);
            assert_eq!((values.find(text), &*values.text(id)), (Some(id), text));
            values.release(id);
            assert_eq!(values.find(text), Some(id));
        }
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let mut buffer = String::new();
        for text in ["x".repeat(65_536), "é".repeat(300), "😀".repeat(100)] {
            cut(&text, &mut buffer);
            assert!(
                buffer.len() <= MAX_VALUE_BYTES && buffer.len() > MAX_VALUE_BYTES - 4,
                "{}",
                buffer.len()
            );
            assert!(buffer.ends_with('…') && text.starts_with(buffer.trim_end_matches('…')));
        }
    }
}
