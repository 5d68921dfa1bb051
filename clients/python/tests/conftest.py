import os

import pytest

for variable in list(os.environ):
    # Settings of the machine must not affect tests.
    if variable.startswith("UNGLEICHOTP") or (variable.startswith("REALMGATE_") and variable != "REALMGATE_BINARY"):
        del os.environ[variable]
for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(variable, None)

import harness  # noqa: E402
from realmgate import Client, Credential  # noqa: E402


@pytest.fixture(scope="session")
def gate():
    """A realmgate without routes, for the REST API."""
    # Several tests send wrong tokens for the same principals.
    gate = harness.Gate("[throttle]\nfailures = 1000\nsource_failures = 1000\n")
    yield gate
    gate.close()


@pytest.fixture
def admin(gate):
    return Client(gate.url, credential(gate.admin))


@pytest.fixture
def verifier_client(gate):
    return Client(gate.url, credential(gate.auth))


@pytest.fixture(scope="session")
def billing(gate):
    return credential(gate.create("billing", "payments"))


def credential(identity):
    return Credential(identity["name"], identity["realm"], identity["seed"])


def wrong_token(credential):
    """Returns a token that is that of none of the next or last twenty steps."""
    now = credential.now()
    seed, parameters = credential._secret()
    right = {seed.token(parameters, now + 30 * step) for step in range(-20, 21)}
    return next(token for token in (f"{number:06}" for number in range(271828, 272000)) if token not in right)
