//! Addresses and ports that no two cases share.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

thread_local! {
    /// Name of the case that this thread runs.
    pub static CASE: Cell<String> = const { Cell::new(String::new()) };
}

/// Environment variable naming a file that takes a line for each address a case was given: what
/// `tests/captures/record_live.py` cuts a recording by.
const RECORDED_CASES: &str = "TLSIGHT_RECORDED_CASES";

fn note_for_recording(address: Ipv4Addr) {
    let Some(path) = std::env::var_os(RECORDED_CASES) else { return };
    let name = CASE.take();
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("open the list of cases");
    // In one write: cases run side by side.
    file.write_all(format!("{name}\t{address}\n").as_bytes()).expect("write the list of cases");
    CASE.set(name);
}

/// An address in 127/8 of the case's own. Servers listen on all of them, so the address a client connects to tells
/// which case a connection belongs to, whichever port the client's program picked.
pub fn case_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    // A /16 of this run's own, so that two runs on one host do not take each other's connections for theirs.
    let run = 16 + std::process::id() % 200;
    let address = Ipv4Addr::from(0x7F00_0001 + (run << 16) + n);
    note_for_recording(address);
    address
}

/// A port that nothing listens on, outside the range the kernel gives to clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 1000) as u16 * 20;
    loop {
        let port = 11_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() && TcpListener::bind(("::", port)).is_ok() {
            return port;
        }
    }
}

/// Connects until something listens there: readiness of a program that does not print it.
pub fn wait_until_listening(at: SocketAddr, limit: Duration, alive: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline && alive() {
        if TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok() {
            return true;
        }
        pause(Duration::from_millis(20));
    }
    false
}

/// Waits for `time` where there is no event to wait for: between two looks at another program's state.
pub fn pause(time: Duration) {
    let lock = Mutex::new(());
    let guard = lock.lock().expect("own lock");
    drop(Condvar::new().wait_timeout(guard, time));
}
