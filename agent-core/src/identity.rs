//! Who is at the ends of a connection, as far as somebody (procfs, cgroups, the Kubernetes API) told. Values only: how
//! they are found out is the shell's business.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::net::Endpoint;
use crate::observation::Observation;

/// A process beyond its id and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessDetails {
    /// Process id in the agent's pid namespace.
    pub pid: u32,
    /// Name that the kernel gives it (proc_pid_comm(5)): the file it was started by, unless it named itself, cut to 15 bytes.
    pub name: Option<String>,
    /// Absolute path of the executable as its own mount namespace has it, links followed.
    pub executable_path: Option<String>,
    /// Of a process that was gone before it could be read: the path of the only executable of its name that was seen on this
    /// host so far. What it is called by, and no proof of what it was.
    pub usual_path: Option<String>,
    /// Arguments, the program's name first; bounded by whoever read them.
    pub command_args: Vec<String>,
    /// When it started, in clock ticks since boot (proc_pid_stat(5) field 22): tells it from a later process of the same id.
    pub start_ticks: u64,
    /// systemd unit it runs in: `nginx.service`.
    pub systemd_unit: Option<String>,
}

impl ProcessDetails {
    /// Longest name that the kernel keeps, in bytes (TASK_COMM_LEN without the zero at its end).
    pub const MAX_NAME: usize = 15;

    /// What its executable is called: by its path, else by that of the only one of its name, else by the name.
    pub fn executable(&self) -> Option<&str> {
        self.executable_path.as_deref().or(self.usual_path.as_deref()).or(self.name.as_deref())
    }

    /// It was still there when it was looked at.
    pub fn was_read(&self) -> bool {
        self.executable_path.is_some() || self.start_ticks != 0
    }
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// Its id as the runtime gave it, 64 hex digits as a rule.
    pub id: String,
    /// OpenTelemetry's `container.runtime.name`: `containerd`, `cri-o`, `docker`, `podman`.
    pub runtime: Option<&'static str>,
}

/// A Kubernetes workload, and the pod of it that was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Kind of the object that owns the pod, found through its owners: `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob`,
    /// `Job`, `ReplicaSet`, or `Pod` where nothing does.
    pub kind: String,
    /// Name of that object.
    pub name: String,
    /// Pod name.
    pub pod: Option<String>,
    /// Name of the container within the pod.
    pub container: Option<String>,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Service account of the pod.
    pub service_account: Option<String>,
    /// Node the pod runs on.
    pub node: Option<String>,
    /// The pod uses its node's network.
    pub host_network: bool,
    /// Ports of the pod's containers that have a name.
    pub named_ports: BTreeMap<String, u16>,
}

/// A Kubernetes Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// One end of a connection. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// The process, of an end on this host.
    pub process: Option<Arc<ProcessDetails>>,
    /// The container it runs in.
    pub container: Option<Arc<Container>>,
    /// The workload it belongs to.
    pub workload: Option<Arc<Workload>>,
    /// The Service that stands in front of it: the one that was dialled where that is known.
    pub service: Option<Arc<ServiceRef>>,
    /// Name of the Kubernetes node that the address belongs to, where it is a node's own.
    pub node: Option<Arc<str>>,
    /// The port that it listens on as it knows it itself, where that is known to be another than the one at its end of the
    /// connection as observed: behind a Service, or behind a sidecar that a redirect leads to.
    pub listen_port: Option<u16>,
    /// Of a server: what its client dialled, where that is known to be something else than the address and port at the
    /// observed end.
    pub dialled: Option<Endpoint>,
    /// Of the other end: its address and port as it knows them itself, where address translation is known to show others at
    /// the observed end.
    pub address: Option<Endpoint>,
}

/// How far a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// It stays on the loopback interface.
    Loopback,
    /// It stays inside one pod: an application and its own sidecar.
    Pod,
    /// It stays on this node.
    Node,
    /// The other end is another node, a pod or a Service of the same cluster.
    Cluster,
    /// The other end is none of these.
    External,
}

impl Scope {
    /// `loopback`, `pod`, `node`, `cluster` or `external`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Loopback => "loopback",
            Scope::Pod => "pod",
            Scope::Node => "node",
            Scope::Cluster => "cluster",
            Scope::External => "external",
        }
    }
}

/// An observation and who is at both ends: what policy judges.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// What was seen.
    pub observation: Observation,
    /// The observed end.
    pub local: Party,
    /// The other end.
    pub peer: Party,
    /// How far it goes, where known.
    pub scope: Option<Scope>,
}
