#!/usr/bin/env python3
"""Records the captures in this folder from real programs talking over the loopback interface.

    tests/captures/record.py [NAME...]     all of them, or only those named

Needs root (or the right to capture), dumpcap, openssl, nginx, curl and redis. A recorded capture is new bytes: bless its golden file
afterwards (see README.md) and read the difference.
"""

import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(tempfile.mkdtemp(prefix="record-"))
CAPTURES = {}


def capture(name, ports):
    """Registers a function that makes the traffic of one capture file."""

    def register(function):
        CAPTURES[name] = (function, ports)
        return function

    return register


def run(*command, check=True, stdin=b"", timeout=20):
    result = subprocess.run(command, input=stdin, capture_output=True, cwd=WORK, timeout=timeout)
    if check and result.returncode != 0:
        raise SystemExit(f"{command} failed:\n{result.stderr.decode(errors='replace')}")
    return result


def wait_for(port):
    """Until something listens there, without connecting: that would be in the capture."""
    deadline = time.monotonic() + 10
    wanted = f":{port:04X}"
    while time.monotonic() < deadline:
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in pathlib.Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


@contextlib.contextmanager
def server(port, *command):
    process = subprocess.Popen(
        command, cwd=WORK, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port)
        yield process
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def dumpcap(path, ports):
    expression = " or ".join(f"tcp port {port}" for port in ports)
    command = ["dumpcap", "-q", "-i", "lo", "-f", expression, "-w", str(path), "-P"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("File:"):
            break
    else:
        raise SystemExit("dumpcap does not start: is this root?")
    time.sleep(0.3)
    yield
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    process.wait(10)


def certificates():
    """A CA, a server's and a client's certificate."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
        "-subj", "/O=tlsight test/CN=tlsight test CA", "-keyout", "ca.key", "-out", "ca.pem")
    for name, subject, san, usage in [
        ("server", "/CN=server.test", "DNS:server.test,DNS:*.server.test,IP:127.0.0.1", "serverAuth"),
        ("client", "/O=tlsight test/CN=alice", "URI:spiffe://test.example/ns/default/sa/alice,email:alice@test.example",
         "clientAuth"),
    ]:
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", f"{name}.key",
            "-out", f"{name}.csr")
        (WORK / f"{name}.ext").write_text(f"subjectAltName={san}\nextendedKeyUsage={usage}\n")
        run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "365", "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def s_server(port, *options):
    return server(port, "openssl", "s_server", "-accept", str(port), "-cert", "server.pem", "-key", "server.key",
                  "-CAfile", "ca.pem", "-quiet", *options)


def s_client(port, *options, check=True, name="server.test"):
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, "-CAfile", "ca.pem", *options]
    # Session tickets of TLS 1.3 come after the handshake: standard input stays open for them.
    return run("sh", "-c", f"(echo hello; sleep 0.2) | {shlex.join(command)}", check=check)


CLIENT = ("-cert", "client.pem", "-key", "client.key")


@capture("openssl-tls12.pcapng", [24430, 24431, 24432])
def openssl_tls12():
    with s_server(24430, "-tls1_2"):
        s_client(24430, "-tls1_2")
        s_client(24430, "-tls1_2", "-sess_out", "session12")
        s_client(24430, "-tls1_2", "-sess_in", "session12")
    with s_server(24431, "-tls1_2", "-verify", "2"):
        s_client(24431, "-tls1_2", *CLIENT)
        s_client(24431, "-tls1_2")
    with s_server(24432, "-tls1_2", "-Verify", "2"):
        s_client(24432, "-tls1_2", check=False)
        s_client(24432, "-tls1_2", "-cipher", "kRSA", check=False)


@capture("openssl-tls13.pcapng", [24433, 24434, 24435, 24436])
def openssl_tls13():
    with s_server(24433):
        s_client(24433)
        s_client(24433, "-sess_out", "session13")
        s_client(24433, "-sess_in", "session13")
        s_client(24433, "-tls1_3", "-alpn", "h2,http/1.1", name="other.server.test")
    with s_server(24434, "-verify", "2"):
        s_client(24434, *CLIENT)
        s_client(24434)
    with s_server(24435, "-Verify", "2"):
        s_client(24435, check=False)
    # The client's first key share is of a group that the server does not take: HelloRetryRequest.
    with s_server(24436, "-groups", "P-384"):
        s_client(24436, "-groups", "X25519:P-384")


@capture("nginx-curl.pcapng", [28080, 28443, 28444])
def nginx_curl():
    (WORK / "nginx.conf").write_text(f"""
        daemon off; pid {WORK}/nginx.pid; error_log {WORK}/error.log; worker_processes 1;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {WORK}/b; proxy_temp_path {WORK}/p; fastcgi_temp_path {WORK}/f;
            uwsgi_temp_path {WORK}/u; scgi_temp_path {WORK}/s;
            ssl_certificate {WORK}/server.pem; ssl_certificate_key {WORK}/server.key;
            server {{ listen 127.0.0.1:28080; listen [::1]:28080; return 200 "hello\\n"; }}
            server {{ listen 127.0.0.1:28443 ssl http2; return 200 "hello\\n"; }}
            server {{
                listen 127.0.0.1:28444 ssl; ssl_protocols TLSv1.2 TLSv1.3;
                ssl_client_certificate {WORK}/ca.pem; ssl_verify_client on; return 200 "hello\\n";
            }}
        }}
    """)
    resolve = ["--resolve", "server.test:28443:127.0.0.1", "--resolve", "server.test:28444:127.0.0.1"]
    curl = ["curl", "-sS", "--noproxy", "*", "--cacert", "ca.pem", *resolve]
    with server(28443, "nginx", "-p", str(WORK), "-c", f"{WORK}/nginx.conf"):
        run(*curl, "http://127.0.0.1:28080/")
        run(*curl, "http://[::1]:28080/")
        run(*curl, "--http2-prior-knowledge", "http://127.0.0.1:28080/", check=False)
        run(*curl, "https://server.test:28443/")
        run(*curl, "--tlsv1.2", "--tls-max", "1.2", "https://server.test:28443/")
        run(*curl, "--cert", "client.pem", "--key", "client.key", "https://server.test:28444/")
        run(*curl, "--tls-max", "1.2", "--cert", "client.pem", "--key", "client.key", "https://server.test:28444/")
        run(*curl, "https://server.test:28444/")


@capture("redis.pcap", [36379, 36380])
def redis():
    with server(36380, "redis-server", "--port", "36379", "--tls-port", "36380", "--tls-cert-file", "server.pem",
                "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem", "--save", "", "--bind", "127.0.0.1"):
        run("redis-cli", "-p", "36379", "ping")
        run("redis-cli", "-p", "36380", "--tls", "--cacert", "ca.pem", "--cert", "client.pem", "--key", "client.key", "ping")
        run("redis-cli", "-p", "36380", "--tls", "--cacert", "ca.pem", check=False, stdin=b"ping\n")


@capture("edge.pcap", [25001, 25002, 25003])
def edge():
    """What is no handshake: a refused connection, one without data, one that is reset, one that stays open."""
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 25001))
    listener = socket.create_server(("127.0.0.1", 25002))
    silent = socket.create_connection(("127.0.0.1", 25002))
    accepted, _ = listener.accept()
    silent.close()
    accepted.close()
    reset = socket.create_connection(("127.0.0.1", 25002))
    accepted, _ = listener.accept()
    reset.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.close()
    reset.close()
    global STAYS_OPEN
    STAYS_OPEN = (socket.create_connection(("127.0.0.1", 25002)), listener.accept()[0])
    STAYS_OPEN[0].sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")


def main():
    for tool in ("dumpcap", "editcap", "openssl", "nginx", "curl", "redis-server", "redis-cli"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not installed")
    names = sys.argv[1:] or CAPTURES
    certificates()
    for name in names:
        function, ports = CAPTURES[name]
        path = WORK / "capture.pcap"
        with dumpcap(path, ports):
            function()
        # The pcapng that dumpcap writes describes the machine; editcap's does not.
        run("editcap", "-F", name.rpartition(".")[2], str(path), str(HERE / name))
        print(f"{name}: {os.path.getsize(HERE / name)} bytes")


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(WORK)
