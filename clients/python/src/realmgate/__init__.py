"""realmgate for Python: credentials for callers, and identities for services.

Callers need :class:`Credential` and one of ``realmgate.requests``, ``realmgate.httpx`` and ``realmgate.aiohttp``.
Services need ``realmgate.wsgi``, ``realmgate.asgi``, ``realmgate.django`` or ``realmgate.rest_framework``.
:class:`Client` calls the REST API of realmgate or of ungleich-otp.
"""

from __future__ import annotations

from .client import Client, Registered
from .credential import Credential
from .errors import (
    CallerRejected,
    ConfigurationError,
    InvalidRequest,
    NotAllowed,
    NotFound,
    RealmgateError,
    SeedError,
    SubjectRejected,
    Unavailable,
    UnexpectedAnswer,
)
from .headers import HeaderNames
from .identity import Identity
from .policy import AnyRealm, InRealm
from .sources import TrustHeaders, VerifyTokens
from .totp import Parameters, Seed
from .verifier import Verifier

__version__ = "0.2.0"

__all__ = [
    "AnyRealm",
    "CallerRejected",
    "Client",
    "ConfigurationError",
    "Credential",
    "HeaderNames",
    "Identity",
    "InRealm",
    "InvalidRequest",
    "NotAllowed",
    "NotFound",
    "Parameters",
    "RealmgateError",
    "Registered",
    "Seed",
    "SeedError",
    "SubjectRejected",
    "TrustHeaders",
    "Unavailable",
    "UnexpectedAnswer",
    "Verifier",
    "VerifyTokens",
    "__version__",
]
