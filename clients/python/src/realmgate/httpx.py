"""Authentication for httpx: ``httpx.get(url, auth=RealmgateAuth(credential))``."""

from __future__ import annotations

import inspect
from typing import Any, AsyncGenerator, Dict, Generator, Optional

import httpx

from .credential import Credential
from .errors import ConfigurationError
from .headers import HeaderNames
from .origin import Origin, origin_of, required_origin

__all__ = ["RealmgateAuth"]


class RealmgateAuth(httpx.Auth):
    """Sends a new token with each request. For ``httpx.Client`` and ``httpx.AsyncClient``.

    The credential goes to the scheme, host and port of the request, and to no others that a redirect leads to. With
    ``origin``, it goes to that origin only, whatever is requested: use it for the ``auth`` of a client. It is sent
    with Basic, or in three headers with ``names``.
    """

    def __init__(
        self, credential: Credential, *, origin: Optional[str] = None, names: Optional[HeaderNames] = None
    ) -> None:
        self._credential = credential
        self._origin = None if origin is None else required_origin(origin)
        self._names = names

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        home = self._authenticate(request)
        if home is not None:
            before = request.extensions.get("trace")

            def trace(event: str, info: Dict[str, Any]) -> None:
                self._withhold(home, event, info)
                if before is not None:
                    before(event, info)

            request.extensions = {**request.extensions, "trace": trace}
        yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        home = self._authenticate(request)
        if home is not None:
            before = request.extensions.get("trace")

            async def trace(event: str, info: Dict[str, Any]) -> None:
                self._withhold(home, event, info)
                if before is not None:
                    result = before(event, info)
                    if inspect.isawaitable(result):
                        await result

            request.extensions = {**request.extensions, "trace": trace}
        yield request

    def _authenticate(self, request: httpx.Request) -> Optional[Origin]:
        home = origin_of(str(request.url))
        if home is None:
            raise ConfigurationError("the URL has no plain origin, or contains a user")
        if self._origin is not None and home != self._origin:
            return None
        request.headers.update(self._credential.headers(self._names))
        return home

    def _withhold(self, home: Origin, event: str, info: Dict[str, Any]) -> None:
        """Removes the credential just before the headers of a redirected request are sent.

        httpx follows redirects below the authentication. It removes ``Authorization`` for other hosts, but not from
        http to https on the default ports, and it does not know the three headers. The extension ``trace`` is the
        only way in. It sees the request of httpcore 1, whatever the version of HTTP.
        """
        if not event.endswith(".send_request_headers.started"):
            return
        request = info["request"]
        if request.method == b"CONNECT" or _origin_of_core(request) == home:
            return
        names = self._names.all() if self._names is not None else ("Authorization",)
        hidden = {name.lower().encode() for name in names}
        request.headers = [(name, value) for name, value in request.headers if name.lower() not in hidden]


def _origin_of_core(request: Any) -> Optional[Origin]:
    url = request.url
    # Through an HTTP proxy, the target is the whole URL.
    if not url.target.startswith(b"/"):
        return origin_of(url.target.decode("latin-1"))
    host = url.host.decode("latin-1")
    host = f"[{host}]" if ":" in host else host
    port = "" if url.port is None else f":{url.port}"
    return origin_of(f"{url.scheme.decode('latin-1')}://{host}{port}/")
