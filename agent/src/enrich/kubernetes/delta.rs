//! What the watches tell the index: objects of the Kubernetes API, cut down to what names need.

use std::net::IpAddr;

use agent_core::time::Timestamp;

use crate::enrich::PodUid;

/// Kinds of objects that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Pods.
    Pod,
    /// Services.
    Service,
    /// Nodes.
    Node,
    /// EndpointSlices.
    EndpointSlice,
    /// ReplicaSets, metadata only.
    ReplicaSet,
    /// Jobs, metadata only.
    Job,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Pod, Kind::Service, Kind::Node, Kind::EndpointSlice, Kind::ReplicaSet, Kind::Job];

    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Pod => "Pod",
            Kind::Service => "Service",
            Kind::Node => "Node",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::ReplicaSet => "ReplicaSet",
            Kind::Job => "Job",
        }
    }

    /// API group, and what roles and URLs call its objects.
    pub(super) const fn resource(self) -> (&'static str, &'static str) {
        match self {
            Kind::Pod => ("", "pods"),
            Kind::Service => ("", "services"),
            Kind::Node => ("", "nodes"),
            Kind::EndpointSlice => ("discovery.k8s.io", "endpointslices"),
            Kind::ReplicaSet => ("apps", "replicasets"),
            Kind::Job => ("batch", "jobs"),
        }
    }

    /// What roles and URLs call its objects.
    pub(super) const fn plural(self) -> &'static str {
        self.resource().1
    }

    /// What is lost without it.
    pub(super) const fn lost(self) -> &'static str {
        match self {
            Kind::Pod => "pods and workloads have no names",
            Kind::Service => "Services have no names",
            Kind::Node => "nodes have no names, and what is outside of the cluster is not known",
            Kind::EndpointSlice => "headless Services, and workloads behind Services, have no names",
            Kind::ReplicaSet => "Deployments have no names",
            Kind::Job => "CronJobs have no names",
        }
    }
}

/// A change of what is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// A list of all objects of this kind begins.
    Listing(Kind),
    /// The list is complete: what it did not name is gone.
    Listed(Kind),
    /// An object exists, and is like this.
    Applied(Object),
    /// An object is gone.
    Deleted(Object),
}

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A pod.
    Pod(Box<Pod>),
    /// A Service.
    Service(Service),
    /// A Node.
    Node(Node),
    /// An EndpointSlice.
    Slice(Slice),
    /// A ReplicaSet or a Job.
    Controller(Controller),
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// Its UID; 0 never occurs.
    pub uid: PodUid,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What kubelet calls it where that is not the UID: of static pods, whose API object is a copy.
    pub alias: Option<PodUid>,
    /// Labels, sorted by key.
    pub labels: Vec<(String, String)>,
    /// The object that controls it.
    pub owner: Option<OwnerRef>,
    /// Service account.
    pub service_account: Option<String>,
    /// Node.
    pub node: Option<String>,
    /// It uses its node's network.
    pub host_network: bool,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// When kubelet took it, or else when it was made: it had no address before.
    pub accepted: Option<Timestamp>,
    /// When the first of its containers started, as far as is known: it had its addresses by then, and nothing of it could
    /// use them before.
    pub started: Option<Timestamp>,
    /// All its containers ended for good: its addresses may be another pod's.
    pub is_over: bool,
    /// Containers, running or not.
    pub containers: Vec<PodContainer>,
    /// Ports of the node that lead to it: all that its containers declare where it uses the node's network, `hostPort`s
    /// elsewhere.
    pub node_ports: Vec<u16>,
    /// TCP ports of its containers that have a name.
    pub named_ports: Vec<(String, u16)>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodContainer {
    /// Id, as the runtime gave it.
    pub id: String,
    /// The runtime, in OpenTelemetry's spelling, where it is one of those that are known.
    pub runtime: Option<&'static str>,
    /// Name within the pod.
    pub name: String,
}

/// An owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRef {
    /// Kind: `ReplicaSet`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// UID, where it has the usual form.
    pub uid: Option<PodUid>,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// ClusterIPs; none of a headless Service.
    pub cluster_ips: Vec<IpAddr>,
    /// Addresses that a load balancer gave it (`status.loadBalancer.ingress`).
    pub balancer_ips: Vec<IpAddr>,
    /// `spec.externalIPs`: what whoever made it says.
    pub external_ips: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Ports of every node.
    pub node_ports: Vec<u16>,
    /// Of its own ports and those of every node, the ones that lead to another port of its pods.
    pub targets: Vec<(u16, TargetPort)>,
    /// It has no address of its own: its name leads to its pods.
    pub is_headless: bool,
}

/// A port of pods, as a Service names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// By its number.
    Number(u16),
    /// By the name it has in the pod.
    Name(String),
}

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Ranges of its pods' addresses.
    pub pod_ranges: Vec<(IpAddr, u8)>,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The Service it belongs to.
    pub service: Option<String>,
    /// Addresses of its endpoints, ready or not: those that terminate still have connections.
    pub addresses: Vec<IpAddr>,
}

/// What controls pods and is controlled itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// ReplicaSet or Job.
    pub kind: Kind,
    /// UID.
    pub uid: PodUid,
    /// What controls it.
    pub owner: Option<OwnerRef>,
}
