"""The credential of a caller."""

from __future__ import annotations

import base64
import logging
import os
import re
import threading
import time
from typing import Callable, Dict, Mapping, Optional, Tuple, Union

from .errors import ConfigurationError, SeedError
from .headers import HeaderNames
from .identity import Identity, split_user
from .totp import Otpauth, Parameters, Seed, parse_identity, parse_otpauth

_LOG = logging.getLogger("realmgate")
# The maximum size of a seed file in bytes.
_MOST_BYTES = 4096
# Valid header values: visible ASCII, with spaces inside.
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")

Path = Union[str, "os.PathLike[str]"]
_Signature = Tuple[int, int, int, int]


class Credential:
    """A name, a realm and a seed, from which it computes a token for each request.

    Give the seed (``seed``) or the path of a file that holds it (``seed_file``): in base32, as an ``otpauth://`` URL,
    or as the JSON that ``realmgate identity create --json`` prints. The file is read again when it changes; if the new
    content is no seed, the last good one stays in use, and a warning is logged. ``algorithm``, ``digits`` and
    ``period`` default to those of the URL or JSON, or to SHA1, 6 digits and 30 seconds. ``clock_offset`` is added to the local time, in seconds.

    It may be shared between threads. ``repr`` shows neither seed nor token.
    """

    def __init__(
        self,
        name: str,
        realm: str,
        seed: Optional[str] = None,
        *,
        seed_file: Optional[Path] = None,
        algorithm: Optional[str] = None,
        digits: Optional[int] = None,
        period: Optional[int] = None,
        clock_offset: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if (seed is None) == (seed_file is None):
            raise ConfigurationError("give either seed or seed_file")
        self._identity = Identity(name, realm)
        self._given = (algorithm, digits, period)
        self.clock_offset = float(clock_offset)
        self._clock = clock
        self._lock = threading.Lock()
        self._path = seed_file
        self._signature: Optional[_Signature] = None
        self._warned: Optional[_Signature] = None
        if seed_file is not None:
            self._current = self._read(seed_file)
        else:
            self._current = self._with_parameters(_secret(seed or ""))

    @classmethod
    def from_otpauth(
        cls,
        url: str,
        *,
        name: Optional[str] = None,
        realm: Optional[str] = None,
        clock_offset: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> Credential:
        """Makes a credential of an ``otpauth://`` URL. ``name`` and ``realm`` override its label."""
        parsed = parse_otpauth(url)
        name, realm = name or parsed.name, realm or parsed.realm
        if name is None or realm is None:
            raise ConfigurationError("the label of the otpauth URL is not name@realm; give name and realm")
        return cls(name, realm, url, clock_offset=clock_offset, clock=clock)

    @classmethod
    def from_environment(
        cls,
        environ: Optional[Mapping[str, str]] = None,
        *,
        clock_offset: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> Credential:
        """Makes a credential of environment variables.

        ``REALMGATE_IDENTITY`` (``name@realm``) with ``REALMGATE_SEED_FILE`` or ``REALMGATE_SEED``. Without
        ``REALMGATE_IDENTITY``, those of ungleich-otp: ``UNGLEICHOTPNAME``, ``UNGLEICHOTPREALM`` and
        ``UNGLEICHOTPSEED``.
        """
        environ = os.environ if environ is None else environ
        user = environ.get("REALMGATE_IDENTITY")
        if not user:
            name, realm, seed = (_variable(environ, "UNGLEICHOTP" + part) for part in ("NAME", "REALM", "SEED"))
            return cls(name, realm, seed, clock_offset=clock_offset, clock=clock)
        identity = split_user(user)
        if identity is None:
            raise ConfigurationError("REALMGATE_IDENTITY is not name@realm")
        seed_file = environ.get("REALMGATE_SEED_FILE") or None
        if seed_file is not None and environ.get("REALMGATE_SEED"):
            raise ConfigurationError("set either REALMGATE_SEED_FILE or REALMGATE_SEED")
        return cls(
            identity.name,
            identity.realm,
            _variable(environ, "REALMGATE_SEED") if seed_file is None else None,
            seed_file=seed_file,
            clock_offset=clock_offset,
            clock=clock,
        )

    @property
    def name(self) -> str:
        """The name."""
        return self._identity.name

    @property
    def realm(self) -> str:
        """The realm."""
        return self._identity.realm

    @property
    def parameters(self) -> Parameters:
        """How the tokens are computed."""
        return self._secret()[1]

    def now(self) -> float:
        """Returns the time that tokens are computed for: the local time and the offset."""
        return self._clock() + self.clock_offset

    def token(self) -> str:
        """Returns the current token."""
        seed, parameters = self._secret()
        return seed.token(parameters, self.now())

    def remaining(self) -> float:
        """Returns the number of seconds until the next token."""
        period = self.parameters.period
        return period - self.now() % period

    def basic(self) -> str:
        """Returns the value of an ``Authorization`` header with the current token."""
        user = f"{self.name}@{self.realm}"
        if ":" in user:
            # RFC 7617 §2: the user ends at the first colon.
            raise ConfigurationError("a name or realm with a colon cannot be sent with Basic; use HeaderNames()")
        return "Basic " + base64.b64encode(f"{user}:{self.token()}".encode()).decode()

    def headers(self, names: Optional[HeaderNames] = None) -> Dict[str, str]:
        """Returns the headers of one request: ``Authorization``, or the three headers if ``names`` is given."""
        if names is None:
            return {"Authorization": self.basic()}
        if not _PLAIN.match(self.name) or not _PLAIN.match(self.realm):
            raise ConfigurationError("a name or realm that is not visible ASCII must be sent with Basic")
        return {names.name: self.name, names.realm: self.realm, names.token: self.token()}

    def __repr__(self) -> str:
        return f"Credential({self.name!r}, {self.realm!r}, [redacted])"

    def __str__(self) -> str:
        return str(self._identity)

    def _with_parameters(self, parsed: Otpauth) -> Tuple[Seed, Parameters]:
        algorithm, digits, period = self._given
        base = parsed.parameters
        return parsed.seed, Parameters(
            base.algorithm if algorithm is None else algorithm,
            base.digits if digits is None else digits,
            base.period if period is None else period,
        )

    def _secret(self) -> Tuple[Seed, Parameters]:
        if self._path is None:
            return self._current
        with self._lock:
            self._read_again(self._path)
            return self._current

    def _read_again(self, path: Path) -> None:
        found: Optional[_Signature] = None
        try:
            found = _signature(os.stat(path))
            if found == self._signature:
                return
            self._current = self._read(path)
        except (OSError, ConfigurationError) as error:
            if found is None or found != self._warned:
                reason = error.strerror if isinstance(error, OSError) else error
                _LOG.warning("seed file %s: %s; the last good seed stays in use", path, reason)
            self._warned = found

    def _read(self, path: Path) -> Tuple[Seed, Parameters]:
        try:
            with open(path, "rb") as file:
                signature = _signature(os.fstat(file.fileno()))
                content = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise SeedError(f"the seed file {os.fspath(path)} cannot be read: {error.strerror}") from None
        if len(content) > _MOST_BYTES:
            raise SeedError(f"the seed file {os.fspath(path)} has more than {_MOST_BYTES} bytes")
        try:
            # Names in JSON may have other letters.
            text = content.decode("utf-8" if content[:1] == b"{" else "ascii")
        except UnicodeDecodeError:
            raise SeedError(f"the seed file {os.fspath(path)} is not ASCII text") from None
        current = self._with_parameters(_secret(text.strip()))
        self._signature = signature
        return current


def _secret(text: str) -> Otpauth:
    if text[:10].lower() == "otpauth://":
        return parse_otpauth(text)
    if text[:1] == "{":
        return parse_identity(text)
    return Otpauth(None, None, Seed.from_base32(text), Parameters())


def _signature(status: os.stat_result) -> _Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise ConfigurationError(f"the environment variable {name} is not set")
    return value
