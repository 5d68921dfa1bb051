"""Middleware for WSGI applications, such as Flask's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, List, Mapping, Optional

from .guard import KEY, Guard, Rejection
from .headers import folded
from .identity import Identity
from .policy import AnyRealm
from .sources import Incoming, Source

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Middleware:
    """Lets authenticated requests pass to a WSGI application.

    ``source`` is :class:`~realmgate.TrustHeaders` or :class:`~realmgate.VerifyTokens`. ``policy`` says who may pass;
    with ``None`` everyone may, and the application decides. It reads the identity with :func:`identity`, or its
    ``REMOTE_USER``. It never sees the token, nor identity headers.
    """

    def __init__(
        self, app: WSGIApplication, source: Source, policy: Optional[AnyRealm] = AnyRealm()
    ) -> None:
        self._app = app
        self._guard = Guard(source, policy)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        incoming = incoming_of(environ)
        decision = self._guard.decide(incoming)
        if isinstance(decision, Rejection):
            length = ("Content-Length", str(len(decision.body)))
            start_response(f"{decision.status} {decision.reason}", [*decision.headers, length])
            return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else decision.body]
        hide(environ, self._guard, incoming)
        environ[KEY] = decision
        if decision is None:
            return self._app(environ, start_response)
        environ["REMOTE_USER"] = decision.user
        environ["AUTH_TYPE"] = "realmgate"
        if not self._guard.marks_private:
            return self._app(environ, start_response)

        def start(status: str, headers: Any, *args: Any) -> Any:
            return start_response(status, [*headers, ("Cache-Control", "private")], *args)

        return self._app(environ, start)


def identity(environ: Mapping[str, Any]) -> Optional[Identity]:
    """Returns the identity of a request that passed the middleware, or ``None``."""
    found = environ.get(KEY)
    return found if isinstance(found, Identity) else None


def incoming_of(environ: Mapping[str, Any]) -> Incoming:
    """Returns what a source reads of a WSGI request."""

    def values(name: str) -> List[str]:
        value = environ.get("HTTP_" + name.upper().replace("-", "_"))
        return [value] if isinstance(value, str) else []

    peer = environ.get("REMOTE_ADDR")
    return Incoming(peer if isinstance(peer, str) else None, values)


def hide(environ: WSGIEnvironment, guard: Guard, incoming: Incoming) -> None:
    """Removes from a WSGI request what the application must not see."""
    if guard.hides_authorization(incoming):
        del environ["HTTP_AUTHORIZATION"]
    for key in [key for key in environ if key.startswith("HTTP_") and folded(key[5:]) in guard.hidden]:
        del environ[key]
    for key in ("REMOTE_USER", "AUTH_TYPE"):
        environ.pop(key, None)
