"""Seeds, time-based tokens (RFC 6238) and ``otpauth://`` URLs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import unquote_to_bytes

from .errors import ConfigurationError, SeedError

#: The maximum length of a seed in bytes: 128 characters of base32.
MAX_SEED_BYTES = 80

_BASE32 = re.compile(r"[A-Z2-7]*\Z")
_ALGORITHMS = ("SHA1", "SHA256", "SHA512")


@dataclass(frozen=True)
class Parameters:
    """How an identity computes its tokens. ``realmgate identity show`` prints them."""

    #: SHA1, SHA256 or SHA512.
    algorithm: str = "SHA1"
    #: The number of digits, 6 to 8.
    digits: int = 6
    #: The length of a time step in seconds, 1 to 3600.
    period: int = 30

    def __post_init__(self) -> None:
        algorithm = str(self.algorithm).upper()
        if algorithm not in _ALGORITHMS:
            raise ConfigurationError("the algorithm is none of SHA1, SHA256, SHA512")
        object.__setattr__(self, "algorithm", algorithm)
        _check_range("digits", self.digits, 6, 8)
        _check_range("period", self.period, 1, 3600)

    def step(self, time: float) -> int:
        """Returns the number of the time step that ``time``, in seconds since 1970, is in."""
        if not 0 <= time < 2**63:
            raise ConfigurationError("the clock is before 1970 or too far in the future")
        return int(time) // self.period


def _check_range(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigurationError(f"{name} is {value!r}, expected {least} to {most}")


class Seed:
    """The secret of an identity. ``repr`` does not show it."""

    __slots__ = ("_bytes",)

    def __init__(self, raw: bytes) -> None:
        if not raw:
            raise SeedError("the seed is empty")
        if len(raw) > MAX_SEED_BYTES:
            raise SeedError(f"the seed is longer than {MAX_SEED_BYTES} bytes")
        self._bytes = bytes(raw)

    @classmethod
    def from_base32(cls, text: str) -> Seed:
        """Reads base32 in any case, with or without padding, and with spaces and hyphens between groups."""
        if len(text) > 1024:
            raise SeedError(f"the seed is longer than {MAX_SEED_BYTES} bytes")
        # Only ASCII letters are folded: str.upper() would turn other letters into ASCII ones.
        letters = text.rstrip("=").translate(_FOLD)
        if not _BASE32.match(letters) or len(letters) % 8 in (1, 3, 6):
            raise SeedError("the seed is not base32 (letters A to Z and digits 2 to 7)")
        return cls(base64.b32decode(letters + "=" * (-len(letters) % 8)))

    def token(self, parameters: Parameters, time: float) -> str:
        """Returns the token of the step that ``time`` is in (RFC 6238 §4, RFC 4226 §5.3)."""
        counter = parameters.step(time).to_bytes(8, "big")
        digest = hmac.new(self._bytes, counter, getattr(hashlib, parameters.algorithm.lower())).digest()
        offset = digest[-1] & 0xF
        number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
        return str(number % 10**parameters.digits).zfill(parameters.digits)

    def __repr__(self) -> str:
        return "Seed([redacted])"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seed) and hmac.compare_digest(self._bytes, other._bytes)

    def __hash__(self) -> int:
        return hash(self._bytes)


_FOLD = {ord(low): up for low, up in zip("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
_FOLD.update({ord(" "): "", ord("-"): ""})


class Otpauth(NamedTuple):
    """The parts of an ``otpauth://totp/`` URL."""

    name: Optional[str]
    realm: Optional[str]
    seed: Seed
    parameters: Parameters

    def __repr__(self) -> str:
        return f"Otpauth({self.name!r}, {self.realm!r}, {self.seed!r}, {self.parameters!r})"


def parse_otpauth(url: str) -> Otpauth:
    """Reads an ``otpauth://totp/`` URL, as ``realmgate identity create`` prints it.

    The label is ``issuer:name@realm`` or ``name@realm``, split at its last ``@``. Without an ``@``, name and realm
    are ``None``. Raises :class:`SeedError` for anything else: another type, a parameter that occurs twice, a missing
    secret. Parameters that this function does not know are ignored.
    """
    if len(url) > 4096:
        raise SeedError("the otpauth URL is longer than 4096 characters")
    scheme, colon, rest = url.strip().partition("://")
    if not colon or scheme.lower() != "otpauth":
        raise SeedError("the URL is no otpauth URL")
    rest = rest.partition("#")[0]
    path, _, query = rest.partition("?")
    kind, _, label = path.partition("/")
    if kind.lower() != "totp":
        raise SeedError("the otpauth URL is not of the type totp")
    found = _query(query)
    if "secret" not in found:
        raise SeedError("the otpauth URL has no secret")
    try:
        parameters = Parameters(
            algorithm=found.get("algorithm", "SHA1"),
            digits=_number(found.get("digits", "6")),
            period=_number(found.get("period", "30")),
        )
    except SeedError:
        raise
    except ConfigurationError as error:
        raise SeedError(f"the otpauth URL: {error}") from None
    name, realm = _principal(label, found.get("issuer"))
    return Otpauth(name, realm, Seed.from_base32(found["secret"]), parameters)


def parse_identity(text: str) -> Otpauth:
    """Reads an identity in JSON, as ``realmgate identity create --json`` and the administration API print it.

    Raises :class:`SeedError` for anything else. Other members are ignored.
    """
    failed = SeedError("the JSON is not one identity with its seed, as realmgate identity create --json prints it")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise failed from None
    seed = found.get("seed") if isinstance(found, dict) else None
    if not isinstance(seed, str):
        raise failed
    given = found.get("parameters", found)
    if not isinstance(given, dict):
        raise failed
    try:
        parameters = Parameters(
            algorithm=given.get("algorithm", "SHA1"), digits=given.get("digits", 6), period=given.get("period", 30)
        )
    except ConfigurationError as error:
        raise SeedError(f"the JSON: {error}") from None
    return Otpauth(None, None, Seed.from_base32(seed), parameters)


def _query(query: str) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for pair in query.split("&"):
        if not pair:
            continue
        key, _, value = pair.partition("=")
        key = _decoded(key).lower()
        if key in found:
            raise SeedError("the otpauth URL has a parameter twice")
        found[key] = _decoded(value)
    return found


def _number(text: str) -> int:
    if not re.match(r"[0-9]{1,4}\Z", text):
        raise SeedError("the otpauth URL has a parameter that is no number")
    return int(text)


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise SeedError("the otpauth URL is not percent-encoded correctly")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise SeedError("the otpauth URL is not UTF-8") from None


def _principal(label: str, issuer: Optional[str]) -> Tuple[Optional[str], Optional[str]]:
    before, colon, after = label.partition(":")
    text = _decoded(after if colon else before)
    if not colon and issuer and text.startswith(issuer + ":"):
        text = text[len(issuer) + 1 :]
    parts: List[str] = text.strip(" ").rsplit("@", 1)
    if len(parts) == 2 and all(parts):
        return parts[0], parts[1]
    return None, None
