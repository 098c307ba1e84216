#!/usr/bin/env python3
"""Makes the seeds next to it: conversations of agent-core/fuzz/seeds/engine as capture files, one for every link layer,
tunnel and file format, and kernel events in every kind. Run that directory's make.py first."""

import pathlib
import struct

HERE = pathlib.Path(__file__).parent
CONVERSATIONS = HERE / "../../../agent-core/fuzz/seeds/engine"
CLIENT, SERVER = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
ETHERNET, NULL, RAW, LOOP, SLL, SLL2 = 1, 0, 101, 108, 113, 276


def runs(name):
    data = (CONVERSATIONS / name).read_bytes()[1:]
    while data:
        (header,) = struct.unpack(">H", data[:2])
        if header == 0:
            return
        length = header & 0x7FFF
        yield bool(header & 0x8000), data[2 : 2 + length]
        data = data[2 + length :]


def tcp(to_client, seq, ack, flags, payload=b""):
    ports = (443, 40000) if to_client else (40000, 443)
    return struct.pack(">HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 65535, 0, 0) + payload


def ipv4(source, destination, protocol, payload):
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + source + destination + payload


def ipv6(source, destination, protocol, payload):
    mapped = bytes.fromhex("20010db8") + bytes(8)
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + mapped + source + mapped + destination + payload


def packets(name, ip=ipv4):
    seqs = {False: 0xFFFFFF00, True: 1000}

    def packet(to_client, flags, payload=b""):
        source, destination = (SERVER, CLIENT) if to_client else (CLIENT, SERVER)
        segment = tcp(to_client, seqs[to_client], seqs[not to_client], flags, payload)
        seqs[to_client] = (seqs[to_client] + len(payload) + (flags & 3 != 0)) & 0xFFFFFFFF
        return ip(source, destination, 6, segment)

    yield packet(False, 0x02)
    yield packet(True, 0x12)
    yield packet(False, 0x10)
    for to_client, data in runs(name):
        for at in range(0, len(data), 1400):
            yield packet(to_client, 0x18, data[at : at + 1400])
    yield packet(False, 0x11)
    yield packet(True, 0x11)


MAC = bytes(12)
LINKS = {
    "ethernet": (ETHERNET, lambda p: MAC + b"\x08\x00" + p),
    "vlan": (ETHERNET, lambda p: MAC + b"\x81\x00\x00\x05\x08\x00" + p),
    "raw": (RAW, lambda p: p),
    "null": (NULL, lambda p: struct.pack("<I", 2) + p),
    "loop": (LOOP, lambda p: struct.pack(">I", 2) + p),
    "sll": (SLL, lambda p: bytes(14) + b"\x08\x00" + p),
    "sll2": (SLL2, lambda p: b"\x08\x00" + bytes(18) + p),
    "gre": (RAW, lambda p: ipv4(CLIENT, SERVER, 47, b"\0\0\x08\0" + p)),
    "vxlan": (
        RAW,
        lambda p: ipv4(
            CLIENT, SERVER, 17,
            struct.pack(">HHHH", 1, 4789, 30 + len(p), 0) + b"\x08\0\0\0\0\0\x07\0" + MAC + b"\x08\x00" + p,
        ),
    ),
}


def pcap(link, frames):
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    for n, frame in enumerate(frames):
        out += struct.pack("<IIII", 1_700_000_000 + n, 0, len(frame), len(frame)) + frame
    return out


def block(kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))


def pcapng(link, frames):
    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(1, struct.pack("<HHI", link, 0, 262144))
    for n, frame in enumerate(frames):
        out += block(6, struct.pack("<IIIII", 0, 0x60000, n, len(frame), len(frame)) + frame)
    return out


def write(target, name, data):
    (HERE / target).mkdir(exist_ok=True)
    (HERE / target / name).write_bytes(data)


def main():
    for name, (link, wrap) in LINKS.items():
        write("pcap", f"{name}.pcap", pcap(link, map(wrap, packets("http"))))
    link, wrap = LINKS["ethernet"]
    for name in ("tls12_mutual", "tls13_mutual", "smtp_starttls"):
        write("pcap", f"{name}.pcapng", pcapng(link, map(wrap, packets(name))))
    write("pcap", "ipv6.pcap", pcap(RAW, packets("redis", ipv6)))
    # Header of an event (kind, ABI version, length, time, cookie), then more than any kind of event takes.
    for kind in range(1, 8):
        for version in (1, 2):
            write("kernel_event", f"kind{kind}_abi{version}", struct.pack("<HHIQQ", kind, version, 200, 1, 2) + bytes(176))


main()
