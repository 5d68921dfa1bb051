"""The application behind realmgate: HTTP/1.1 and WebSockets by aiohttp, gRPC by grpcio.

Prints two ports, and ends with its standard input.
"""

import asyncio
import logging
import sys

import grpc
from aiohttp import WSMsgType, web

PIECE = b"x" * 50_000
PAUSE = 0.2
PIECES = 10
#: More than any buffer between here and a client that does not read.
FLOOD = 400_000_000

sent = {"flood": 0, "open": 0}


def greeting(headers):
    """What the application sees of the caller, and the version of HTTP that the caller speaks."""
    return f"hello {headers.get('x-auth-name')} {headers.get('x-auth-token')} {headers.get('via')}"


async def hello(request):
    return web.Response(text=greeting(request.headers))


async def count(request):
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
    return web.Response(text=f"got {size}")


async def some_bytes(request):
    size = int(request.query["n"])
    response = web.StreamResponse(headers={"Content-Length": str(size)})
    await response.prepare(request)
    while size > 0:
        await response.write(PIECE[:size])
        size -= len(PIECE)
    return response


async def slow(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(PIECES):
        await response.write(b"data: %d\n\n" % number)
        await asyncio.sleep(PAUSE)
    return response


async def flood(request):
    sent.update(flood=0, open=sent["open"] + 1)
    try:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while sent["flood"] < FLOOD:
            await response.write(PIECE)
            sent["flood"] += len(PIECE)
        return response
    finally:
        sent["open"] -= 1


async def redirect(request):
    raise web.HTTPFound(request.query["to"])


async def state(_):
    return web.json_response(sent)


async def web_socket(request):
    socket = web.WebSocketResponse(max_msg_size=1 << 26)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            await socket.send_str(f"got {len(message.data)}")
            continue
        verb, _, size = message.data.partition(" ")
        if verb == "hello":
            await socket.send_str(greeting(request.headers))
        elif verb == "bytes":
            await socket.send_bytes(b"x" * int(size))
        elif verb == "slow":
            for number in range(PIECES):
                await socket.send_str(str(number))
                await asyncio.sleep(PAUSE)
        elif verb == "flood":
            sent.update(flood=0, open=sent["open"] + 1)
            try:
                while sent["flood"] < FLOOD:
                    await socket.send_bytes(PIECE)
                    sent["flood"] += len(PIECE)
            finally:
                sent["open"] -= 1
    return socket


async def call_hello(_, context):
    return greeting(dict(context.invocation_metadata())).encode()


async def call_count(requests, _):
    size = 0
    async for request in requests:
        size += len(request)
    return b"got %d" % size


async def call_bytes(request, _):
    size = int(request)
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


async def call_slow(*_):
    for number in range(PIECES):
        yield b"%d" % number
        await asyncio.sleep(PAUSE)


async def call_flood(*_):
    sent.update(flood=0, open=sent["open"] + 1)
    try:
        while sent["flood"] < FLOOD:
            yield PIECE
            sent["flood"] += len(PIECE)
    finally:
        sent["open"] -= 1


CALLS = {
    "/calls.Calls/Hello": grpc.unary_unary_rpc_method_handler(call_hello),
    "/calls.Calls/Count": grpc.stream_unary_rpc_method_handler(call_count),
    "/calls.Calls/Bytes": grpc.unary_stream_rpc_method_handler(call_bytes),
    "/calls.Calls/Slow": grpc.unary_stream_rpc_method_handler(call_slow),
    "/calls.Calls/Flood": grpc.unary_stream_rpc_method_handler(call_flood),
}


class Calls(grpc.GenericRpcHandler):
    def service(self, details):
        return CALLS.get(details.method)


async def main():
    # Clients that cancel their requests are no errors.
    logging.disable(logging.CRITICAL)
    application = web.Application(client_max_size=1 << 30)
    application.add_routes([
        web.get("/hello", hello), web.post("/count", count), web.get("/bytes", some_bytes), web.get("/slow", slow),
        web.get("/flood", flood), web.get("/redirect", redirect), web.get("/state", state), web.get("/ws", web_socket),
    ])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    calls = grpc.aio.server()
    calls.add_generic_rpc_handlers((Calls(),))
    port = calls.add_insecure_port("127.0.0.1:0")
    await calls.start()
    print(runner.addresses[0][1], port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await calls.stop(0)


asyncio.run(main())
