//! Programs of somebody else at the root of the control groups, of the kinds that the agent attaches too. They let
//! everything through, and the kernel counts how often they run.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use serde_json::Value;

use crate::child::{command, output};

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const ENABLE_STATS: libc::c_long = 32;
/// Others may attach too. The way of before there were links, and still that of systemd and of many others.
const ALLOW_MULTI: u32 = 2;
/// `r0 = 1; exit`.
const LET_THROUGH: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
/// Types of programs, and where they are attached: packets in and out, and what sockets do.
const KINDS: [(u32, u32); 3] = [(8, 0), (8, 1), (13, 3)];

#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// They are attached as long as it lives.
#[derive(Debug)]
pub struct Foreign {
    root: File,
    programs: Vec<(OwnedFd, u32, u32)>,
    _counting: OwnedFd,
}

fn bpf<T>(call: libc::c_long, attr: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes of `attr` as it has, and what they point to is alive in both callers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, call, std::ptr::from_ref(attr), size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(i32::try_from(result).expect("a descriptor"))
    }
}

fn descriptor<T>(call: libc::c_long, attr: &T) -> OwnedFd {
    let fd = bpf(call, attr).unwrap_or_else(|e| panic!("bpf({call}): {e}"));
    // SAFETY: the kernel just made it, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn root() -> &'static Path {
    let hybrid = Path::new("/sys/fs/cgroup/unified");
    if hybrid.is_dir() { hybrid } else { Path::new("/sys/fs/cgroup") }
}

impl Foreign {
    /// Attaches one of each kind.
    pub fn attach() -> Foreign {
        let root = File::open(root()).expect("the root of the control groups");
        let counting = descriptor(ENABLE_STATS, &0u32);
        let programs = KINDS.map(|(program_type, attach_type)| {
            let load = Load {
                program_type,
                instructions: LET_THROUGH.len() as u32,
                code: LET_THROUGH.as_ptr() as u64,
                license: c"GPL".as_ptr() as u64,
                name: *b"somebody_elses\0\0",
                expected_attach_type: attach_type,
                ..Load::default()
            };
            let program = descriptor(PROG_LOAD, &load);
            bpf(PROG_ATTACH, &request(&root, &program, attach_type)).expect("attach");
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))
                .expect("fdinfo");
            let id = info.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
            (program, attach_type, id.expect("an id"))
        });
        Foreign { root, programs: programs.into(), _counting: counting }
    }

    /// How often each has run.
    pub fn runs(&self) -> Vec<u64> {
        let runs = |(_, _, id): &(OwnedFd, u32, u32)| {
            let text = output(command("bpftool", ["--json", "prog", "show", "id", &id.to_string()]));
            let value: Value = serde_json::from_str(&text).expect("JSON");
            value["run_cnt"].as_u64().unwrap_or_default()
        };
        self.programs.iter().map(runs).collect()
    }

    /// Whether all of them are still there.
    pub fn is_attached(&self) -> bool {
        let text = output(command("bpftool", ["--json", "cgroup", "show", &root().to_string_lossy()]));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let ids: BTreeSet<u64> =
            value.as_array().into_iter().flatten().filter_map(|p| p["id"].as_u64()).collect();
        self.programs.iter().all(|(_, _, id)| ids.contains(&u64::from(*id)))
    }
}

fn request(root: &File, program: &OwnedFd, attach_type: u32) -> Attach {
    Attach {
        target: root.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type,
        flags: ALLOW_MULTI,
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for (program, attach_type, _) in &self.programs {
            let _ = bpf(PROG_DETACH, &Attach { flags: 0, ..request(&self.root, program, *attach_type) });
        }
    }
}
