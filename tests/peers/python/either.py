"""A server that takes plaintext and TLS on one port, with and without a client certificate, from TLS 1.0 on: how a connection is
protected is the client's choice."""

import socket
import ssl
import sys
import threading
import warnings

address, port, certificate, key, ca = sys.argv[1:6]
warnings.simplefilter("ignore", DeprecationWarning)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_ciphers("ALL:@SECLEVEL=0")
context.minimum_version = ssl.TLSVersion.TLSv1
context.load_cert_chain(certificate, key)
context.load_verify_locations(ca)
context.verify_mode = ssl.CERT_OPTIONAL
HANDSHAKE = b"\x16"


def serve(connection):
    try:
        connection.settimeout(10)
        if connection.recv(1, socket.MSG_PEEK) == HANDSHAKE:
            connection = context.wrap_socket(connection, server_side=True)
        if connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n")
    except OSError:
        pass  # clients that give up are what some cases are about
    finally:
        connection.close()


with socket.create_server((address, int(port)), backlog=128) as listener:
    print("listening", flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
