"""Every error of this package. No message contains a seed or a token."""

from __future__ import annotations

from typing import Optional


class RealmgateError(Exception):
    """The base of every error of this package."""


class ConfigurationError(RealmgateError, ValueError):
    """An argument, a setting or an environment variable is missing or wrong."""


class SeedError(ConfigurationError):
    """A text is not a seed, or a seed file cannot be read."""


class CallerRejected(RealmgateError):
    """The server rejected the credential of the caller."""

    def __init__(self, caller: str, *, ahead: Optional[float] = None, retry_after: Optional[int] = None) -> None:
        #: The number of seconds by which the local clock is ahead of the server's, if the response had a date.
        self.ahead = ahead
        #: The number of seconds after which to retry, if the response has it.
        self.retry_after = retry_after
        text = f"the credential of the caller {caller} was rejected"
        if retry_after is not None:
            text += f"; try again in {retry_after} s"
        if ahead is not None and abs(ahead) >= 15:
            word = "ahead of" if ahead > 0 else "behind"
            text += f"; the local clock is {abs(ahead):.0f} s {word} the server's"
        super().__init__(text)


class NotAllowed(RealmgateError):
    """The caller is authenticated, and may not do this."""


class SubjectRejected(RealmgateError):
    """The server rejected the token to verify."""


class NotFound(RealmgateError):
    """There is no such identity."""


class InvalidRequest(RealmgateError):
    """The server does not accept a value, such as a name that is taken."""


class Unavailable(RealmgateError):
    """The server cannot be reached, did not respond in time, or responded that it cannot decide."""


class UnexpectedAnswer(Unavailable):
    """The response is not valid for this request. It never counts as a success."""
