"""A server whose workers inherit the listening socket: `prefork.py PORT`. Each answers with its process id."""

import os
import socket
import sys

with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=64) as listener:
    for _ in range(3):
        if os.fork() == 0:
            break
    else:
        print("listening", flush=True)
        while True:
            os.wait()
    while True:
        conn, _ = listener.accept()
        conn.recv(4096)
        body = f"{os.getpid()}\n".encode()
        conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        conn.close()
