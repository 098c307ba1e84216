//! Which capabilities are kept, and that there is no way back to the others.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::Needs;

/// What each run needs for as long as it lives. BPF: maps, which kernels before 5.19 ask it for, and links to probes.
/// PERFMON: probes. NET_ADMIN: sock_diag, conntrack. SYS_PTRACE and DAC_READ_SEARCH: /proc of other users' processes, and
/// libraries in folders of theirs.
const ALWAYS: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// What to keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) needs: Needs,
    /// For probes, on kernels that ask for it, and for sockets of other network namespaces (setns(2)).
    pub(super) system_admin: bool,
}

impl Keep {
    fn set(self) -> CapabilitySet {
        let mut set = ALWAYS;
        set.set(CapabilitySet::SYS_ADMIN, self.system_admin);
        set.set(CapabilitySet::NET_BIND_SERVICE, self.needs.low_port);
        set.set(CapabilitySet::DAC_OVERRIDE, self.needs.files_of_others);
        set
    }
}

/// Keeps those of them that the process has, and nothing else, in every set.
pub(super) fn give_up(keep: Keep) -> io::Result<()> {
    set_no_new_privs(true)?;
    let has = capabilities(None)?;
    // Who may not (no CAP_SETPCAP) has `no_new_privs`, which keeps what is executed from getting any of them.
    if has.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            // Invalid: the kernel has no such capability, nor any after it.
            let Ok(there) = capability_is_in_bounding_set(one) else { break };
            if there && !keep.set().contains(one) {
                remove_capability_from_bounding_set(one)?;
            }
        }
    }
    // Kernels before 4.3 have no such set, and none of those is supported.
    clear_ambient_capability_set()?;
    let kept = has.permitted.intersection(keep.set());
    let sets = CapabilitySets {
        effective: has.effective.intersection(kept),
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Whether `path`, or the folder it is to be made in, can only be written by overriding its permissions.
pub(super) fn belongs_to_others(path: &Path) -> bool {
    let me = rustix::process::geteuid();
    if !me.is_root() {
        return false;
    }
    let others = |path: &Path| path.metadata().is_ok_and(|m| m.uid() != me.as_raw() && m.mode() & 0o002 == 0);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    others(path) || folder.ancestors().find(|folder| folder.exists()).is_some_and(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_needed_and_what_this_run_needs_besides() {
        let keep = |system_admin: bool, needs: Needs| Keep { needs, system_admin }.set();
        let more = |set: CapabilitySet| set.difference(ALWAYS);
        assert_eq!(more(keep(false, Needs::default())), CapabilitySet::empty());
        assert_eq!(more(keep(true, Needs::default())), CapabilitySet::SYS_ADMIN);
        let low_port = Needs { low_port: true, ..Needs::default() };
        assert_eq!(more(keep(false, low_port)), CapabilitySet::NET_BIND_SERVICE);
        let files_of_others = Needs { files_of_others: true, ..Needs::default() };
        assert_eq!(more(keep(false, files_of_others)), CapabilitySet::DAC_OVERRIDE);
    }

    #[test]
    fn a_thread_keeps_the_set_and_nothing_else() {
        let before = capabilities(None).unwrap();
        // Of this thread alone, which nothing else runs in.
        let after = std::thread::spawn(|| {
            give_up(Keep { needs: Needs::default(), system_admin: false }).unwrap();
            capabilities(None).unwrap()
        });
        let after = after.join().unwrap();
        assert_eq!(after.permitted, before.permitted.intersection(ALWAYS));
        assert_eq!(after.effective, before.effective.intersection(ALWAYS));
        assert_eq!(after.inheritable, CapabilitySet::empty());
    }

    #[test]
    fn folders_that_everybody_may_write_are_nobody_elses() {
        assert!(!belongs_to_others(Path::new("/tmp/x.log")));
        assert!(!belongs_to_others(Path::new("/no/such/folder/x.log")));
    }
}
