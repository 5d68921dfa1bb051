"""Where a credential may be sent: one scheme, host and port."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from .errors import ConfigurationError

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_.~-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?:[/?#]|\Z)",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[\x21-\x7e]+\Z")


class Origin(NamedTuple):
    """Scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def origin_of(url: str) -> Optional[Origin]:
    """Returns the origin of an absolute URL, or ``None`` if it is not one that every library reads alike.

    A user in the URL, a backslash, white space, or letters other than ASCII give ``None``, which is never equal to
    an origin.
    """
    match = _URL.match(url)
    if match is None or not _PLAIN.match(url):
        return None
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else {"http": 80, "https": 443}[scheme]
    return Origin(scheme, match["host"].lower(), port) if 0 < port < 65536 else None


def required_origin(url: str) -> Origin:
    """Returns the origin of a URL, or raises :class:`ConfigurationError`."""
    origin = origin_of(url)
    if origin is None:
        raise ConfigurationError(
            "the URL has no plain origin (expected http:// or https://, a host, and neither user nor password)"
        )
    return origin
