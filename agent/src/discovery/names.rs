//! Naming libraries that cannot be probed. Searching a whole executable for the traces a library leaves in it is slow, so it
//! is done only for executables of processes that speak TLS and whose certificates never came, once each, one at a time,
//! away from the thread that attaches probes.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use tokio::sync::mpsc::Sender;

use super::FileKey;
use super::prober::Command;
use crate::libraries::Unprobed;

/// Executables waiting to be searched.
const MAX_WAITING: usize = 64;
/// Executables remembered.
const REMEMBERED: usize = 4096;
/// Results kept.
const MAX_NAMED: usize = 1024;
/// Time between two searches.
const PAUSE: Duration = Duration::from_secs(1);

/// An executable whose TLS library cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its path as a process that ran it sees it.
    pub path: PathBuf,
    /// A process that ran it.
    pub pid: u32,
    /// The library.
    pub reason: Unprobed,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// It will be searched.
    Waits,
    /// It was before, or waits already.
    Known,
    /// Too many are waiting.
    NoRoom,
}

/// Executables to be searched, and those that were.
pub(super) struct Names {
    search: fn(&File) -> Option<Unprobed>,
    asked: LruCache<FileKey, ()>,
    waiting: VecDeque<(FileKey, u32, PathBuf, File)>,
    searching: bool,
    next: Option<Instant>,
    named: HashMap<FileKey, Named>,
}

impl Names {
    pub(super) fn new(search: fn(&File) -> Option<Unprobed>) -> Self {
        Self {
            search,
            asked: LruCache::new(REMEMBERED),
            waiting: VecDeque::new(),
            searching: false,
            next: None,
            named: HashMap::new(),
        }
    }

    /// Asks for an executable to be searched.
    pub(super) fn ask(&mut self, key: FileKey, pid: u32, path: PathBuf, file: File) -> Sought {
        if self.asked.get(&key).is_some() {
            return Sought::Known;
        }
        if self.waiting.len() >= MAX_WAITING {
            return Sought::NoRoom;
        }
        self.asked.insert(key, ());
        self.waiting.push_back((key, pid, path, file));
        Sought::Waits
    }

    /// When the next search may begin; `None` while there is nothing to do or one runs.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.searching && !self.waiting.is_empty()).then(|| self.next.unwrap_or_else(Instant::now))
    }

    /// Begins the next search if it is time; true when it did. The result comes as a [`Command::Named`].
    pub(super) fn begin(&mut self, now: Instant, done: &Sender<Command>) -> bool {
        if self.searching || self.next.is_some_and(|next| next > now) {
            return false;
        }
        let Some((key, pid, path, file)) = self.waiting.pop_front() else { return false };
        let (search, done) = (self.search, done.clone());
        let work = move || {
            let result = search(&file).map(|reason| Named { path, pid, reason });
            // Nobody is left to hear it when the prober has stopped.
            let _ = done.blocking_send(Command::Named(key, result));
        };
        self.searching = thread::Builder::new().name("names".to_owned()).spawn(work).is_ok();
        self.searching
    }

    /// A search is over. Gives the reason if it is a new one.
    pub(super) fn ended(&mut self, key: FileKey, result: Option<Named>, now: Instant) -> Option<Unprobed> {
        self.searching = false;
        self.next = Some(now + PAUSE);
        let named = result?;
        let reason = named.reason;
        if self.named.len() < MAX_NAMED {
            self.named.insert(key, named);
        }
        Some(reason)
    }

    /// What was found.
    pub(super) fn status(&self) -> Vec<Named> {
        let mut named: Vec<Named> = self.named.values().cloned().collect();
        named.sort_by(|a, b| a.path.cmp(&b.path).then(a.pid.cmp(&b.pid)));
        named
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;

    fn key(inode: u64) -> FileKey {
        FileKey { major: 8, minor: 0, inode }
    }

    fn file() -> File {
        File::open("/proc/self/exe").expect("own executable")
    }

    #[test]
    fn searches_each_executable_once_with_a_pause_in_between() {
        let mut names = Names::new(|_| Some(Unprobed::Java));
        let (tx, mut rx) = channel(4);
        let start = Instant::now();
        assert_eq!(names.ask(key(1), 7, "/a".into(), file()), Sought::Waits);
        assert_eq!(names.ask(key(1), 8, "/a".into(), file()), Sought::Known);
        assert_eq!(names.ask(key(2), 9, "/b".into(), file()), Sought::Waits);
        assert!(names.begin(start, &tx));
        assert!(!names.begin(start, &tx), "one at a time");
        let Some(Command::Named(ended, result)) = rx.blocking_recv() else { panic!("a result") };
        let expected = Named { path: "/a".into(), pid: 7, reason: Unprobed::Java };
        assert_eq!((ended, result.as_ref()), (key(1), Some(&expected)));
        assert_eq!(names.ended(ended, result, start), Some(Unprobed::Java));
        assert_eq!(names.next(), Some(start + PAUSE));
        assert!(!names.begin(start, &tx), "a pause in between");
        assert!(names.begin(start + PAUSE, &tx));
        assert_eq!(names.status(), vec![expected]);
    }

    #[test]
    fn executables_beyond_the_bound_do_not_wait() {
        let mut names = Names::new(|_| None);
        for n in 0..MAX_WAITING as u64 {
            assert_eq!(names.ask(key(n), 1, "/a".into(), file()), Sought::Waits);
        }
        assert_eq!(names.ask(key(1000), 1, "/a".into(), file()), Sought::NoRoom);
    }
}
