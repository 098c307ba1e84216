//! Processes that were read, so that each is read once.

use std::sync::Arc;
use std::time::Duration;

use agent_core::event::Process;
use agent_core::identity::ProcessDetails;
use agent_core::time::Timestamp;
use quick_cache::unsync::Cache;

use super::arguments::Reader;
use super::usual::Usual;
use super::{Found, Owner, procfs};
use crate::enrich::Counters;

/// A process id that was not looked at for so long may be another process's by now.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How much later than an event that names it a process may seem to have started: clocks are read one after the other.
const SLACK: Duration = Duration::from_millis(50);
/// Answers taken at a time.
const ANSWERS: usize = 64;

/// A process that was read.
struct Entry {
    /// Program name as the source gave it: another one means that the process became another program.
    name: String,
    /// When its start time was last compared; `None` of a process that could not be read.
    checked: Timestamp,
    /// `None` when it was gone.
    owner: Option<Arc<Owner>>,
}

/// Processes by id.
pub(in crate::enrich) struct Processes {
    cache: Cache<u32, Entry>,
    usual: Usual,
    reader: Option<Reader>,
}

impl Processes {
    /// Room for `capacity` processes; one that fell out is read again.
    pub(in crate::enrich) fn new(capacity: usize, arguments: bool) -> Self {
        // Without the thread there are no arguments, and all else works.
        let reader = arguments.then(Reader::start).and_then(Result::ok);
        Self { cache: Cache::new(capacity), usual: Usual::new(), reader }
    }

    /// What is known of a process that the source named at `now`. `None` when it was gone before it could be read.
    pub(in crate::enrich) fn get(
        &mut self,
        process: &Process,
        now: Timestamp,
        counters: &mut Counters,
    ) -> Option<Arc<Owner>> {
        self.take_answers(counters);
        if let Some(entry) = self.cache.get_mut(&process.pid).as_deref_mut()
            && entry.name == process.executable_name
        {
            if now.since(entry.checked) < TRUSTED_FOR {
                counters.process_hits += 1;
                return entry.owner.clone();
            }
            if let Some(owner) = &entry.owner {
                counters.process_rechecks += 1;
                if procfs::start_of(process.pid) == Some(owner.details.start_ticks) {
                    entry.checked = now;
                    return Some(Arc::clone(owner));
                }
            }
        }
        let owner = self.read(process.pid, now, counters);
        if let Some(path) = owner.as_ref().and_then(|owner| owner.details.executable_path.as_deref()) {
            self.usual.learn(&process.executable_name, path, counters);
        }
        let entry = Entry { name: process.executable_name.clone(), checked: now, owner: owner.clone() };
        self.cache.insert(process.pid, entry);
        owner
    }

    /// What the source told of a process that was gone before it could be read.
    pub(in crate::enrich) fn unread(&self, process: &Process) -> Arc<ProcessDetails> {
        let name = &process.executable_name;
        Arc::new(ProcessDetails {
            pid: process.pid,
            name: (!name.is_empty()).then(|| name.clone()),
            usual_path: self.usual.path(name).map(str::to_owned),
            ..ProcessDetails::default()
        })
    }

    fn read(&mut self, pid: u32, now: Timestamp, counters: &mut Counters) -> Option<Arc<Owner>> {
        counters.process_reads += 1;
        let Some(Found { owner, directory }) = procfs::read(pid) else {
            counters.processes_gone += 1;
            return None;
        };
        let start = owner.details.start_ticks;
        if procfs::started_at(start) > now + SLACK {
            counters.process_ids_reused += 1;
            return None;
        }
        if let Some(reader) = &self.reader
            && !reader.ask((pid, start), directory)
        {
            counters.arguments_dropped += 1;
        }
        Some(Arc::new(owner))
    }

    /// Adds the command lines that were read meanwhile.
    fn take_answers(&mut self, counters: &mut Counters) {
        for _ in 0..ANSWERS {
            let Some(((pid, start), arguments)) = self.reader.as_ref().and_then(Reader::poll) else { return };
            counters.arguments_read += 1;
            let Some(mut entry) = self.cache.get_mut(&pid) else { continue };
            let Some(owner) = &mut entry.owner else { continue };
            if owner.details.start_ticks == start {
                let details =
                    ProcessDetails { command_args: arguments, ..ProcessDetails::clone(&owner.details) };
                *owner = Arc::new(Owner { details: Arc::new(details), ..Owner::clone(owner) });
            }
        }
    }

    /// The same process with what was learnt of it meanwhile.
    pub(in crate::enrich) fn refresh(&mut self, owner: &Arc<Owner>, counters: &mut Counters) -> Arc<Owner> {
        self.take_answers(counters);
        self.cache
            .peek(&owner.details.pid)
            .and_then(|entry| entry.owner.as_ref())
            .filter(|known| known.details.start_ticks == owner.details.start_ticks)
            .unwrap_or(owner)
            .clone()
    }
}
