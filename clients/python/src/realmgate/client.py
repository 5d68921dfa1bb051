"""The REST API of realmgate, and of ungleich-otp 0.8."""

from __future__ import annotations

import os
import ssl
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from .credential import Credential
from .errors import (
    CallerRejected,
    ConfigurationError,
    InvalidRequest,
    NotAllowed,
    NotFound,
    SubjectRejected,
    Unavailable,
)
from .transport import Response, Transport

_ONE = 64 << 10
_LIST = 64 << 20
_NOT_AUTHENTICATED = "Incorrect authentication credentials."
_NOT_ALLOWED = "You do not have permission to perform this action."


class Registered(NamedTuple):
    """An identity as the server returns it. Only the response to :meth:`Client.create` has its seed."""

    #: ``None`` where the server does not return it (ungleich-otp 0.6).
    id: Optional[int]
    name: str
    realm: str
    seed: Optional[str] = None

    def __repr__(self) -> str:
        return f"Registered(id={self.id!r}, name={self.name!r}, realm={self.realm!r})"


class Client:
    """Calls one server as one caller. It may be shared between threads.

    The caller needs the realm ``ungleich-admin`` to list, create, update and delete identities, and
    ``ungleich-auth`` to verify tokens. ``timeout`` limits each request as a whole, in seconds. Redirects are not
    followed, and no request is sent twice.
    """

    def __init__(
        self,
        url: str,
        credential: Credential,
        *,
        timeout: float = 10.0,
        context: Optional[ssl.SSLContext] = None,
    ) -> None:
        self.credential = credential
        self._transport = Transport(url, timeout, context)

    @classmethod
    def from_environment(cls, environ: Optional[Mapping[str, str]] = None, *, timeout: float = 10.0) -> Client:
        """Makes a client of ``REALMGATE_URL`` or ``UNGLEICHOTPSERVER``, and :meth:`Credential.from_environment`."""
        environ = os.environ if environ is None else environ
        url = environ.get("REALMGATE_URL") or environ.get("UNGLEICHOTPSERVER")
        if not url:
            raise ConfigurationError("neither REALMGATE_URL nor UNGLEICHOTPSERVER is set")
        return cls(url, Credential.from_environment(environ), timeout=timeout)

    def list(self) -> List[Registered]:
        """Returns all identities, without their seeds."""
        response = self._ask("GET", "", {}, _LIST)
        found = response.json() if response.status == 200 else None
        if not isinstance(found, list):
            raise response.unexpected("which is no list")
        return [_registered(response, one) for one in found]

    def find(self, name: str, realm: str) -> Registered:
        """Returns one identity. Raises :class:`NotFound` if there is none."""
        found = [one for one in self.list() if (one.name, one.realm) == (name, realm)]
        if len(found) > 1:
            raise Unavailable(f"{self._transport} lists the identity twice")
        if not found:
            raise NotFound(f"no identity {name!r} in realm {realm!r}")
        return found[0]

    def create(self, name: str, realm: str) -> Registered:
        """Creates an identity. The result has its seed, which cannot be read again."""
        response = self._ask("POST", "", {"name": name, "realm": realm})
        created = self._about(response, 201, name, realm)
        if not created.seed:
            raise response.unexpected("an identity without a seed")
        return created

    def update(
        self, name: str, realm: str, *, new_name: Optional[str] = None, new_realm: Optional[str] = None
    ) -> Registered:
        """Renames an identity, or moves it to another realm. Its seed stays."""
        change = {key: value for key, value in (("name", new_name), ("realm", new_realm)) if value is not None}
        if not change:
            raise ConfigurationError("give new_name or new_realm")
        path = self._path(name, realm)
        response = self._ask("PATCH", path, change, gone=f"no identity {name!r} in realm {realm!r}")
        return self._about(response, 200, new_name or name, new_realm or realm)

    def delete(self, name: str, realm: str) -> None:
        """Deletes an identity. Raises :class:`NotFound` if there is none."""
        path = self._path(name, realm)
        response = self._ask("DELETE", path, {}, gone=f"no identity {name!r} in realm {realm!r}")
        if response.status != 204:
            raise response.unexpected("which is not 204")

    def verify(self, name: str, realm: str, token: str, *, client_address: Optional[str] = None) -> None:
        """Returns if ``token`` is a valid token of that identity now.

        ``client_address`` is the address of the client that presented the token: the server counts failures
        against it. Raises :class:`SubjectRejected` if the token is rejected, :class:`NotAllowed` if this caller may
        not verify, and :class:`Unavailable` if there is no answer.
        """
        if not self.accepts(name, realm, token, client_address=client_address):
            self._explain(name, realm)

    def accepts(self, name: str, realm: str, token: str, *, client_address: Optional[str] = None) -> bool:
        """Returns whether ``token`` is valid now, with one request.

        ``False`` also if this caller may not verify, which the server does not distinguish; :meth:`verify` asks
        once more to find out. Only a 200 whose body is a JSON object with ``"status": "OK"`` is ``True``.
        """
        fields: Dict[str, Any] = {"name": name, "realm": realm, "token": token}
        if client_address is not None:
            fields["client_address"] = client_address
        response = self._send("POST", "verify/", fields)
        if _detail(response) == _NOT_ALLOWED:
            return False
        self._check(response)
        found = response.json() if response.status == 200 else None
        if not isinstance(found, dict) or found.get("status") != "OK":
            raise response.unexpected("whose status is not OK")
        return True

    def _explain(self, name: str, realm: str) -> None:
        """Raises the error of the rejected credential: without a subject, a caller who may verify gets 400."""
        probe = self._send("POST", "verify/", {})
        if probe.status == 400:
            raise SubjectRejected(f"the credential of {name}@{realm} was rejected")
        if _detail(probe) == _NOT_ALLOWED:
            raise NotAllowed(f"{self.credential} may not verify")
        raise SubjectRejected(f"the credential of {name}@{realm} was rejected, or {self.credential} may not verify")

    def _path(self, name: str, realm: str) -> str:
        found = self.find(name, realm)
        if found.id is None:
            raise Unavailable(f"{self._transport} does not return the id of {name}@{realm}")
        return f"{found.id}/"

    def _about(self, response: Response, status: int, name: str, realm: str) -> Registered:
        if response.status != status:
            raise response.unexpected(f"which is not {status}")
        found = _registered(response, response.json())
        # The server removes white space around both.
        if (found.name, found.realm) != (name.strip(), realm.strip()):
            raise response.unexpected("about another identity")
        return found

    def _ask(
        self, method: str, path: str, fields: Mapping[str, Any], most: int = _ONE, gone: str = ""
    ) -> Response:
        response = self._send(method, path, fields, most)
        self._check(response, gone)
        return response

    def _send(self, method: str, path: str, fields: Mapping[str, Any], most: int = _ONE) -> Response:
        body: Dict[str, Any] = {
            "auth_name": self.credential.name,
            "auth_realm": self.credential.realm,
            "auth_token": self.credential.token(),
        }
        body.update(fields)
        return self._transport.send(method, path, body, most)

    def _check(self, response: Response, gone: str = "") -> None:
        detail = _detail(response)
        if detail == _NOT_AUTHENTICATED:
            caller = str(self.credential)
            raise CallerRejected(caller, ahead=response.ahead, retry_after=response.retry_after)
        if detail == _NOT_ALLOWED:
            raise NotAllowed(f"{self.credential} may not do this")
        if response.status == 400:
            raise InvalidRequest("the server rejected the request: " + _messages(response))
        if response.status == 404 and gone:
            raise NotFound(gone)
        if response.status in (429, 503):
            raise Unavailable(f"{self._transport} is unavailable ({response.status})")
        if response.status not in (200, 201, 204):
            raise response.unexpected("which no request expects")


def _detail(response: Response) -> Optional[str]:
    if response.status != 403:
        return None
    found = response.json()
    if not isinstance(found, dict) or found.get("detail") not in (_NOT_AUTHENTICATED, _NOT_ALLOWED):
        raise response.unexpected("without a known detail")
    detail: str = found["detail"]
    return detail


def _messages(response: Response) -> str:
    found = response.json()
    if not isinstance(found, dict):
        raise response.unexpected("which is no object")
    lines = []
    for field, value in list(found.items())[:20]:
        texts = value if isinstance(value, list) else [value]
        lines += [f"{field}: {text}" for text in texts[:20] if isinstance(text, str)]
    return "; ".join(lines)[:1000]


def _registered(response: Response, found: Any) -> Registered:
    if isinstance(found, dict):
        number, name, realm, seed = (found.get(key) for key in ("id", "name", "realm", "seed"))
        is_number = number is None or (isinstance(number, int) and not isinstance(number, bool) and number >= 0)
        is_seed = seed is None or isinstance(seed, str)
        if is_number and is_seed and isinstance(name, str) and isinstance(realm, str):
            return Registered(number, name, realm, seed)
    raise response.unexpected("without an identity")
