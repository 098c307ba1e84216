"""A TLS server and client on Python's blocking sockets."""

import json
import socket
import ssl
import threading

from common import REQUEST, RESPONSE, arguments, context, said


def serve_one(ctx, conn):
    try:
        with ctx.wrap_socket(conn, server_side=True) as tls:
            data = b""
            while b"\r\n\r\n" not in data:
                more = tls.recv(4096)
                if not more:
                    return
                data += more
            tls.sendall(RESPONSE)
            tls.unwrap()
    except OSError as e:
        print(f"connection failed: {e}", flush=True)


def server(a):
    ctx = context(a)
    family = socket.AF_INET6 if ":" in a.address else socket.AF_INET
    with socket.create_server((a.address, a.port), family=family, backlog=64, dualstack_ipv6=a.address == "::") as listener:
        print("listening", flush=True)
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=serve_one, args=(ctx, conn), daemon=True).start()


class Drip:
    """TLS over a memory BIO whose output goes out one byte a segment, handshake and data alike."""

    def __init__(self, ctx, sock, name):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.obj = ctx.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def flush(self):
        for byte in self.outgoing.read():
            self.sock.sendall(bytes([byte]))

    def run(self, step):
        while True:
            try:
                result = step()
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()


def once(a, ctx, session):
    with socket.create_connection((a.address, a.port)) as sock:
        if a.drip:
            drip = Drip(ctx, sock, a.name)
            drip.run(drip.obj.do_handshake)
            drip.run(lambda: drip.obj.write(REQUEST))
            body = b""
            while True:
                try:
                    more = drip.run(lambda: drip.obj.read(4096))
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    break
                if not more:
                    break
                body += more
            return said(drip.obj) | {"body": body.decode()}, None
        with ctx.wrap_socket(sock, server_hostname=a.name, session=session) as tls:
            tls.sendall(REQUEST)
            body = b""
            while more := tls.recv(4096):
                body += more
            return said(tls) | {"body": body.decode()}, tls.session


def client(a):
    ctx = context(a)
    session = None
    for _ in range(a.times):
        try:
            result, session = once(a, ctx, session)
        except OSError as e:
            result = {"error": str(e)}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    args = arguments()
    {"server": server, "client": client}[args.mode](args)
