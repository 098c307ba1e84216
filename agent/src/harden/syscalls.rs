//! System calls that are refused (EPERM), by seccomp filters of the agent's own. What is listed is what nothing in the agent
//! does and somebody who got into it would want; everything else is left to what starts the agent (systemd, containerd).

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, apply_filter_all_threads,
};

type Error = Box<dyn std::error::Error>;
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Never made.
const NEVER: &[c_long] = &[
    // Other processes: what they hold and what they do.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Where files are. open_by_handle_at reaches every file of a file system, whatever a container was given of it.
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_mknodat,
    libc::SYS_fanotify_init,
    libc::SYS_unshare,
    // The host's name and clocks.
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // Kernel interfaces that many attacks on the kernel begin with, and that are not used here.
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
];

/// Besides, on x86-64.
#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[c_long] = &[libc::SYS_kexec_file_load, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_mknod];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[c_long] = &[];

/// Run another program.
const PROGRAMS: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat];

/// Made only while the agent starts: a mount of cgroup v2 that only it sees.
const AT_START: &[c_long] = &[libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick];

/// Commands of bpf(2) for what is there already: look up, update, delete, next key (1 to 4), info of a descriptor (15), and
/// a link, which a probe in a library is (28). Programs, maps, and whatever others have loaded are out of reach.
const BPF_COMMANDS: [u64; 6] = [1, 2, 3, 4, 15, 28];

/// For the calling thread, and those that it starts. `programs`: some may be executed.
pub(super) fn at_start(programs: bool) -> Result<(), Error> {
    let mut rules = refused(NEVER.iter().chain(NEVER_HERE));
    if !programs {
        rules.extend(refused(PROGRAMS));
    }
    // Network namespaces are entered to list their sockets, no others.
    let network = u64::try_from(libc::CLONE_NEWNET)?;
    rules.insert(libc::SYS_setns, vec![unless(1, &[network])?]);
    Ok(apply_filter(&compile(rules)?)?)
}

/// For all threads. `probes`: descriptors for probes are still to be opened.
pub(super) fn when_attached(probes: bool) -> Result<(), Error> {
    let mut rules = refused(AT_START);
    rules.insert(libc::SYS_bpf, vec![unless(0, &BPF_COMMANDS)?]);
    if !probes {
        rules.extend(refused(&[libc::SYS_perf_event_open]));
    }
    Ok(apply_filter_all_threads(&compile(rules)?)?)
}

/// With whatever arguments.
fn refused<'a>(calls: impl IntoIterator<Item = &'a c_long>) -> Rules {
    calls.into_iter().map(|call| (*call, Vec::new())).collect()
}

/// Matches unless an argument is one of these.
fn unless(argument: u8, values: &[u64]) -> Result<SeccompRule, Error> {
    let differs =
        |value: &u64| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *value);
    Ok(SeccompRule::new(values.iter().map(differs).collect::<Result<_, _>>()?)?)
}

fn compile(rules: Rules) -> Result<BpfProgram, Error> {
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM)?);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::try_from(ARCH)?)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::ErrorKind;
    use std::os::fd::AsFd;
    use std::process::Command;
    use std::thread;

    use rustix::io::Errno;
    use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

    use super::*;

    /// In a thread of its own: what is given up is given up for good.
    fn alone<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
        thread::spawn(what).join().unwrap()
    }

    #[test]
    fn another_program_is_executed_only_where_that_was_said() {
        let run = |programs: bool| {
            alone(move || {
                rustix::thread::set_no_new_privs(true).unwrap();
                at_start(programs).unwrap();
                Command::new("true").status().map(|s| s.success()).map_err(|e| e.kind())
            })
        };
        assert_eq!(run(true), Ok(true));
        assert_eq!(run(false), Err(ErrorKind::PermissionDenied));
    }

    #[test]
    fn namespaces_other_than_networks_are_out_of_reach() {
        alone(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            at_start(false).unwrap();
            let enter = |which: &str, kind| {
                let file = File::open(format!("/proc/self/ns/{which}")).unwrap();
                move_into_link_name_space(file.as_fd(), kind)
            };
            assert_eq!(enter("uts", Some(LinkNameSpaceType::HostNameAndNISDomainName)), Err(Errno::PERM));
            assert_eq!(enter("net", None), Err(Errno::PERM), "of any type");
            // Who has no rights is refused by the kernel, whatever the filter says.
            if rustix::process::geteuid().is_root() {
                assert_eq!(enter("net", Some(LinkNameSpaceType::Network)), Ok(()));
            }
            // Nobody needs rights to make a user namespace.
            // SAFETY: no file descriptors, no memory are shared anew.
            let made = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) };
            assert_eq!(made, Err(Errno::PERM));
        });
    }

    #[test]
    fn both_filters_are_programs_the_kernel_would_take() {
        for rules in [refused(NEVER.iter().chain(NEVER_HERE).chain(PROGRAMS)), refused(AT_START)] {
            assert!(compile(rules).is_ok_and(|program| program.len() < 4096));
        }
    }
}
