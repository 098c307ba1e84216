//! Records of the kernel's perf ring buffers that tell of the life of processes (`struct perf_event_header` and
//! `enum perf_event_type` in linux/perf_event.h). Pure: bytes in, events out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::FileKey;

const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const MMAP2: u32 = 10;
/// `PERF_RECORD_MISC_COMM_EXEC`: the name changed because of an exec.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// `PERF_RECORD_MISC_MMAP_BUILD_ID`: a build id is where device and inode would be. Not asked for.
const MISC_BUILD_ID: u16 = 1 << 14;
/// What `perf_event_pid` gives for a process that is not in our PID namespace.
const NO_PID: u32 = u32::MAX;

/// Code of a file that a process mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The file.
    pub(super) key: FileKey,
    /// Generation of the inode, where it is known: an inode number that was freed and given to another file has another.
    pub(super) generation: Option<u64>,
    /// First address.
    pub(super) start: u64,
    /// First address behind it.
    pub(super) end: u64,
    /// The path, as the process that mapped it sees it.
    pub(super) path: PathBuf,
}

/// What became of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProcessEvent {
    /// It mapped code.
    Mapped(u32, Mapping),
    /// It runs another program now: everything mapped before is gone.
    Exec(u32),
    /// It made a child, which starts with the same mappings.
    Fork {
        /// The process.
        parent: u32,
        /// Its child.
        child: u32,
    },
    /// It ended.
    Exit(u32),
    /// Records did not fit into the buffer.
    Lost(u64),
}

/// An event and its time (CLOCK_MONOTONIC, nanoseconds).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timed {
    pub(super) time: u64,
    pub(super) event: ProcessEvent,
}

/// The event a record tells, `None` for one that is of no interest or not understood. Every record ends with its time
/// (`sample_id_all` with `PERF_SAMPLE_TIME`).
pub(super) fn parse(kind: u32, misc: u16, data: &[u8]) -> Option<Timed> {
    let (body, time) = data.split_last_chunk::<8>()?;
    let time = u64::from_ne_bytes(*time);
    let event = match kind {
        MMAP2 if misc & MISC_BUILD_ID == 0 => mapped(body)?,
        COMM if misc & MISC_COMM_EXEC != 0 => ProcessEvent::Exec(pid(body, 0)?),
        FORK => {
            let (child, parent) = (pid(body, 0)?, pid(body, 4)?);
            // A new thread: same process.
            if child == parent {
                return None;
            }
            ProcessEvent::Fork { parent, child }
        }
        // Of a thread that is not the first: the process goes on. Where the first one ends before the others, the
        // next reconciliation finds them.
        EXIT => {
            let process = pid(body, 0)?;
            if process != u32_at(body, 8)? {
                return None;
            }
            ProcessEvent::Exit(process)
        }
        LOST => ProcessEvent::Lost(u64_at(body, 8)?),
        _ => return None,
    };
    Some(Timed { time, event })
}

fn mapped(body: &[u8]) -> Option<ProcessEvent> {
    let process = pid(body, 0)?;
    let start = u64_at(body, 8)?;
    let key = FileKey { major: u32_at(body, 32)?, minor: u32_at(body, 36)?, inode: u64_at(body, 40)? };
    let generation = Some(u64_at(body, 48)?);
    let name = body.get(64..)?;
    let name = name.split(|b| *b == 0).next().unwrap_or_default();
    Some(ProcessEvent::Mapped(
        process,
        Mapping {
            key,
            generation,
            start,
            end: start.checked_add(u64_at(body, 16)?)?,
            path: PathBuf::from(OsStr::from_bytes(name)),
        },
    ))
}

fn pid(body: &[u8], at: usize) -> Option<u32> {
    u32_at(body, at).filter(|pid| *pid != 0 && *pid != NO_PID)
}

fn u32_at(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?))
}

fn u64_at(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*body.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[&[u8]]) -> Vec<u8> {
        [&fields.concat()[..], &77u64.to_ne_bytes()].concat()
    }

    fn mmap2() -> Vec<u8> {
        record(&[
            &9u32.to_ne_bytes(),
            &10u32.to_ne_bytes(),
            &0x1000u64.to_ne_bytes(),
            &0x2000u64.to_ne_bytes(),
            &0u64.to_ne_bytes(),
            &254u32.to_ne_bytes(),
            &1u32.to_ne_bytes(),
            &42u64.to_ne_bytes(),
            &7u64.to_ne_bytes(),
            &5u32.to_ne_bytes(),
            &2u32.to_ne_bytes(),
            b"/usr/lib/libssl.so.3\0\0\0\0",
        ])
    }

    #[test]
    fn reads_what_a_process_maps() {
        let mapping = Mapping {
            key: FileKey { major: 254, minor: 1, inode: 42 },
            generation: Some(7),
            start: 0x1000,
            end: 0x3000,
            path: "/usr/lib/libssl.so.3".into(),
        };
        let expected = Timed { time: 77, event: ProcessEvent::Mapped(9, mapping) };
        assert_eq!(parse(MMAP2, 2, &mmap2()), Some(expected));
    }

    #[test]
    fn a_build_id_is_not_taken_for_device_and_inode() {
        assert_eq!(parse(MMAP2, MISC_BUILD_ID, &mmap2()), None);
    }

    #[test]
    fn tells_an_exec_from_a_change_of_name() {
        let comm = record(&[&9u32.to_ne_bytes(), &9u32.to_ne_bytes(), b"curl\0\0\0\0"]);
        assert_eq!(
            parse(COMM, MISC_COMM_EXEC, &comm),
            Some(Timed { time: 77, event: ProcessEvent::Exec(9) })
        );
        assert_eq!(parse(COMM, 0, &comm), None);
    }

    fn task(pid: u32, ppid: u32, tid: u32) -> Vec<u8> {
        let ids: Vec<u8> = [pid, ppid, tid, ppid].iter().flat_map(|n| n.to_ne_bytes()).collect();
        record(&[&ids, &5u64.to_ne_bytes()])
    }

    #[test]
    fn a_new_thread_is_no_new_process() {
        let fork = ProcessEvent::Fork { parent: 1, child: 9 };
        assert_eq!(parse(FORK, 0, &task(9, 1, 9)), Some(Timed { time: 77, event: fork }));
        assert_eq!(parse(FORK, 0, &task(9, 9, 12)), None);
    }

    #[test]
    fn the_end_of_a_thread_is_not_that_of_its_process() {
        assert_eq!(parse(EXIT, 0, &task(9, 1, 9)), Some(Timed { time: 77, event: ProcessEvent::Exit(9) }));
        assert_eq!(parse(EXIT, 0, &task(9, 1, 12)), None);
    }

    #[test]
    fn processes_of_other_namespaces_have_no_number_here() {
        assert_eq!(parse(EXIT, 0, &task(NO_PID, 1, NO_PID)), None);
        assert_eq!(parse(FORK, 0, &task(0, 1, 0)), None);
    }

    #[test]
    fn counts_lost_records() {
        let lost = record(&[&1u64.to_ne_bytes(), &300u64.to_ne_bytes()]);
        assert_eq!(parse(LOST, 0, &lost), Some(Timed { time: 77, event: ProcessEvent::Lost(300) }));
    }

    #[test]
    fn every_truncation_is_no_event_or_the_same_kind() {
        for (kind, misc, whole) in [(MMAP2, 0, mmap2()), (FORK, 0, task(9, 1, 9)), (EXIT, 0, task(9, 1, 9))] {
            for len in 0..whole.len() {
                let _ = parse(kind, misc, &whole[..len]);
            }
        }
        assert_eq!(parse(MMAP2, 0, &mmap2()[..64]), None);
        assert_eq!(parse(0x7fff_ffff, 0, &mmap2()), None);
    }
}
