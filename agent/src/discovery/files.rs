//! The files that hold a TLS library: inspected once, probed while somebody maps them, left alone afterwards.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_core::event::TlsLibrary;
use hashlink::LruCache;

use super::counters::{Counter, Counters};
use super::resolve::{self, Stamp};
use super::tracker::{Bounds, Tracker, Use};
use super::{FileKey, Options};
use crate::libraries::{Contents, ProbePoint, Unprobed};
use crate::loader::UprobeError;

/// Files whose contents are remembered, most of which hold no TLS library.
const REMEMBERED: usize = 16_384;
/// How long a file that holds nothing is taken for unchanged by its times alone, without being opened. Many processes a
/// second map the same few files.
const RECHECK: Duration = Duration::from_secs(30);

/// Puts probes into files.
pub(super) trait Attach {
    /// What is attached to one file.
    type Attached;
    fn attach(&mut self, file: &File, points: &[ProbePoint]) -> Result<Self::Attached, UprobeError>;
    /// Takes them out, and returns when they are.
    fn detach(&mut self, attached: Self::Attached);
    /// Takes them out some time soon.
    fn retire(&mut self, attached: Self::Attached);
}

/// What was found in a file when it was looked at last.
#[derive(Clone, Debug)]
enum Found {
    Nothing(Nothing),
    /// A TLS library.
    Tls(Arc<Contents>),
    /// The same file under another number, see [`Identity`].
    SameAs(FileKey),
}

/// Why a file is not of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nothing {
    /// It holds no TLS library that is known, or is no well-formed file.
    NoTls,
    /// There is too much of it to know.
    TooLarge,
}

struct Remembered {
    generation: Option<u64>,
    stamp: Stamp,
    checked: Instant,
    found: Found,
}

/// Tells that two files are one although their devices differ. Overlay file systems show the file of one image layer under
/// another device in every container, but all keep its inode number, size and times; the kernel puts a probe into the one
/// file below. Attached once per container, every call would be told as often as there are containers. Where neither is on
/// an overlay, files of different devices are different files.
type Identity = Stamp;

/// Why a file is not probed although it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAttached {
    /// As many files as allowed are probed.
    LimitReached,
    /// The kernel refused.
    Refused(String),
}

enum State<T> {
    Attached(T),
    NotAttached(NotAttached),
    /// There is nothing to attach.
    Unprobed,
}

/// A file with a TLS library that somebody maps, or did until a moment ago.
struct InUse<T> {
    /// Kept open to see changes: one descriptor a file of interest.
    file: File,
    stamp: Stamp,
    path: PathBuf,
    pid: u32,
    contents: Arc<Contents>,
    state: State<T>,
}

/// A file with a TLS library, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Its path as a process that maps it sees it.
    pub path: PathBuf,
    /// A process that mapped it.
    pub pid: u32,
    /// Processes that map it now.
    pub processes: usize,
    /// What is in it.
    pub contents: Arc<Contents>,
    /// Why it has no probes although it could.
    pub not_attached: Option<NotAttached>,
}

/// All files of interest.
pub(super) struct Files<A: Attach> {
    attach: A,
    inspect: fn(&File, &Path) -> Contents,
    options: Options,
    counters: Arc<Counters>,
    remembered: LruCache<FileKey, Remembered>,
    in_use: HashMap<FileKey, InUse<A::Attached>>,
    /// The files in use, and whether each is on an overlay.
    identities: HashMap<Identity, (FileKey, bool)>,
    probed: usize,
    points: usize,
    pub(super) tracker: Tracker,
}

/// A file that a process maps, and how to open it.
pub(super) struct Sighting<'a> {
    pub(super) pid: u32,
    pub(super) key: FileKey,
    pub(super) generation: Option<u64>,
    pub(super) path: &'a Path,
    /// Its stamp, where that can be had without opening it.
    pub(super) stamp: &'a mut dyn FnMut() -> Option<Stamp>,
    pub(super) open: &'a mut dyn FnMut() -> Option<File>,
}

impl<A: Attach> Files<A> {
    pub(super) fn new(
        attach: A,
        inspect: fn(&File, &Path) -> Contents,
        options: Options,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            attach,
            inspect,
            options,
            counters,
            remembered: LruCache::new(REMEMBERED),
            in_use: HashMap::new(),
            identities: HashMap::new(),
            probed: 0,
            points: 0,
            tracker: Tracker::new(Bounds { processes: options.max_processes, files: options.max_files }),
        }
    }

    /// A process maps a file: gives the file's key if it holds a TLS library, and counts the process among its users.
    pub(super) fn seen(&mut self, sighting: Sighting<'_>, now: Instant) -> Option<FileKey> {
        let pid = sighting.pid;
        let key = self.identify(sighting, now)?;
        let is_counted = self.tracker.mapped(pid, key) != Use::NoRoom;
        is_counted.then_some(key)
    }

    /// The key of a file that is in use now, `None` for one that holds no TLS library or could not be opened.
    fn identify(&mut self, s: Sighting<'_>, now: Instant) -> Option<FileKey> {
        let mut found = None;
        if let Some(known) = self.remembered.get_mut(&s.key) {
            // Mappings that procfs lists come without a generation: the next event fills it in.
            known.generation = known.generation.or(s.generation);
            let same = s.generation.is_none() || known.generation == s.generation;
            match &known.found {
                _ if !same => {}
                Found::Nothing(_)
                    if now.saturating_duration_since(known.checked) < RECHECK
                        && (s.stamp)().is_none_or(|stamp| stamp == known.stamp) =>
                {
                    return None;
                }
                Found::Tls(_) if self.in_use.contains_key(&s.key) => return self.refreshed(s.key, now),
                Found::SameAs(other) if self.in_use.contains_key(other) => {
                    let other = *other;
                    return self.refreshed(other, now);
                }
                other => found = Some((known.stamp, other.clone())),
            }
            if !same {
                self.forget(s.key);
            }
        }
        let Some(file) = (s.open)() else {
            self.counters.add(Counter::Unopenable, 1);
            return None;
        };
        let Ok(stamp) = Stamp::of(&file) else {
            self.counters.add(Counter::Unopenable, 1);
            return None;
        };
        let contents = match found {
            Some((then, Found::Nothing(why))) if then == stamp => Err(why),
            Some((then, Found::Tls(contents))) if then == stamp => Ok(contents),
            _ => self.inspected(&file, s.path),
        };
        let overlay = contents.is_ok() && resolve::is_overlay(&file);
        let found = match (&contents, self.same_as(stamp, overlay)) {
            (Err(why), _) => Found::Nothing(*why),
            (Ok(_), Some(other)) if other != s.key => Found::SameAs(other),
            (Ok(contents), _) => Found::Tls(Arc::clone(contents)),
        };
        let remembered = Remembered { generation: s.generation, stamp, checked: now, found: found.clone() };
        self.remembered.insert(s.key, remembered);
        match (found, contents) {
            (Found::SameAs(other), _) => Some(other),
            (Found::Tls(_), Ok(contents)) => {
                if self.in_use.len() >= self.options.max_files {
                    self.counters.add(Counter::FilesOverBound, 1);
                    return None;
                }
                if !self.tracker.has_room(s.pid, s.key) {
                    return None;
                }
                let state = self.attached(&file, &contents);
                let path = s.path.to_owned();
                self.identities.entry(stamp).or_insert((s.key, overlay));
                let entry = InUse { file, stamp, path, pid: s.pid, contents, state };
                self.in_use.insert(s.key, entry);
                Some(s.key)
            }
            _ => None,
        }
    }

    /// The file in use that this one is too.
    fn same_as(&self, stamp: Stamp, overlay: bool) -> Option<FileKey> {
        self.identities.get(&stamp).filter(|(_, other)| overlay || *other).map(|(key, _)| *key)
    }

    fn inspected(&self, file: &File, path: &Path) -> Result<Arc<Contents>, Nothing> {
        self.counters.add(Counter::Inspected, 1);
        match (self.inspect)(file, path) {
            Contents::NoTls => Err(Nothing::NoTls),
            // A file that is mapped and yet no well-formed ELF file is data with an executable bit, or one that is
            // being written; it says nothing of a TLS library.
            Contents::Unprobed(Unprobed::Unreadable) => {
                self.counters.add(Counter::Unreadable, 1);
                Err(Nothing::NoTls)
            }
            Contents::Unprobed(Unprobed::TooLargeToInspect) => {
                self.counters.add(Counter::TooLarge, 1);
                Err(Nothing::TooLarge)
            }
            contents => {
                if let Contents::Unprobed(reason) = contents {
                    self.counters.unprobed(reason);
                }
                Ok(Arc::new(contents))
            }
        }
    }

    fn attached(&mut self, file: &File, contents: &Contents) -> State<A::Attached> {
        let points: Vec<ProbePoint> = match contents {
            Contents::Probes(libraries) => libraries.iter().flat_map(|(_, points)| points).copied().collect(),
            Contents::Unprobed(_) => return State::Unprobed,
            Contents::NoTls => Vec::new(),
        };
        if self.probed >= self.options.max_probed {
            self.counters.add(Counter::ProbedOverBound, 1);
            return State::NotAttached(NotAttached::LimitReached);
        }
        match self.attach.attach(file, &points) {
            Ok(attached) => {
                self.probed += 1;
                self.points += points.len();
                self.counters.add(Counter::Attached, 1);
                State::Attached(attached)
            }
            // Said and counted once: whatever the kernel has against it will not go away by asking again.
            Err(e) => {
                self.counters.add(Counter::refused(&e), 1);
                State::NotAttached(NotAttached::Refused(e.to_string()))
            }
        }
    }

    /// A known file is mapped again, or looked after. One that was written to in place is not what it was: a probe put
    /// back at the old place would land in the middle of an instruction and break the process that maps it.
    fn refreshed(&mut self, key: FileKey, now: Instant) -> Option<FileKey> {
        let entry = self.in_use.get_mut(&key)?;
        if Stamp::of(&entry.file).is_ok_and(|stamp| stamp == entry.stamp) {
            return Some(key);
        }
        let mut entry = self.in_use.remove(&key)?;
        self.counters.add(Counter::Changed, 1);
        // And before it is attached anew: the kernel keeps the instruction it replaced for as long as one probe of a place
        // is left, and would go on running the old one.
        if let Some(attached) = self.release(key, &mut entry) {
            self.attach.detach(attached);
        }
        let found = match (Stamp::of(&entry.file), self.inspected(&entry.file, &entry.path)) {
            (Ok(stamp), Ok(contents)) => {
                entry.stamp = stamp;
                entry.state = self.attached(&entry.file, &contents);
                entry.contents = Arc::clone(&contents);
                self.identities.entry(stamp).or_insert((key, resolve::is_overlay(&entry.file)));
                self.in_use.insert(key, entry);
                Some((stamp, contents))
            }
            (_, _) => None,
        };
        let Some((stamp, contents)) = found else {
            self.tracker.dropped(key);
            self.remembered.remove(&key);
            return None;
        };
        let remembered = Remembered { generation: None, stamp, checked: now, found: Found::Tls(contents) };
        self.remembered.insert(key, remembered);
        Some(key)
    }

    /// Ends a file's use; gives back what is attached to it.
    fn release(&mut self, key: FileKey, entry: &mut InUse<A::Attached>) -> Option<A::Attached> {
        if self.identities.get(&entry.stamp).is_some_and(|(owner, _)| *owner == key) {
            self.identities.remove(&entry.stamp);
        }
        let idle = State::NotAttached(NotAttached::LimitReached);
        let State::Attached(attached) = std::mem::replace(&mut entry.state, idle) else { return None };
        self.probed = self.probed.saturating_sub(1);
        self.points = self.points.saturating_sub(points(&entry.contents));
        self.counters.add(Counter::Detached, 1);
        Some(attached)
    }

    /// The number belongs to another file now.
    fn forget(&mut self, key: FileKey) {
        self.remembered.remove(&key);
        self.tracker.dropped(key);
        self.retire(key);
    }

    fn retire(&mut self, key: FileKey) {
        let Some(mut entry) = self.in_use.remove(&key) else { return };
        if let Some(attached) = self.release(key, &mut entry) {
            self.attach.retire(attached);
        }
    }

    /// Takes the probes out of files that nobody has mapped for a while.
    pub(super) fn release_idle(&mut self, now: Instant) {
        for key in self.tracker.take_idle(self.options.detach_after, now) {
            self.retire(key);
        }
    }

    /// When [`release_idle`](Self::release_idle) has something to do next.
    pub(super) fn next_idle(&self) -> Option<Instant> {
        self.tracker.next_idle(self.options.detach_after)
    }

    /// Looks whether files changed, and probes those that there was no room for.
    pub(super) fn look_after(&mut self, now: Instant) {
        let keys: Vec<FileKey> = self.in_use.keys().copied().collect();
        for key in keys {
            self.refreshed(key, now);
            if self.probed >= self.options.max_probed {
                continue;
            }
            if let Some(mut entry) = self.in_use.remove(&key) {
                if matches!(entry.state, State::NotAttached(NotAttached::LimitReached)) {
                    entry.state = self.attached(&entry.file, &entry.contents);
                }
                self.in_use.insert(key, entry);
            }
        }
    }

    /// Whether this file was inspected and found to hold a TLS library.
    pub(super) fn holds_tls(&self, key: FileKey) -> bool {
        self.in_use.contains_key(&key)
    }

    /// Whether this file, which was looked at last, is too large to be looked through.
    pub(super) fn is_too_large(&self, key: FileKey) -> bool {
        let known = self.remembered.peek(&key);
        known.is_some_and(|known| matches!(known.found, Found::Nothing(Nothing::TooLarge)))
    }

    /// Numbers that go up and down.
    pub(super) fn publish(&self) {
        self.counters.set(Counter::FilesProbed, self.probed);
        self.counters.set(Counter::PointsAttached, self.points);
        self.counters.set(Counter::FilesInUse, self.in_use.len());
        self.counters.set(Counter::Processes, self.tracker.pids().count());
        self.counters.set_total(Counter::ProcessesOverBound, self.tracker.processes_over_bound());
        self.counters.set_total(Counter::FullProcesses, self.tracker.full_processes());
    }

    /// Processes that map a file with probes.
    pub(super) fn covered(&self) -> usize {
        let probed = |key| matches!(self.in_use.get(key), Some(InUse { state: State::Attached(_), .. }));
        self.tracker.pids().filter(|pid| self.tracker.files_of(*pid).iter().any(probed)).count()
    }

    /// Every file of interest.
    pub(super) fn status(&self) -> Vec<FileStatus> {
        let mut files: Vec<FileStatus> = self
            .in_use
            .iter()
            .map(|(key, entry)| FileStatus {
                path: entry.path.clone(),
                pid: entry.pid,
                processes: self.tracker.users(*key),
                contents: Arc::clone(&entry.contents),
                not_attached: match &entry.state {
                    State::NotAttached(why) => Some(why.clone()),
                    State::Attached(_) | State::Unprobed => None,
                },
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path).then(a.pid.cmp(&b.pid)));
        files
    }
}

impl FileStatus {
    /// Libraries that can be probed in it.
    pub fn libraries(&self) -> Vec<TlsLibrary> {
        match &*self.contents {
            Contents::Probes(libraries) => libraries.iter().map(|(library, _)| *library).collect(),
            Contents::Unprobed(_) | Contents::NoTls => Vec::new(),
        }
    }
}

fn points(contents: &Contents) -> usize {
    match contents {
        Contents::Probes(libraries) => libraries.iter().map(|(_, points)| points.len()).sum(),
        Contents::Unprobed(_) | Contents::NoTls => 0,
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
