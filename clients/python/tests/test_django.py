"""Django and its REST framework: middleware, backend, decorator, authentication and permissions."""

import json

import django
import pytest
from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="x",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "realmgate.django.RealmgateMiddleware",
        ],
        AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend"],
        REALMGATE={"TRUSTED_PEERS": ["127.0.0.1"]},
        USE_TZ=True,
    )
    django.setup()

from django.contrib.auth import authenticate, get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.http import JsonResponse
from django.test import Client as Browser
from django.test import override_settings
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView

import realmgate
from conftest import credential, wrong_token
from harness import Recorder, free_port
from realmgate.django import IdentityUser, RealmgateBackend, require
from realmgate.rest_framework import AnyRealm, InRealm, RealmgateAuthentication

BACKENDS = ["django.contrib.auth.backends.ModelBackend", "realmgate.django.RealmgateBackend"]
WITHOUT_MIDDLEWARE = override_settings(MIDDLEWARE=[])
SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def show(request):
    hidden = [key for key in request.META if key.startswith(("HTTP_X_AUTH", "HTTP_X_FORWARDED", "HTTP_AUTHORIZATION"))]
    return JsonResponse(
        {
            "realmgate": str(request.realmgate) if request.realmgate else None,
            "user": request.user.get_username(),
            "authenticated": request.user.is_authenticated,
            "kind": type(request.user).__name__,
            "hidden": hidden,
        }
    )


@require(realmgate.InRealm("payments"))
def guarded(request):
    return show(request)


@require(realmgate.AnyRealm())
async def guarded_async(request):
    return JsonResponse({"realmgate": str(request.realmgate)})


class View(APIView):
    authentication_classes = [RealmgateAuthentication]

    def get(self, request):
        return Response({"caller": str(request.auth), "user": request.user.get_username()})


class Any(View):
    permission_classes = [AnyRealm]


class Payments(View):
    permission_classes = [InRealm("payments")]


class Either(View):
    permission_classes = [InRealm("payments") | InRealm("ops")]


class Both(View):
    permission_classes = [AnyRealm & ~InRealm("ops")]


urlpatterns = [
    path("show", show),
    path("guarded", guarded),
    path("async", guarded_async),
    path("any", Any.as_view()),
    path("payments", Payments.as_view()),
    path("either", Either.as_view()),
    path("both", Both.as_view()),
]


@pytest.fixture(autouse=True, scope="module")
def tables():
    call_command("migrate", verbosity=0)


@pytest.fixture(autouse=True)
def no_users():
    get_user_model().objects.all().delete()


def proved(name="billing", realm="payments"):
    identity = realmgate.Identity(name, realm)
    return {
        "HTTP_X_AUTH_NAME": realmgate.identity.encode(name),
        "HTTP_X_AUTH_REALM": realmgate.identity.encode(realm),
        "HTTP_X_FORWARDED_USER": identity.user,
    }


def get(url, peer="127.0.0.1", **fields):
    response = Browser().get(url, REMOTE_ADDR=peer, **fields)
    found = json.loads(response.content) if response.headers.get("Content-Type") == "application/json" else None
    return response.status_code, found


def test_identity_of_a_peer_is_the_user():
    status, found = get("/show", **proved(), HTTP_X_AUTH_TOKEN="123456")
    assert status == 200
    assert found == {
        "realmgate": "billing@payments",
        "user": "billing@payments",
        "authenticated": True,
        "kind": "IdentityUser",
        "hidden": [],
    }
    status, found = get("/show", **proved(name="café"))
    assert (found["realmgate"], found["user"]) == ("café@payments", "caf%C3%A9@payments")


def test_anyone_else_is_anonymous_and_wrong_headers_are_rejected():
    for peer in ("127.0.0.2", ""):
        status, found = get("/show", peer, **proved())
        assert status == 200 and not found["authenticated"] and found["realmgate"] is None and not found["hidden"]
    assert get("/show", **{**proved(), "HTTP_X_FORWARDED_USER": "root@payments"})[0] == 401


def test_decorator_lets_only_its_realms_pass():
    for url in ("/guarded", "/async"):
        assert get(url, **proved())[0] == 200
        assert get(url)[0] == 401
        assert get(url, "127.0.0.2", **proved())[0] == 401
    assert get("/guarded", **proved(realm="ops"))[0] == 403
    assert get("/async", **proved(realm="ops"))[0] == 200


@WITHOUT_MIDDLEWARE
def test_decorator_without_the_middleware_lets_nobody_pass():
    assert get("/guarded", **proved())[0] == 401


@pytest.mark.parametrize("middleware", [True, False])
def test_permissions_of_the_rest_framework(middleware):
    with override_settings() if middleware else WITHOUT_MIDDLEWARE:
        for url, payments, ops in (("/any", 200, 200), ("/payments", 200, 403), ("/either", 200, 200), ("/both", 200, 403)):
            assert get(url, **proved()) == (payments, {"caller": "billing@payments", "user": "billing@payments"})
            assert get(url, **proved(realm="ops"))[0] == ops
            assert get(url)[0] == 401
            assert get(url, "127.0.0.2", **proved())[0] == 401
            assert get(url, **{**proved(), "HTTP_X_AUTH_REALM": "ops"})[0] == 401
        response = Browser().get("/any")
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
        assert get("/either", **proved(realm="dev"))[0] == 403


def test_permission_is_not_for_users_who_logged_in_otherwise():
    from types import SimpleNamespace

    other = SimpleNamespace(auth=None, user=SimpleNamespace(is_authenticated=True, identity="x"))
    assert not AnyRealm().has_permission(other, None)
    assert not InRealm("payments").has_permission(SimpleNamespace(auth="payments"), None)


# The backend.


@override_settings(AUTHENTICATION_BACKENDS=BACKENDS)
def test_backend_creates_one_user_without_a_password():
    for _ in range(2):
        for url in ("/show", "/payments"):
            assert get(url, **proved())[0] == 200
    (user,) = get_user_model().objects.all()
    assert user.get_username() == "billing@payments" and not user.has_usable_password()
    assert not user.is_staff and not user.is_superuser
    assert get("/show", **proved())[1]["kind"] == "User"


@override_settings(AUTHENTICATION_BACKENDS=BACKENDS)
def test_identities_never_share_a_user():
    for name, realm in (("a@b", "c"), ("a", "b@c"), ("A", "b@c")):
        status, found = get("/show", **proved(name, realm))
        # Django's names have no percent sign: such an identity gets no user, rather than another's.
        assert (status, found and found["user"]) in ((200, f"{name}@{realm}"), (403, None))
    assert get("/show", **proved("a", "b@c"))[0] == 403


@override_settings(AUTHENTICATION_BACKENDS=BACKENDS)
def test_disabled_or_impossible_user_is_rejected():
    get_user_model().objects.create(username="billing@payments", is_active=False)
    assert get("/show", **proved())[0] == 403
    assert get("/payments", **proved())[0] == 403
    assert get("/show", **proved("x" * 128, "y" * 128))[0] == 403
    assert get_user_model().objects.count() == 1


@override_settings(
    AUTHENTICATION_BACKENDS=BACKENDS, REALMGATE={"TRUSTED_PEERS": ["127.0.0.1"], "CREATE_USERS": False}
)
def test_users_are_not_created_if_that_is_off():
    assert get("/show", **proved())[0] == 403
    get_user_model().objects.create(username="billing@payments")
    assert get("/show", **proved())[0] == 200
    assert get_user_model().objects.count() == 1


@override_settings(AUTHENTICATION_BACKENDS=BACKENDS)
def test_backend_ignores_everything_but_a_proved_identity():
    get_user_model().objects.create(username="billing@payments")
    for wrong in ("billing@payments", None, True, {"name": "billing"}):
        assert authenticate(None, realmgate_identity=wrong) is None
    assert authenticate(None, username="billing@payments", password="") is None
    assert RealmgateBackend().get_user(10**6) is None


def test_user_without_a_row_has_no_permissions():
    user = IdentityUser(realmgate.Identity("a", "b"))
    assert not (user.has_perm("x") or user.has_perms(["x"]) or user.has_module_perms("x") or user.is_staff)


# Tokens that Django verifies itself.


@pytest.fixture
def verifying(gate):
    given = {"URL": gate.url, "NAME": "verifier", "REALM": "ungleich-auth", "SEED": gate.auth["seed"]}
    with override_settings(REALMGATE={"VERIFY": given}):
        yield


@pytest.mark.parametrize("middleware", [True, False])
def test_credentials_are_verified(verifying, billing, middleware):
    with override_settings() if middleware else WITHOUT_MIDDLEWARE:
        right = {"HTTP_AUTHORIZATION": billing.basic()}
        assert get("/payments", **right)[1]["caller"] == "billing@payments"
        for wrong in (
            {},
            proved(),
            {"HTTP_AUTHORIZATION": "Basic x"},
            {**right, "HTTP_X_AUTH_NAME": "billing"},
            {"HTTP_X_AUTH_NAME": "billing", "HTTP_X_AUTH_REALM": "payments", "HTTP_X_AUTH_TOKEN": wrong_token(billing)},
        ):
            assert get("/payments", **wrong)[0] == 401, wrong
    if middleware:
        response = Browser().get("/guarded", REMOTE_ADDR="192.0.2.1", **right)
        assert response.status_code == 200 and "private" in response.headers["Cache-Control"]
        assert json.loads(response.content)["hidden"] == []


@pytest.mark.parametrize("middleware", [True, False])
def test_service_fails_closed(billing, middleware):
    more = {"NAME": "verifier", "REALM": "ungleich-auth", "SEED": SEED}
    with override_settings() if middleware else WITHOUT_MIDDLEWARE:
        with override_settings(REALMGATE={"VERIFY": {"URL": f"http://127.0.0.1:{free_port()}", **more}}):
            assert get("/payments", HTTP_AUTHORIZATION=billing.basic())[0] == 503
        with Recorder(lambda request: (200, {}, b"<p>OK")) as server:
            with override_settings(REALMGATE={"VERIFY": {"URL": server.url, **more}}):
                assert get("/payments", HTTP_AUTHORIZATION=billing.basic())[0] == 503


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        {"TRUSTED_PEERS": []},
        {"TRUSTED_PEERS": "127.0.0.1"},
        {"TRUSTED_PEERS": ["0.0.0.0/0"]},
        {"TRUSTED_PEERS": ["127.0.0.1"], "VERIFY": "environment"},
        {"TRUSTED_PEER": ["127.0.0.1"]},
        {"TRUSTED_PEERS": ["127.0.0.1"], "HEADERS": {"nam": "X"}},
        {"VERIFY": {}},
        {"VERIFY": {"URL": "http://h", "NAME": "n", "REALM": "r"}},
        {"VERIFY": {"URL": "http://h", "NAME": "n", "REALM": "r", "SEED": SEED, "SED": 1}},
        {"VERIFY": {"URL": "h", "NAME": "n", "REALM": "r", "SEED": SEED}},
        {"VERIFY": "environment"},
    ],
)
def test_wrong_settings_stop_the_start(given):
    with override_settings(REALMGATE=given):
        with pytest.raises(ImproperlyConfigured):
            get("/show")
    assert get("/show")[0] == 200


def test_settings_can_come_from_the_environment(gate, billing, monkeypatch):
    monkeypatch.setenv("UNGLEICHOTPSERVER", gate.url)
    monkeypatch.setenv("UNGLEICHOTPNAME", "verifier")
    monkeypatch.setenv("UNGLEICHOTPREALM", "ungleich-auth")
    monkeypatch.setenv("UNGLEICHOTPSEED", gate.auth["seed"])
    with override_settings(REALMGATE={"VERIFY": "environment"}):
        assert get("/payments", HTTP_AUTHORIZATION=billing.basic())[0] == 200
    assert credential(gate.auth).name == "verifier"
