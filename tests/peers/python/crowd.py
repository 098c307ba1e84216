"""Many TLS connections at the same time, from one event loop or from threads: all TCP connections are there before the
first handshake begins, and stay until the last one is through. Prints one line of JSON a connection: its own port, the
server's, and SHA-256 of the certificate that the TLS library says the server showed. `crowd.py loop|threads FILE`; the file
is a JSON object:

address, ports   connection n goes to port n modulo their number
names            SNI for each port; none is sent where there are none
identities       pairs of certificate and key: connection n shows the nth modulo their number
count, ca
plain            a port that is talked to in plaintext between any two handshakes
"""

import asyncio
import concurrent.futures
import hashlib
import json
import resource
import socket
import ssl
import sys
import threading
import types

from common import REQUEST

TIMEOUT = 120


def arguments():
    with open(sys.argv[2]) as file:
        a = types.SimpleNamespace(how=sys.argv[1], **json.load(file))
    a.contexts = [context(a, identity) for identity in a.identities or [None]]
    return a


def context(a, identity):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.minimum_version = ssl.TLSVersion.TLSv1_3
    ctx.check_hostname = bool(a.names)
    ctx.load_verify_locations(a.ca)
    if identity:
        ctx.load_cert_chain(*identity)
    return ctx


def plan(a, n):
    at = n % len(a.ports)
    return a.ports[at], a.names[at] if a.names else "", a.contexts[n % len(a.contexts)]


def say(n, local, port, tls):
    seen = hashlib.sha256(tls.getpeercert(True)).hexdigest().upper()
    line = json.dumps({"number": n, "local": local, "server": port, "seen": seen})
    # In one write: threads share the output.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def talk(a, n, sock, through, end):
    port, name, ctx = plan(a, n)
    reader, writer = await asyncio.open_connection(
        sock=sock, ssl=ctx, server_hostname=name, ssl_handshake_timeout=TIMEOUT
    )
    writer.write(REQUEST)
    await reader.readuntil(b"200 OK")
    say(n, sock_port(writer), port, writer.get_extra_info("ssl_object"))
    through.append(n)
    if len(through) == a.count:
        end.set()
    await end.wait()
    writer.close()


def sock_port(writer):
    return writer.get_extra_info("sockname")[1]


async def plain(a, n):
    reader, writer = await asyncio.open_connection(a.address, a.plain)
    writer.write(REQUEST)
    await reader.read()
    print(json.dumps({"number": n, "local": sock_port(writer), "server": a.plain}), flush=True)
    writer.close()


async def loop(a):
    running = asyncio.get_running_loop()
    socks = [socket.socket() for _ in range(a.count)]
    for sock in socks:
        sock.setblocking(False)
    await asyncio.gather(*(running.sock_connect(s, (a.address, plan(a, n)[0])) for n, s in enumerate(socks)))
    through, end, tasks = [], asyncio.Event(), []
    for n, sock in enumerate(socks):
        tasks.append(talk(a, n, sock, through, end))
        if a.plain:
            tasks.append(plain(a, n))
    await asyncio.gather(*tasks)


def threads(a):
    all_there = threading.Barrier(64)

    def worker(first):
        for n in range(first, a.count, 64):
            port, name, ctx = plan(a, n)
            with socket.create_connection((a.address, port), TIMEOUT) as sock:
                all_there.wait(TIMEOUT)
                with ctx.wrap_socket(sock, server_hostname=name or None) as tls:
                    tls.sendall(REQUEST)
                    assert tls.recv(4096)
                    say(n, tls.getsockname()[1], port, tls)

    assert a.count % 64 == 0, "every thread has as many"
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        list(pool.map(worker, range(64)))


if __name__ == "__main__":
    args = arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if args.how == "loop":
        asyncio.run(loop(args))
    else:
        threads(args)
