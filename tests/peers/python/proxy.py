"""A proxy that is a TLS server and a TLS client at once, in one event loop: `proxy.py PORT CERT KEY loop FILE`
with crowd.py's file for what it does as a client: its nth connection goes on to the nth server modulo their
number. It asks its own clients for certificates. Prints the lines of the connections it makes."""

import asyncio
import hashlib
import json
import ssl
import sys

from crowd import TIMEOUT, arguments, plan, sock_port


async def main(port, cert, key):
    a = arguments()
    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    front.verify_mode = ssl.CERT_REQUIRED
    front.load_verify_locations(a.ca)
    front.load_cert_chain(cert, key)
    count = 0

    async def serve(reader, writer):
        nonlocal count
        n, count = count, count + 1
        request = await reader.readuntil(b"\r\n\r\n")
        to, name, ctx = plan(a, n)
        back_reader, back = await asyncio.open_connection(
            a.address, to, ssl=ctx, server_hostname=name, ssl_handshake_timeout=TIMEOUT
        )
        back.write(request)
        writer.write(await back_reader.read())
        seen = hashlib.sha256(back.get_extra_info("ssl_object").getpeercert(True)).hexdigest().upper()
        print(json.dumps({"number": n, "local": sock_port(back), "server": to, "seen": seen}), flush=True)
        back.close()
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(
        serve, "0.0.0.0", port, ssl=front, backlog=4096, ssl_handshake_timeout=TIMEOUT
    )
    print("listening", flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    mine = [sys.argv.pop(1) for _ in range(3)]
    asyncio.run(main(int(mine[0]), *mine[1:]))
