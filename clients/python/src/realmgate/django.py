"""Django: a middleware, an authentication backend and a decorator.

``settings.py``::

    MIDDLEWARE += ["realmgate.django.RealmgateMiddleware"]
    REALMGATE = {"TRUSTED_PEERS": ["10.0.0.2"]}         # read the identity headers that these peers set, or
    REALMGATE = {"VERIFY": {"URL": "https://otp.example.org", "NAME": "shop", "REALM": "ungleich-auth",
                            "SEED_FILE": "/run/secrets/seed"}}                     # verify credentials at realmgate

``request.realmgate`` is the :class:`~realmgate.Identity` or ``None``, and ``request.user`` a user named
``name@realm``. With ``realmgate.django.RealmgateBackend`` in ``AUTHENTICATION_BACKENDS`` this is a user of the
database, which is created on its first request (``"CREATE_USERS": False`` turns that off).
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Dict, List, Mapping, Optional

from django.conf import settings
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control

from .client import Client
from .credential import Credential
from .errors import ConfigurationError
from .guard import FORBIDDEN, UNAUTHENTICATED, Guard, Rejection
from .headers import HeaderNames
from .identity import Identity
from .policy import AnyRealm
from .sources import Source, TrustHeaders, VerifyTokens
from .verifier import Verifier
from .wsgi import hide, incoming_of

__all__ = ["IdentityUser", "RealmgateBackend", "RealmgateMiddleware", "require"]

_BACKEND = "realmgate.django.RealmgateBackend"


class IdentityUser:
    """The user of a request that no user of the database stands for. It has no permissions of Django's."""

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False
    pk = None
    id = None

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.username = identity.user

    def get_username(self) -> str:
        """Returns ``name@realm``."""
        return self.username

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Returns ``False``."""
        return False

    def has_perms(self, perm_list: Any, obj: Any = None) -> bool:
        """Returns ``False``, except for no permissions at all."""
        return not list(perm_list)

    def has_module_perms(self, module: str) -> bool:
        """Returns ``False``."""
        return False

    def __str__(self) -> str:
        return self.username


class RealmgateBackend(BaseBackend):
    """Finds or creates the user of the database whose name is ``name@realm``.

    Only :class:`RealmgateMiddleware` and ``RealmgateAuthentication`` call it with an identity, which they proved. The
    name is percent-encoded as in ``X-Forwarded-User``, so no two identities share a user. An existing user of that
    name is used as it is, with its permissions. An identity whose name is too long for the database gets no user.
    """

    def authenticate(
        self, request: Optional[HttpRequest], realmgate_identity: Optional[Identity] = None, **_: Any
    ) -> Any:
        if not isinstance(realmgate_identity, Identity):
            return None
        model = get_user_model()
        field = model._meta.get_field(model.USERNAME_FIELD)
        username = realmgate_identity.user
        try:
            field.run_validators(username)
        except ValidationError:
            return None
        found = model._default_manager.filter(**{model.USERNAME_FIELD: username}).first()
        if found is None and _configuration().create_users:
            found, created = model._default_manager.get_or_create(**{model.USERNAME_FIELD: username})
            if created:
                found.set_unusable_password()
                found.save()
        # A database may compare without regard to case.
        if found is None or found.get_username() != username or not getattr(found, "is_active", True):
            return None
        return found

    def get_user(self, user_id: Any) -> Any:
        model = get_user_model()
        return model._default_manager.filter(pk=user_id).first()


class RealmgateMiddleware:
    """Sets ``request.realmgate`` and ``request.user``, and rejects wrong credentials.

    Put it after ``AuthenticationMiddleware``, if that is there. A request without a credential passes with the user
    that it had; views decide, with :func:`require` or permissions.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        # A mistake in the settings must stop the start, not the first request.
        _configuration()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        guard = _configuration().guard
        decision = identify(request)
        if isinstance(decision, Rejection):
            return _response(decision)
        hide(request.META, guard, incoming_of(request.META))
        request.realmgate = decision
        if decision is None:
            return self._get_response(request)
        user = user_of(request, decision)
        if user is None:
            return _response(FORBIDDEN)
        request.user = user
        response = self._get_response(request)
        if guard.marks_private:
            patch_cache_control(response, private=True)
        return response


def require(policy: AnyRealm) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a view: ``@require(InRealm("payments"))``. Others get 401 or 403."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(view):

            @functools.wraps(view)
            async def guarded_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                rejection = _rejection(request, policy)
                return await view(request, *args, **kwargs) if rejection is None else rejection

            return guarded_async

        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            rejection = _rejection(request, policy)
            return view(request, *args, **kwargs) if rejection is None else rejection

        return guarded

    return decorate


def identify(request: HttpRequest) -> Any:
    """Returns the identity of a request, ``None``, or a :class:`~realmgate.guard.Rejection`."""
    return _configuration().guard.decide(incoming_of(request.META))


def user_of(request: HttpRequest, identity: Identity) -> Any:
    """Returns the user of an identity, or ``None`` if it may have none."""
    if _BACKEND in settings.AUTHENTICATION_BACKENDS:
        return authenticate(request, realmgate_identity=identity)
    return IdentityUser(identity)


def _rejection(request: HttpRequest, policy: AnyRealm) -> Optional[HttpResponse]:
    # Without the middleware there is no such attribute, so nobody passes.
    found = getattr(request, "realmgate", None)
    if not isinstance(found, Identity):
        return _response(UNAUTHENTICATED)
    return None if policy.allows(found) else _response(FORBIDDEN)


def _response(rejection: Rejection) -> HttpResponse:
    response = HttpResponse(rejection.body, status=rejection.status)
    for name, value in rejection.headers:
        response[name] = value
    return response


class _Configuration:
    def __init__(self, given: Mapping[str, Any]) -> None:
        allowed = {"TRUSTED_PEERS", "VERIFY", "HEADERS", "CREATE_USERS"}
        _check_keys("REALMGATE", given, allowed)
        if ("TRUSTED_PEERS" in given) == ("VERIFY" in given):
            raise ImproperlyConfigured("REALMGATE needs either TRUSTED_PEERS or VERIFY")
        self.create_users = bool(given.get("CREATE_USERS", True))
        try:
            names = HeaderNames(**given.get("HEADERS", {}))
            source: Source
            if "TRUSTED_PEERS" in given:
                source = TrustHeaders(given["TRUSTED_PEERS"], names=names)
            else:
                source = VerifyTokens(_verifier(given["VERIFY"]), names=names)
        except (ConfigurationError, TypeError) as error:
            raise ImproperlyConfigured(f"REALMGATE: {error}") from None
        self.guard = Guard(source, None)


def _verifier(given: Any) -> Verifier:
    if isinstance(given, Verifier):
        return given
    if given == "environment":
        return Verifier(Client.from_environment())
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured('VERIFY is a dictionary, a Verifier, or "environment"')
    credential = {"NAME": "name", "REALM": "realm", "SEED": "seed", "SEED_FILE": "seed_file"}
    more = {"CACHE_SIZE": "cache_size", "PERIOD": "period", "UNCACHED_REALMS": "uncached_realms"}
    _check_keys("VERIFY", given, {"URL", "TIMEOUT", *credential, *more})
    for key in ("URL", "NAME", "REALM"):
        if key not in given:
            raise ImproperlyConfigured(f"VERIFY needs {key}")
    caller = Credential(**{word: given[key] for key, word in credential.items() if key in given})
    client = Client(given["URL"], caller, timeout=given.get("TIMEOUT", 10.0))
    return Verifier(client, **{word: given[key] for key, word in more.items() if key in given})


def _check_keys(what: str, given: Mapping[str, Any], allowed: Any) -> None:
    unknown: List[str] = sorted(set(given) - set(allowed))
    if unknown:
        raise ImproperlyConfigured(f"{what} has unknown keys: {', '.join(unknown)}")


@functools.lru_cache(maxsize=1)
def _configuration() -> _Configuration:
    given: Optional[Dict[str, Any]] = getattr(settings, "REALMGATE", None)
    if given is None:
        raise ImproperlyConfigured("the setting REALMGATE is missing")
    return _Configuration(given)


def _changed(*, setting: str, **_: Any) -> None:
    if setting == "REALMGATE":
        _configuration.cache_clear()


# Tests override settings.
setting_changed.connect(_changed)
