"""One bounded HTTP request: a limit for its time, its headers and its body, and no redirects."""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Optional
from urllib.parse import urlsplit

from .errors import ConfigurationError, Unavailable, UnexpectedAnswer
from .origin import required_origin

#: The path of the API on an ungleich-otp server.
_API = "/ungleichotp/"


class Response(NamedTuple):
    """The response to a request."""

    status: int
    content_type: str
    body: bytes
    #: The number of seconds by which the local clock is ahead of the server's.
    ahead: Optional[float]
    retry_after: Optional[int]

    def json(self) -> Any:
        """Returns the value of a JSON body. Raises :class:`UnexpectedAnswer` for anything else."""
        if self.content_type.partition(";")[0].strip().lower() != "application/json":
            raise self.unexpected("which is not JSON")
        try:
            return json.loads(self.body.decode())
        except (ValueError, RecursionError):
            raise self.unexpected("which is not JSON") from None

    def unexpected(self, what: str) -> UnexpectedAnswer:
        """Makes the error of a response that this request cannot have. It shows nothing of the body."""
        return UnexpectedAnswer(f"not a response of an ungleich-otp server: {self.status}, {what}")


class Transport:
    """Sends requests to one server. Each request has a connection of its own."""

    def __init__(self, url: str, timeout: float, context: Optional[ssl.SSLContext]) -> None:
        if not 0 < timeout <= 3600:
            raise ConfigurationError("the timeout is not between 0 and 3600 seconds")
        url = url.strip()
        self._origin = required_origin(url)
        parts = urlsplit(url)
        if parts.query or parts.fragment or "?" in url or "#" in url:
            raise ConfigurationError("the URL of a server has no query and no fragment")
        path = parts.path.rstrip("/")
        for end in ("/verify", _API.rstrip("/")):
            path = path[: -len(end)] if path.endswith(end) else path
        self._base = path + _API
        self._timeout = timeout
        self._context = context
        if self._origin.scheme == "https" and context is None:
            self._context = ssl.create_default_context()

    def __str__(self) -> str:
        return str(self._origin)

    def send(self, method: str, path: str, body: object, most: int) -> Response:
        """Sends a JSON body and returns the response, whose body has at most ``most`` bytes."""
        deadline = time.monotonic() + self._timeout
        connection = self._connection()
        try:
            connection.request(
                method,
                self._base + path,
                json.dumps(body).encode(),
                {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"},
            )
            # From here on every read ends at the deadline, so that a response cannot arrive byte by byte.
            connection.response_class = _with_deadline(deadline)
            response = connection.getresponse()
            received = response.read(most + 1)
        except socket.timeout:
            raise Unavailable(f"{self} did not respond within {self._timeout:g} s") from None
        except ssl.SSLError as error:
            raise Unavailable(f"{self}: TLS: {error.reason or error}") from None
        except OSError as error:
            raise Unavailable(f"{self} cannot be reached: {error.strerror or error}") from None
        except http.client.HTTPException as error:
            raise UnexpectedAnswer(f"{self} did not send an HTTP response ({type(error).__name__})") from None
        finally:
            connection.close()
        if len(received) > most:
            raise UnexpectedAnswer(f"{self} sent more than {most} bytes")
        if response.length:
            raise UnexpectedAnswer(f"{self} closed the connection before the response was complete")
        return Response(
            response.status,
            response.getheader("Content-Type", ""),
            received,
            _ahead(response.getheader("Date")),
            _seconds(response.getheader("Retry-After")),
        )

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._origin.host.strip("[]"), self._origin.port
        if self._origin.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)


def _with_deadline(deadline: float) -> Any:
    """Returns a response class that reads its socket until a deadline, and not until each read is late."""

    def response(sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_Timed(sock, deadline), *args, **kwargs)  # type: ignore[arg-type]

    return response


class _Timed:
    """A socket as :class:`http.client.HTTPResponse` needs it."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        # The file of the socket keeps it open after the connection has closed it.
        return io.BufferedReader(_Reader(self._sock, self._sock.makefile("rb"), self._deadline))


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, holder: Any, deadline: float) -> None:
        self._sock = sock
        self._holder = holder
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise socket.timeout("timed out")
        self._sock.settimeout(remaining)
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._holder.close()
        super().close()


def _ahead(date: Optional[str]) -> Optional[float]:
    try:
        return time.time() - parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _seconds(text: Optional[str]) -> Optional[int]:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None
