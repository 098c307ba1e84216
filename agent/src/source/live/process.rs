//! Names of processes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use agent_common::Task;
use agent_core::event::Process;
use quick_cache::unsync::Cache;

/// Processes kept; one that fell out is read again.
const CAPACITY: usize = 4096;

/// Names by process id and `comm`: a process id that was given to another program, or a process that became one, rarely
/// keeps the name.
pub(super) struct Processes {
    cache: Cache<(u32, [u8; 16]), Arc<Process>>,
}

impl Processes {
    pub(super) fn new() -> Self {
        Self { cache: Cache::new(CAPACITY) }
    }

    /// The process of a task that the kernel named; `None` when it named none.
    pub(super) fn of_task(&mut self, task: &Task) -> Option<Arc<Process>> {
        if task.pid == 0 {
            return None;
        }
        let key = (task.pid, task.comm);
        if let Some(process) = self.cache.get(&key) {
            return Some(Arc::clone(process));
        }
        if is_kernel_thread(task.pid) {
            // It works for somebody else (MPTCP reads its subflows from a worker), whom it does not name.
            return None;
        }
        let comm = String::from_utf8_lossy(&task.comm);
        let comm = comm.trim_end_matches('\0');
        let process =
            Arc::new(read(task.pid).unwrap_or(Process { pid: task.pid, executable_name: comm.to_owned() }));
        self.cache.insert(key, Arc::clone(&process));
        Some(process)
    }
}

/// A process by its id, from procfs; `None` when it is gone or hidden.
pub(super) fn read(pid: u32) -> Option<Process> {
    let executable_name = match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(path) => file_name(&path)?,
        // Kernel threads have no executable; other users' processes hide theirs.
        Err(_) => fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned(),
    };
    Some(Process { pid, executable_name })
}

/// Kernel threads are children of kthreadd, which is process 2 (proc_pid_stat(5): the parent is the second field behind
/// the name, which is in parentheses and may hold anything).
fn is_kernel_thread(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
    pid == 2 || parent == Some("2")
}

/// Without the mark the kernel puts behind the path of a file that was replaced while it ran.
fn file_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_this_process_after_its_executable() {
        let process = read(std::process::id()).expect("own process");
        let exe = std::env::current_exe().expect("own executable");
        assert_eq!(Some(process.executable_name), exe.file_name().map(|n| n.to_string_lossy().into_owned()));
    }

    #[test]
    fn kernel_threads_own_nothing() {
        assert!(is_kernel_thread(2));
        assert!(!is_kernel_thread(std::process::id()));
        assert_eq!(
            Processes::new().of_task(&Task { pid: 2, tid: 2, comm: *b"kthreadd\0\0\0\0\0\0\0\0" }),
            None
        );
    }

    #[test]
    fn a_replaced_executable_keeps_its_name() {
        assert_eq!(file_name(Path::new("/usr/sbin/nginx (deleted)")).as_deref(), Some("nginx"));
    }

    #[test]
    fn a_process_that_is_gone_keeps_the_name_the_kernel_gave() {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"gone");
        // Larger than any pid_max (2^22).
        let task = Task { pid: 5_000_000, tid: 5_000_000, comm };
        let process = Processes::new().of_task(&task).expect("a process");
        assert_eq!(*process, Process { pid: 5_000_000, executable_name: "gone".to_owned() });
    }
}
