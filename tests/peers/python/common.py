"""Arguments and TLS contexts shared by the Python peers. Every peer program of these tests takes the same arguments."""

import argparse
import ssl

REQUEST = b"GET / HTTP/1.1\r\nHost: server.tlsight.test\r\nConnection: close\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("mode", choices=["server", "client"])
    p.add_argument("--address", default="0.0.0.0")
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--name", help="SNI; none is sent without it")
    p.add_argument("--tls", choices=VERSIONS, help="only this version")
    p.add_argument("--ca", required=True)
    p.add_argument("--cert")
    p.add_argument("--key")
    p.add_argument("--ask", choices=["none", "optional", "require"], default="none")
    p.add_argument("--alpn")
    p.add_argument("--groups")
    p.add_argument("--times", type=int, default=1)
    p.add_argument("--drip", action="store_true", help="send every byte of the handshake in a segment of its own")
    return p.parse_args()


def context(a):
    if a.mode == "server":
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.verify_mode = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}[a.ask]
        if a.groups:
            ctx.set_ecdh_curve(a.groups)
    else:
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname = bool(a.name)
    ctx.load_verify_locations(a.ca)
    if a.cert:
        ctx.load_cert_chain(a.cert, a.key)
    if a.tls:
        ctx.minimum_version = ctx.maximum_version = VERSIONS[a.tls]
    if a.alpn:
        ctx.set_alpn_protocols(a.alpn.split(","))
    return ctx


def said(obj):
    """What the TLS library itself says of the connection."""
    return {
        "version": obj.version().removeprefix("TLSv"),
        "cipher": obj.cipher()[0],
        "alpn": obj.selected_alpn_protocol(),
        "resumed": obj.session_reused,
    }
