#!/usr/bin/env python3
"""Records the byte streams of this directory: real handshakes between openssl's s_server and s_client through a TCP
proxy that writes down what each side sent, in order. One line a chunk: `C` or `S` (client, server), then hex.

Needs openssl 3.0 or later. Usage: make.py [NAME...]; without names everything is made again."""
import os, select, socket, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = tempfile.mkdtemp()
W = lambda name: os.path.join(WORK, name)


def run(*args, **kw):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)


def certificates():
    for name in ("ca", "other"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
            "-keyout", W(name + ".key"), "-out", W(name + ".pem"), "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for name, ca in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", W(name + ".key"),
            "-out", W(name + ".csr"), "-subj", f"/O=tlsight/CN={name}")
        with open(W("ext"), "w") as f:
            f.write(f"subjectAltName=DNS:{name}.test\nextendedKeyUsage=serverAuth,clientAuth\n")
        run("openssl", "x509", "-req", "-in", W(name + ".csr"), "-CA", W(ca + ".pem"), "-CAkey", W(ca + ".key"),
            "-days", "3650", "-extfile", W("ext"), "-out", W(name + ".pem"))


def ocsp_response():
    """What s_server staples."""
    serial = subprocess.run(["openssl", "x509", "-in", W("server.pem"), "-noout", "-serial"], check=True, capture_output=True,
                            text=True).stdout.strip().split("=")[1]
    with open(W("index"), "w") as f:
        f.write(f"V\t351231235959Z\t\t{serial}\tunknown\t/O=tlsight/CN=server\n")
    run("openssl", "ocsp", "-issuer", W("ca.pem"), "-cert", W("server.pem"), "-reqout", W("status.req"))
    run("openssl", "ocsp", "-index", W("index"), "-CA", W("ca.pem"), "-rsigner", W("ca.pem"), "-rkey", W("ca.key"),
        "-reqin", W("status.req"), "-respout", W("status.der"), "-ndays", "3650")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proxy:
    """Forwards one connection after the other and keeps what it saw of each."""

    def __init__(self, upstream):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.upstream, self.seen = upstream, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.upstream))
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            chunks = []
            self.seen.append(chunks)
            open_ = {client: (server, "C"), server: (client, "S")}
            while open_:
                for s in select.select(list(open_), [], [])[0]:
                    other, letter = open_[s]
                    try:
                        data = s.recv(65536)
                    except OSError:
                        data = b""
                    if data:
                        chunks.append((letter, data))
                        try:
                            other.sendall(data)
                        except OSError:
                            pass
                    else:
                        del open_[s]
                        try:
                            other.shutdown(socket.SHUT_WR)
                        except OSError:
                            pass
            client.close()
            server.close()


def write(name, chunks):
    with open(os.path.join(HERE, name + ".stream"), "w") as f:
        for letter, data in chunks:
            f.write(f"{letter} {data.hex()}\n")
    print(name, [(letter, len(data)) for letter, data in chunks])


def wait_port(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)  # a server's start cannot be awaited otherwise
    raise SystemExit("server did not start")


def s_server(*args):
    port = free_port()
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", str(port), "-cert", W("server.pem"), "-key", W("server.key"), "-CAfile", W("ca.pem"),
         # s_server cannot both reverse lines and take early data.
         *(["-quiet"] if "-early_data" in args else ["-rev", "-quiet"]), *args], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_port(port)
    return server, port


def s_client(port, *args, name="server.test"):
    sni = ["-servername", name] if name else ["-noservername"]
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *sni, *args],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        client.stdin.write(b"hello\n")
        client.stdin.flush()
    except OSError:
        pass
    until = time.time() + 1
    out = b""
    while time.time() < until and b"olleh" not in out:
        if select.select([client.stdout], [], [], 0.1)[0]:
            data = os.read(client.stdout.fileno(), 65536)
            if not data:
                break
            out += data
    try:
        client.stdin.close()
    except OSError:
        pass
    client.wait(5)


CERT = ["-cert", W("client.pem"), "-key", W("client.key")]
STRANGER = ["-cert", W("stranger.pem"), "-key", W("stranger.key")]
ASK = ["-verify", "2"]
REQUIRE = ["-Verify", "2", "-verify_return_error"]
# name: (server arguments, [client arguments, one list for every connection made; the last one is written])
CASES = {
    "tls12_none": (["-tls1_2"], [[]]),
    "tls12_declined": (["-tls1_2", *ASK], [[]]),
    "tls12_sent": (["-tls1_2", *REQUIRE], [CERT]),
    "tls12_required_missing": (["-tls1_2", *REQUIRE], [[]]),
    "tls12_stranger": (["-tls1_2", *REQUIRE], [STRANGER]),
    "tls12_client_rejects": (["-tls1_2"], [["-verify_return_error", "-CAfile", W("other.pem")]]),
    "tls12_rsa_kx_chacha": (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], [[]]),
    "tls12_status": (["-tls1_2", "-status_file", W("status.der")], [["-status"]]),
    "tls12_ticket": (["-tls1_2", *REQUIRE], [[*CERT, "-sess_out", W("s1")], [*CERT, "-sess_in", W("s1")]]),
    "tls12_id": (["-tls1_2", "-no_ticket", *REQUIRE], [[*CERT, "-sess_out", W("s2")], [*CERT, "-sess_in", W("s2")]]),
    "tls10_none": (["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], [["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"]]),
    "tls13_none": (["-tls1_3"], [[]]),
    "tls13_declined": (["-tls1_3", *ASK], [[]]),
    "tls13_sent": (["-tls1_3", *REQUIRE], [CERT]),
    "tls13_sent_no_tickets": (["-tls1_3", "-num_tickets", "0", *REQUIRE], [CERT]),
    "tls13_sha256": (["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], [[]]),
    "tls13_ccm8_declined": (["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256", *ASK],
                            [["-ciphersuites", "TLS_AES_128_CCM_8_SHA256"]]),
    "tls13_required_missing": (["-tls1_3", *REQUIRE], [[]]),
    "tls13_stranger": (["-tls1_3", *REQUIRE], [STRANGER]),
    "tls13_client_rejects": (["-tls1_3"], [["-verify_return_error", "-CAfile", W("other.pem")]]),
    "tls13_retry_none": (["-tls1_3", "-groups", "P-384"], [["-groups", "X25519:P-384"]]),
    "tls13_retry_sent": (["-tls1_3", "-groups", "P-384", *REQUIRE], [["-groups", "X25519:P-384", *CERT]]),
    "tls13_resumed": (["-tls1_3"], [["-sess_out", W("s3")], ["-sess_in", W("s3")]]),
    "tls13_early_data": (["-tls1_3", "-early_data", "-no_anti_replay"],
                         [["-sess_out", W("s4")], ["-sess_in", W("s4"), "-early_data", W("early")]]),
    "version_mismatch": (["-tls1_2"], [["-tls1_3"]]),
}


def cases(names):
    for name, (server_args, clients) in CASES.items():
        if names and name not in names:
            continue
        server, port = s_server(*server_args)
        proxy = Proxy(port)
        for args in clients:
            s_client(proxy.port, *args)
        time.sleep(0.2)
        server.kill()
        write(name, proxy.seen[-1])
        if name in ("tls12_ticket", "tls12_id"):
            write(name + "_first", proxy.seen[0])


def early_data_rejected():
    """A second server has other ticket keys: neither the PSK nor the early data is accepted."""
    for name, args, client in (("tls13_early_data_rejected", [], []), ("tls13_early_data_rejected_sent", REQUIRE, CERT)):
        first, port = s_server("-tls1_3", "-early_data", "-no_anti_replay")
        s_client(port, "-sess_out", W("s5"))
        first.kill()
        second, port = s_server("-tls1_3", "-early_data", "-no_anti_replay", *args)
        proxy = Proxy(port)
        s_client(proxy.port, "-sess_in", W("s5"), "-early_data", W("early"), *client)
        time.sleep(0.2)
        second.kill()
        write(name, proxy.seen[-1])


def talker(script):
    """A server that answers each line (or first bytes) by a script of (wait for, say) and then hands over to s_server."""
    server, tls_port = s_server("-tls1_3")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for wait, say in script:
            got = b""
            while wait not in got:
                data = client.recv(1) if wait else b""
                if not data and wait:
                    return
                got += data
                if not wait:
                    break
            client.sendall(say)
        upstream = socket.create_connection(("127.0.0.1", tls_port))
        pairs = {client: upstream, upstream: client}
        while True:
            for s in select.select(list(pairs), [], [])[0]:
                data = s.recv(65536)
                if not data:
                    client.close()
                    upstream.close()
                    return
                pairs[s].sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    return server, listener.getsockname()[1]


def starttls():
    smtp = [(b"", b"220 mail.test ESMTP\r\n"), (b"\r\n", b"250-mail.test\r\n250 STARTTLS\r\n"), (b"\r\n", b"220 go ahead\r\n")]
    for name, script, args in (
        ("smtp_starttls", smtp, ["-starttls", "smtp"]),
        ("postgres_tls", [(b"\x04\xd2\x16\x2f", b"S")], ["-starttls", "postgres"]),
    ):
        server, port = talker(script)
        proxy = Proxy(port)
        s_client(proxy.port, *args)
        time.sleep(0.2)
        server.kill()
        write(name, proxy.seen[-1])


def plaintext_answer():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        client.recv(65536)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        client.close()

    threading.Thread(target=serve, daemon=True).start()
    proxy = Proxy(listener.getsockname()[1])
    s_client(proxy.port)
    time.sleep(0.2)
    write("http_answers_tls", proxy.seen[-1])


if __name__ == "__main__":
    names = sys.argv[1:]
    certificates()
    ocsp_response()
    with open(W("early"), "w") as f:
        f.write("early hello\n")
    cases(names)
    if not names:
        early_data_rejected()
        starttls()
        plaintext_answer()
    run("rm", "-rf", WORK)
