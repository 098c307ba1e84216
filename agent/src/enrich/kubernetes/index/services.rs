//! Services and the endpoints behind them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use agent_core::identity::ServiceRef;
use agent_core::net::Endpoint;
use smallvec::SmallVec;

use super::pods::{add, remove};
use crate::enrich::kubernetes::delta::{Service, Slice, TargetPort};

/// Endpoints of one Service looked at to find out whether they all belong to one workload.
pub(super) const MAX_BACKENDS: usize = 256;

#[derive(Debug)]
struct Record {
    generation: u32,
    cluster_ips: SmallVec<[IpAddr; 1]>,
    balancer_ips: Box<[IpAddr]>,
    external_ips: Box<[IpAddr]>,
    ports: SmallVec<[u16; 4]>,
    node_ports: Box<[u16]>,
    targets: Box<[(u16, TargetPort)]>,
    is_headless: bool,
}

/// Why an address is a Service's, the best reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// The cluster gave it.
    ClusterIp,
    /// A load balancer did.
    LoadBalancer,
    /// Whoever made the Service says so.
    ExternalIp,
}

impl Record {
    fn claim(&self, ip: IpAddr) -> Option<Claim> {
        let claims = [
            (Claim::ClusterIp, &*self.cluster_ips),
            (Claim::LoadBalancer, &*self.balancer_ips),
            (Claim::ExternalIp, &*self.external_ips),
        ];
        claims.into_iter().find(|(_, ips)| ips.contains(&ip)).map(|(claim, _)| claim)
    }

    fn ips(&self) -> impl Iterator<Item = &IpAddr> {
        self.cluster_ips.iter().chain(&self.balancer_ips).chain(&self.external_ips)
    }
}

/// The only one.
fn only<T>(mut names: impl Iterator<Item = T>) -> Option<T> {
    names.next().filter(|_| names.next().is_none())
}

#[derive(Debug)]
struct SliceRecord {
    generation: u32,
    service: Arc<ServiceRef>,
    addresses: Box<[IpAddr]>,
}

/// Services; slices are named by namespace and name as Services are.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_name: HashMap<Arc<ServiceRef>, Record>,
    by_ip: HashMap<IpAddr, SmallVec<[Arc<ServiceRef>; 1]>>,
    by_node_port: HashMap<u16, Arc<ServiceRef>>,
    slices: HashMap<Arc<ServiceRef>, SliceRecord>,
    slices_of: HashMap<Arc<ServiceRef>, SmallVec<[Arc<ServiceRef>; 1]>>,
    by_endpoint: HashMap<IpAddr, SmallVec<[Arc<ServiceRef>; 1]>>,
    generation: u32,
    slice_generation: u32,
}

fn named(namespace: &str, name: &str) -> ServiceRef {
    ServiceRef { namespace: namespace.to_owned(), name: name.to_owned() }
}

impl Services {
    /// The one reference that all maps share.
    fn reference(&self, namespace: &str, name: &str) -> Arc<ServiceRef> {
        let wanted = named(namespace, name);
        if let Some((known, _)) = self.by_name.get_key_value(&wanted) {
            return Arc::clone(known);
        }
        self.slices_of.get_key_value(&wanted).map_or_else(|| Arc::new(wanted), |(known, _)| Arc::clone(known))
    }

    pub(super) fn apply(&mut self, service: &Service) {
        let reference = self.reference(&service.namespace, &service.name);
        self.delete(&reference);
        let record = Record {
            generation: self.generation,
            cluster_ips: SmallVec::from_slice(&service.cluster_ips),
            balancer_ips: Box::from(service.balancer_ips.as_slice()),
            external_ips: Box::from(service.external_ips.as_slice()),
            ports: SmallVec::from_slice(&service.ports),
            node_ports: Box::from(service.node_ports.as_slice()),
            targets: Box::from(service.targets.as_slice()),
            is_headless: service.is_headless,
        };
        for ip in record.ips() {
            add(&mut self.by_ip, *ip, Arc::clone(&reference));
        }
        for port in &service.node_ports {
            self.by_node_port.insert(*port, Arc::clone(&reference));
        }
        self.by_name.insert(reference, record);
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        self.delete(&named(namespace, name));
    }

    fn delete(&mut self, reference: &ServiceRef) {
        let Some((reference, record)) = self.by_name.remove_entry(reference) else { return };
        for ip in record.ips() {
            remove(&mut self.by_ip, ip, &reference);
        }
        for port in &record.node_ports {
            if self.by_node_port.get(port) == Some(&reference) {
                self.by_node_port.remove(port);
            }
        }
    }

    pub(super) fn apply_slice(&mut self, slice: &Slice) {
        self.remove_slice(&slice.namespace, &slice.name);
        let Some(service) = &slice.service else { return };
        let service = self.reference(&slice.namespace, service);
        let key = Arc::new(named(&slice.namespace, &slice.name));
        for ip in &slice.addresses {
            add(&mut self.by_endpoint, *ip, Arc::clone(&service));
        }
        add(&mut self.slices_of, Arc::clone(&service), Arc::clone(&key));
        let addresses = Box::from(slice.addresses.as_slice());
        self.slices.insert(key, SliceRecord { generation: self.slice_generation, service, addresses });
    }

    pub(super) fn remove_slice(&mut self, namespace: &str, name: &str) {
        self.delete_slice(&named(namespace, name));
    }

    fn delete_slice(&mut self, key: &ServiceRef) {
        let Some((key, record)) = self.slices.remove_entry(key) else { return };
        remove(&mut self.slices_of, &record.service, &key);
        for ip in &record.addresses {
            // Another slice of the same Service may hold it too, while it moves between them.
            if !self.backends(&record.service).any(|other| other == *ip) {
                remove(&mut self.by_endpoint, ip, &record.service);
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
            self.delete(&name);
        }
    }

    pub(super) fn listing_slices(&mut self) {
        self.slice_generation = self.slice_generation.wrapping_add(1);
    }

    pub(super) fn listed_slices(&mut self) {
        let old = |record: &SliceRecord| record.generation != self.slice_generation;
        let unnamed: Vec<_> =
            self.slices.iter().filter(|(_, r)| old(r)).map(|(name, _)| Arc::clone(name)).collect();
        for name in unnamed {
            self.delete_slice(&name);
        }
    }

    /// The Service that an address and port belong to. One address may be several Services' on different ports; on the same
    /// one it is theirs who were given it, before those who only say so.
    pub(super) fn at(&self, dialled: Endpoint) -> Option<&Arc<ServiceRef>> {
        let here = self.by_ip.get(&dialled.addr)?;
        let owners = || {
            here.iter().filter_map(|name| {
                let record = self.by_name.get(name)?;
                Some((record.claim(dialled.addr)?, name, record))
            })
        };
        let with_port = || owners().filter(|(_, _, record)| record.ports.contains(&dialled.port));
        let Some(best) = with_port().map(|(claim, ..)| claim).min() else {
            // A port that it does not have, at an address that is its own.
            return only(owners().filter(|(claim, ..)| *claim == Claim::ClusterIp).map(|(_, name, _)| name));
        };
        only(with_port().filter(|(claim, ..)| *claim == best).map(|(_, name, _)| name))
    }

    /// Whether an address is some Service's.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.by_ip.contains_key(&ip)
    }

    pub(super) fn at_node_port(&self, port: u16) -> Option<&Arc<ServiceRef>> {
        self.by_node_port.get(&port)
    }

    /// The port of its pods that a port of a Service leads to, where it is another. A headless Service leads nowhere.
    pub(super) fn target(&self, service: &ServiceRef, dialled: u16) -> Option<&TargetPort> {
        let record = self.by_name.get(service).filter(|record| !record.is_headless)?;
        record.targets.iter().find(|(port, _)| *port == dialled).map(|(_, target)| target)
    }

    /// The headless Service that leads to an address, where it is a single one.
    pub(super) fn headless_at(&self, ip: IpAddr) -> Option<&Arc<ServiceRef>> {
        let mut found = self
            .by_endpoint
            .get(&ip)?
            .iter()
            .filter(|name| self.by_name.get(*name).is_some_and(|record| record.is_headless));
        match (found.next(), found.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }

    /// Addresses behind a Service.
    pub(super) fn backends(&self, service: &ServiceRef) -> impl Iterator<Item = IpAddr> {
        let slices = self.slices_of.get(service).map(SmallVec::as_slice).unwrap_or_default();
        slices.iter().filter_map(|key| self.slices.get(key)).flat_map(|slice| slice.addresses.iter().copied())
    }

    pub(super) fn is_backend(&self, service: &Arc<ServiceRef>, ip: IpAddr) -> bool {
        self.by_endpoint.get(&ip).is_some_and(|services| services.contains(service))
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}
