//! What the kinds say, as text: no I/O and no clock.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Map, Value};

use super::kinds::{Kind, Reads};

/// Bytes of all texts together.
const MAX_BYTES: usize = 32 << 20;

/// What a watch has to say; kinds are places in [`KINDS`](super::kinds::KINDS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A list of all objects of this kind begins.
    Listing(usize),
    /// The list is complete: what it did not name is gone.
    Listed(usize),
    /// An object exists; `None`: it says nothing about expectations.
    Applied(usize, String, Option<Box<str>>),
    /// An object is gone.
    Deleted(usize, String),
    /// The kind may not be read.
    Failed(usize),
    /// There is no such kind any more.
    Gone(usize),
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// Its list came through, or will not.
    is_settled: bool,
    /// Objects that the list named so far, while one is under way.
    named: Option<HashSet<String>>,
}

/// The objects.
#[derive(Debug)]
pub(super) struct Store {
    texts: BTreeMap<(usize, String), Box<str>>,
    progress: HashMap<usize, Progress>,
    bytes: usize,
    max_objects: usize,
    left_out: u64,
}

impl Store {
    pub(super) fn new(max_objects: usize) -> Self {
        Self { texts: BTreeMap::new(), progress: HashMap::new(), bytes: 0, max_objects, left_out: 0 }
    }

    /// This kind is going to be listed.
    pub(super) fn expect(&mut self, kind: usize) {
        self.progress.insert(kind, Progress::default());
    }

    /// Whether every kind was listed once, or cannot be.
    pub(super) fn is_complete(&self) -> bool {
        self.progress.values().all(|progress| progress.is_settled)
    }

    /// Takes a change; whether what policies say may be different now.
    pub(super) fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Listing(kind) => {
                self.progress.entry(kind).or_default().named = Some(HashSet::new());
                false
            }
            Change::Listed(kind) => {
                let progress = self.progress.entry(kind).or_default();
                let was_settled = std::mem::replace(&mut progress.is_settled, true);
                let named = progress.named.take().unwrap_or_default();
                let gone = self.keys(kind, |key| !named.contains(key));
                let is_changed = !gone.is_empty();
                gone.into_iter().for_each(|key| self.remove(kind, key));
                is_changed || !was_settled
            }
            Change::Applied(kind, key, text) => {
                if let Some(named) = self.progress.get_mut(&kind).and_then(|p| p.named.as_mut()) {
                    named.insert(key.clone());
                }
                self.apply(kind, key, text)
            }
            Change::Deleted(kind, key) => {
                let before = self.texts.len();
                self.remove(kind, key);
                self.texts.len() != before
            }
            // What was known before permission was taken away is not known to be true any more.
            Change::Failed(kind) => {
                let was_settled = {
                    let progress = self.progress.entry(kind).or_default();
                    std::mem::replace(&mut progress.is_settled, true)
                };
                self.forget(kind) || !was_settled
            }
            Change::Gone(kind) => {
                let was_expected = self.progress.remove(&kind).is_some();
                self.forget(kind) || was_expected
            }
        }
    }

    /// Every text, in an order that does not depend on when it came.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.values().map(|text| &**text)
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.texts.len()).unwrap_or(u64::MAX)
    }

    /// Objects that there was no room for.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    fn keys(&self, kind: usize, is_wanted: impl Fn(&String) -> bool) -> Vec<String> {
        let of_kind = (kind, String::new())..(kind + 1, String::new());
        self.texts.range(of_kind).map(|((_, key), _)| key).filter(|key| is_wanted(key)).cloned().collect()
    }

    fn forget(&mut self, kind: usize) -> bool {
        let all = self.keys(kind, |_| true);
        let is_changed = !all.is_empty();
        all.into_iter().for_each(|key| self.remove(kind, key));
        is_changed
    }

    fn apply(&mut self, kind: usize, key: String, text: Option<Box<str>>) -> bool {
        let before = self.texts.get(&(kind, key.clone()));
        if before == text.as_ref() {
            return false;
        }
        let is_new = before.is_none();
        self.remove(kind, key.clone());
        let Some(text) = text else { return true };
        if self.texts.len() >= self.max_objects || self.bytes + text.len() > MAX_BYTES {
            self.left_out += 1;
            return !is_new;
        }
        self.bytes += text.len();
        self.texts.insert((kind, key), text);
        true
    }

    fn remove(&mut self, kind: usize, key: String) {
        if let Some(text) = self.texts.remove(&(kind, key)) {
            self.bytes -= text.len();
        }
    }
}

/// What tells objects of a kind apart.
pub(super) fn key(object: &DynamicObject) -> String {
    format!("{}/{}", object.metadata.namespace.as_deref().unwrap_or_default(), object.name_any())
}

/// An object as a document: without its status, and without what others keep in its metadata.
pub(super) fn text(kind: &Kind, api_version: &str, object: DynamicObject) -> Option<Box<str>> {
    let mut metadata = object.metadata;
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    annotations.retain(|name, _| name.contains("linkerd.io/") || name.contains("kuma.io/"));
    let is_said = match kind.reads {
        Reads::Policy => true,
        Reads::Certificate => false,
        Reads::Route => object
            .data
            .pointer("/spec/parentRefs")
            .and_then(Value::as_array)
            .is_some_and(|parents| parents.iter().any(|parent| parent["kind"] == "Server")),
        Reads::Namespace => !annotations.is_empty(),
    };
    if !is_said {
        return None;
    }
    let mut kept = Map::new();
    let mut keep = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            kept.insert(key.to_owned(), value);
        }
    };
    keep("name", metadata.name.map(Value::from));
    keep("namespace", metadata.namespace.map(Value::from));
    let created = metadata.creation_timestamp.and_then(|at| serde_json::to_value(at).ok());
    keep("creationTimestamp", created);
    keep("labels", metadata.labels.and_then(|labels| serde_json::to_value(labels).ok()));
    keep("annotations", (!annotations.is_empty()).then(|| serde_json::to_value(annotations).ok()).flatten());
    let mut document = Map::new();
    document.insert("apiVersion".to_owned(), api_version.into());
    document.insert("kind".to_owned(), kind.name.into());
    document.insert("metadata".to_owned(), Value::Object(kept));
    if let (Value::Object(data), true) = (object.data, kind.reads != Reads::Namespace) {
        document.extend(data.into_iter().filter(|(key, _)| key != "status"));
    }
    Some(Value::Object(document).to_string().into_boxed_str())
}
