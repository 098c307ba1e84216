"""A small world on loopback for `tlsight watch` to look at: servers and clients of several kinds of protection, one
connection after the other, until the process that started this one ends. Needs python3 and openssl."""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

PARENT = os.getppid()
BETWEEN_CONNECTIONS = 0.4
# The programs of the watcher are attached by then, so that the first connection is seen from its beginning.
START_AFTER = 1.5


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


def issue(directory, name, extensions):
    """A key, and a certificate from this world's own authority."""
    base = f"{directory}/{name}"
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", f"/CN={name}", "-keyout", f"{base}.key", "-out", f"{base}.csr")
    with open(f"{base}.ext", "w") as file:
        file.write(extensions)
    run("openssl", "x509", "-req", "-in", f"{base}.csr", "-CA", f"{directory}/ca.crt", "-CAkey", f"{directory}/ca.key",
        "-CAcreateserial", "-days", "30", "-extfile", f"{base}.ext", "-out", f"{base}.crt")
    return f"{base}.crt", f"{base}.key"


def authority(directory):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365",
        "-subj", "/CN=Demo CA", "-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.crt")
    return f"{directory}/ca.crt"


def serve(context=None, reply=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n"):
    """Answers every connection once; returns the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection):
        try:
            connection.settimeout(5)
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            if connection.recv(4096):
                connection.sendall(reply)
        except OSError:
            pass  # a client that is refused is part of the demo
        finally:
            connection.close()

    def loop():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]


def visit(port, context=None, name=None, request=b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n"):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if context:
                connection = context.wrap_socket(connection, server_hostname=name)
            connection.sendall(request)
            connection.recv(4096)
            connection.close()
    except OSError:
        pass


def server_context(identity, ca=None, version=ssl.TLSVersion.TLSv1_3):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*identity)
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca, identity=None):
    context = ssl.create_default_context(cafile=ca)
    if identity:
        context.load_cert_chain(*identity)
    return context


def main():
    with tempfile.TemporaryDirectory(prefix="tlsight-demo-") as directory:
        ca = authority(directory)
        shop = issue(directory, "shop.demo", "subjectAltName=DNS:shop.demo,DNS:pay.demo,DNS:old.demo")
        client = issue(directory, "cart", "subjectAltName=URI:spiffe://demo/ns/shop/sa/cart\nextendedKeyUsage=clientAuth")

        plain = serve()
        cache = serve(reply=b"+PONG\r\n")
        tls13 = serve(server_context(shop))
        mtls13 = serve(server_context(shop, ca))
        mtls12 = serve(server_context(shop, ca, ssl.TLSVersion.TLSv1_2))

        anonymous, known = client_context(ca), client_context(ca, client)
        visits = [
            lambda: visit(plain),
            lambda: visit(cache, request=b"*1\r\n$4\r\nPING\r\n"),
            lambda: visit(tls13, anonymous, "shop.demo"),
            lambda: visit(mtls13, known, "pay.demo"),
            lambda: visit(mtls12, known, "old.demo"),
            lambda: visit(mtls13, anonymous, "pay.demo"),
        ]
        time.sleep(START_AFTER)
        while True:
            for one in visits:
                if os.getppid() != PARENT:
                    return
                one()
                time.sleep(BETWEEN_CONNECTIONS)


try:
    main()
except KeyboardInterrupt:
    sys.exit(0)
