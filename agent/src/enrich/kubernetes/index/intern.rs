//! Strings that thousands of objects have in common, kept once.

use std::collections::HashSet;
use std::sync::Arc;

/// Labels of a pod, by key. Pods of one workload nearly always share them all.
pub(super) type Labels = Box<[(Arc<str>, Arc<str>)]>;

/// Strings and sets of labels in use.
#[derive(Debug, Default)]
pub(super) struct Interner {
    strings: HashSet<Arc<str>>,
    labels: HashSet<Arc<Labels>>,
    /// Entries after the last sweep.
    swept: usize,
}

impl Interner {
    pub(super) fn string(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.strings.insert(Arc::clone(&new));
        new
    }

    pub(super) fn labels(&mut self, labels: &[(String, String)]) -> Arc<Labels> {
        let labels: Labels = labels.iter().map(|(k, v)| (self.string(k), self.string(v))).collect();
        if let Some(known) = self.labels.get(&labels) {
            return Arc::clone(known);
        }
        let new = Arc::new(labels);
        self.labels.insert(Arc::clone(&new));
        new
    }

    /// Lets go of what nobody else holds, once there is enough of it to be worth the walk.
    pub(super) fn sweep(&mut self) {
        if self.strings.len() + self.labels.len() < 2 * self.swept + 1024 {
            return;
        }
        self.labels.retain(|labels| Arc::strong_count(labels) > 1);
        self.strings.retain(|string| Arc::strong_count(string) > 1);
        self.swept = self.strings.len() + self.labels.len();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.strings.len() + self.labels.len()
    }
}
