//! The thread that writes the file. Disks are slow, full, or far away at times; connections do not wait for them.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::file::{FileCounters, LogFile, Rotation};
use super::way::{Full, Way};

/// Lines on their way to the thread.
const QUEUE: usize = 4096;
/// Bytes of lines that are not in the file yet: on their way, and with a thread whose disk does not take them.
const WAITING: usize = 4 << 20;
/// How often a disk that took nothing is asked again, and whether the file is still under its name.
const LOOK: Duration = Duration::from_secs(1);
/// When one that took a part is asked for the rest.
const SOON: Duration = Duration::from_millis(10);
/// How long the end of the agent waits for the last lines.
const END: Duration = Duration::from_secs(5);

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WriterCounters {
    /// Lines in the file.
    pub(super) written: u64,
    /// Lines that found no room to wait.
    pub(super) dropped: u64,
    /// Times that the disk refused a line.
    pub(super) errors: u64,
    pub(super) file: FileCounters,
}

#[derive(Debug)]
struct Shared {
    way: Way,
    written: AtomicU64,
    dropped: AtomicU64,
    errors: AtomicU64,
    file: Mutex<FileCounters>,
}

enum Message {
    Line(Vec<u8>),
    Reopen,
}

/// The thread's other end.
pub(super) struct Writer {
    /// Absent when all is said.
    queue: Option<SyncSender<Message>>,
    full: Full,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    done: Receiver<()>,
}

impl Writer {
    /// Opens the file, and starts the thread.
    pub(super) fn start(path: &Path, rotation: Rotation, full: Full) -> io::Result<Self> {
        let file = LogFile::open(path, rotation)?;
        let (queue, lines) = sync_channel(QUEUE);
        let (tell, done) = sync_channel(1);
        let shared = Arc::new(Shared {
            way: Way::new(WAITING),
            written: AtomicU64::default(),
            dropped: AtomicU64::default(),
            errors: AtomicU64::default(),
            file: Mutex::default(),
        });
        let name = path.display().to_string();
        let mut thread = Thread {
            file,
            shared: Arc::clone(&shared),
            waiting: VecDeque::new(),
            name,
            in_trouble: false,
            dropped_before: 0,
            again: None,
        };
        let thread = std::thread::Builder::new().name("audit log".to_owned()).spawn(move || {
            thread.run(&lines);
            // Nobody waits any more where this fails.
            let _ = tell.send(());
        })?;
        Ok(Self { queue: Some(queue), full, shared, thread: Some(thread), done })
    }

    pub(super) fn line(&self, line: Vec<u8>) {
        let bytes = line.capacity();
        let is_anybody_there = || self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if self.shared.way.enter(bytes, self.full, is_anybody_there) {
            let taken = self.queue.as_ref().is_some_and(|queue| match self.full {
                Full::Drop => queue.try_send(Message::Line(line)).is_ok(),
                Full::Wait => queue.send(Message::Line(line)).is_ok(),
            });
            if taken {
                return;
            }
            self.shared.way.leave(bytes);
        }
        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the file anew.
    pub(super) fn reopen(&self) {
        // A queue that is full is written first, and the file is looked at every second anyway.
        if let Some(queue) = &self.queue {
            let _ = queue.try_send(Message::Reopen);
        }
    }

    pub(super) fn counters(&self) -> WriterCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let file = *self.shared.file.lock().unwrap_or_else(PoisonError::into_inner);
        WriterCounters {
            written: get(&self.shared.written),
            dropped: get(&self.shared.dropped),
            errors: get(&self.shared.errors),
            file,
        }
    }

    /// Waits until everything is written that can be, but not for ever.
    pub(super) fn finish(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // The thread takes what is in the queue, and ends.
        self.queue = None;
        if self.done.recv_timeout(END).is_ok() {
            // It has ended but for its last instruction.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Thread {
    file: LogFile,
    shared: Arc<Shared>,
    /// No more than there is room for.
    waiting: VecDeque<Vec<u8>>,
    name: String,
    /// The disk refuses, and that was told.
    in_trouble: bool,
    /// Lines that were dropped before nothing waited any more.
    dropped_before: u64,
    /// When a disk that refused is asked again.
    again: Option<Instant>,
}

impl Thread {
    fn run(&mut self, lines: &Receiver<Message>) {
        let mut look = Instant::now() + LOOK;
        loop {
            let next = self.again.map_or(look, |again| again.min(look));
            let message = lines.recv_timeout(next.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            if now >= look {
                look = now + LOOK;
                self.file.follow();
            }
            let mut ends = false;
            match message {
                Ok(Message::Line(line)) => self.waiting.push_back(line),
                Ok(Message::Reopen) => self.file.reopen(),
                Err(RecvTimeoutError::Disconnected) => ends = true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            // A disk that refuses is not asked with every line.
            if ends || self.again.is_none_or(|again| now >= again) {
                self.write();
            }
            self.publish();
            if ends {
                let unwritten = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
                self.shared.dropped.fetch_add(unwritten, Ordering::Relaxed);
                return;
            }
        }
    }

    fn write(&mut self) {
        let before = self.waiting.len();
        while let Some(line) = self.waiting.front() {
            if let Err(error) = self.file.append(line) {
                self.shared.errors.fetch_add(1, Ordering::Relaxed);
                let later = if self.waiting.len() < before { SOON } else { LOOK };
                self.again = Some(Instant::now() + later);
                self.begin_trouble(&error);
                return;
            }
            self.shared.way.leave(line.capacity());
            self.waiting.pop_front();
            self.shared.written.fetch_add(1, Ordering::Relaxed);
        }
        self.again = None;
        self.end_trouble();
    }

    fn begin_trouble(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.in_trouble, true) {
            note(&format!(
                "cannot write to the audit log {}: {error}; lines wait, and it is tried again",
                self.name
            ));
        }
    }

    fn end_trouble(&mut self) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let lost = dropped.saturating_sub(std::mem::replace(&mut self.dropped_before, dropped));
        if std::mem::take(&mut self.in_trouble) {
            note(&format!("the audit log {} can be written again; {lost} lines were lost", self.name));
        }
    }

    fn publish(&self) {
        *self.shared.file.lock().unwrap_or_else(PoisonError::into_inner) = self.file.counters();
    }
}

/// A line on standard error.
fn note(text: &str) {
    // Nobody is left to tell when standard error is gone too.
    let _ = writeln!(io::stderr(), "tlsight: {text}");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::tests::Folder;
    use super::*;

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    #[test]
    fn writes_every_line_and_ends_when_told() {
        let folder = Folder::new("writer");
        let path = folder.path("audit.log");
        let mut writer = Writer::start(&path, Rotation::default(), Full::Wait).unwrap();
        for n in 0..10_000 {
            writer.line(format!("{n}\n").into_bytes());
        }
        writer.finish();
        let expected: String = (0..10_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(writer.counters(), WriterCounters { written: 10_000, ..WriterCounters::default() });
        // A line after the end is counted, and nothing hangs.
        writer.line(b"late\n".to_vec());
        assert_eq!(writer.counters().dropped, 1);
    }

    #[test]
    fn opens_the_file_anew_when_told() {
        let folder = Folder::new("reopen");
        let path = folder.path("audit.log");
        let mut writer = Writer::start(&path, Rotation::default(), Full::Drop).unwrap();
        writer.line(b"one\n".to_vec());
        until("written", || writer.counters().written == 1);
        fs::rename(&path, folder.path("moved")).unwrap();
        writer.reopen();
        writer.line(b"two\n".to_vec());
        writer.finish();
        assert_eq!(fs::read_to_string(folder.path("moved")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(writer.counters().file.reopened, 1);
    }

    #[test]
    fn finds_out_by_itself_that_the_file_was_renamed() {
        let folder = Folder::new("follow");
        let path = folder.path("audit.log");
        let writer = Writer::start(&path, Rotation::default(), Full::Drop).unwrap();
        fs::rename(&path, folder.path("moved")).unwrap();
        until("opened anew", || writer.counters().file.reopened == 1);
        writer.line(b"two\n".to_vec());
        until("written", || fs::read_to_string(&path).is_ok_and(|text| text == "two\n"));
    }

    #[test]
    fn a_full_disk_is_tried_again_and_blocks_nobody() {
        // A pipe that nobody reads takes some bytes and refuses the rest, until somebody does.
        let folder = Folder::new("pipe");
        let (path, reader) = pipe(&folder);
        let mut writer = Writer::start(&path, Rotation::default(), Full::Drop).unwrap();
        let line = |n: usize| format!("{n:07}{}\n", "x".repeat(1016)).into_bytes();
        let begun = Instant::now();
        let mut sent = 0;
        // More than the pipe takes and there is room for.
        while writer.counters().dropped < 10 {
            writer.line(line(sent));
            sent += 1;
            assert!(begun.elapsed() < Duration::from_secs(10), "nothing was dropped");
        }
        until("refused", || writer.counters().errors > 0);
        let mut text = Vec::new();
        let reading = std::thread::spawn(move || {
            let mut reader = reader;
            let mut bytes = vec![0; 1 << 16];
            while text.last() != Some(&b'E') {
                let n = io::Read::read(&mut reader, &mut bytes).unwrap();
                text.extend_from_slice(&bytes[..n]);
            }
            text
        });
        until("caught up", || {
            let c = writer.counters();
            c.written + c.dropped == sent as u64
        });
        writer.finish();
        let dropped = writer.counters().dropped;
        assert!(dropped >= 10);
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(b"E").unwrap();
        let text = reading.join().unwrap();
        assert_eq!(writer.shared.way.bytes(), 0);
        // Whole lines, in order, all but those that were dropped.
        let lines: Vec<&[u8]> = text[..text.len() - 1].split_inclusive(|b| *b == b'\n').collect();
        assert_eq!(lines.len() as u64, sent as u64 - dropped);
        let numbers: Vec<usize> =
            lines.iter().map(|l| std::str::from_utf8(&l[..7]).unwrap().parse().unwrap()).collect();
        assert!(lines.iter().zip(&numbers).all(|(l, n)| *l == line(*n)));
        assert!(numbers.is_sorted());
    }

    /// A pipe that takes little while nobody reads it.
    fn pipe(folder: &Folder) -> (PathBuf, fs::File) {
        let path = folder.path("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        (path, reader)
    }

    #[test]
    fn long_lines_fill_what_room_there_is_and_no_more() {
        let folder = Folder::new("long");
        let (path, _reader) = pipe(&folder);
        let writer = Writer::start(&path, Rotation::default(), Full::Drop).unwrap();
        let length = 240_000;
        for _ in 0..100 {
            writer.line(vec![b'x'; length]);
        }
        // None fits into the pipe, and all that is there is counted: on its way or with the thread.
        let held = WAITING / length;
        assert_eq!(writer.shared.way.bytes(), held * length);
        assert_eq!(writer.counters().dropped, 100 - held as u64);
        until("refused", || writer.counters().errors > 0);
        assert_eq!(writer.shared.way.bytes(), held * length);
        assert_eq!(writer.counters().dropped, 100 - held as u64);
    }

    #[test]
    fn a_line_that_is_longer_than_all_room_passes_where_nothing_else_is() {
        let folder = Folder::new("longest");
        for full in [Full::Drop, Full::Wait] {
            let path = folder.path(&format!("{full:?}"));
            let mut writer = Writer::start(&path, Rotation::default(), full).unwrap();
            writer.line(vec![b'x'; WAITING + 1]);
            until("written", || writer.counters().written == 1);
            writer.line(b"next\n".to_vec());
            writer.finish();
            assert_eq!(writer.counters(), WriterCounters { written: 2, ..WriterCounters::default() });
            assert_eq!(fs::metadata(&path).unwrap().len(), WAITING as u64 + 6);
        }
    }

    #[test]
    fn who_has_time_waits_for_a_full_disk_and_loses_nothing() {
        let folder = Folder::new("patience");
        let (path, mut reader) = pipe(&folder);
        let writer = Writer::start(&path, Rotation::default(), Full::Wait).unwrap();
        let shared = Arc::clone(&writer.shared);
        let (length, lines) = (1024, 3 * WAITING / 2 / 1024);
        let writing = std::thread::spawn(move || {
            (0..lines).for_each(|_| writer.line(vec![b'x'; length]));
            writer
        });
        until("full", || shared.way.bytes() + length > WAITING && shared.errors.load(Ordering::Relaxed) > 0);
        assert!(shared.way.bytes() <= WAITING && !writing.is_finished());
        let mut rest = lines * length;
        let mut bytes = vec![0; 1 << 16];
        while rest > 0 {
            rest -= io::Read::read(&mut reader, &mut bytes).unwrap();
        }
        let mut writer = writing.join().unwrap();
        until("written", || writer.counters().written == lines as u64);
        writer.finish();
        assert_eq!(writer.counters().dropped, 0);
    }
}
