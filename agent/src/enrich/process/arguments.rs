//! Command lines, read on a thread of their own: `/proc/PID/cmdline` lies in the memory of the process, and reading it
//! waits as long as the process changes its mappings, which over a file system that does not answer may be for ever.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::procfs;

/// Bytes of a command line that are kept.
pub(crate) const MAX_BYTES: usize = 4096;
/// Arguments that are kept.
pub(crate) const MAX_ARGUMENTS: usize = 64;
/// Processes whose command line is waited for.
const QUEUE: usize = 256;

/// Which process: its id and its start time.
pub(super) type Key = (u32, u64);

/// The thread, and the way to it and back.
pub(super) struct Reader {
    requests: SyncSender<(Key, OwnedFd)>,
    answers: Receiver<(Key, Vec<String>)>,
}

impl Reader {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start() -> std::io::Result<Self> {
        let (requests, asked) = sync_channel::<(Key, OwnedFd)>(QUEUE);
        let (answer, answers) = sync_channel(QUEUE);
        std::thread::Builder::new().name("tlsight-cmdline".to_owned()).spawn(move || {
            while let Ok((key, directory)) = asked.recv() {
                let Some(bytes) = procfs::bytes(directory.as_fd(), "cmdline", MAX_BYTES) else { continue };
                drop(directory);
                if answer.send((key, split(&bytes))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { requests, answers })
    }

    /// Asks for a command line; false when too many are asked for already.
    pub(super) fn ask(&self, key: Key, directory: OwnedFd) -> bool {
        match self.requests.try_send((key, directory)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// One that was read, if any was.
    pub(super) fn poll(&self) -> Option<(Key, Vec<String>)> {
        self.answers.try_recv().ok()
    }
}

/// Arguments end with a null byte. A process may write over them, and then often leaves one string and many null bytes.
fn split(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    let Some(bytes) = bytes.get(..end).filter(|b| !b.is_empty()) else { return Vec::new() };
    bytes
        .split(|b| *b == 0)
        .take(MAX_ARGUMENTS)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// The parser of this file, for the fuzz target `procfs`.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    assert!(split(bytes).len() <= MAX_ARGUMENTS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_at_null_bytes() {
        assert_eq!(split(b"curl\0-s\0\0https://a\0"), ["curl", "-s", "", "https://a"]);
        assert_eq!(split(b"nginx: worker process\0\0\0\0\0"), ["nginx: worker process"]);
        assert_eq!(split(b"no end"), ["no end"]);
        assert!(split(b"").is_empty());
        assert!(split(b"\0\0").is_empty());
    }

    #[test]
    fn arguments_beyond_the_bound_are_left_out() {
        let long = b"x\0".repeat(MAX_ARGUMENTS + 1);
        assert_eq!(split(&long).len(), MAX_ARGUMENTS);
    }

    #[test]
    fn the_thread_answers() {
        let reader = Reader::start().expect("a thread");
        let pid = std::process::id();
        let found = procfs::read(pid).expect("this process");
        assert!(reader.ask((pid, 1), found.directory));
        let (key, arguments) = reader.answers.recv().expect("an answer");
        assert_eq!(key, (pid, 1));
        assert_eq!(arguments, std::env::args().collect::<Vec<_>>());
    }
}
