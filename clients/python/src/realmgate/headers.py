"""The headers that carry credentials and identities, and the credential that a request presents."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Callable, List, NamedTuple, Optional, Tuple

from .errors import ConfigurationError
from .identity import Identity, split_user

#: ``name@realm`` of the caller, which realmgate sets beside name and realm.
FORWARDED_USER = "X-Forwarded-User"
#: The challenge of a 401.
CHALLENGE = 'Basic realm="realmgate", charset="UTF-8"'

_NAME = re.compile(r"[A-Za-z0-9-]+\Z")
_TOKEN = re.compile(r"[0-9]{6,8}\Z")
# The limits of realmgate.
_MOST_LETTERS = 2048
_MOST_TOKEN = 128


@dataclass(frozen=True)
class HeaderNames:
    """The names of the three headers (``[credentials]`` in the configuration of realmgate)."""

    name: str = "X-Auth-Name"
    realm: str = "X-Auth-Realm"
    token: str = "X-Auth-Token"

    def __post_init__(self) -> None:
        for header in self.all():
            if not _NAME.match(header):
                raise ConfigurationError(f"{header!r} is no header name of letters, digits and hyphens")
        if len({folded(header) for header in (*self.all(), FORWARDED_USER)}) != 4:
            raise ConfigurationError("two of the header names are the same")

    def all(self) -> Tuple[str, str, str]:
        """Returns the three names."""
        return self.name, self.realm, self.token


def folded(name: str) -> str:
    """Writes a header name as CGI and its successors compare it: small letters, ``-`` for every other character."""
    return re.sub(r"[^a-z0-9]", "-", name.lower())


class Presented(NamedTuple):
    """The credential in a request: name, realm and token."""

    identity: Identity
    token: str

    def __repr__(self) -> str:
        return f"Presented({self.identity!r}, [redacted])"


class Malformed(Exception):
    """A request has an invalid credential or identity."""


#: Returns every value of a header, each as the latin-1 text that WSGI and ASGI servers give.
Values = Callable[[str], List[str]]


def read_credential(values: Values, names: HeaderNames) -> Optional[Presented]:
    """Returns the one credential of a request, or ``None`` if there is none.

    Raises :class:`Malformed` for a duplicate header, two kinds of credential or a missing part, as realmgate does.
    """
    three = [values(header) for header in names.all()]
    basic = _basic(values("Authorization"))
    if not any(three):
        return _of_basic(basic) if basic is not None else None
    if basic is not None:
        raise Malformed("two kinds of credential")
    if any(len(found) != 1 for found in three):
        raise Malformed("a header of the credential is duplicate or missing")
    name, realm, token = (_text(found[0]) for found in three)
    return _presented(name, realm, token)


def holds_token(values: Values) -> bool:
    """Returns whether ``Authorization`` could carry a token of realmgate: an application must not see it."""
    for value in values("Authorization"):
        try:
            presented = _of_basic(value[len("basic ") :].strip(" \t"))
        except Malformed:
            continue
        if _TOKEN.match(presented.token):
            return True
    return False


def _basic(values: List[str]) -> Optional[str]:
    found = None
    for value in values:
        scheme, _, rest = value.replace("\t", " ").partition(" ")
        if scheme.lower() == "basic":
            found = rest.strip(" ")
    if found is not None and len(values) > 1:
        raise Malformed("a duplicate Authorization header")
    return found


def _of_basic(letters: str) -> Presented:
    if len(letters) > _MOST_LETTERS:
        raise Malformed("Basic is too long")
    try:
        decoded = base64.b64decode(letters.encode("ascii"), validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise Malformed("Basic is not base64 of UTF-8") from None
    user, colon, token = decoded.partition(":")
    identity = split_user(user)
    if not colon or identity is None:
        raise Malformed("Basic is not name@realm:token")
    return _presented(identity.name, identity.realm, token)


def _presented(name: str, realm: str, token: str) -> Presented:
    try:
        identity = Identity(name, realm)
    except ConfigurationError as error:
        raise Malformed(str(error)) from None
    if not 0 < len(token) <= _MOST_TOKEN:
        raise Malformed("the token is empty or too long")
    return Presented(identity, token)


def _text(value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise Malformed("a header of the credential is not UTF-8") from None
