"""Verification of tokens at a server, with a cache."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections import OrderedDict
from typing import Callable, FrozenSet, Iterable, Optional

from .client import Client
from .errors import ConfigurationError, RealmgateError, Unavailable
from .identity import Identity


class Verifier:
    """Verifies tokens with ``/ungleichotp/verify/``, and caches valid ones.

    A valid token is remembered to the end of the current time step, so that it never passes for longer than at the
    server, but an identity that is disabled or deleted may pass until then. ``period`` is the length of the shortest
    step of your identities, 30 seconds by default. The cache has at most ``cache_size`` entries, as keyed hashes; 0
    turns it off. Rejections are never remembered.

    Name the realms with ``reuse = "once"`` in ``uncached_realms``: the server is asked about each of their requests,
    so that a token is valid once.

    Anything but a clear answer of the server raises :class:`Unavailable`.
    """

    def __init__(
        self,
        client: Client,
        *,
        cache_size: int = 10_000,
        period: int = 30,
        uncached_realms: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if cache_size < 0:
            raise ConfigurationError("cache_size is negative")
        if not 1 <= period <= 3600:
            raise ConfigurationError("the period is not between 1 and 3600 seconds")
        if isinstance(uncached_realms, str):
            raise ConfigurationError("uncached_realms is a list of realms")
        self._client = client
        self._size = cache_size
        self._period = period
        self._uncached: FrozenSet[str] = frozenset(uncached_realms)
        self._clock = clock
        self._key = os.urandom(32)
        self._lock = threading.Lock()
        # The step in which each entry was verified, by the hash of the credential.
        self._valid: OrderedDict[bytes, int] = OrderedDict()

    def is_cached(self, identity: Identity, token: str) -> bool:
        """Returns whether a token was verified in the current step. Makes no request."""
        if identity.realm in self._uncached or not self._size:
            return False
        key, step = self._hash(identity, token), self._step()
        with self._lock:
            found = self._valid.get(key)
            if found is not None and found != step:
                del self._valid[key]
            return found == step

    def is_valid(self, identity: Identity, token: str, *, client_address: Optional[str] = None) -> bool:
        """Returns whether a token is valid. May block. Raises :class:`Unavailable` if there is no answer."""
        if self.is_cached(identity, token):
            return True
        # The step before the answer: an answer that takes long must not extend it.
        step = self._step()
        try:
            valid = self._client.accepts(identity.name, identity.realm, token, client_address=client_address)
        except Unavailable:
            raise
        except RealmgateError as error:
            # The verifier's own credential is wrong, for instance: nothing is known about the token.
            raise Unavailable(str(error)) from error
        if valid and self._size and identity.realm not in self._uncached:
            self._remember(self._hash(identity, token), step)
        return valid

    def _remember(self, key: bytes, step: int) -> None:
        with self._lock:
            self._valid[key] = step
            self._valid.move_to_end(key)
            while len(self._valid) > self._size:
                self._valid.popitem(last=False)

    def _step(self) -> int:
        return int(self._clock() // self._period)

    def _hash(self, identity: Identity, token: str) -> bytes:
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (identity.name, identity.realm, token):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return digest.digest()
