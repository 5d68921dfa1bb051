"""Who is calling, and how realmgate writes it into headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional
from urllib.parse import quote, unquote_to_bytes

from .errors import ConfigurationError

#: The most characters of a name, and of a realm.
MAX_CHARS = 128

# Visible ASCII without "%".
_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_VISIBLE_WITHOUT_AT = _VISIBLE.replace("@", "")
# At most 128 characters of 4 bytes, each written as %XX.
_WRITTEN = re.compile(r"[\x21-\x7e]{1,1536}\Z")


@dataclass(frozen=True)
class Identity:
    """A proved caller: a name within a realm. Both are compared byte for byte."""

    name: str
    realm: str

    def __post_init__(self) -> None:
        check_part("name", self.name)
        check_part("realm", self.realm)

    @property
    def user(self) -> str:
        """``name@realm`` as ``X-Forwarded-User`` has it: percent-encoded, so no two identities share one."""
        return f"{encode(self.name)}@{quote(self.realm, safe=_VISIBLE_WITHOUT_AT)}"

    def __str__(self) -> str:
        return f"{self.name}@{self.realm}"


def check_part(what: str, text: str) -> None:
    """Raises :class:`ConfigurationError` if a text cannot be a name or a realm."""
    if not isinstance(text, str) or not text:
        raise ConfigurationError(f"the {what} is empty")
    if len(text) > MAX_CHARS:
        raise ConfigurationError(f"the {what} has more than {MAX_CHARS} characters")
    if "\0" in text or text != text.strip():
        raise ConfigurationError(f"the {what} contains NUL, or begins or ends with white space")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"the {what} is not Unicode text") from None


def split_user(user: str) -> Optional[Identity]:
    """Splits ``name@realm`` at the last ``@``. Returns ``None`` if it is no identity."""
    name, at, realm = user.rpartition("@")
    try:
        return Identity(name, realm) if at else None
    except ConfigurationError:
        return None


def encode(text: str) -> str:
    """Writes a name or realm as realmgate does in ``X-Auth-Name``: visible ASCII, everything else as ``%XX``."""
    return quote(text, safe=_VISIBLE)


def decode(value: str) -> Optional[str]:
    """Reads a name or realm that :func:`encode` wrote. Any other spelling of it is ``None``."""
    if not _WRITTEN.match(value):
        return None
    try:
        text = unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        return None
    return text if encode(text) == value else None
