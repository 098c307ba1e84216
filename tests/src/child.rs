//! Child processes that are watched by their output and never outlive the test run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Everything still running, by process id, so that the end of the run can stop it.
static RUNNING: LazyLock<Mutex<BTreeMap<u32, Arc<Shared>>>> = LazyLock::new(Mutex::default);

type Job = Box<dyn FnOnce() + Send>;

/// PR_SET_PDEATHSIG fires when the *thread* that forked ends, so one thread that lives as long as the run does it all.
static SPAWNER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
    let (tx, rx) = mpsc::channel::<Job>();
    thread::spawn(move || rx.into_iter().for_each(|job| job()));
    tx
});

#[derive(Default)]
struct State {
    lines: Vec<String>,
    open_outputs: usize,
    status: Option<ExitStatus>,
}

struct Shared {
    pid: u32,
    state: Mutex<State>,
    changed: Condvar,
}

/// A running (or ended) program.
pub struct Child {
    name: String,
    /// Process id.
    pub pid: u32,
    /// Name of the executable file the process runs, as the kernel tells.
    pub executable: String,
    /// Its name as given, which is the kernel's `comm` of it.
    pub program: String,
    shared: Arc<Shared>,
    stdin: Mutex<Option<ChildStdin>>,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// How a program ended, and what it said on standard output and error, in order of arrival.
#[derive(Debug)]
pub struct Ended {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output and error.
    pub text: String,
}

impl Child {
    /// Starts `command` in a process group of its own, its output collected.
    pub fn spawn(command: Command) -> Child {
        Self::spawn_with_input(command, None, |_| None)
    }

    /// The same, with `input` on standard input (which stays open: to some programs its end means to hang up) and `lines` handed every standard output line
    /// first: what it returns is kept as output.
    pub fn spawn_with_input(
        mut command: Command,
        input: Option<Vec<u8>>,
        mut tap: impl FnMut(&str) -> Option<()> + Send + 'static,
    ) -> Child {
        let name = format!("{:?}", command).chars().take(300).collect::<String>();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        // SAFETY: setpgid and prctl are async-signal-safe, and nothing else happens between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setpgid(0, 0);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            })
        };
        let (tx, rx) = mpsc::channel();
        let program = file_name(Path::new(command.get_program()));
        let executable = file_name(&resolve(command.get_program()));
        let job: Job = Box::new(move || drop(tx.send(command.spawn())));
        SPAWNER.send(job).expect("the spawner lives as long as the run");
        let mut child =
            rx.recv().expect("the spawner answers").unwrap_or_else(|e| panic!("start {name}: {e}"));
        let pid = child.id();
        let state = Mutex::new(State { open_outputs: 2, ..State::default() });
        let shared = Arc::new(Shared { pid, state, changed: Condvar::new() });
        RUNNING.lock().unwrap().insert(pid, shared.clone());
        let mut stdin = child.stdin.take();
        if let (Some(input), Some(stdin)) = (input, &mut stdin) {
            // Little enough for the pipe. A program that ends without reading its input is not an error of the test.
            let _ = stdin.write_all(&input);
        }
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let to = shared.clone();
        thread::spawn(move || collect(out.expect("piped"), &to, |line| tap(line).is_some()));
        let to = shared.clone();
        thread::spawn(move || collect(err.expect("piped"), &to, |_| false));
        let to = shared.clone();
        thread::spawn(move || {
            // Waited for without reaping, so that `signal` below never meets a recycled pid.
            // SAFETY: an all-zero siginfo_t is a valid value for the kernel to overwrite.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: `info` outlives the call.
            unsafe { libc::waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT) };
            let mut state = to.state.lock().unwrap();
            state.status = child.wait().ok();
            RUNNING.lock().unwrap().remove(&pid);
            to.changed.notify_all();
        });
        Child { name, pid, executable, program, shared, stdin: Mutex::new(stdin) }
    }

    /// Waits until a line of output contains `what`; returns that line.
    pub fn wait_for_line(&self, what: &str, limit: Duration) -> String {
        let found = self.wait(limit, |s| {
            s.lines.iter().find(|l| l.contains(what)).cloned().map(Ok).or_else(|| s.status.map(Err))
        });
        match found {
            Some(Ok(line)) => line,
            other => panic!("{self:?}: no line {what:?} ({other:?}) in:\n{}", self.text()),
        }
    }

    /// Waits for the end of the program and of its output.
    pub fn finish(&self, limit: Duration) -> Ended {
        let ended = self.wait(limit, |s| s.status.filter(|_| s.open_outputs == 0));
        match ended {
            Some(status) => Ended { status, text: self.text() },
            None => {
                let text = self.text();
                self.signal(libc::SIGKILL);
                panic!("{self:?} did not end within {limit:?}; it said:\n{text}")
            }
        }
    }

    /// Writes to the program's standard input, or closes it.
    pub fn type_in(&self, input: Option<&[u8]>) {
        let mut stdin = self.stdin.lock().unwrap();
        match (input, stdin.as_mut()) {
            (Some(input), Some(stdin)) => stdin.write_all(input).expect("the program reads its input"),
            _ => drop(stdin.take()),
        }
    }

    /// What the program has said up to now.
    pub fn text(&self) -> String {
        self.shared.state.lock().unwrap().lines.join("\n")
    }

    /// Whether the program still runs.
    pub fn is_running(&self) -> bool {
        self.shared.state.lock().unwrap().status.is_none()
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: i32) {
        self.shared.signal(signal, false);
    }

    /// Ends the program and everything it started, politely first.
    pub fn stop(&self) {
        self.shared.signal(libc::SIGTERM, true);
        if self.wait(Duration::from_secs(5), |s| s.status).is_none() {
            self.shared.signal(libc::SIGKILL, true);
        }
    }

    fn wait<T>(&self, limit: Duration, mut ready: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state.lock().unwrap();
        loop {
            if let Some(found) = ready(&state) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shared.signal(libc::SIGKILL, true);
    }
}

impl Shared {
    fn signal(&self, signal: i32, group: bool) {
        let state = self.state.lock().unwrap();
        if state.status.is_none() {
            let pid = self.pid.cast_signed();
            // SAFETY: plain system call; the process is not reaped, so the id is still its own.
            unsafe { libc::kill(if group { -pid } else { pid }, signal) };
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file that running `program` runs: found in `PATH`, links followed, a script's interpreter instead of the script.
fn resolve(program: &OsStr) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file());
    let found = found.unwrap_or_else(|| program.into());
    let start = std::fs::read(&found).unwrap_or_default();
    let script = start.strip_prefix(b"#!").and_then(|rest| rest.split(|b| b" \n".contains(b)).next());
    let found = script.map_or(found, |i| PathBuf::from(String::from_utf8_lossy(i).into_owned()));
    found.canonicalize().unwrap_or(found)
}

fn collect(from: impl Read, to: &Shared, mut taken: impl FnMut(&str) -> bool) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if !taken(&text) {
            to.state.lock().unwrap().lines.push(text);
            to.changed.notify_all();
        }
    }
    to.state.lock().unwrap().open_outputs -= 1;
    to.changed.notify_all();
}

/// Ends everything that still runs: called once, at the end of a test binary.
pub fn stop_all() {
    let running: Vec<_> = RUNNING.lock().unwrap().values().cloned().collect();
    running.iter().for_each(|r| r.signal(libc::SIGTERM, true));
    for r in &running {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut state = r.state.lock().unwrap();
        while state.status.is_none() && Instant::now() < deadline {
            state = r.changed.wait_timeout(state, Duration::from_millis(200)).unwrap().0;
        }
        drop(state);
        r.signal(libc::SIGKILL, true);
    }
}

/// Runs a command to its end and returns its output; a failure is the test's.
pub fn output(mut command: Command) -> String {
    let name = format!("{command:?}");
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("start {name}: {e}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{name}: {}\n{text}", out.status);
    text
}

/// A command of `program` with `args`.
pub fn command<S: AsRef<std::ffi::OsStr>>(
    program: impl Into<PathBuf>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut c = Command::new(program.into());
    c.args(args);
    c
}
