"""A WebSocket service, and a client of it: `web_socket.py serve`, or `web_socket.py call URL NAME REALM TOKEN CA`."""

import asyncio
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError, InvalidStatus


async def answer(socket):
    """Sends the name of the caller, then echoes everything; closes with its own reason on request."""
    seen = socket.request.headers
    await socket.send(f"{seen.get('X-Auth-Name')} {seen.get('X-Auth-Token')} {socket.request.path}")
    try:
        async for message in socket:
            if message == "enough":
                await socket.close(4001, "that was enough")
                return
            await socket.send(message)
    except ConnectionClosedError:
        pass


async def run_server():
    async with serve(answer, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        # Until the parent closes the pipe.
        await asyncio.to_thread(sys.stdin.read)


async def call(url, name, realm, token, ca):
    tls = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    who = {"X-Auth-Name": name, "X-Auth-Realm": realm, "X-Auth-Token": token}
    try:
        async with connect(url, ssl=tls, proxy=None):
            sys.exit("it was let in without a credential")
    except InvalidStatus as refused:
        assert refused.response.status_code == 401, refused
    settings = {"max_size": None, "ping_interval": None, "proxy": None}
    async with connect(url, ssl=tls, additional_headers=who, **settings) as socket:
        assert await socket.recv() == f"{name} None /chat?room=1"
        for message in ("hello", "é" * 70_000, b"", b"\x00\xff" * 2_000_000):
            await socket.send(message)
            assert await socket.recv() == message
        # In an unknown number of fragments.
        await socket.send(f"{n} " for n in range(1000))
        assert await socket.recv() == "".join(f"{n} " for n in range(1000))
        await asyncio.wait_for(await socket.ping(), 20)
        # Both sides at once, more than any buffer in between can hold.
        many = [bytes([n]) * 100_000 for n in range(200)]
        sending = asyncio.create_task(send_all(socket, many))
        assert [await socket.recv() for _ in many] == many
        await sending
        await socket.send("enough")
        try:
            await socket.recv()
            sys.exit("it was not closed")
        except ConnectionClosedError as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "that was enough"), closed
    async with connect(url, ssl=tls, additional_headers=who, **settings) as socket:
        await socket.recv()
        await socket.close(4002, "mine")
        assert socket.close_code == 4002
    print("good")


async def send_all(socket, messages):
    for message in messages:
        await socket.send(message)


asyncio.run(run_server() if sys.argv[1] == "serve" else call(*sys.argv[2:]))
