"""A TLS server whose workers inherit the listening socket, and which asks for client certificates:
`prefork_tls.py PORT CA CERT KEY`."""

import os
import socket
import ssl
import sys

from common import RESPONSE

port, ca, cert, key = sys.argv[1:]
ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
ctx.verify_mode = ssl.CERT_REQUIRED
ctx.load_verify_locations(ca)
ctx.load_cert_chain(cert, key)
with socket.create_server(("0.0.0.0", int(port)), backlog=1024) as listener:
    for _ in range(4):
        if os.fork() == 0:
            break
    else:
        print("listening", flush=True)
        while True:
            os.wait()
    while True:
        conn, _ = listener.accept()
        try:
            with ctx.wrap_socket(conn, server_side=True) as tls:
                tls.recv(4096)
                tls.sendall(RESPONSE)
                tls.recv(4096)
        except OSError as e:
            print("connection failed:", e, flush=True)
