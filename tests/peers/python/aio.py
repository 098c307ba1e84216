"""A TLS server and client on asyncio."""

import asyncio
import json

from common import REQUEST, RESPONSE, arguments, context, said


async def serve_one(reader, writer):
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(RESPONSE)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError) as e:
        print(f"connection failed: {e}", flush=True)
    finally:
        writer.close()


async def server(a):
    listener = await asyncio.start_server(serve_one, a.address, a.port, ssl=context(a), backlog=64)
    print("listening", flush=True)
    await listener.serve_forever()


async def client(a):
    ctx = context(a)
    for _ in range(a.times):
        try:
            reader, writer = await asyncio.open_connection(a.address, a.port, ssl=ctx, server_hostname=a.name or "")
            writer.write(REQUEST)
            body = await reader.read()
            result = said(writer.get_extra_info("ssl_object")) | {"body": body.decode()}
            writer.close()
            await writer.wait_closed()
        except OSError as e:
            result = {"error": str(e)}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    args = arguments()
    asyncio.run({"server": server, "client": client}[args.mode](args))
