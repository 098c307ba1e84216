//! One file per hook family.

mod cgroup_skb;
mod gnutls;
mod golang;
mod openssl;
mod sock_ops;
mod tracepoints;
