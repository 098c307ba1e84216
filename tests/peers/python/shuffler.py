"""A bad network: forwards frames between the devices `left` and `right` of this namespace, and on the way loses,
duplicates, delays and so reorders them. The same seed makes the same decisions: `shuffler.py SEED`."""

import heapq
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
TCP = 6

rng = random.Random(int(sys.argv[1]))
sockets = []
for device in ("left", "right"):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.bind((device, 0))
    s.setblocking(False)
    sockets.append(s)

counts = {"forwarded": 0, "lost": 0, "duplicated": 0, "delayed": 0}
waiting = []  # (due, number, frame, to)
number = 0
print("forwarding", flush=True)


def is_tcp_data(frame):
    """Handshakes of TCP itself would only make the tests slow."""
    if frame[12:14] != b"\x08\x00" or frame[23] != TCP:
        return False
    ip_len = (frame[14] & 15) * 4
    total = int.from_bytes(frame[16:18], "big")
    tcp = 14 + ip_len
    return total > ip_len + (frame[tcp + 12] >> 4) * 4


def put(delay, frame, to):
    global number
    number += 1
    heapq.heappush(waiting, (time.monotonic() + delay, number, frame, to))


while True:
    timeout = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    readable, _, _ = select.select(sockets, [], [], timeout)
    for s in readable:
        try:
            frame, address = s.recvfrom(65535)
        except BlockingIOError:
            continue
        if address[2] == PACKET_OUTGOING:
            continue
        to = sockets[1 - sockets.index(s)]
        if not is_tcp_data(frame):
            put(0, frame, to)
            continue
        fate = rng.random()
        if fate < 0.08:
            counts["lost"] += 1
            continue
        if fate < 0.20:
            counts["duplicated"] += 1
            put(rng.random() * 0.004, frame, to)
            put(rng.random() * 0.008, frame, to)
        elif fate < 0.60:
            counts["delayed"] += 1
            put(rng.random() * 0.006, frame, to)
        else:
            counts["forwarded"] += 1
            put(0, frame, to)
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, _, frame, to = heapq.heappop(waiting)
        try:
            to.send(frame)
        except OSError as e:
            print("not sent:", e, flush=True)
