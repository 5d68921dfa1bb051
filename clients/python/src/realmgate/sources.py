"""How a service learns who is calling: it reads the identity headers, or it verifies credentials itself."""

from __future__ import annotations

import ipaddress
import logging
from typing import Iterable, List, NamedTuple, Optional, Union

from .client import Client
from .errors import ConfigurationError
from .headers import FORWARDED_USER, HeaderNames, Malformed, Presented, Values, read_credential
from .identity import Identity, decode
from .verifier import Verifier

_LOG = logging.getLogger("realmgate")
_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class Incoming(NamedTuple):
    """What a source reads of a request."""

    #: The address at the other end of the connection; empty or ``None`` for a Unix socket.
    peer: Optional[str]
    #: Every value of a header.
    values: Values


class Denied(Exception):
    """The request presents something that proves no identity. The response is 401."""


class TrustHeaders:
    """Reads the identity from ``X-Auth-Name``, ``X-Auth-Realm`` and ``X-Forwarded-User``.

    realmgate or your front proxy sets them, after it verified the credential, and removes those that a client sent.
    They are plain text: whoever can connect to the service can write any name into them. So ``peers`` is required:
    the addresses or networks from which realmgate or your front proxy connects, and nothing more. From anyone else
    the headers are ignored, and the request is unauthenticated. ``"unix"`` stands for a Unix socket.

    The address must be that of the connection. Do not let the server take it from a header before:
    uvicorn needs ``--no-proxy-headers``, and werkzeug's ``ProxyFix`` must not run outside of this.
    """

    def __init__(self, peers: Iterable[str], *, names: Optional[HeaderNames] = None) -> None:
        if isinstance(peers, str):
            raise ConfigurationError("peers is a list of addresses or networks")
        self.names = HeaderNames() if names is None else names
        self._unix = False
        self._networks: List[_Network] = []
        for peer in peers:
            if peer == "unix":
                self._unix = True
                continue
            try:
                network = ipaddress.ip_network(peer)
            except ValueError:
                raise ConfigurationError(f"{peer!r} is no address and no network") from None
            if network.prefixlen == 0:
                raise ConfigurationError(f"{peer!r} is everyone: anyone could claim any identity")
            self._networks.append(network)
        if not self._networks and not self._unix:
            raise ConfigurationError("peers is empty: name the addresses that realmgate connects from")

    def is_cheap(self, incoming: Incoming) -> bool:
        """Returns whether :meth:`identify` answers without waiting for a server."""
        return True

    def identify(self, incoming: Incoming) -> Optional[Identity]:
        """Returns the identity of a request, or ``None`` if it has none. Raises :class:`Denied`."""
        names = (self.names.name, self.names.realm, FORWARDED_USER)
        found = [incoming.values(header) for header in names]
        # Some front proxies clear a header by an empty value.
        if not any(value for values in found for value in values):
            return None
        if not self._trusts(incoming.peer):
            _LOG.warning("identity headers from %r, which is not in peers, were ignored", incoming.peer)
            return None
        if any(len(values) != 1 for values in found):
            raise Denied("an identity header is duplicate or missing")
        name, realm, user = (values[0] for values in found)
        decoded_name, decoded_realm = decode(name), decode(realm)
        if decoded_name is None or decoded_realm is None:
            raise Denied("an identity header is not as realmgate writes it")
        try:
            identity = Identity(decoded_name, decoded_realm)
        except ConfigurationError as error:
            raise Denied(str(error)) from None
        # WSGI joins duplicate headers with a comma, which a name may contain. Then the two differ.
        if identity.user != user:
            raise Denied("X-Forwarded-User is another identity than X-Auth-Name and X-Auth-Realm")
        return identity

    def _trusts(self, peer: Optional[str]) -> bool:
        if not peer:
            return self._unix
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)


class VerifyTokens:
    """Reads the credential of a request and verifies it at realmgate or ungleich-otp.

    For services that callers reach without a proxy in between. The caller of ``client`` needs the realm
    ``ungleich-auth``.
    """

    def __init__(self, verifier: Union[Client, Verifier], *, names: Optional[HeaderNames] = None) -> None:
        self.verifier = verifier if isinstance(verifier, Verifier) else Verifier(verifier)
        self.names = HeaderNames() if names is None else names

    def is_cheap(self, incoming: Incoming) -> bool:
        """Returns whether :meth:`identify` answers without waiting for a server."""
        try:
            presented = self._presented(incoming)
        except Denied:
            return True
        return presented is None or self.verifier.is_cached(presented.identity, presented.token)

    def identify(self, incoming: Incoming) -> Optional[Identity]:
        """Returns the identity of a request, or ``None`` if it presents no credential.

        Raises :class:`Denied` for a wrong credential, and :class:`Unavailable` if the server gives no answer.
        """
        presented = self._presented(incoming)
        if presented is None:
            return None
        address = _address(incoming.peer or "")
        identity, token = presented
        if not self.verifier.is_valid(identity, token, client_address=str(address) if address else None):
            raise Denied("the credential was rejected")
        return identity

    def _presented(self, incoming: Incoming) -> Optional[Presented]:
        try:
            return read_credential(incoming.values, self.names)
        except Malformed as error:
            raise Denied(str(error)) from None


#: Either way to learn who is calling.
Source = Union[TrustHeaders, VerifyTokens]


def _address(text: str) -> Optional[_Address]:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
