//! One file per hook family.

mod certificates;
mod cgroup_skb;
mod golang;
mod sock_ops;
mod tracepoints;
