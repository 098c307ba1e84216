#!/usr/bin/env python3
"""Makes the seeds next to it: handshakes between two ends in memory, and the openings of plaintext protocols.

Run it again to renew them; needs python3 and openssl. `certificate` is a link to the certificates of the unit tests.
"""

import pathlib
import ssl
import struct
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
EGRESS, INGRESS = 0x0000, 0x8000


def certificate(directory):
    path = f"{directory}/both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", "/CN=seed", "-addext", "subjectAltName=DNS:seed.example,URI:spiffe://seed/a", "-days", "1"]
    subprocess.run([*command, *subject, "-keyout", path, "-out", path + ".crt"], check=True, capture_output=True)
    with open(path, "a") as both, open(path + ".crt") as crt:
        both.write(crt.read())
    return path


def handshake(pem, version, ask):
    """Runs of a handshake and a little data, client first."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(pem)
        context.load_verify_locations(pem)
    client.check_hostname = False
    client.set_alpn_protocols(["h2", "http/1.1"])
    server.set_alpn_protocols(["http/1.1"])
    if ask:
        server.verify_mode = ssl.CERT_REQUIRED
    wires = [ssl.MemoryBIO() for _ in range(4)]
    ends = [
        (client.wrap_bio(wires[0], wires[1], server_hostname="seed.example"), wires[0], wires[1], EGRESS),
        (server.wrap_bio(wires[2], wires[3], server_side=True), wires[2], wires[3], INGRESS),
    ]
    runs, done = [], [False, False]
    for _ in range(10):
        for n, (end, _, out, direction) in enumerate(ends):
            try:
                if not done[n]:
                    end.do_handshake()
                    done[n] = True
                    end.write(b"GET / HTTP/1.1\r\n\r\n" if n == 0 else b"HTTP/1.1 200 OK\r\n\r\n")
            except ssl.SSLWantReadError:
                pass
            data = out.read()
            if data:
                runs.append((direction, data))
                ends[1 - n][1].write(data)
    assert all(done)
    return runs


def conversation(runs, flags=1, rest=b""):
    """The input format of `support::Conversation`."""
    out = bytes([flags])
    for direction, data in runs:
        out += struct.pack(">H", direction | len(data)) + data
    return out + b"\0\0" + rest


def write(target, name, data):
    (HERE / target).mkdir(exist_ok=True)
    (HERE / target / name).write_bytes(data)


def hello(stream):
    """The body of the first handshake message of a stream."""
    return stream[9 : 9 + int.from_bytes(stream[6:9], "big")]


PLAINTEXT = {
    "http": [(EGRESS, b"GET / HTTP/1.1\r\nHost: seed\r\n\r\n"), (INGRESS, b"HTTP/1.1 200 OK\r\n\r\n")],
    "http2": [(EGRESS, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), (INGRESS, b"\0\0\0\4\0\0\0\0\0")],
    "redis": [(EGRESS, b"*1\r\n$4\r\nPING\r\n"), (INGRESS, b"+PONG\r\n")],
    "ssh": [(INGRESS, b"SSH-2.0-Seed_1.0\r\n"), (EGRESS, b"SSH-2.0-Seed_1.0\r\n")],
    "memcached": [(EGRESS, b"get seed\r\n"), (INGRESS, b"END\r\n")],
    "nats": [(INGRESS, b'INFO {"server_id":"S","tls_required":true}\r\n'), (EGRESS, b"CONNECT {}\r\nPING\r\n")],
    "amqp": [(EGRESS, b"AMQP\0\0\x09\x01"), (INGRESS, b"\1\0\0\0\0\0\4\0\x0a\0\x0a\xce")],
    "proxy_v1": [(EGRESS, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n")],
    "proxy_v2": [(EGRESS, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET / HTTP/1.1\r\n\r\n")],
    "mongodb": [(EGRESS, bytes.fromhex("230000000100000000000000dd0700000000000000") + b"\x0e\0\0\0\x10ping\0\1\0\0\0\0")],
    "kafka": [(EGRESS, bytes.fromhex("0000000e0012000300000001000473656564"))],
    "cassandra": [(EGRESS, bytes.fromhex("040000000500000000")), (INGRESS, bytes.fromhex("840000000600000002 0000"))],
    "dns": [(EGRESS, bytes.fromhex("001d123401000001000000000000047365656407 6578616d706c650000010001"))],
    "postgresql": [(EGRESS, bytes.fromhex("0000001700030000") + b"user\0postgres\0\0"), (INGRESS, b"R\0\0\0\x08\0\0\0\0")],
    "postgresql_refused": [(EGRESS, bytes.fromhex("0000000804d2162f")), (INGRESS, b"N")],
    "ldap": [(EGRESS, bytes.fromhex("300c020101600702010304008000")), (INGRESS, bytes.fromhex("300c02010161070a010004000400"))],
}

UPGRADES = {
    "postgresql": [(EGRESS, bytes.fromhex("0000000804d2162f")), (INGRESS, b"S")],
    "mysql": [
        (INGRESS, bytes.fromhex("4a0000000a") + b"8.0.33\0" + bytes.fromhex("010000000102030405060708 00ffff2d0200ffdf15")
         + bytes(10) + b"123456789012\0" + b"caching_sha2_password\0"),
        (EGRESS, bytes.fromhex("2000000185ae3f20000000012d") + bytes(23)),
    ],
    "smtp": [
        (INGRESS, b"220 seed ESMTP\r\n"), (EGRESS, b"EHLO seed\r\n"), (INGRESS, b"250-seed\r\n250 STARTTLS\r\n"),
        (EGRESS, b"STARTTLS\r\n"), (INGRESS, b"220 go ahead\r\n"),
    ],
    "imap": [
        (INGRESS, b"* OK IMAP4rev1 ready\r\n"), (EGRESS, b"a1 STARTTLS\r\n"), (INGRESS, b"a1 OK begin\r\n"),
    ],
    "pop3": [(INGRESS, b"+OK POP3 ready\r\n"), (EGRESS, b"STLS\r\n"), (INGRESS, b"+OK begin\r\n")],
    "ftp": [(INGRESS, b"220 FTP ready\r\n"), (EGRESS, b"AUTH TLS\r\n"), (INGRESS, b"234 go ahead\r\n")],
    "ldap": [
        (EGRESS, bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"),
        (INGRESS, bytes.fromhex("300c02010178070a010004000400")),
    ],
    "xmpp": [
        (EGRESS, b"<stream:stream xmlns='jabber:client' to='seed' version='1.0'>"),
        (INGRESS, b"<stream:stream id='1'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"),
        (EGRESS, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        (INGRESS, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
    ],
}

# Events of the engine target, about connection 1: open, establish, pieces of both directions out of order, wait, close; all of
# the conversation, a chain with a hint, close; the same with a chain by its random, and with one without anything.
EVENTS = b"".join(
    bytes(op)
    for op in ([0x40, 0, 0, 0], [0x41, 0, 0, 0], [0x46, 0, 100, 255], [0x46, 0, 0, 20], [0x66, 0, 0, 255], [0x46, 0, 0, 255],
               [0x44, 100, 0, 0], [0x42, 0, 0, 0],
               [0x48, 0, 0, 0], [0x4a, 0, 20, 0x48], [0x42, 0, 0, 0],
               [0x48, 0, 0, 0], [0x4a, 7, 20, 0x50], [0x4a, 9, 20, 0x40], [0x44, 10, 0, 0], [0x42, 0, 0, 0])
)


def judged(name, root):
    """A recorded chain with its root, and the stapled response: the input of the judge's target."""
    findings = HERE.parent.parent / "testdata" / "findings"
    lines = (findings / f"{name}.stream").read_text().splitlines()
    server = b"".join(bytes.fromhex(line[2:]) for line in lines if line[0] == "S")
    messages, chain, response = b"", [], b""
    while server[:1] == b"\x16":
        end = 5 + int.from_bytes(server[3:5], "big")
        messages, server = messages + server[5:end], server[end:]
    while messages[:1] in (b"\x02", b"\x0b", b"\x16"):
        end = 4 + int.from_bytes(messages[1:4], "big")
        kind, body, messages = messages[0], messages[4:end], messages[end:]
        if kind == 0x0b:
            body = body[3:]
            while body:
                chain.append(body[3 : 3 + int.from_bytes(body[:3], "big")])
                body = body[3 + len(chain[-1]) :]
        elif kind == 0x16:
            response = body[4:]
    parts = [*chain, (findings / f"{root}.der").read_bytes(), response]
    return struct.pack(">I", 1780272000) + b"".join(struct.pack(">H", len(part)) + part for part in parts)


def main():
    for name, root in (("by_sub", "ca"), ("by_sub_old", "ca"), ("ocsp_revoked", "ca"), ("ocsp_delegated", "ca"), ("sha1", "rsa_ca")):
        write("judge", name, judged(name, root))
    with tempfile.TemporaryDirectory() as directory:
        pem = certificate(directory)
        shakes = {
            f"{name}_{'mutual' if ask else 'plain'}": handshake(pem, version, ask)
            for name, version in (("tls12", ssl.TLSVersion.TLSv1_2), ("tls13", ssl.TLSVersion.TLSv1_3))
            for ask in (False, True)
        }
    for name, runs in shakes.items():
        streams = [b"".join(data for direction, data in runs if direction == wanted) for wanted in (EGRESS, INGRESS)]
        write("tls_direction", f"{name}_client", streams[0])
        write("tls_direction", f"{name}_server", streams[1])
        write("client_hello", name, hello(streams[0]))
        write("server_hello", name, hello(streams[1]))
        write("recognize", name, conversation(runs))
        write("engine", name, conversation(runs, rest=EVENTS))
    for name, runs in PLAINTEXT.items():
        write("recognize", name, conversation(runs))
        write("engine", name, conversation(runs, rest=EVENTS))
    for name, runs in UPGRADES.items():
        upgraded = runs + shakes["tls13_plain"]
        write("upgrade", name, conversation(runs))
        write("recognize", f"{name}_starttls", conversation(upgraded))
        write("engine", f"{name}_starttls", conversation(upgraded, rest=EVENTS))


main()
