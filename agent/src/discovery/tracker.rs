//! Which process has which files mapped, and since when a file has been mapped by nobody. A pure state machine: only files
//! that hold a TLS library come here, so that a process without one costs nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::FileKey;

/// Most files with a TLS library of one process. Programs use one or two.
pub(super) const MAX_FILES_PER_PROCESS: usize = 64;

/// Bounds of a [`Tracker`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Processes with a TLS library.
    pub(super) processes: usize,
    /// Files with a TLS library that are in use.
    pub(super) files: usize,
}

/// How a file came out that a process maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nobody had it mapped before, as far as is known.
    First,
    /// Others have it mapped, or had until a moment ago, or this process itself has.
    Known,
    /// There is no room for another file, in all or of this process: nobody learns of this use of it.
    NoRoom,
}

#[derive(Debug, Default)]
struct FileUse {
    users: usize,
    idle_since: Option<Instant>,
    /// A process that maps it could not be written down: when it stops is known once everybody is looked at again.
    uncounted: bool,
}

#[derive(Debug, Default)]
struct Process {
    files: Vec<FileKey>,
    /// Whether it maps more than are written down.
    is_full: bool,
}

/// Processes and the files of interest that they map.
#[derive(Debug)]
pub(super) struct Tracker {
    bounds: Bounds,
    processes: HashMap<u32, Process>,
    files: HashMap<FileKey, FileUse>,
    processes_over_bound: u64,
    full_processes: u64,
}

impl Tracker {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (processes, files) = (HashMap::new(), HashMap::new());
        Self { bounds, processes, files, processes_over_bound: 0, full_processes: 0 }
    }

    /// Whether [`mapped`](Self::mapped) would take this use of a file down: asked before a file is opened for good.
    pub(super) fn has_room(&mut self, pid: u32, file: FileKey) -> bool {
        if !self.files.contains_key(&file) && self.files.len() >= self.bounds.files {
            return false;
        }
        match self.processes.get_mut(&pid) {
            Some(process) if process.files.len() >= MAX_FILES_PER_PROCESS => {
                if process.files.contains(&file) {
                    return true;
                }
                // Counted once, however often it maps whatever.
                self.full_processes += u64::from(!std::mem::replace(&mut process.is_full, true));
                false
            }
            _ => true,
        }
    }

    /// A process maps a file.
    pub(super) fn mapped(&mut self, pid: u32, file: FileKey) -> Use {
        if !self.has_room(pid, file) {
            return Use::NoRoom;
        }
        let known = self.files.contains_key(&file);
        let entry = self.files.entry(file).or_default();
        entry.idle_since = None;
        let room = self.processes.len() < self.bounds.processes;
        match self.processes.get_mut(&pid) {
            Some(process) if process.files.contains(&file) => {}
            Some(process) => {
                process.files.push(file);
                entry.users += 1;
            }
            None if room => {
                self.processes.insert(pid, Process { files: vec![file], is_full: false });
                entry.users += 1;
            }
            None => {
                self.processes_over_bound += 1;
                entry.uncounted = true;
            }
        }
        if known { Use::Known } else { Use::First }
    }

    /// A process runs another program, or is gone: it maps nothing any more.
    pub(super) fn cleared(&mut self, pid: u32, now: Instant) {
        for file in self.processes.remove(&pid).unwrap_or_default().files {
            self.unmapped(file, now);
        }
    }

    /// A child has what its parent has.
    pub(super) fn forked(&mut self, parent: u32, child: u32, now: Instant) {
        // The number may have been another process's whose end was missed.
        self.cleared(child, now);
        for file in self.files_of(parent).to_vec() {
            self.mapped(child, file);
        }
    }

    /// These are all the files of interest that a process maps, whatever was thought before.
    pub(super) fn set(&mut self, pid: u32, files: &[FileKey], now: Instant) {
        // One that could not be written down was counted when its files were seen.
        if !self.processes.contains_key(&pid) {
            return;
        }
        // Mapped first, then unmapped: a file that stays must not look idle in between.
        for file in files {
            self.mapped(pid, *file);
        }
        let Some(had) = self.processes.get_mut(&pid) else { return };
        let gone: Vec<FileKey> = had.files.extract_if(.., |file| !files.contains(file)).collect();
        if had.files.is_empty() {
            self.processes.remove(&pid);
        }
        for file in gone {
            self.unmapped(file, now);
        }
    }

    /// A file is of no interest any more.
    pub(super) fn dropped(&mut self, file: FileKey) {
        if self.files.remove(&file).is_some() {
            self.processes.retain(|_, process| {
                process.files.retain(|f| *f != file);
                !process.files.is_empty()
            });
        }
    }

    /// Every process is about to be looked at again: whoever could not be written down before gets another chance.
    pub(super) fn recount(&mut self, now: Instant) {
        for file in self.files.values_mut() {
            file.uncounted = false;
            if file.users == 0 && file.idle_since.is_none() {
                file.idle_since = Some(now);
            }
        }
    }

    /// Whether some files are kept only because of processes that could not be written down.
    pub(super) fn has_uncounted(&self) -> bool {
        self.files.values().any(|file| file.uncounted)
    }

    /// Takes the files that nobody has mapped for `linger`.
    pub(super) fn take_idle(&mut self, linger: Duration, now: Instant) -> Vec<FileKey> {
        let is_due = |file: &FileUse| {
            !file.uncounted
                && file.idle_since.is_some_and(|since| now.saturating_duration_since(since) >= linger)
        };
        let due: Vec<FileKey> = self.files.iter().filter(|(_, f)| is_due(f)).map(|(key, _)| *key).collect();
        self.files.retain(|_, file| !is_due(file));
        due
    }

    /// When [`take_idle`](Self::take_idle) has something to take next.
    pub(super) fn next_idle(&self, linger: Duration) -> Option<Instant> {
        self.files.values().filter(|f| !f.uncounted).filter_map(|f| f.idle_since).min().map(|t| t + linger)
    }

    /// Processes that map a file of interest.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes.keys().copied()
    }

    /// Files of interest that a process maps.
    pub(super) fn files_of(&self, pid: u32) -> &[FileKey] {
        self.processes.get(&pid).map_or(&[], |process| process.files.as_slice())
    }

    /// Processes that map a file.
    pub(super) fn users(&self, file: FileKey) -> usize {
        self.files.get(&file).map_or(0, |f| f.users)
    }

    /// How often a process was not written down because of a bound.
    pub(super) fn processes_over_bound(&self) -> u64 {
        self.processes_over_bound
    }

    /// How many processes mapped more files than are written down of one.
    pub(super) fn full_processes(&self) -> u64 {
        self.full_processes
    }

    fn unmapped(&mut self, file: FileKey, now: Instant) {
        if let Some(entry) = self.files.get_mut(&file) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users == 0 {
                entry.idle_since = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(60);

    fn file(inode: u64) -> FileKey {
        FileKey { major: 8, minor: 1, inode }
    }

    fn tracker() -> Tracker {
        Tracker::new(Bounds { processes: 4, files: 3 })
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_is_idle_once_its_last_process_has_been_gone_for_long_enough() {
        let (mut t, start) = (tracker(), Instant::now());
        assert_eq!(t.mapped(1, file(1)), Use::First);
        assert_eq!(t.mapped(2, file(1)), Use::Known);
        t.cleared(1, start);
        assert_eq!(t.next_idle(LINGER), None);
        t.cleared(2, after(start, 10));
        assert_eq!(t.next_idle(LINGER), Some(after(start, 70)));
        assert_eq!(t.take_idle(LINGER, after(start, 69)), vec![]);
        assert_eq!(t.take_idle(LINGER, after(start, 70)), vec![file(1)]);
        assert_eq!(t.take_idle(LINGER, after(start, 700)), vec![]);
        assert_eq!((t.pids().count(), t.files.len()), (0, 0));
    }

    #[test]
    fn a_file_that_is_mapped_again_in_time_is_not_idle() {
        let (mut t, start) = (tracker(), Instant::now());
        t.mapped(1, file(1));
        t.cleared(1, start);
        assert_eq!(t.mapped(2, file(1)), Use::Known);
        assert_eq!((t.next_idle(LINGER), t.users(file(1))), (None, 1));
    }

    #[test]
    fn mapping_a_file_twice_counts_once() {
        let (mut t, start) = (tracker(), Instant::now());
        t.mapped(1, file(1));
        t.mapped(1, file(1));
        assert_eq!(t.users(file(1)), 1);
        t.cleared(1, start);
        assert_eq!(t.users(file(1)), 0);
    }

    #[test]
    fn a_child_has_what_its_parent_has_until_it_runs_something_else() {
        let (mut t, now) = (tracker(), Instant::now());
        t.mapped(1, file(1));
        t.mapped(1, file(2));
        t.forked(1, 2, now);
        assert_eq!(t.files_of(2), [file(1), file(2)]);
        t.cleared(2, now);
        assert_eq!((t.users(file(1)), t.users(file(2)), t.files_of(2)), (1, 1, &[][..]));
    }

    #[test]
    fn a_child_whose_number_was_another_process_starts_anew() {
        let (mut t, now) = (tracker(), Instant::now());
        t.mapped(2, file(1));
        t.forked(1, 2, now);
        assert_eq!((t.users(file(1)), t.next_idle(LINGER)), (0, Some(now + LINGER)));
    }

    #[test]
    fn reconciling_finds_what_no_event_told() {
        let (mut t, now) = (tracker(), Instant::now());
        t.mapped(1, file(1));
        t.mapped(1, file(2));
        t.set(1, &[file(2), file(3)], now);
        assert_eq!([1, 2, 3].map(|n| t.users(file(n))), [0, 1, 1]);
        assert_eq!(t.take_idle(LINGER, now + LINGER), vec![file(1)]);
        t.set(1, &[], now);
        assert_eq!((t.pids().count(), t.users(file(2))), (0, 0));
    }

    #[test]
    fn a_dropped_file_leaves_its_processes() {
        let mut t = tracker();
        t.mapped(1, file(1));
        t.mapped(2, file(1));
        t.mapped(2, file(2));
        t.dropped(file(1));
        assert_eq!((t.files_of(1), t.files_of(2)), (&[][..], &[file(2)][..]));
    }

    #[test]
    fn files_beyond_the_bound_are_left_out() {
        let mut t = tracker();
        let uses: Vec<Use> = (1..=4).map(|n| t.mapped(1, file(n))).collect();
        assert_eq!(uses, [Use::First, Use::First, Use::First, Use::NoRoom]);
        assert_eq!(t.files_of(1).len(), 3);
    }

    #[test]
    fn a_file_of_processes_beyond_the_bound_is_never_idle_until_they_are_counted_again() {
        let (mut t, now) = (tracker(), Instant::now());
        for pid in 1..=5 {
            t.mapped(pid, file(1));
        }
        assert_eq!((t.processes_over_bound(), t.users(file(1))), (1, 4));
        for pid in 1..=4 {
            t.cleared(pid, now);
        }
        assert_eq!((t.next_idle(LINGER), t.take_idle(LINGER, now + LINGER)), (None, vec![]));
        assert!(t.has_uncounted());
        t.recount(now);
        assert!(!t.has_uncounted());
        t.mapped(5, file(1));
        assert_eq!((t.users(file(1)), t.next_idle(LINGER)), (1, None));
        t.cleared(5, now);
        assert_eq!(t.take_idle(LINGER, now + LINGER), vec![file(1)]);
    }

    #[test]
    fn a_process_of_very_many_libraries_is_bounded() {
        let (mut t, now) = (Tracker::new(Bounds { processes: 4, files: 1000 }), Instant::now());
        let most = MAX_FILES_PER_PROCESS as u64;
        for n in 0..most {
            assert_eq!(t.mapped(1, file(n)), Use::First);
        }
        for n in [most, most + 1] {
            assert!(!t.has_room(1, file(n)));
            assert_eq!(t.mapped(1, file(n)), Use::NoRoom);
        }
        assert_eq!((t.mapped(1, file(0)), t.mapped(2, file(most))), (Use::Known, Use::First));
        // A file of another process is that one's, and not kept for this one.
        assert_eq!(t.mapped(1, file(most)), Use::NoRoom);
        t.cleared(2, now);
        assert_eq!(t.take_idle(LINGER, now + LINGER), vec![file(most)]);
        assert_eq!((t.files_of(1).len() as u64, t.full_processes(), t.processes_over_bound()), (most, 1, 0));
        // Nothing is kept once it has ended.
        t.cleared(1, now);
        assert_eq!(t.take_idle(LINGER, now + LINGER).len() as u64, most);
        assert_eq!((t.files.len(), t.processes.len()), (0, 0));
    }

    #[test]
    fn a_process_beyond_the_bound_is_counted_once_a_look() {
        let (mut t, now) = (tracker(), Instant::now());
        for pid in 1..=5 {
            t.mapped(pid, file(1));
        }
        t.set(5, &[file(1)], now);
        assert_eq!(t.processes_over_bound(), 1);
    }

    #[test]
    fn many_short_lives_leave_nothing() {
        let (mut t, start) = (tracker(), Instant::now());
        for n in 0..10_000u32 {
            t.forked(1, 100 + n, start);
            t.cleared(100 + n, start);
            t.mapped(100 + n, file(1));
            t.cleared(100 + n, start);
        }
        assert_eq!((t.pids().count(), t.files.len()), (0, 1));
        assert_eq!(t.take_idle(LINGER, start + LINGER), vec![file(1)]);
        assert_eq!(t.processes_over_bound(), 0);
    }
}
