//! The kernel's own events of processes: exec, fork, exit, and files mapped with the right to run them.
//!
//! They come from a perf event that counts nothing (`PERF_COUNT_SW_DUMMY`) and only carries these records, one ring buffer
//! per CPU. Tracepoints of system calls would tell the same and cost every process: one that is enabled, for any system
//! call, sends all system calls of the host through the kernel's slow path. Here nothing is attached to system calls, no
//! tracefs is needed, and a process that neither starts nor loads anything pays nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use perf_event::Builder;
use perf_event::events::Software;

use super::record::{self, Timed};
use crate::loader::PerfRing;
use crate::monotonic;

/// Ring buffer per CPU: more than a thousand records, which is more than a CPU writes while one large file is inspected.
const RING_BYTES: usize = 256 * 1024;

/// One ring buffer per CPU that is online.
pub(super) struct Events {
    rings: BTreeMap<usize, PerfRing>,
    /// Read, and waiting for older ones of other CPUs that may still be on their way.
    held: Vec<Timed>,
}

impl Events {
    /// Starts them on every CPU. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says: perf events of the whole host take CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN).
    pub(super) fn open() -> io::Result<Self> {
        let mut events = Self { rings: BTreeMap::new(), held: Vec::new() };
        events.follow_cpus()?;
        Ok(events)
    }

    /// Whether the kernel lets us, without keeping anything.
    pub(super) fn try_open() -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async { Self::open().map(drop) })
    }

    /// CPUs come and go: true when one came, whose processes nothing was heard of until now.
    pub(super) fn follow_cpus(&mut self) -> io::Result<bool> {
        let online = online()?;
        self.rings.retain(|cpu, _| online.contains(cpu));
        let mut came = false;
        for cpu in online {
            if let Entry::Vacant(entry) = self.rings.entry(cpu) {
                entry.insert(ring(cpu)?);
                came = true;
            }
        }
        Ok(came)
    }

    /// Waits until there is something to read.
    pub(super) async fn ready(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut result = Poll::Pending;
            for ring in self.rings.values() {
                // All are asked, so that each wakes us.
                match ring.poll_ready(cx) {
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Ready(Ok(())) => result = Poll::Ready(Ok(())),
                    Poll::Pending => {}
                }
            }
            result
        })
        .await
    }

    /// Reads what there is, in order of time over all CPUs: an exec is one CPU's, the end of the same process another's.
    pub(super) fn take(&mut self) -> Vec<Timed> {
        // Whatever happened up to now is in the buffers by the time all have been read; what happened since may not be.
        let until = now();
        for ring in self.rings.values_mut() {
            while let Some(record) = ring.take() {
                self.held.extend(record::parse(record.ty(), record.misc(), &record.to_contiguous()));
            }
        }
        self.held.sort_by_key(|timed| timed.time);
        let ready = self.held.partition_point(|timed| timed.time <= until);
        self.held.drain(..ready).collect()
    }

    /// Some events wait for others: [`take`](Self::take) again soon.
    pub(super) fn holds_some(&self) -> bool {
        !self.held.is_empty()
    }
}

/// The time that records carry.
fn now() -> u64 {
    u64::try_from(monotonic::of_kernel()).unwrap_or_default()
}

fn ring(cpu: usize) -> io::Result<PerfRing> {
    let mut event = Builder::new(Software::DUMMY);
    event
        .any_pid()
        .one_cpu(cpu)
        // Mappings that may be executed, with device and inode; data mappings would take mmap_data.
        .mmap(true)
        .mmap2(true)
        .comm(true)
        .comm_exec(true)
        .task(true)
        .sample_id_all(true)
        .sample(perf_event::SampleFlag::TIME)
        .clockid(perf_event::Clock::MONOTONIC)
        // Wakes at the first byte: a new file has to be probed before its first handshake.
        .wakeup_watermark(1);
    PerfRing::open(&event, RING_BYTES)
}

fn online() -> io::Result<Vec<usize>> {
    let text = fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_list(text.trim()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "list of CPUs"))
}

/// `0-3,8,10-11`.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    /// More CPUs than any kernel is built for.
    const MAX: usize = 16_384;
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse::<usize>().ok()?);
        if last >= MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_cpus_as_the_kernel_writes_them() {
        assert_eq!(parse_list("0"), Some(vec![0]));
        assert_eq!(parse_list("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        for bad in ["", "0-", "a", "0-99999999"] {
            assert_eq!(parse_list(bad), None, "{bad}");
        }
    }
}
