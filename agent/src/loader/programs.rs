//! The programs as data: where each is attached, what it needs, what is lost without it.

use aya::programs::CgroupSkbAttachType;

/// Whether the agent can do without a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing works without it.
    Required,
    /// Something is lost without it.
    Optional,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hook {
    Skb(CgroupSkbAttachType),
    SockOps,
    RawTracepoint(&'static str),
}

/// One program of the object.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSpec {
    /// Name in the object.
    pub name: &'static str,
    pub(super) hook: Hook,
    /// Can the agent do without it?
    pub requirement: Requirement,
    /// Kernel it needs (major, minor).
    pub min_kernel: (u32, u32),
    /// What it is for.
    pub purpose: &'static str,
    /// What is lost without it.
    pub lost_without: &'static str,
}

/// All programs, in the order in which they are attached: packets before the life of sockets, so that of a connection that
/// counts as seen from its beginning no packet was missed. One made in between counts as older than the agent.
pub const PROGRAMS: &[ProgramSpec] = &[
    ProgramSpec {
        name: "skb_egress",
        hook: Hook::Skb(CgroupSkbAttachType::Egress),
        requirement: Requirement::Required,
        min_kernel: (5, 8),
        purpose: "first bytes and record headers sent",
        lost_without: "everything",
    },
    ProgramSpec {
        name: "skb_ingress",
        hook: Hook::Skb(CgroupSkbAttachType::Ingress),
        requirement: Requirement::Required,
        min_kernel: (5, 8),
        purpose: "first bytes and record headers received",
        lost_without: "everything",
    },
    ProgramSpec {
        name: "sock_set_state",
        hook: Hook::RawTracepoint("inet_sock_set_state"),
        requirement: Requirement::Optional,
        min_kernel: (4, 17),
        purpose: "who calls connect and listen; the end of connections older than the agent",
        lost_without: "the process of a connection; older connections stay listed until the next scan",
    },
    ProgramSpec {
        name: "sock_read",
        hook: Hook::RawTracepoint("tcp_rcv_space_adjust"),
        requirement: Requirement::Optional,
        min_kernel: (4, 17),
        purpose: "which process reads from an accepted connection",
        lost_without: "accepted connections are named after the process that listens",
    },
    ProgramSpec {
        name: "sock_ops",
        hook: Hook::SockOps,
        requirement: Requirement::Required,
        min_kernel: (5, 7),
        purpose: "open, established and closed connections with their bytes",
        lost_without: "everything",
    },
];
