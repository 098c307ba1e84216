#!/usr/bin/env python3
"""Makes the seeds of the targets that read text: from what is elsewhere in this repository, and written out here."""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent
ROOT = HERE / "../../.."
CONTAINER = "0123456789abcdef" * 4


def write(target, name, data):
    (HERE / target).mkdir(exist_ok=True)
    (HERE / target / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def config():
    text = (ROOT / "docs/configuration.md").read_text()
    for n, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.S)):
        write("config", f"documented_{n}.yaml", block)
    write("config", "capture.yaml", "capture: {max_connections: 1000, ring_buffer: 65536}\nagent: {reload: off}\n")
    write("config", "metrics.yaml", "metrics:\n  listen: 127.0.0.1:0\n  tls: {certificate: a, key: b, client_ca: c}\n")


def rego():
    folder = ROOT / "docs/examples/rego"
    connection = (folder / "connection.json").read_text()
    for file in folder.glob("*.rego"):
        write("rego", file.stem, file.read_text() + "\0" + connection)
    write("rego", "findings", "\0" + json.dumps([{"id": "a", "severity": "critical", "message": "m", "evidence": {"k": 1}}]))


def report():
    for file in sorted((ROOT / "tests/golden").glob("**/*.json*"))[:12]:
        lines = file.read_bytes().splitlines(keepends=True)
        write("report", f"golden_{file.stem}", b"".join(lines[:6]))
    for file in (ROOT / "tests/reports").glob("[nr]*.json"):
        write("report", file.name, file.read_bytes())


def procfs():
    write("procfs", "stat", "7 (a) b) S 1 7 7 0 -1 4 100 0 0 0 250 50 9 9 20 0 1 0 5000 0 0")
    write("procfs", "cmdline", b"/usr/bin/nginx\0-c\0/etc/nginx.conf\0\0\0")
    write("procfs", "net", "net:[4026531840]")
    write("procfs", "maps", "7f2a8c000000-7f2a8c021000 r-xp 00000000 fe:00 326279    /usr/lib/libc.so.6\n"
          "7f2a8d000000-7f2a8d021000 r--p 00000000 fe:00 326280    /a b (deleted)\n")
    write("procfs", "cgroup_pod", "0::/kubepods.slice/kubepods-burstable.slice/"
          f"kubepods-burstable-pod01234567_89ab_cdef_0123_456789abcdef.slice/cri-containerd-{CONTAINER}.scope\n")
    write("procfs", "cgroup_docker", f"12:memory:/docker/{CONTAINER}\n0::/system.slice/docker-{CONTAINER}.scope\n")
    write("procfs", "cgroup_unit", "0::/system.slice/nginx.service\n")


def netlink():
    text = (ROOT / "agent/src/enrich/conntrack/tests.rs").read_text()
    for name, body in re.findall(r'const (\w+): &str = "(.*?)";', text, re.S):
        digits = re.sub(r"[^0-9a-fA-F]", "", body)
        data = bytearray.fromhex(digits[: len(digits) // 2 * 2])
        if len(data) >= 16:
            data[8:12] = (7).to_bytes(4, "little")  # the question that is asked in the target
            write("netlink", name.lower(), bytes(data))


def kubernetes():
    meta = {"name": "a", "namespace": "shop", "uid": "01234567-89ab-cdef-0123-456789abcdef", "labels": {"app": "a"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "a-1", "uid": "u", "apiVersion": "apps/v1", "controller": True}]}
    ports = [{"name": "https", "port": 443, "targetPort": "https", "nodePort": 30443, "protocol": "TCP"}]
    status = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "phase": "Running",
              "containerStatuses": [{"name": "c", "containerID": f"containerd://{CONTAINER}"}]}
    write("kubernetes", "pod", json.dumps({"metadata": meta, "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [
        {"containerPort": 8443, "name": "https"}]}]}, "status": status}))
    write("kubernetes", "service", json.dumps({"metadata": meta, "spec": {
        "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "type": "NodePort", "ports": ports, "selector": {"app": "a"}}}))
    write("kubernetes", "node", json.dumps({"metadata": meta, "spec": {"podCIDR": "10.0.0.0/24"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}))
    write("kubernetes", "slice", json.dumps({"metadata": meta | {"labels": {"kubernetes.io/service-name": "a"}},
        "addressType": "IPv4", "ports": [{"name": "https", "port": 8443}],
        "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "a", "uid": "u"}}]}))
    write("kubernetes", "replica_set", json.dumps({"metadata": meta}))


def endpoint():
    write("endpoint", "metrics", "GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\n"
          "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\nAccept-Encoding: gzip;q=0.5\r\n\r\n")
    write("endpoint", "two", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nHEAD /readyz HTTP/1.0\r\n\r\n")
    write("endpoint", "body", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")


def trust():
    import base64
    for n, file in enumerate(sorted((ROOT / "agent-core/fuzz/seeds/certificate").iterdir())[:3]):
        if file.suffix in (".der", ".crt", ""):
            body = base64.encodebytes(file.read_bytes()).decode()
            write("trust", f"{n}.pem", f"# a comment\n-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")


def main():
    for make in (config, rego, report, procfs, netlink, kubernetes, endpoint, trust):
        make()
    output = HERE / "output"
    if not output.exists():
        output.symlink_to("pcap")


main()
