"""Python's clients: `calls.py CLIENT PROTOCOL`, with the commands that `run` describes on standard input."""

import asyncio
import base64
import os
import sys
import threading
import time

CA = os.environ["CLIENTS_CA"]
CLIENT, PROTOCOL = sys.argv[1:3]


def headers(kind, user, token):
    name, _, realm = user.partition("@")
    if kind == "basic":
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}
    if kind == "headers":
        return {"X-Auth-Name": name, "X-Auth-Realm": realm, "X-Auth-Token": token}
    return {}


def answer(status, body):
    return status, len(body), body[:200].decode(errors="replace")


class Requests:
    """requests, and niquests, which has the same functions."""

    def __init__(self):
        if CLIENT == "requests":
            import requests as library
            self.session = library.Session()
        else:
            import niquests as library
            self.session = library.Session(disable_http1=PROTOCOL == "h2c")
        self.session.verify = CA
        self.session.trust_env = False

    def get(self, url, fields, _):
        response = self.session.get(url, headers=fields, timeout=30)
        return answer(response.status_code, response.content)

    def post(self, url, fields, size):
        response = self.session.post(url, headers=fields, data=b"x" * size, timeout=30)
        return answer(response.status_code, response.content)

    def slow(self, url, fields, _):
        with self.session.get(url, headers=fields, stream=True, timeout=30) as response:
            times, size = [], 0
            for part in response.iter_content(10):
                times.append(time.monotonic())
                size += len(part)
            return response.status_code, size, int((times[-1] - times[0]) * 1000)

    def open(self, url, fields, _):
        self.held = self.session.get(url, headers=fields, stream=True, timeout=30)
        next(self.held.iter_content(1000))
        return self.held.status_code, 0, ""

    def close(self, *_):
        self.held.close()
        return 0, 0, ""


class Httpx:
    def __init__(self):
        import ssl

        import httpx
        http2 = PROTOCOL in ("tls", "h2c")
        context = ssl.create_default_context(cafile=CA)
        self.client = httpx.Client(verify=context, http1=PROTOCOL != "h2c", http2=http2, trust_env=False, timeout=30)

    def get(self, url, fields, _):
        response = self.client.get(url, headers=fields, follow_redirects="redirect" in url)
        return answer(response.status_code, response.content)

    def post(self, url, fields, size):
        response = self.client.post(url, headers=fields, content=b"x" * size)
        return answer(response.status_code, response.content)

    def slow(self, url, fields, _):
        with self.client.stream("GET", url, headers=fields) as response:
            times, size = [], 0
            for part in response.iter_raw():
                times.append(time.monotonic())
                size += len(part)
            return response.status_code, size, int((times[-1] - times[0]) * 1000)

    def open(self, url, fields, _):
        request = self.client.build_request("GET", url, headers=fields)
        self.held = self.client.send(request, stream=True)
        next(self.held.iter_raw())
        return self.held.status_code, 0, ""

    def close(self, *_):
        self.held.close()
        return 0, 0, ""


class Aiohttp:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        # It runs between requests too, as in an application.
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.wait(self.begin())

    def wait(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def begin(self):
        import ssl

        import aiohttp
        context = ssl.create_default_context(cafile=CA)
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

    async def _request(self, method, url, fields, data=None):
        async with self.session.request(method, url, headers=fields, data=data) as response:
            return answer(response.status, await response.read())

    def get(self, url, fields, _):
        return self.wait(self._request("GET", url, fields))

    def post(self, url, fields, size):
        return self.wait(self._request("POST", url, fields, b"x" * size))

    async def _slow(self, url, fields):
        async with self.session.get(url, headers=fields) as response:
            times, size = [], 0
            async for part in response.content.iter_any():
                times.append(time.monotonic())
                size += len(part)
            return response.status, size, int((times[-1] - times[0]) * 1000)

    def slow(self, url, fields, _):
        return self.wait(self._slow(url, fields))

    async def _open(self, url, fields):
        self.held = await self.session.get(url, headers=fields)
        await self.held.content.readany()
        return self.held.status, 0, ""

    def open(self, url, fields, _):
        return self.wait(self._open(url, fields))

    async def _close(self):
        self.held.close()
        await asyncio.sleep(0.1)
        return 0, 0, ""

    def close(self, *_):
        return self.wait(self._close())


class Grpc:
    def __init__(self):
        import grpc
        self.grpc = grpc
        self.channel = None

    def call(self, url, kind, name, fields, argument):
        if self.channel is None:
            target = url.split("/")[2]
            if PROTOCOL == "tls":
                with open(CA, "rb") as file:
                    credentials = self.grpc.ssl_channel_credentials(file.read())
                self.channel = self.grpc.secure_channel(target, credentials)
            else:
                self.channel = self.grpc.insecure_channel(target)
        metadata = [(key.lower(), value) for key, value in fields.items()]
        return getattr(self.channel, kind)("/calls.Calls/" + name)(argument, metadata=metadata, timeout=60)

    def tried(self, body):
        try:
            return body()
        except self.grpc.RpcError as error:
            return error.code().value[0], 0, error.details()

    def get(self, url, fields, size):
        def body():
            if size:
                parts = self.call(url, "unary_stream", "Bytes", fields, b"%d" % size)
                return 0, sum(len(part) for part in parts), ""
            return answer(0, self.call(url, "unary_unary", "Hello", fields, b""))
        return self.tried(body)

    def post(self, url, fields, size):
        piece = b"x" * 50_000
        parts = (piece[: size - at] for at in range(0, size, len(piece)))
        return self.tried(lambda: answer(0, self.call(url, "stream_unary", "Count", fields, parts)))

    def slow(self, url, fields, _):
        times, size = [], 0
        for part in self.call(url, "unary_stream", "Slow", fields, b""):
            times.append(time.monotonic())
            size += len(part)
        return 0, size, int((times[-1] - times[0]) * 1000)

    def open(self, url, fields, _):
        self.held = self.call(url, "unary_stream", "Flood", fields, b"")
        next(self.held)
        return 0, 0, ""

    def close(self, *_):
        self.held.cancel()
        return 0, 0, ""


class Websockets:
    def __init__(self):
        self.socket = None

    def connect(self, url, fields):
        import ssl

        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect
        if self.socket is not None and fields:
            return None
        context = ssl.create_default_context(cafile=CA) if PROTOCOL == "tls" else None
        try:
            socket = connect(
                url, additional_headers=fields, ssl=context, max_size=1 << 26, compression=None, proxy=None
            )
        except InvalidStatus as error:
            return error.response.status_code, 0, ""
        self.socket = socket
        return None

    def ask(self, url, fields, message):
        denied = self.connect(url, fields)
        if denied is not None:
            return denied
        self.socket.send(message)
        reply = self.socket.recv(30)
        return answer(101, reply.encode() if isinstance(reply, str) else reply)

    def get(self, url, fields, size):
        return self.ask(url, fields, f"bytes {size}" if size else "hello")

    def post(self, url, fields, size):
        return self.ask(url, fields, b"x" * size)

    def slow(self, url, fields, _):
        self.connect(url, fields)
        self.socket.send("slow")
        times, size = [], 0
        for _ in range(10):
            size += len(self.socket.recv(30))
            times.append(time.monotonic())
        return 101, size, int((times[-1] - times[0]) * 1000)

    def open(self, url, fields, _):
        self.connect(url, fields)
        self.socket.send("flood")
        self.socket.recv(30)
        return 101, 0, ""

    def close(self, *_):
        import socket
        self.socket.socket.shutdown(socket.SHUT_RDWR)
        self.socket = None
        return 0, 0, ""


CLIENTS = {
    "requests": Requests, "niquests": Requests, "httpx": Httpx, "aiohttp": Aiohttp, "grpcio": Grpc,
    "websockets": Websockets,
}


def main():
    client = CLIENTS[CLIENT]()
    for line in sys.stdin:
        verb, url, kind, user, token, size = line.rstrip("\n").split("\t")
        try:
            result = getattr(client, verb)(url, headers(kind, user, token), int(size))
        except Exception as error:  # noqa: BLE001 - whatever it is, the table shows it
            result = "error", 0, f"{type(error).__name__}: {error}"
        print(*(" ".join(str(it).split()) for it in result), sep="\t", flush=True)


main()
