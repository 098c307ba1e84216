//! One file per hook family.

mod cgroup_skb;
mod sock_ops;
mod tracepoints;
