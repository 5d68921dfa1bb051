"""Authentication for requests: ``requests.get(url, auth=RealmgateAuth(credential))``."""

from __future__ import annotations

import functools
from typing import Any, Optional

import requests
from requests.auth import AuthBase
from requests.compat import urljoin

from .credential import Credential
from .errors import ConfigurationError
from .headers import HeaderNames
from .origin import Origin, origin_of, required_origin

__all__ = ["RealmgateAuth"]


class RealmgateAuth(AuthBase):
    """Sends a new token with each request.

    The credential goes to the scheme, host and port of the request, and to no others that a redirect leads to. With
    ``origin``, it goes to that origin only, whatever is requested: use it for the ``auth`` of a session. It is sent
    with Basic, or in three headers with ``names``.
    """

    def __init__(
        self, credential: Credential, *, origin: Optional[str] = None, names: Optional[HeaderNames] = None
    ) -> None:
        self._credential = credential
        self._origin = None if origin is None else required_origin(origin)
        self._names = names

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        home = origin_of(r.url or "")
        if home is None:
            raise ConfigurationError("the URL has no plain origin, or contains a user")
        if self._origin is not None and home != self._origin:
            return r
        r.headers.update(self._credential.headers(self._names))
        # requests copies the headers of this request for the next one, after its hooks.
        r.register_hook("response", functools.partial(self._after, home))  # type: ignore[no-untyped-call]
        return r

    def _after(self, home: Origin, response: requests.Response, **_: Any) -> None:
        location = response.headers.get("location")
        if location is None:
            return
        # Parsed as requests parses it.
        location = location.encode("latin-1", "replace").decode("utf-8", "replace")
        if origin_of(urljoin(response.url, location)) == home == origin_of(response.url):
            return
        names = self._names.all() if self._names is not None else ("Authorization",)
        for name in names:
            response.request.headers.pop(name, None)
