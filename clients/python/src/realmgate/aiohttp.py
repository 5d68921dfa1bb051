"""Authentication for aiohttp 3.12 or later: ``aiohttp.ClientSession(middlewares=[RealmgateMiddleware(…)])``."""

from __future__ import annotations

from typing import Optional

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from .credential import Credential
from .headers import HeaderNames
from .origin import origin_of, required_origin

__all__ = ["RealmgateMiddleware"]


class RealmgateMiddleware:
    """Sends a new token with each request to ``origin``, such as ``https://app.example.org``.

    aiohttp calls it for each request of a redirect, so it must know where the credential belongs. Requests to any
    other scheme, host or port get none. It is sent with Basic, or in three headers with ``names``.
    """

    def __init__(self, credential: Credential, origin: str, *, names: Optional[HeaderNames] = None) -> None:
        self._credential = credential
        self._origin = required_origin(origin)
        self._names = names

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        if origin_of(str(request.url)) == self._origin:
            request.headers.update(self._credential.headers(self._names))
        return await handler(request)
