//! What the programs cost the kernel, where it counts that (`kernel.bpf_stats_enabled`, kernel 5.1).

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

/// Whether the kernel counts.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What a program has cost since it was loaded, while the kernel counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// Name in the object.
    pub program: &'static str,
    /// How often it ran.
    pub runs: u64,
    /// How long it ran, in nanoseconds.
    pub nanoseconds: u64,
}

/// Programs whose costs can be told.
#[derive(Debug, Default)]
pub(super) struct Costs(Vec<(&'static str, OwnedFd)>);

impl Costs {
    pub(super) fn add(&mut self, program: &'static str, descriptor: OwnedFd) {
        self.0.push((program, descriptor));
    }

    /// One for each program; none while the kernel does not count.
    pub(super) fn read(&self) -> Vec<ProgramCost> {
        let is_on = fs::read_to_string(SWITCH).is_ok_and(|text| text.trim() != "0");
        if !is_on {
            return Vec::new();
        }
        let cost = |(program, descriptor): &(&'static str, OwnedFd)| {
            // What bpf(BPF_OBJ_GET_INFO_BY_FD) says, in words.
            let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd())).ok()?;
            parse(program, &text)
        };
        self.0.iter().filter_map(cost).collect()
    }
}

fn parse(program: &'static str, text: &str) -> Option<ProgramCost> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse().ok())
    };
    Some(ProgramCost { program, runs: value("run_cnt")?, nanoseconds: value("run_time_ns")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_a_program() {
        let text = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t60\nprog_type:\t8\nprog_jited:\t1\n\
                    prog_tag:\t6deef7357e7b4530\nmemlock:\t4096\nprog_id:\t12\nrun_time_ns:\t16500\nrun_cnt:\t33\n\
                    recursion_misses:\t0\nverified_insns:\t8\n";
        let expected = ProgramCost { program: "skb_egress", runs: 33, nanoseconds: 16_500 };
        assert_eq!(parse("skb_egress", text), Some(expected));
        assert_eq!(parse("skb_egress", "pos:\t0\nprog_id:\t12\n"), None);
    }
}
