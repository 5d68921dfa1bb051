"""The decision about one request, and the headers that an application must not see. For every framework."""

from __future__ import annotations

import logging
from typing import FrozenSet, List, NamedTuple, Optional, Tuple, Union

from .errors import Unavailable
from .headers import CHALLENGE, FORWARDED_USER, folded, holds_token
from .identity import Identity
from .policy import AnyRealm
from .sources import Denied, Incoming, Source, VerifyTokens

_LOG = logging.getLogger("realmgate")

#: Where WSGI's environ and ASGI's scope have the :class:`Identity`, or ``None``.
KEY = "realmgate.identity"


class Rejection(NamedTuple):
    """The response to a request that may not pass."""

    status: int
    reason: str
    headers: List[Tuple[str, str]]
    body: bytes


UNAUTHENTICATED = Rejection(
    401,
    "Unauthorized",
    [("WWW-Authenticate", CHALLENGE), ("Cache-Control", "no-store"), ("Content-Type", "text/plain")],
    b"401 Unauthorized\n",
)
FORBIDDEN = Rejection(
    403, "Forbidden", [("Cache-Control", "no-store"), ("Content-Type", "text/plain")], b"403 Forbidden\n"
)
UNAVAILABLE = Rejection(
    503,
    "Service Unavailable",
    [("Cache-Control", "no-store"), ("Content-Type", "text/plain")],
    b"503 Service Unavailable\n",
)


class Guard:
    """Decides who passes. ``policy=None`` lets unauthenticated requests pass, without an identity."""

    def __init__(self, source: Source, policy: Optional[AnyRealm]) -> None:
        self.source = source
        self.policy = policy
        #: Headers that the application never sees, folded.
        self.hidden: FrozenSet[str] = frozenset(folded(name) for name in (*source.names.all(), FORWARDED_USER))
        #: Whether responses to authenticated requests must be marked private: realmgate does so for its own.
        self.marks_private = isinstance(source, VerifyTokens)

    def decide(self, incoming: Incoming) -> Union[Identity, None, Rejection]:
        """Returns the identity, or ``None`` for an unauthenticated request that may pass, or a rejection.

        Every failure is a rejection.
        """
        try:
            identity = self.source.identify(incoming)
        except Denied as error:
            _LOG.info("request denied: %s", error)
            return UNAUTHENTICATED
        except Unavailable as error:
            _LOG.error("no decision: %s", error)
            return UNAVAILABLE
        except Exception:
            _LOG.exception("no decision")
            return UNAVAILABLE
        if self.policy is None or self.policy.allows(identity):
            return identity
        return UNAUTHENTICATED if identity is None else FORBIDDEN

    def hides_authorization(self, incoming: Incoming) -> bool:
        """Returns whether ``Authorization`` carries a token of realmgate."""
        return holds_token(incoming.values)
