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
    /// Places in files that are found while the agent runs: [`super::Uprobes`].
    Uprobe,
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
    ProgramSpec {
        name: "openssl_cert",
        hook: Hook::Uprobe,
        requirement: Requirement::Optional,
        min_kernel: (5, 8),
        purpose: "certificates in TLS 1.3, as OpenSSL parses them",
        lost_without: "certificates of TLS 1.3 in OpenSSL, Python, Node.js and others that use it",
    },
    ProgramSpec {
        name: "gnutls_cert",
        hook: Hook::Uprobe,
        requirement: Requirement::Optional,
        min_kernel: (5, 8),
        purpose: "certificates in TLS 1.3, as GnuTLS parses them",
        lost_without: "certificates of TLS 1.3 in programs that use GnuTLS",
    },
    ProgramSpec {
        name: "go_server_certs",
        hook: Hook::Uprobe,
        requirement: Requirement::Optional,
        min_kernel: (5, 8),
        purpose: "server certificates in TLS 1.3, as Go parses them",
        lost_without: "server certificates of TLS 1.3 in Go clients",
    },
    ProgramSpec {
        name: "go_client_certs",
        hook: Hook::Uprobe,
        requirement: Requirement::Optional,
        min_kernel: (5, 8),
        purpose: "client certificates in TLS 1.3, as Go parses them",
        lost_without: "client certificates of TLS 1.3 in Go servers",
    },
    ProgramSpec {
        name: "go_client_rand",
        hook: Hook::Uprobe,
        requirement: Requirement::Optional,
        min_kernel: (5, 8),
        purpose: "which connection a Go handshake belongs to",
        lost_without: "certificates of TLS 1.3 in Go programs",
    },
];
