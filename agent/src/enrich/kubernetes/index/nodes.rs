//! Nodes: by address, and the ranges that addresses of pods are taken from.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::intern::Interner;
use crate::enrich::kubernetes::delta::Node;

#[derive(Debug)]
struct Record {
    generation: u32,
    ips: Box<[IpAddr]>,
    ranges: Box<[(IpAddr, u8)]>,
}

#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_name: HashMap<Arc<str>, Record>,
    by_ip: HashMap<IpAddr, Arc<str>>,
    ranges: HashMap<(IpAddr, u8), u32>,
    /// How many ranges have this length: few lengths are in use at once.
    lengths: BTreeMap<u8, u32>,
    generation: u32,
}

impl Nodes {
    pub(super) fn apply(&mut self, node: &Node, names: &mut Interner) {
        self.remove(&node.name);
        let name = names.string(&node.name);
        for ip in &node.ips {
            self.by_ip.insert(*ip, Arc::clone(&name));
        }
        let ranges: Box<[_]> = node.pod_ranges.iter().map(|(ip, len)| (masked(*ip, *len), *len)).collect();
        for (ip, len) in &ranges {
            *self.ranges.entry((*ip, *len)).or_default() += 1;
            *self.lengths.entry(*len).or_default() += 1;
        }
        let record = Record { generation: self.generation, ips: Box::from(node.ips.as_slice()), ranges };
        self.by_name.insert(name, record);
    }

    pub(super) fn remove(&mut self, name: &str) {
        let Some((name, record)) = self.by_name.remove_entry(name) else { return };
        for ip in &record.ips {
            if self.by_ip.get(ip) == Some(&name) {
                self.by_ip.remove(ip);
            }
        }
        for (ip, len) in &record.ranges {
            if let Some(count) = self.ranges.get_mut(&(*ip, *len)) {
                *count -= 1;
                if *count == 0 {
                    self.ranges.remove(&(*ip, *len));
                }
            }
            if let Some(count) = self.lengths.get_mut(len) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(len);
                }
            }
        }
    }

    pub(super) fn listing(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    pub(super) fn listed(&mut self) {
        let old = |record: &Record| record.generation != self.generation;
        let unnamed: Vec<_> =
            self.by_name.iter().filter(|(_, r)| old(r)).map(|(name, _)| Arc::clone(name)).collect();
        for name in unnamed {
            self.remove(&name);
        }
    }

    pub(super) fn at(&self, ip: IpAddr) -> Option<&Arc<str>> {
        self.by_ip.get(&ip)
    }

    /// The shared name of a node.
    pub(super) fn name(&self, name: &str) -> Option<&Arc<str>> {
        self.by_name.get_key_value(name).map(|(name, _)| name)
    }

    /// Whether an address is of the pods' ranges.
    pub(super) fn is_pod_address(&self, ip: IpAddr) -> bool {
        self.lengths.keys().any(|len| self.ranges.contains_key(&(masked(ip, *len), *len)))
    }

    pub(super) fn all_have_ranges(&self) -> bool {
        self.by_name.values().all(|node| !node.ranges.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

fn masked(ip: IpAddr, len: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(u32::from(len))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(len))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_their_addresses_and_no_others() {
        let mut nodes = Nodes::default();
        let ranges = [("10.244.1.0", 24), ("fd00:1::", 64)];
        let pod_ranges = ranges.map(|(ip, len)| (ip.parse().expect("an address"), len)).to_vec();
        let node = Node { name: "a".to_owned(), ips: Vec::new(), pod_ranges };
        nodes.apply(&node, &mut Interner::default());
        nodes.apply(&node, &mut Interner::default());
        let covers = |nodes: &Nodes, ip: &str| nodes.is_pod_address(ip.parse().expect("an address"));
        for (ip, is_covered) in [
            ("10.244.1.0", true),
            ("10.244.1.255", true),
            ("10.244.2.0", false),
            ("fd00:1::9", true),
            ("fd00:2::", false),
        ] {
            assert_eq!(covers(&nodes, ip), is_covered, "{ip}");
        }
        nodes.remove("a");
        assert!(!covers(&nodes, "10.244.1.0"));
        assert!(nodes.ranges.is_empty() && nodes.lengths.is_empty());
    }

    #[test]
    fn masks_of_every_length() {
        let v4: IpAddr = "255.255.255.255".parse().expect("an address");
        assert_eq!(masked(v4, 0).to_string(), "0.0.0.0");
        assert_eq!(masked(v4, 32), v4);
        let v6: IpAddr = "ffff::ffff".parse().expect("an address");
        assert_eq!(masked(v6, 0).to_string(), "::");
        assert_eq!(masked(v6, 128), v6);
    }
}
