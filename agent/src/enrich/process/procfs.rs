//! Reading `/proc/PID`. The directory is opened once: once the process is gone, everything below it fails, whoever has
//! its id by then.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use agent_core::identity::ProcessDetails;
use agent_core::time::Timestamp;
use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::time::{ClockId, clock_gettime};

use super::{Found, NetworkNamespace, Owner};
use crate::enrich::cgroup;

/// `/proc/PID/cgroup` is one line a hierarchy; a path has at most PATH_MAX bytes. What is behind this is not looked at.
const CGROUP_LEN: usize = 16 * 1024;
/// `/proc/PID/stat`: about fifty numbers.
const STAT_LEN: usize = 2048;

/// Reads what is known of a process; `None` when it is gone, or out of reach.
pub(super) fn read(pid: u32) -> Option<Found> {
    let directory = open(pid)?;
    let stat = text(directory.as_fd(), "stat", STAT_LEN)?;
    let start_ticks = parse_start(&stat)?;
    let place = cgroup::parse(&text(directory.as_fd(), "cgroup", CGROUP_LEN).unwrap_or_default());
    let details = ProcessDetails {
        pid,
        name: parse_name(&stat),
        executable_path: link(directory.as_fd(), "exe").map(without_mark),
        usual_path: None,
        command_args: Vec::new(),
        start_ticks,
        systemd_unit: place.unit,
    };
    let network = link(directory.as_fd(), "ns/net").and_then(|target| namespace(&target));
    let owner = Owner {
        details: Arc::new(details),
        container: place.container.map(Arc::new),
        pod: place.pod,
        pod_container: place.pod_container,
        network,
    };
    Some(Found { owner, directory })
}

/// When the process that has this id now was started.
pub(super) fn start_of(pid: u32) -> Option<u64> {
    start_ticks(open(pid)?.as_fd())
}

/// When a process that was started so many ticks after boot was started. The tick is 10 ms in all that procfs says (USER_HZ).
pub(super) fn started_at(ticks: u64) -> Timestamp {
    let nanos = |id| {
        let t = clock_gettime(id);
        i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
    };
    let booted = nanos(ClockId::Realtime) - nanos(ClockId::Boottime);
    let hz = rustix::param::clock_ticks_per_second().max(1);
    let tick = Duration::from_secs(1).as_nanos() as u64 / hz;
    Timestamp(u64::try_from(booted + i128::from(ticks) * i128::from(tick)).unwrap_or(0))
}

fn open(pid: u32) -> Option<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    openat(rustix::fs::CWD, format!("/proc/{pid}"), flags, Mode::empty()).ok()
}

/// The beginning of a file of the process, at most `max` bytes.
pub(super) fn bytes(directory: BorrowedFd<'_>, name: &str, max: usize) -> Option<Vec<u8>> {
    let file = openat(directory, name, OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty()).ok()?;
    let mut out = Vec::new();
    File::from(file).take(max as u64).read_to_end(&mut out).ok()?;
    Some(out)
}

fn text(directory: BorrowedFd<'_>, name: &str, max: usize) -> Option<String> {
    bytes(directory, name, max).map(|b| String::from_utf8_lossy(&b).into_owned())
}

fn link(directory: BorrowedFd<'_>, name: &str) -> Option<String> {
    readlinkat(directory, name, Vec::new()).ok().map(|target| target.to_string_lossy().into_owned())
}

fn start_ticks(directory: BorrowedFd<'_>) -> Option<u64> {
    parse_start(&text(directory, "stat", STAT_LEN)?)
}

/// Field 2 of proc_pid_stat(5): the name of the first thread.
fn parse_name(stat: &str) -> Option<String> {
    let (before, _) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Field 22 of proc_pid_stat(5); the second is in parentheses and may hold anything, also parentheses.
fn parse_start(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// `net:[4026531840]`
fn namespace(target: &str) -> Option<NetworkNamespace> {
    let inode = target.strip_prefix("net:[")?.strip_suffix(']')?;
    inode.parse().ok().map(NetworkNamespace)
}

/// Without the mark the kernel puts behind the path of a file that was replaced while it ran.
fn without_mark(mut path: String) -> String {
    if let Some(stem) = path.strip_suffix(" (deleted)") {
        path.truncate(stem.len());
    }
    path
}

/// Parsers of this file, for the fuzz target `procfs`.
#[cfg(fuzzing)]
pub(super) fn fuzz(text: &str) {
    let _ = (parse_name(text), parse_start(text), namespace(text), without_mark(text.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let rest = "S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 12345 99 18446744073709551615";
        for name in ["nginx", "tmux: server", "a) b (c", ")", ""] {
            let stat = format!("42 ({name}) {rest}\n");
            assert_eq!(parse_start(&stat), Some(4711), "{name}");
            assert_eq!(parse_name(&stat).unwrap_or_default(), name);
        }
        for bad in
            ["", "42 (nginx", "42 (nginx) S 1", "42 (nginx) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 -3"]
        {
            assert_eq!(parse_start(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_this_process() {
        let found = read(std::process::id()).expect("this process");
        let exe = std::env::current_exe().expect("own path");
        assert_eq!(found.owner.details.executable_path.as_deref(), exe.to_str());
        assert_eq!(Some(found.owner.details.start_ticks), start_of(std::process::id()));
        assert!(found.owner.network.is_some());
    }

    #[test]
    fn a_process_started_in_the_past() {
        let start = start_of(std::process::id()).expect("this process");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let age = Timestamp(u64::try_from(now.as_nanos()).expect("before 2554")).since(started_at(start));
        assert!(age < Duration::from_secs(3600), "{age:?}");
        assert!(started_at(start) > Timestamp::from_secs(1_500_000_000));
    }

    #[test]
    fn a_process_that_is_gone_is_not_found() {
        // Larger than any pid_max (2^22).
        assert!(read(5_000_000).is_none());
        assert_eq!(start_of(5_000_000), None);
    }

    #[test]
    fn namespaces_are_told_by_their_inode() {
        assert_eq!(namespace("net:[4026531840]"), Some(NetworkNamespace(4_026_531_840)));
        assert_eq!(namespace("mnt:[4026531840]"), None);
        assert_eq!(namespace("net:[]"), None);
    }
}
