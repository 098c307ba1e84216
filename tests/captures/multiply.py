#!/usr/bin/env python3
"""Writes a capture of as many TLS handshakes as wanted: `multiply.py HANDSHAKES FILE [CAPTURE...]`.

Takes the connections in the captures (by default all in this directory) whose client sent a ClientHello, and repeats them in
turn with another client address, client port and time each, sixteen at a time. Checksums are right again afterwards. For
measuring how fast captures are read; the file is not to be committed."""

import struct
import sys
from pathlib import Path

AT_A_TIME = 16
# The certificates of the recordings are valid then.
START = 1_795_330_000
ETHERNET = 1


def packets(path):
    """Frames of a pcap or pcapng file, as far as these captures go: little-endian, Ethernet."""
    data = path.read_bytes()
    if data[:4] == b"\xd4\xc3\xb2\xa1":
        assert struct.unpack_from("<I", data, 20)[0] & 0xFFFF == ETHERNET, path
        at = 24
        while at + 16 <= len(data):
            captured, original = struct.unpack_from("<II", data, at + 8)
            if captured == original:
                yield data[at + 16 : at + 16 + captured]
            at += 16 + captured
        return
    assert data[:4] == b"\x0a\x0d\x0d\x0a", f"{path} is neither pcap nor pcapng"
    at = 0
    while at + 12 <= len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == 1:
            assert struct.unpack_from("<H", data, at + 8)[0] == ETHERNET, path
        if kind == 6:
            captured, original = struct.unpack_from("<II", data, at + 20)
            if captured == original:
                yield data[at + 28 : at + 28 + captured]
        at += length


def dissect(frame):
    """(source, destination, where the address begins and its length, where TCP begins, payload), or None."""
    kind = struct.unpack_from(">H", frame, 12)[0]
    if kind == 0x0800 and frame[23] == 6:
        tcp = 14 + (frame[14] & 15) * 4
        end = 14 + struct.unpack_from(">H", frame, 16)[0]
        address, length = 26, 4
    elif kind == 0x86DD and frame[20] == 6:
        tcp, end, address, length = 54, 54 + struct.unpack_from(">H", frame, 18)[0], 22, 16
    else:
        return None
    ports = struct.unpack_from(">HH", frame, tcp)
    ends = [(frame[address + i * length : address + (i + 1) * length], ports[i]) for i in (0, 1)]
    return ends[0], ends[1], address, length, tcp, frame[tcp + (frame[tcp + 12] >> 4) * 4 : end]


def handshakes(paths):
    """Connections with a ClientHello, as lists of (frame, is from the client, address, length, tcp)."""
    found = []
    for path in paths:
        connections = {}
        for frame in packets(path):
            parts = dissect(frame)
            if parts is None:
                continue
            source, destination, address, length, tcp, payload = parts
            is_syn = frame[tcp + 13] & 0x12 == 2
            key = frozenset((source, destination))
            if is_syn and key not in connections:
                connections[key] = (source, [])
            if key in connections:
                client, frames = connections[key]
                frames.append((frame, source == client, address, length, tcp, payload))
        for client, frames in connections.values():
            sent = next((payload for _, is_client, *_, payload in frames if is_client and payload), b"")
            if sent[:1] == b"\x16":
                found.append([frame[:5] for frame in frames])
    return found


def folded(text):
    """The ones' complement sum of RFC 1071."""
    total = sum(struct.unpack(f">{len(text) // 2}H", text))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def update(frame, at, difference):
    total = (~struct.unpack_from(">H", frame, at)[0] & 0xFFFF) + difference
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into(">H", frame, at, ~total & 0xFFFF)


def turned(connection, n):
    """The frames of a connection with the nth client."""
    port = struct.pack(">H", 10_000 + n % 50_000)
    for frame, is_client, address, length, tcp in connection:
        frame = bytearray(frame)
        at = address if is_client else address + length
        at_port = tcp if is_client else tcp + 2
        new = (b"\x0a\x01" if length == 4 else b"\xfd" + bytes(13)) + struct.pack(">H", n // 50_000 + 1)
        old = bytes(frame[at : at + length])
        moved = folded(new) + (0xFFFF - folded(old))
        if length == 4:
            update(frame, 24, moved)
        update(frame, tcp + 16, moved + folded(port) + 0xFFFF - folded(bytes(frame[at_port : at_port + 2])))
        frame[at : at + length] = new
        frame[at_port : at_port + 2] = port
        yield frame


def main():
    wanted, target, *captures = sys.argv[1:]
    here = Path(__file__).parent
    paths = [Path(c) for c in captures] or sorted(p for p in here.iterdir() if p.suffix in (".pcap", ".pcapng"))
    connections = handshakes(paths)
    made, micros, count = 0, 0, 0
    with open(target, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, ETHERNET))
        while made < int(wanted):
            at_once = min(AT_A_TIME, int(wanted) - made)
            open_ones = [turned(connections[n % len(connections)], n) for n in range(made, made + at_once)]
            made += at_once
            while open_ones:
                for one in list(open_ones):
                    frame = next(one, None)
                    if frame is None:
                        open_ones.remove(one)
                        continue
                    micros += 20
                    when = (START + micros // 1_000_000, micros % 1_000_000)
                    file.write(struct.pack("<IIII", *when, len(frame), len(frame)) + frame)
                    count += 1
    print(f"{made} handshakes of {len(connections)} recorded ones, {count} packets, in {target}")


if __name__ == "__main__":
    main()
