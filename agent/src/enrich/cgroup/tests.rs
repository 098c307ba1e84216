use super::*;

const A: &str = "7d1c0c3e6f4b5a29384756aabbccddeeff00112233445566778899aabbccddee";
const B: &str = "0f9e8d7c6b5a49382716051423324150697887a6b5c4d3e2f10011223344556f";
const UID: &str = "8dbc5577-d0e2-4706-8787-57d52c03ddf2";
const UID_: &str = "8dbc5577_d0e2_4706_8787_57d52c03ddf2";
/// A static pod's, from its file's hash.
const HASH: &str = "2d08f3d1d1d8ba2cf0e5f4b3d6d1a7c9";

/// A path, and what is to be read in it: runtime and id, pod, the pod's own container, unit.
struct Case {
    path: String,
    container: Option<(Option<&'static str>, &'static str)>,
    pod: Option<&'static str>,
    pod_container: Option<&'static str>,
    unit: Option<&'static str>,
}

fn case(path: impl Into<String>) -> Case {
    Case { path: path.into(), container: None, pod: None, pod_container: None, unit: None }
}

impl Case {
    fn runs(mut self, runtime: &'static str, id: &'static str) -> Self {
        self.container = Some((Some(runtime), id));
        self
    }
    fn runs_in(mut self, id: &'static str) -> Self {
        self.container = Some((None, id));
        self
    }
    fn pod(mut self, uid: &'static str) -> Self {
        self.pod = Some(uid);
        self
    }
    fn nested_in(mut self, id: &'static str) -> Self {
        self.pod_container = Some(id);
        self
    }
    fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }
    fn expected(&self) -> Place {
        Place {
            container: self.container.map(|(runtime, id)| Container { id: id.to_owned(), runtime }),
            pod: self.pod.map(|uid| PodUid::parse(uid).expect("a UID")),
            pod_container: self.pod_container.map(str::to_owned),
            unit: self.unit.map(str::to_owned),
        }
    }
}

fn kubernetes() -> Vec<Case> {
    let kubepods = "/kubepods.slice/kubepods-burstable.slice";
    let slice = format!("{kubepods}/kubepods-burstable-pod{UID_}.slice");
    vec![
        // containerd, systemd driver: burstable, best effort, guaranteed.
        case(format!("{slice}/cri-containerd-{A}.scope")).runs("containerd", A).pod(UID),
        case(format!(
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/cri-containerd-{A}.scope"
        ))
        .runs("containerd", A)
        .pod(UID),
        case(format!("/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{A}.scope"))
            .runs("containerd", A)
            .pod(UID),
        // containerd and dockershim, cgroupfs driver: the runtime is not in the name.
        case(format!("/kubepods/besteffort/pod{UID}/{A}")).runs_in(A).pod(UID),
        case(format!("/kubepods/burstable/pod{UID}/{A}")).runs_in(A).pod(UID),
        case(format!("/kubepods/pod{UID}/{A}")).runs_in(A).pod(UID),
        // The two drivers at odds: containerd's default configuration under a kubelet that uses systemd.
        case(format!("/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{A}"))
            .runs("containerd", A)
            .pod(UID),
        case(format!("/kubepods-besteffort-pod{UID_}.slice:crio:{A}")).runs("cri-o", A).pod(UID),
        // CRI-O, both drivers, and what looks after its containers.
        case(format!("{slice}/crio-{A}.scope")).runs("cri-o", A).pod(UID),
        case(format!("{slice}/crio-{A}.scope/container")).runs("cri-o", A).pod(UID),
        case(format!("/kubepods/burstable/pod{UID}/crio-{A}")).runs("cri-o", A).pod(UID),
        case(format!("{slice}/crio-conmon-{A}.scope")),
        case(format!("/kubepods/besteffort/pod{UID}/crio-conmon-{A}")),
        // Whoever may make groups within its container does not hide in one that is called like that.
        case(format!("{slice}/cri-containerd-{A}.scope/crio-conmon-{B}.scope")).runs("containerd", A).pod(UID),
        // Docker under Kubernetes.
        case(format!("{slice}/docker-{A}.scope")).runs("docker", A).pod(UID),
        // Static pods.
        case(format!("{kubepods}/kubepods-burstable-pod{HASH}.slice/cri-containerd-{A}.scope"))
            .runs("containerd", A)
            .pod(HASH),
        case(format!("/kubepods/burstable/pod{HASH}/{A}")).runs_in(A).pod(HASH),
        // kind: a node that is a container itself, on either version.
        case(format!("/docker/{B}/kubelet/kubepods/besteffort/pod{UID}/{A}")).runs_in(A).pod(UID),
        case(format!(
            "/system.slice/docker-{B}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UID_}.slice/cri-containerd-{A}.scope"
        ))
        .runs("containerd", A)
        .pod(UID),
        // k3d and other nodes whose kubelet has its cgroups below its own.
        case(format!("/docker/{B}/kubepods/burstable/pod{UID}/{A}")).runs_in(A).pod(UID),
        case(format!("/system.slice/k3s.service/kubepods/burstable/pod{UID}/{A}")).runs_in(A).pod(UID),
        // Seen from a container with a cgroup namespace of its own.
        case(format!("/../../kubepods-burstable-pod{UID_}.slice/cri-containerd-{A}.scope"))
            .runs("containerd", A)
            .pod(UID),
        case(format!("/../../../besteffort/pod{UID}/{A}")).runs_in(A).pod(UID),
        case(format!("/../cri-containerd-{A}.scope")).runs("containerd", A),
        // systemd in a pod's container.
        case(format!("{slice}/cri-containerd-{A}.scope/system.slice/nginx.service"))
            .runs("containerd", A)
            .pod(UID)
            .unit("nginx.service"),
        case(format!("/kubepods/besteffort/pod{UID}/{A}/init.scope")).runs_in(A).pod(UID).unit("init.scope"),
        // Docker in a pod.
        case(format!("/kubepods/burstable/pod{UID}/{A}/docker/{B}")).runs("docker", B).pod(UID).nested_in(A),
        case(format!("{slice}/cri-containerd-{A}.scope/system.slice/docker-{B}.scope"))
            .runs("docker", B)
            .pod(UID)
            .nested_in(A),
        // A cluster in a pod.
        case(format!("/kubepods/pod{UID}/{A}/docker/{B}/kubelet/kubepods/pod{HASH}/{B}"))
            .runs_in(B)
            .pod(UID)
            .nested_in(A),
        // A pod's own cgroup, without a container.
        case(slice.clone()).pod(UID),
        // The node's own daemons.
        case("/system.slice/kubelet.service").unit("kubelet.service"),
        case("/kubepods.slice"),
        case("/kubepods/besteffort"),
    ]
}

fn elsewhere() -> Vec<Case> {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    vec![
        // Docker.
        case(format!("/docker/{A}")).runs("docker", A),
        case(format!("/system.slice/docker-{A}.scope")).runs("docker", A),
        case(format!("/system.slice:docker:{A}")).runs("docker", A),
        case(format!("{user}/app.slice/docker-{A}.scope")).runs("docker", A),
        case(format!("/docker/{A}/system.slice/sshd.service")).runs("docker", A).unit("sshd.service"),
        // Docker in Docker.
        case(format!("/docker/{A}/docker/{B}")).runs("docker", B),
        case(format!("/system.slice/docker-{A}.scope/docker/{B}")).runs("docker", B),
        // Podman: root, rootless, both drivers, split cgroups, pods, and what looks after its containers.
        case(format!("/machine.slice/libpod-{A}.scope")).runs("podman", A),
        case(format!("/machine.slice/libpod-{A}.scope/container")).runs("podman", A),
        case(format!("{user}/user.slice/libpod-{A}.scope/container")).runs("podman", A),
        case(format!("{user}/app.slice/web.service/libpod-payload-{A}")).runs("podman", A),
        case(format!("/libpod_parent/libpod-{A}")).runs("podman", A),
        case(format!("/libpod_parent/{B}/libpod-{A}")).runs("podman", A),
        case(format!("/libpod_parent/{B}")),
        case(format!("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope")).runs("podman", A),
        case(format!("/machine.slice/libpod-conmon-{A}.scope")),
        case(format!("/libpod_parent/libpod-conmon-{A}")),
        case(format!("{user}/user.slice/libpod-conmon-{A}.scope")),
        // nerdctl, containerd's own client, Nomad, ECS on EC2 and on Fargate.
        case(format!("/system.slice/nerdctl-{A}.scope")).runs("containerd", A),
        case(format!("/default/{A}")).runs_in(A),
        case(format!("/nomad/{A}")).runs_in(A),
        case(format!("/ecs/{HASH}/{A}")).runs_in(A),
        case(format!("/ecstasks.slice/ecstasks-{HASH}.slice/docker-{A}.scope")).runs("docker", A),
        case("/ecs/2d08f3d1d1d8ba2cf0e5f4b3d6d1a7c9/2d08f3d1d1d8ba2cf0e5f4b3d6d1a7c9-1234567890")
            .runs_in("2d08f3d1d1d8ba2cf0e5f4b3d6d1a7c9-1234567890"),
        // No container.
        case("/"),
        case("/init.scope").unit("init.scope"),
        case("/system.slice/nginx.service").unit("nginx.service"),
        case("/system.slice/system-postgresql.slice/postgresql@15-main.service")
            .unit("postgresql@15-main.service"),
        case("/system.slice/_cpu.service").unit("cpu.service"),
        case("/system.slice/dbus\\x2dbroker.service").unit("dbus\\x2dbroker.service"),
        case("/system.slice/php-fpm.service/worker").unit("php-fpm.service"),
        case("/user.slice/user-1000.slice/session-3.scope").unit("session-3.scope"),
        case(format!("{user}/app.slice/syncthing.service")).unit("syncthing.service"),
        case(format!("{user}/init.scope")).unit("user@1000.service"),
        // Nearly ids.
        case(format!("/docker/{}", &A[1..])),
        case(format!("/docker/{}", A.to_uppercase())),
        case(format!("/system.slice/docker-{}.scope", &A[..12])).unit("docker-7d1c0c3e6f4b.scope"),
        case("/kubepods/besteffort/pod-of-mine"),
        case(format!("/backup-{A}.scope"))
            .unit("backup-7d1c0c3e6f4b5a29384756aabbccddeeff00112233445566778899aabbccddee.scope"),
    ]
}

#[test]
fn reads_the_names_that_runtimes_give() {
    for case in kubernetes().into_iter().chain(elsewhere()) {
        for text in [format!("0::{}\n", case.path), format!("1:name=systemd:{}\n0::/\n", case.path)] {
            assert_eq!(parse(&text), case.expected(), "{text}");
        }
    }
}

#[test]
fn looks_into_every_hierarchy() {
    let text = format!(
        "12:pids:/docker/{A}\n11:cpu,cpuacct:/docker/{A}\n1:name=systemd:/system.slice/docker.service\n0::/\n"
    );
    let place = parse(&text);
    assert_eq!(place.container, Some(Container { id: A.to_owned(), runtime: Some("docker") }));
    // The unit of Docker's daemon is not the container's.
    assert_eq!(place.unit, None);
}

#[test]
fn a_pod_is_better_than_a_container_alone() {
    let text = format!("3:cpu:/docker/{B}\n2:memory:/kubepods/besteffort/pod{UID}/{A}\n");
    let place = parse(&text);
    assert_eq!(place.pod, PodUid::parse(UID));
    assert_eq!(place.container.map(|c| c.id), Some(A.to_owned()));
}

#[test]
fn nonsense_says_nothing() {
    for text in ["", ":", "0", "0:", "0::", "::", "\u{0}\n", "1:a", "0::////", "0::/../.."] {
        assert_eq!(parse(text), Place::default(), "{text:?}");
    }
}

#[test]
fn pod_uids_are_read_in_all_their_spellings_and_no_other() {
    let uid = PodUid::parse(UID);
    assert!(uid.is_some());
    assert_eq!(PodUid::parse(UID_), uid);
    assert_eq!(PodUid::parse(&UID.replace('-', "")), uid);
    for bad in ["", "8dbc5577", "8dbc5577-d0e2-4706-8787-57d52c03ddf", "8dbc5577-d0e2-4706-8787-57d52c03ddfg"]
    {
        assert_eq!(PodUid::parse(bad), None, "{bad}");
    }
    assert_eq!(PodUid::parse("8-dbc5577d0e247068787-57d52c03ddf2aa"), None);
}
