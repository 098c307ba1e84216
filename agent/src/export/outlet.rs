//! Standard output of `tlsight watch`. Whoever reads it may be slow for a while (`| jq`, a terminal that was stopped): events
//! of the kernel do not wait for that, lines do.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes that wait for a reader at most: some ten thousand lines of JSON.
pub const ROOM: usize = 32 << 20;

/// What a pipe takes without anybody waiting once it says that it takes anything (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;

/// What the thread writes before it says how far it got.
const STEP: usize = 64 * 1024;

/// Writes at once what its file takes at once. The rest waits, up to a bound, for a thread that writes it; beyond that bound
/// whoever writes more waits as well. Nothing is dropped, and the order stays.
///
/// [`flush`](Write::flush) does not wait: [`Backlog::finish`] does.
#[derive(Debug)]
pub struct Outlet {
    file: File,
    backlog: Backlog,
    room: usize,
    has_thread: bool,
}

/// What an [`Outlet`] was given and nobody took yet.
#[derive(Clone, Debug, Default)]
pub struct Backlog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What the thread has not taken up yet.
    waiting: Vec<u8>,
    /// Length of that, and of what the thread is writing.
    bytes: usize,
    /// Why nothing more can be written.
    failed: Option<Cause>,
    /// Nothing more comes.
    is_over: bool,
    deferred: u64,
    taken: u64,
    times_full: u64,
    stood_still: Duration,
}

/// An error that can be told more than once.
#[derive(Clone, Copy, Debug)]
struct Cause(io::ErrorKind, Option<i32>);

impl Cause {
    fn of(error: &io::Error) -> Self {
        Self(error.kind(), error.raw_os_error())
    }

    fn error(self) -> io::Error {
        self.1.map_or_else(|| self.0.into(), io::Error::from_raw_os_error)
    }
}

impl Outlet {
    /// Writes to `file`, and lets `room` bytes wait.
    pub fn new(file: File, room: usize) -> Self {
        Self { file, backlog: Backlog::default(), room, has_thread: false }
    }

    /// What it was given and nobody took yet.
    pub fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }

    /// Starts the thread, if it is not there yet.
    fn need_thread(&mut self) -> io::Result<()> {
        if self.has_thread {
            return Ok(());
        }
        let (mut file, backlog) = (self.file.try_clone()?, self.backlog());
        thread::Builder::new().name("output".to_owned()).spawn(move || backlog.write_to(&mut file))?;
        self.has_thread = true;
        Ok(())
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.backlog.look()?;
        if state.bytes == 0 && takes_now(&self.file)? {
            drop(state);
            return self.file.write(bytes.get(..AT_ONCE).unwrap_or(bytes));
        }
        if state.bytes > 0 && state.bytes.saturating_add(bytes.len()) > self.room {
            state.times_full += 1;
            let since = Instant::now();
            while state.bytes > 0 && state.bytes.saturating_add(bytes.len()) > self.room {
                state = self.backlog.wait(state)?;
            }
            state.stood_still += since.elapsed();
        }
        drop(state);
        if self.need_thread().is_err() {
            // Without a thread somebody else has to wait.
            return self.file.write(bytes);
        }
        let mut state = self.backlog.look()?;
        state.waiting.extend_from_slice(bytes);
        state.bytes += bytes.len();
        state.deferred += count(bytes.len());
        self.backlog.0.changed.notify_all();
        Ok(bytes.len())
    }

    /// Says whether what was written before could be.
    fn flush(&mut self) -> io::Result<()> {
        self.backlog.look().map(drop)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.backlog.lock().is_over = true;
        self.backlog.0.changed.notify_all();
    }
}

impl Backlog {
    /// Waits until somebody took everything.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.look()?;
        while state.bytes > 0 {
            state = self.wait(state)?;
        }
        Ok(())
    }

    /// Bytes that were taken after they had waited.
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// What was counted.
    pub fn named_counters(&self) -> [(&'static str, u64); 3] {
        let state = self.lock();
        [
            ("output.bytes_waiting", count(state.bytes)),
            ("output.bytes_deferred", state.deferred),
            ("output.times_full", state.times_full),
        ]
    }

    /// What a person should know at the end.
    pub fn losses(&self) -> Option<String> {
        let state = self.lock();
        (state.times_full > 0).then(|| {
            format!(
                "nothing was read from the kernel for {} ms, because {} MiB of output waited for whoever reads it",
                state.stood_still.as_millis(),
                ROOM >> 20
            )
        })
    }

    /// The thread.
    fn write_to(&self, file: &mut File) {
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() && !state.is_over {
                state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let bytes = mem::take(&mut state.waiting);
            drop(state);
            if bytes.is_empty() {
                return;
            }
            for part in bytes.chunks(STEP) {
                let written = file.write_all(part);
                let mut state = self.lock();
                match written {
                    Ok(()) => {
                        state.bytes = state.bytes.saturating_sub(part.len());
                        state.taken += count(part.len());
                    }
                    Err(error) => state.failed = Some(Cause::of(&error)),
                }
                self.0.changed.notify_all();
                if state.failed.is_some() {
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, unless nothing more can be written.
    fn look(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        state.failed.map_or(Ok(state), |cause| Err(cause.error()))
    }

    /// Waits until the thread got on.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> io::Result<MutexGuard<'a, State>> {
        let state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.failed.map_or(Ok(state), |cause| Err(cause.error()))
    }
}

/// Whether a write of [`AT_ONCE`] bytes returns at once. An error is for that write to find.
fn takes_now(file: &File) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&now)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// An outlet into a pipe of 64 KiB.
    fn pipe(room: usize) -> (Outlet, File) {
        let (near, far) = rustix::pipe::pipe().unwrap();
        (Outlet::new(far.into(), room), near.into())
    }

    /// Lines that say which they are.
    fn lines(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("line {n} {}\n", "x".repeat(n % 3000))).collect()
    }

    fn write(outlet: &mut Outlet, lines: &[String]) {
        for line in lines {
            outlet.write_all(line.as_bytes()).unwrap();
            outlet.flush().unwrap();
        }
    }

    fn counter(backlog: &Backlog, name: &str) -> u64 {
        backlog.named_counters().into_iter().find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn a_reader_that_is_there_gets_everything_at_once() {
        let (mut outlet, mut near) = pipe(ROOM);
        outlet.write_all(b"one\n").unwrap();
        let mut got = [0; 4];
        near.read_exact(&mut got).unwrap();
        assert_eq!((&got, outlet.has_thread), (b"one\n", false));
    }

    #[test]
    fn a_reader_that_is_late_gets_everything_in_order_and_nobody_waited() {
        let (mut outlet, mut near) = pipe(ROOM);
        let lines = lines(3000);
        write(&mut outlet, &lines);
        let backlog = outlet.backlog();
        let waiting = counter(&backlog, "output.bytes_waiting");
        assert!(waiting > 4_000_000, "{waiting}");
        assert_eq!((counter(&backlog, "output.times_full"), backlog.losses()), (0, None));
        let reader = thread::spawn(move || {
            let mut text = String::new();
            near.read_to_string(&mut text).unwrap();
            text
        });
        backlog.finish().unwrap();
        assert_eq!(counter(&backlog, "output.bytes_waiting"), 0);
        assert!(backlog.taken() >= waiting && backlog.taken() == counter(&backlog, "output.bytes_deferred"));
        // What comes later goes the direct way again.
        outlet.write_all(b"last\n").unwrap();
        drop(outlet);
        assert!(reader.join().unwrap() == lines.concat() + "last\n");
    }

    #[test]
    fn more_than_may_wait_waits_for_the_reader_and_that_is_told() {
        let (mut outlet, mut near) = pipe(100_000);
        let lines = lines(1000);
        let backlog = outlet.backlog();
        let expected = lines.concat();
        let writer = thread::spawn(move || {
            write(&mut outlet, &lines);
            outlet.backlog().finish().unwrap();
        });
        let mut state = backlog.lock();
        while state.times_full == 0 {
            drop(state);
            thread::yield_now();
            state = backlog.lock();
        }
        assert!(state.bytes <= 100_000);
        drop(state);
        let mut text = String::new();
        near.read_to_string(&mut text).unwrap();
        writer.join().unwrap();
        assert!(text == expected);
        let told = backlog.losses().unwrap();
        assert!(told.starts_with("nothing was read from the kernel for "), "{told}");
    }

    #[test]
    fn one_write_longer_than_the_room_waits_alone() {
        let (mut outlet, near) = pipe(10);
        // Fills the pipe.
        while outlet.write(&[0; AT_ONCE]).unwrap() == AT_ONCE && !outlet.has_thread {}
        assert_eq!(counter(&outlet.backlog(), "output.bytes_waiting"), count(AT_ONCE));
        drop(near);
    }

    #[test]
    fn a_reader_that_went_away_is_told_directly_and_from_behind() {
        let (mut outlet, near) = pipe(ROOM);
        write(&mut outlet, &lines(600));
        assert!(outlet.has_thread);
        drop(near);
        let error = outlet.backlog().finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(outlet.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(outlet.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (mut outlet, near) = pipe(ROOM);
        drop(near);
        assert_eq!(outlet.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn files_and_full_disks_go_the_direct_way() {
        let mut outlet = Outlet::new(File::options().write(true).open("/dev/full").unwrap(), ROOM);
        assert_eq!(outlet.write(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!outlet.has_thread);
    }
}
