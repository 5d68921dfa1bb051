"""Middleware for ASGI applications, such as FastAPI's and Starlette's."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, List, Mapping, MutableMapping, Optional, Tuple

from .guard import KEY, Guard, Rejection
from .headers import folded
from .identity import Identity
from .policy import AnyRealm
from .sources import Incoming, Source

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Middleware:
    """Lets authenticated requests and WebSockets pass to an ASGI application.

    ``source`` is :class:`~realmgate.TrustHeaders` or :class:`~realmgate.VerifyTokens`. ``policy`` says who may pass;
    with ``None`` everyone may, and the application decides. It reads the identity with :func:`identity`. It never
    sees the token, nor identity headers. A server is asked in a thread, so that the event loop goes on.
    """

    def __init__(self, app: App, source: Source, policy: Optional[AnyRealm] = AnyRealm()) -> None:
        self._app = app
        self._guard = Guard(source, policy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"realmgate cannot authenticate the ASGI type {scope['type']!r}")
        incoming = incoming_of(scope)
        if self._guard.source.is_cheap(incoming):
            decision = self._guard.decide(incoming)
        else:
            loop = asyncio.get_running_loop()
            decision = await loop.run_in_executor(None, self._guard.decide, incoming)
        if isinstance(decision, Rejection):
            await _reject(scope, receive, send, decision)
            return
        inner = dict(scope)
        inner["headers"] = self._visible(scope, incoming)
        inner[KEY] = decision
        if decision is None or scope["type"] != "http" or not self._guard.marks_private:
            await self._app(inner, receive, send)
            return

        async def send_private(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"cache-control", b"private")]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(inner, receive, send_private)

    def _visible(self, scope: Scope, incoming: Incoming) -> List[Tuple[bytes, bytes]]:
        hides_authorization = self._guard.hides_authorization(incoming)
        visible = []
        for name, value in scope["headers"]:
            text = folded(bytes(name).decode("latin-1"))
            if text not in self._guard.hidden and not (hides_authorization and text == "authorization"):
                visible.append((name, value))
        return visible


def identity(scope: Mapping[str, Any]) -> Optional[Identity]:
    """Returns the identity of a request that passed the middleware, or ``None``."""
    found = scope.get(KEY)
    return found if isinstance(found, Identity) else None


def incoming_of(scope: Mapping[str, Any]) -> Incoming:
    """Returns what a source reads of an ASGI request."""
    headers = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]

    def values(name: str) -> List[str]:
        sought = name.lower().encode()
        # Without spaces around, as WSGI servers give values.
        return [value.decode("latin-1").strip(" \t") for header, value in headers if header == sought]

    client = scope.get("client")
    return Incoming(str(client[0]) if client else None, values)


async def _reject(scope: Scope, receive: Receive, send: Send, rejection: Rejection) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Before the handshake is accepted, this makes the server respond with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": rejection.reason})
        return
    headers = [*rejection.headers, ("Content-Length", str(len(rejection.body)))]
    await send(
        {
            "type": "http.response.start",
            "status": rejection.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else rejection.body})
