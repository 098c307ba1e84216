//! Encrypted records of one side, by their length field and their place among the records of the other side.

use crate::time::Timestamp;

/// Records remembered one by one; of later ones only the number and the last length are.
const REMEMBERED: usize = 8;

/// One encrypted record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Length field of the record header.
    pub(super) len: u16,
    /// It came after the ServerHello.
    pub(super) after_server_hello: bool,
    /// Encrypted records of the other side that came before it.
    pub(super) others_before: u32,
    /// When it was seen.
    pub(super) at: Timestamp,
}

/// The encrypted records of one side, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordLog {
    first: Vec<Record>,
    answer: Option<Record>,
    count: u32,
    last_len: Option<u16>,
}

impl RecordLog {
    pub(super) fn push(&mut self, record: Record) {
        if self.first.len() < REMEMBERED {
            self.first.push(record);
        }
        if record.after_server_hello && record.others_before > 0 {
            self.answer.get_or_insert(record);
        }
        self.count = self.count.saturating_add(1);
        self.last_len = Some(record.len);
    }

    /// What was logged belongs to something that is over.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn first(&self) -> &[Record] {
        &self.first
    }

    /// The first one after the other side's hello and a first encrypted record, however many came before.
    pub(super) fn answer(&self) -> Option<Record> {
        self.answer
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn last_len(&self) -> Option<u16> {
        self.last_len
    }
}
