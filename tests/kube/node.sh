#!/usr/bin/env bash
# A Kubernetes node of its own (1.20, control plane and kubelet) for tests: processes, mounts and network in namespaces
# that end with it.
# usage: node.sh serve STATE BIN     run it until it is stopped; prints `node.sh: ready`. BIN: the programs of build.sh
#        node.sh load STATE TAR      import an image archive
#        node.sh run STATE CMD...    run CMD on the node, with KUBECONFIG set
#        node.sh stop-api STATE      end the API server; start-api begins it again
#        node.sh clean STATE         end it if it runs, and remove what is left: control groups, STATE
# The API server is at https://10.99.0.1:16443 from the host too, which is 10.99.0.2 to the node; pods are in 10.98.0.0/24.
# Services work (kube-proxy, iptables); there is no DNS.
# Needs root and, from Debian: etcd-server containerd runc containernetworking-plugins iproute2 iptables conntrack openssl
# kubernetes-client.
set -euo pipefail
cmd=$1 st=$2
shift 2
fail() { echo "node.sh: $*" >&2; exit 1; }
# The first process of the node's namespaces.
root() { cat "$st/pid" 2>/dev/null; }
inside() {
  nsenter --target "$(root)" --mount --net --pid --wd=/ -- env KUBECONFIG="$st/kubeconfig" "$@"
}

write_configuration() {
  openssl genrsa -out "$st/sa.key" 2048 2>/dev/null
  openssl rsa -in "$st/sa.key" -pubout -out "$st/sa.pub" 2>/dev/null
  printf 'admin,admin,1,system:masters\nlimited,limited,2\n' >"$st/tokens.csv"
  # `limited` may do what its role says, which the tests give it.
  for user in admin limited; do
    cat >"$st/kubeconfig-$user" <<X
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://10.99.0.1:16443', insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: $user}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
X
  done
  cp "$st/kubeconfig-admin" "$st/kubeconfig"
  cat >"$st/containerd.toml" <<X
version = 2
root = "$st/images"
state = "/run/containerd/state"
[grpc]
 address = "/run/containerd/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
 sandbox_image = "registry.k8s.io/pause:3.2"
 disable_apparmor = true
 restrict_oom_score_adj = true
 [plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$st/cni"
 [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
X
  cat >"$st/cni/10.conflist" <<X
{"cniVersion": "0.4.0", "name": "n", "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "dataDir": "$st/addresses",
 "subnet": "10.98.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}]}
X
  cat >"$st/kubelet.yaml" <<X
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
port: 16250
readOnlyPort: 0
healthzPort: 16248
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupsPerQOS: true
cgroupRoot: /
enforceNodeAllocatable: []
failSwapOn: false
makeIPTablesUtilChains: false
maxPods: 200
nodeStatusUpdateFrequency: 2s
nodeStatusReportFrequency: 1m
evictionHard: {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"}
volumePluginDir: $st/volumeplugins
X
  cat >"$st/api" <<X
#!/bin/sh
# Runs on the node.
exec $bin/kube-apiserver --etcd-servers=http://127.0.0.1:22379 --bind-address=0.0.0.0 --advertise-address=10.99.0.1 --secure-port=16443 --insecure-port=0 --cert-dir=$st/certs --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=$st/sa.pub --service-account-signing-key-file=$st/sa.key --token-auth-file=$st/tokens.csv --authorization-mode=Node,RBAC --service-cluster-ip-range=10.97.0.0/24 --allow-privileged=true --kubelet-preferred-address-types=InternalIP >>$st/log/apiserver 2>&1
X
  chmod +x "$st/api"
}

# Runs as the first process of the node's namespaces.
write_boot() {
  cat >"$st/boot" <<X
#!/bin/bash
set -u
mount --make-rprivate /
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/containerd
mount -t tmpfs tmpfs /var/log
# Programs that keep things in fixed places keep them with the rest.
for dir in /var/lib /etc /opt; do
  case $st in \$dir/*) continue ;; esac
  mkdir -p $st/over\$dir/{upper,work}
  mount -t overlay overlay -o lowerdir=\$dir,upperdir=$st/over\$dir/upper,workdir=$st/over\$dir/work \$dir
done
# kubelet insists on settings of the whole kernel: it may have them in files of its own.
for f in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  n=$st/fake/\${f//\//_}
  cat /proc/sys/\$f >\$n
  mount --bind \$n /proc/sys/\$f
done
ip link set lo up
until ip link show v0 >/dev/null 2>&1; do sleep 0.05; done
ip addr add 10.99.0.1/24 dev v0
ip link set v0 up
ip route add default via 10.99.0.2 dev v0
echo 1 >/proc/sys/net/ipv4/ip_forward
etcd --data-dir /run/etcd --listen-client-urls http://127.0.0.1:22379 --advertise-client-urls http://127.0.0.1:22379 --listen-peer-urls http://127.0.0.1:22380 >$st/log/etcd 2>&1 &
containerd -c $st/containerd.toml >$st/log/containerd 2>&1 &
until (echo >/dev/tcp/127.0.0.1/22379) 2>/dev/null; do sleep 0.1; done
$st/api &
echo \$! >$st/api.pid
until [ "\$(kubectl --kubeconfig $st/kubeconfig get --raw /readyz 2>/dev/null)" = ok ]; do sleep 0.3; done
$bin/kubelet --config=$st/kubelet.yaml --kubeconfig=$st/kubeconfig --root-dir=$st/kubelet --cert-dir=$st/pki --container-runtime=remote --container-runtime-endpoint=unix:///run/containerd/c.sock --hostname-override=node-a --node-ip=10.99.0.1 --register-node=true >$st/log/kubelet 2>&1 &
$bin/kube-controller-manager --kubeconfig=$st/kubeconfig --service-account-private-key-file=$st/sa.key --root-ca-file=$st/certs/apiserver.crt --leader-elect=false --bind-address=127.0.0.1 --secure-port=16444 --port=0 --allocate-node-cidrs=true --cluster-cidr=10.98.0.0/16 --configure-cloud-routes=false --kube-api-qps=200 --kube-api-burst=400 --concurrent-gc-syncs=40 >$st/log/controller-manager 2>&1 &
$bin/kube-scheduler --kubeconfig=$st/kubeconfig --leader-elect=false --bind-address=127.0.0.1 --secure-port=16445 --port=0 >$st/log/scheduler 2>&1 &
$bin/kube-proxy --kubeconfig=$st/kubeconfig --proxy-mode=iptables --cluster-cidr=10.98.0.0/16 --hostname-override=node-a --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0 --healthz-bind-address=127.0.0.1:16246 --metrics-bind-address=127.0.0.1:16249 >$st/log/kube-proxy 2>&1 &
while :; do wait; sleep 1; done
X
  chmod +x "$st/boot"
}

# Beside the node, as a child of what becomes `unshare`: joins it to the host, waits until it is ready.
settle() {
  local pid='' own=$1 child
  while [ -z "$pid" ]; do
    sleep 0.05
    [ -d "/proc/$own" ] || return 1
    for child in $(pgrep -P "$own"); do
      # The only child in another network than this.
      [ "$(readlink "/proc/$child/ns/net" 2>/dev/null)" = "$(readlink /proc/self/ns/net)" ] || pid=$child
    done
  done
  echo "$pid" >"$st/pid"
  nsenter --target "$pid" --net -- ip link add v0 type veth peer name tlsight-kube netns "$BASHPID"
  ip addr add 10.99.0.2/24 dev tlsight-kube
  ip link set tlsight-kube up
  ip route add 10.98.0.0/24 via 10.99.0.1
  for _ in $(seq 240); do
    sleep 0.5
    [ -d "/proc/$pid" ] || break
    if inside kubectl get nodes 2>/dev/null | grep -q ' Ready'; then
      echo "node.sh: ready"
      return 0
    fi
  done
  echo "node.sh: the node did not become Ready" >&2
  tail -n 5 "$st"/log/* >&2
  return 1
}

clean() {
  local pid
  # Another's control groups have the same names.
  [ -e "$st/boot" ] || return 0
  if pid=$(root) && [ -n "$pid" ] && grep -qsF "$st/boot" "/proc/$pid/cmdline"; then
    # The first process of a process namespace: the rest goes with it.
    kill -9 "$pid" || true
    for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
  fi
  # A control group can be removed once the last of its processes is.
  for _ in $(seq 100); do
    find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
    [ -z "$(find /sys/fs/cgroup -type d -path '*/kubepods*' -print -quit)" ] && break
    sleep 0.1
  done
  rm -rf "$st"
}

case $cmd in
serve)
  bin=$(cd "$1" && pwd)
  [ -e "$bin/complete" ] || fail "no Kubernetes in $bin: run build.sh first"
  for p in etcd containerd ctr runc kubectl ip iptables conntrack openssl nsenter unshare; do
    command -v "$p" >/dev/null || fail "$p is not installed"
  done
  mkdir -p "$st"
  st=$(cd "$st" && pwd)
  # Held by everything that runs on the node.
  exec 9>"$st.lock"
  flock --nonblock 9 || fail "a node runs in $st already"
  clean
  [ -z "$(find /sys/fs/cgroup -type d -name kubepods -print -quit)" ] || fail "a Kubernetes node runs on this host already"
  ! ip link show tlsight-kube >/dev/null 2>&1 || fail "another node runs on this host"
  mkdir -p "$st"/{fake,images,cni,kubelet,pki,log}
  write_configuration
  write_boot
  settle $$ &
  exec unshare --mount --net --pid --fork --kill-child --mount-proc -- "$st/boot" >"$st/log/boot" 2>&1 </dev/null
  ;;
load) inside ctr -a /run/containerd/c.sock -n k8s.io images import "$1" ;;
run) inside "$@" ;;
stop-api)
  # It waits a minute for those who watch, if it is let.
  inside sh -c "p=$(cat "$st/api.pid"); kill \$p; n=0; while kill -0 \$p 2>/dev/null; do n=\$((n + 1)); [ \$n = 20 ] && kill -9 \$p; sleep 0.1; done"
  ;;
start-api)
  # A child of the node's first process, as before.
  inside sh -c "setsid '$st/api' >/dev/null 2>&1 </dev/null & echo \$! >'$st/api.pid'"
  ;;
clean)
  [ -d "$st" ] || exit 0
  st=$(cd "$st" && pwd)
  clean
  ;;
*) fail "serve, load, run, stop-api, start-api or clean" ;;
esac
