//! Objects of the Kubernetes API, read as far as names need: everything else in them (specifications, managed fields,
//! annotations) is skipped while it is parsed and never held.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use agent_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::ClusterResourceScope;
use serde::{Deserialize, Deserializer};

use super::delta::{Controller, Kind, Node, Object, OwnerRef, Pod, PodContainer, Service, Slice, TargetPort};
use crate::enrich::PodUid;

/// An object that the watches understand.
pub(super) trait Slim: Resource {
    /// What the index needs of it; `None` when it lacks what every object of its kind has.
    fn object(&self) -> Option<Object>;
}

/// `metadata`, of which little is kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct SlimMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    creation_timestamp: Option<Time>,
    annotations: Option<SlimAnnotations>,
}

/// The one annotation that is needed: static pods' name in the names of control groups.
#[derive(Deserialize, Default)]
struct SlimAnnotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<String>,
}

const MIRROR: &str = "kubernetes.io/config.mirror";

fn meta<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let slim = SlimMeta::deserialize(deserializer)?;
    let mirror = slim.annotations.and_then(|annotations| annotations.mirror);
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        labels: slim.labels,
        owner_references: slim.owner_references,
        creation_timestamp: slim
            .creation_timestamp
            .map(|Time(at)| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at)),
        annotations: mirror.map(|hash| BTreeMap::from([(MIRROR.to_owned(), hash)])),
        ..ObjectMeta::default()
    })
}

/// A point in time (RFC 3339); one that cannot be read is none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
struct Time(jiff::Timestamp);

impl Time {
    fn timestamp(self) -> Option<Timestamp> {
        u64::try_from(self.0.as_nanosecond()).ok().map(Timestamp)
    }
}

macro_rules! resource {
    ($type:ident, $kind:literal, $group:literal, $version:literal, $plural:literal) => {
        impl Resource for $type {
            type DynamicType = ();
            type Scope = ClusterResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

fn list<T>(list: Option<&Vec<T>>) -> &[T] {
    list.map(Vec::as_slice).unwrap_or_default()
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    let mut out: Vec<IpAddr> = texts.into_iter().filter_map(|text| text.parse().ok()).collect();
    out.iter_mut().for_each(|ip| *ip = ip.to_canonical());
    out.sort_unstable();
    out.dedup();
    out
}

/// What controls an object. A static pod's copy in the API is "controlled" by its node, which owns no workload.
fn controller_of(meta: &ObjectMeta) -> Option<OwnerRef> {
    let owners = list(meta.owner_references.as_ref());
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    (owner.kind != "Node").then(|| OwnerRef {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: PodUid::parse(&owner.uid),
    })
}

/// A pod.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimPod {
    #[serde(deserialize_with = "meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

resource!(SlimPod, "Pod", "", "v1", "pods");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    host_network: Option<bool>,
    containers: Option<Vec<ContainerSpec>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerSpec {
    ports: Option<Vec<ContainerPort>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerPort {
    container_port: Option<u16>,
    host_port: Option<u16>,
    protocol: Option<String>,
    name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
    start_time: Option<Time>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodIp {
    ip: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    running: Option<Ran>,
    terminated: Option<Ran>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ran {
    started_at: Option<Time>,
}

impl ContainerStatus {
    fn started(&self) -> impl Iterator<Item = Timestamp> {
        [&self.state, &self.last_state]
            .into_iter()
            .flatten()
            .flat_map(|state| [&state.running, &state.terminated])
            .flatten()
            .filter_map(|ran| ran.started_at?.timestamp())
            // What never ran is said to have started in 1970.
            .filter(|at| *at > Timestamp(0))
    }
}

impl Slim for SlimPod {
    fn object(&self) -> Option<Object> {
        let Self { metadata, spec, status } = self;
        let host_network = spec.host_network == Some(true);
        let containers = [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ];
        let containers = || containers.into_iter().flat_map(|statuses| list(statuses.as_ref()));
        let ports =
            list(spec.containers.as_ref()).iter().flat_map(|container| list(container.ports.as_ref()));
        let ports = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
        let named_ports =
            ports.clone().filter_map(|port| Some((port.name.clone()?, port.container_port?))).collect();
        let node_ports = ports
            .filter_map(|port| port.host_port.or(port.container_port.filter(|_| host_network)))
            .filter(|port| *port != 0)
            .collect();
        let ips = list(status.pod_ips.as_ref()).iter().filter_map(|entry| entry.ip.as_ref());
        Some(Object::Pod(Box::new(Pod {
            uid: PodUid::parse(metadata.uid.as_deref()?)?,
            namespace: metadata.namespace.clone()?,
            name: metadata.name.clone()?,
            alias: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| PodUid::parse(annotations.get(MIRROR)?)),
            labels: metadata.labels.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            owner: controller_of(metadata),
            service_account: spec.service_account_name.clone(),
            node: spec.node_name.clone().filter(|name| !name.is_empty()),
            host_network,
            ips: addresses(ips.chain(&status.pod_ip)),
            accepted: status
                .start_time
                .and_then(Time::timestamp)
                .or_else(|| Time(metadata.creation_timestamp.as_ref()?.0).timestamp()),
            started: containers().flat_map(ContainerStatus::started).min(),
            is_over: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            containers: containers()
                .filter_map(|status| {
                    // `containerd://ID`
                    let (runtime, id) = status.container_id.as_deref()?.split_once("://")?;
                    let runtime =
                        ["containerd", "cri-o", "docker"].into_iter().find(|known| *known == runtime);
                    let name = status.name.clone();
                    (!id.is_empty()).then(|| PodContainer { id: id.to_owned(), runtime, name })
                })
                .collect(),
            node_ports,
            named_ports,
        })))
    }
}

/// A Service.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimService {
    #[serde(deserialize_with = "meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ServiceSpec,
    #[serde(default)]
    status: ServiceStatus,
}

resource!(SlimService, "Service", "", "v1", "services");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    ports: Option<Vec<ServicePort>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServicePort {
    port: Option<u16>,
    node_port: Option<u16>,
    protocol: Option<String>,
    target_port: Option<NumberOrName>,
}

/// What the API calls IntOrString.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum NumberOrName {
    Number(u16),
    Name(String),
}

impl ServicePort {
    /// Where its own port and that of every node lead.
    fn targets(&self) -> impl Iterator<Item = (u16, TargetPort)> {
        let target = match &self.target_port {
            Some(NumberOrName::Number(0)) | None => self.port.map(TargetPort::Number),
            Some(NumberOrName::Number(number)) => Some(TargetPort::Number(*number)),
            Some(NumberOrName::Name(name)) => Some(TargetPort::Name(name.clone())),
        };
        let from = [self.port, self.node_port].into_iter().flatten().filter(|port| *port != 0);
        from.filter_map(move |port| target.clone().map(|target| (port, target)))
            .filter(|(port, target)| *target != TargetPort::Number(*port))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceStatus {
    load_balancer: Option<LoadBalancer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<PodIp>>,
}

impl Slim for SlimService {
    fn object(&self) -> Option<Object> {
        let spec = &self.spec;
        let ports = || {
            list(spec.ports.as_ref())
                .iter()
                .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
        };
        let ingress = self.status.load_balancer.as_ref().and_then(|balancer| balancer.ingress.as_ref());
        let ingress = list(ingress).iter().filter_map(|entry| entry.ip.as_ref());
        Some(Object::Service(Service {
            namespace: self.metadata.namespace.clone()?,
            name: self.metadata.name.clone()?,
            cluster_ips: addresses(list(spec.cluster_ips.as_ref()).iter().chain(&spec.cluster_ip)),
            balancer_ips: addresses(ingress),
            external_ips: addresses(list(spec.external_ips.as_ref())),
            ports: ports().filter_map(|port| port.port).collect(),
            node_ports: ports().filter_map(|port| port.node_port).filter(|port| *port != 0).collect(),
            targets: ports().flat_map(ServicePort::targets).collect(),
            is_headless: spec.cluster_ip.as_deref() == Some("None"),
        }))
    }
}

/// A Node.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimNode {
    #[serde(deserialize_with = "meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

resource!(SlimNode, "Node", "", "v1", "nodes");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeAddress {
    address: String,
}

impl Slim for SlimNode {
    fn object(&self) -> Option<Object> {
        let range = |text: &String| {
            let (ip, len) = text.split_once('/')?;
            let (ip, len): (IpAddr, u8) = (ip.parse().ok()?, len.parse().ok()?);
            (len <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, len))
        };
        let ranges = list(self.spec.pod_cidrs.as_ref()).iter().chain(&self.spec.pod_cidr);
        let mut pod_ranges: Vec<_> = ranges.filter_map(range).collect();
        pod_ranges.sort_unstable();
        pod_ranges.dedup();
        let own = list(self.status.addresses.as_ref()).iter().map(|entry| &entry.address);
        Some(Object::Node(Node { name: self.metadata.name.clone()?, ips: addresses(own), pod_ranges }))
    }
}

/// An EndpointSlice, in the version of its group that the server has.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimSlice {
    #[serde(deserialize_with = "meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    endpoints: Option<Vec<SliceEndpoint>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SliceEndpoint {
    addresses: Option<Vec<String>>,
}

/// A version of discovery.k8s.io. Kubernetes has `v1` since 1.21, and `v1beta1` from 1.17 to 1.24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SliceVersion(pub(super) &'static str);

impl Resource for SlimSlice {
    type DynamicType = SliceVersion;
    type Scope = ClusterResourceScope;

    fn kind(_: &SliceVersion) -> Cow<'_, str> {
        "EndpointSlice".into()
    }
    fn group(_: &SliceVersion) -> Cow<'_, str> {
        "discovery.k8s.io".into()
    }
    fn version(version: &SliceVersion) -> Cow<'_, str> {
        version.0.into()
    }
    fn plural(_: &SliceVersion) -> Cow<'_, str> {
        "endpointslices".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Slim for SlimSlice {
    fn object(&self) -> Option<Object> {
        let labels = self.metadata.labels.as_ref();
        let endpoints = list(self.endpoints.as_ref()).iter();
        Some(Object::Slice(Slice {
            namespace: self.metadata.namespace.clone()?,
            name: self.metadata.name.clone()?,
            service: labels.and_then(|labels| labels.get("kubernetes.io/service-name").cloned()),
            addresses: addresses(endpoints.flat_map(|endpoint| list(endpoint.addresses.as_ref()))),
        }))
    }
}

macro_rules! controller {
    ($type:ident, $name:literal, $kind:expr, $group:literal, $plural:literal) => {
        /// A controller of pods; the server is asked for its metadata only.
        #[derive(Clone, Debug, Deserialize)]
        pub(super) struct $type {
            #[serde(deserialize_with = "meta")]
            metadata: ObjectMeta,
        }

        impl Resource for $type {
            type DynamicType = ();
            type Scope = ClusterResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                $name.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn metadata_api() -> bool {
                true
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }

        impl Slim for $type {
            fn object(&self) -> Option<Object> {
                Some(Object::Controller(Controller {
                    kind: $kind,
                    uid: PodUid::parse(self.metadata.uid.as_deref()?)?,
                    owner: controller_of(&self.metadata),
                }))
            }
        }
    };
}

controller!(SlimReplicaSet, "ReplicaSet", Kind::ReplicaSet, "apps", "replicasets");
controller!(SlimJob, "Job", Kind::Job, "batch", "jobs");

/// Reads one object as the API sends it.
///
/// # Errors
/// When it is not JSON, or not what the API calls by that name.
pub fn read(kind: Kind, json: &[u8]) -> serde_json::Result<Option<Object>> {
    Ok(match kind {
        Kind::Pod => serde_json::from_slice::<SlimPod>(json)?.object(),
        Kind::Service => serde_json::from_slice::<SlimService>(json)?.object(),
        Kind::Node => serde_json::from_slice::<SlimNode>(json)?.object(),
        Kind::EndpointSlice => serde_json::from_slice::<SlimSlice>(json)?.object(),
        Kind::ReplicaSet => serde_json::from_slice::<SlimReplicaSet>(json)?.object(),
        Kind::Job => serde_json::from_slice::<SlimJob>(json)?.object(),
    })
}
