"""Django REST framework: authentication and permissions.

A view::

    authentication_classes = [RealmgateAuthentication]
    permission_classes = [InRealm("payments")]          # or AnyRealm

``request.auth`` is the :class:`~realmgate.Identity`. The settings are those of ``realmgate.django``, whose middleware
is not needed for this.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.permissions import BasePermission, OperationHolderMixin

from . import django as _django
from . import policy
from .guard import UNAVAILABLE, Rejection
from .headers import CHALLENGE
from .identity import Identity

__all__ = ["AnyRealm", "InRealm", "RealmgateAuthentication"]


class _Unavailable(APIException):
    status_code = 503
    default_detail = "Service temporarily unavailable."
    default_code = "unavailable"


class RealmgateAuthentication(BaseAuthentication):
    """Authenticates a request by its identity headers or by its credential, as ``settings.REALMGATE`` says."""

    def authenticate(self, request: Any) -> Optional[Tuple[Any, Identity]]:
        inner = request._request
        # The middleware has decided already, and has hidden the credential.
        decision = inner.realmgate if hasattr(inner, "realmgate") else _django.identify(inner)
        if isinstance(decision, Rejection):
            if decision.status == UNAVAILABLE.status:
                raise _Unavailable()
            raise AuthenticationFailed()
        if not isinstance(decision, Identity):
            return None
        user = _django.user_of(inner, decision)
        if user is None:
            raise AuthenticationFailed("User inactive or unknown.")
        return user, decision

    def authenticate_header(self, request: Any) -> str:
        return CHALLENGE


class AnyRealm(BasePermission):
    """Every authenticated identity may pass. A user who logged in some other way may not."""

    _policy = policy.AnyRealm()

    def has_permission(self, request: Any, view: Any) -> bool:
        return self._policy.allows(request.auth if isinstance(request.auth, Identity) else None)


class InRealm(OperationHolderMixin, AnyRealm):
    """Identities of these realms may pass: ``permission_classes = [InRealm("payments", "ops")]``."""

    def __init__(self, *realms: str) -> None:
        self._policy = policy.InRealm(*realms)

    def __call__(self) -> InRealm:
        # The framework calls each entry of permission_classes, which are classes as a rule.
        return self
