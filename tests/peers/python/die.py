"""Processes that die in the middle of a TLS 1.3 handshake: `die.py client ADDRESS PORT COUNT CA CERT KEY` makes them one
after the other; each has parsed the server's certificates and sends nothing any more. `die.py server PORT CERT KEY`: each
connection is accepted by a process that dies as soon as its flight is sent."""

import os
import signal
import socket
import ssl
import sys


def shake(obj, incoming, outgoing, sock, steps):
    """Goes on until the handshake is done on this side, or until the peer was read from `steps` times."""
    while True:
        try:
            return obj.do_handshake()
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            if steps == 0:
                return None
            steps -= 1
            incoming.write(sock.recv(65536))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def client(address, port, count, ca, cert, key):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.minimum_version = ssl.TLSVersion.TLSv1_3
    ctx.load_verify_locations(ca)
    ctx.load_cert_chain(cert, key)
    for _ in range(int(count)):
        pid = os.fork()
        if pid == 0:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            sock = socket.create_connection((address, int(port)))
            obj = ctx.wrap_bio(incoming, outgoing, server_hostname="server.tlsight.test")
            shake(obj, incoming, outgoing, sock, 10)
            die()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    print("all died", flush=True)


def server(port, cert, key):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(cert, key)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("0.0.0.0", int(port)), backlog=64) as listener:
        print("listening", flush=True)
        while True:
            conn, _ = listener.accept()
            if os.fork() == 0:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                obj = ctx.wrap_bio(incoming, outgoing, server_side=True)
                shake(obj, incoming, outgoing, conn, 1)
                die()
            conn.close()


if __name__ == "__main__":
    {"client": client, "server": server}[sys.argv[1]](*sys.argv[2:])
