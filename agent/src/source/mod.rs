//! Where events come from: the kernel, or capture files.

pub mod live;
pub mod pcap;
