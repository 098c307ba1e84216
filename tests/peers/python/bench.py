"""Full handshakes one after the other, one request each: `bench.py` with the arguments of the other peers and, in
BENCH_SECONDS, how long. Prints how many in how many seconds."""

import os
import socket
import time

from common import REQUEST, arguments, context

a = arguments()
ctx = context(a)
start, done = time.monotonic(), 0
end = start + float(os.environ["BENCH_SECONDS"])
while time.monotonic() < end:
    with socket.create_connection((a.address, a.port)) as sock, ctx.wrap_socket(sock, server_hostname=a.name) as tls:
        tls.sendall(REQUEST)
        tls.recv(4096)
    done += 1
print(done, time.monotonic() - start)
