"""The examples of the README, as they are written: with their own host names, over TLS."""

import contextlib
import http.client
import json
import re
import subprocess
import sys

import pytest

from conftest import credential, wrong_token
from harness import ROOT, Gate, Recorder, certificate, environment, free_port, gunicorn, program, until, uvicorn

README = (ROOT / "clients/python/README.md").read_text()

#: Leads the names of the examples to ports of this test. Python imports it at its start.
SITE = """
import json, os, socket
places, connect = json.loads(os.environ["PLACES"]), socket.socket.connect
addresses = {name: f"127.77.1.{number}" for number, name in enumerate(places, 1)}
resolve = socket.getaddrinfo
def getaddrinfo(host, *rest, **options):
    return resolve(addresses.get(host, host), *rest, **options)
def connected(self, address):
    for name, of_name in addresses.items():
        if address[0] == of_name:
            assert address[1] == 443, address
            address = ("127.0.0.1", places[name])
    return connect(self, address)
socket.getaddrinfo, socket.socket.connect = getaddrinfo, connected
"""


def example(name):
    found = re.findall(rf"<!-- example: {re.escape(name)} -->\n```python\n(.*?)```\n", README, re.DOTALL)
    assert len(found) == 1, name
    return found[0]


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    path, _ = certificate(folder, "app.example.org", "otp.example.org")
    listeners = "tls = true\n"
    return path, listeners, f'[[certificate]]\ncert = "{path}"\nkey = "{folder}/key.pem"\n'


@pytest.fixture(scope="module")
def application():
    def answer(request):
        return 200, {}, f"hello {request.headers['X-Auth-Name']}".encode()

    with Recorder(answer) as application:
        yield application


@pytest.fixture(scope="module")
def secure(tls, application):
    """A realmgate that speaks TLS, with a route to an application."""
    _, listener, certificates = tls
    route = (
        '[[route]]\nname = "app"\nallow = [{ realm = "payments" }]\nupstream = "app"\n'
        f'[upstream.app]\npeers = ["127.0.0.1:{application.port}"]\n'
    )
    gate = Gate(listener + route + certificates, service=listener)
    yield gate
    gate.close()


@pytest.fixture(scope="module")
def billing(secure):
    """The caller of the examples. It is created once: a new identity of a known name is felt a moment later."""
    return secure.create("billing", "payments")


def variables(folder, tls, gate):
    (folder / "sitecustomize.py").write_text(SITE)
    places = {
        "app.example.org": int(gate.proxy.rsplit(":", 1)[1]),
        "otp.example.org": int(gate.url.rsplit(":", 1)[1]),
    }
    found = environment()
    return {
        "PYTHONPATH": f"{folder}:{found['PYTHONPATH']}",
        "PLACES": json.dumps(places),
        "SSL_CERT_FILE": str(tls[0]),
        "REQUESTS_CA_BUNDLE": str(tls[0]),
    }


def run(name, folder, tls, gate, identity):
    (folder / "example.py").write_text(example(name))
    (folder / "seed.txt").write_text(identity["seed"] + "\n")
    return subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=folder, env=environment(**variables(folder, tls, gate)), capture_output=True, text=True, timeout=60,
    )


@pytest.mark.parametrize("name", ["requests", "httpx", "aiohttp", "urllib"])
def test_example_of_a_caller_works(name, tmp_path, tls, secure, application, billing):
    application.requests.clear()
    done = run(name, tmp_path, tls, secure, billing)
    assert (done.returncode, done.stdout) == (0, "hello billing\n"), done.stderr
    (request,) = application.requests
    assert request.headers["X-Forwarded-User"] == "billing@payments"


def test_example_of_an_administrator_works(tmp_path, tls, secure):
    done = run("client", tmp_path, tls, secure, secure.admin)
    assert done.returncode == 0 and "'till'" in done.stdout, done.stderr
    assert b"till" not in secure.run("identity", "list")


def test_commands_of_the_readme_work(tmp_path, tls, secure):
    (block,) = [block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "realmgate-otp" in block]
    # Every line of it; the command is the package's.
    (tmp_path / "seed.txt").write_text(secure.admin["seed"])
    script = f'realmgate-otp() {{ "{sys.executable}" -m realmgate "$@"; }}\nset -e\n{block}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(**variables(tmp_path, tls, secure)),
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(re.fullmatch(" *[0-9]+  till@shop  [A-Z2-7]{32}", line) for line in lines)
    assert any(re.fullmatch("[0-9]{6}", line) for line in lines) and lines[-1] == "deleted till@shop"


def request(port, headers, source="127.0.0.1"):
    """Sends GET / from an address of this machine. Returns the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    try:
        connection.request("GET", "/", headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def django_site(folder, settings, views, view):
    """Makes a project as Django's users do, and puts the examples into it."""
    admin = [sys.executable, "-m", "django", "startproject", "site1", "."]
    subprocess.run(admin, cwd=folder, env=environment(), check=True, timeout=60)
    with open(folder / "site1/settings.py", "a") as file:
        file.write("\nALLOWED_HOSTS = ['*']\n" + settings)
    (folder / "site1/views.py").write_text(views)
    with open(folder / "site1/urls.py", "a") as file:
        file.write(f"\nfrom . import views\nurlpatterns += [path('', views.{view})]\n")


@contextlib.contextmanager
def service(name, folder):
    port = free_port()
    if name in ("flask", "fastapi"):
        (folder / "app.py").write_text(example(f"{name} app.py"))
        start = gunicorn("app:app", port, folder) if name == "flask" else uvicorn("app:app", port, folder)
    else:
        settings = example("django settings.py")
        if name == "django":
            django_site(folder, settings, example("django views.py"), "hello")
        else:
            # The setting alone, without the middleware.
            settings = settings.splitlines()[1] + "\n"
            django_site(folder, settings, example("drf views.py"), "Hello.as_view()")
        start = gunicorn("site1.wsgi", port, folder)
    with start:
        yield port


@pytest.mark.parametrize("name", ["flask", "fastapi", "django", "drf"])
def test_example_of_a_service_behind_realmgate_works(name, tmp_path):
    with service(name, tmp_path) as port:
        gate = Gate(
            '[[route]]\nname = "all"\nallow = "authenticated"\nupstream = "app"\n'
            f'[upstream.app]\npeers = ["127.0.0.1:{port}"]\n'
        )
        try:
            billing = credential(gate.create("billing", "payments"))
            alice = credential(gate.create("alice", "ops"))
            proxy = int(gate.proxy.rsplit(":", 1)[1])
            status, body = request(proxy, billing.headers())
            assert (status, body.strip('"')) == (200, "Hello billing@payments")
            assert request(proxy, alice.headers())[0] == 403
            assert request(proxy, {})[0] == 401
            assert request(proxy, {"Authorization": "Basic x"})[0] == 401
            # Past realmgate: only the configured peer is believed.
            forged = {"X-Auth-Name": "billing", "X-Auth-Realm": "payments", "X-Forwarded-User": "billing@payments"}
            assert request(port, forged)[0] == 200
            assert request(port, forged, source="127.0.0.2")[0] == 401
            assert request(port, {**forged, "X-Forwarded-For": "127.0.0.1"}, source="127.0.0.2")[0] == 401
            # Through realmgate, in other spellings too.
            for forgery in (forged, {"X_Auth_Name": "billing", "X_Auth_Realm": "payments"}):
                assert request(proxy, {**forgery, **alice.headers()})[0] in (401, 403)
        finally:
            gate.close()


def test_example_of_a_service_that_verifies_works(tmp_path, tls, secure):
    shop = secure.create("shop", "ungleich-auth")
    caller = credential(secure.create("anna", "dev"))
    (tmp_path / "app.py").write_text(example("verify app.py"))
    (tmp_path / "seed.txt").write_text(shop["seed"])
    port = free_port()
    with gunicorn("app:app", port, tmp_path, **variables(tmp_path, tls, secure)):
        assert request(port, caller.headers()) == (200, "Hello anna@dev")
        assert request(port, {"Authorization": "Basic x"})[0] == 401
        assert request(port, {})[0] == 401
        assert request(port, {"X-Auth-Name": "anna", "X-Auth-Realm": "dev", "X-Forwarded-User": "anna@dev"})[0] == 401
        wrong = {"X-Auth-Name": "anna", "X-Auth-Realm": "dev", "X-Auth-Token": wrong_token(caller)}
        assert request(port, wrong)[0] == 401
        secure.disable("shop", "ungleich-auth")
        # Wrong tokens are not in the cache. The service's own credential is rejected now, so it cannot decide.
        until("no decision", lambda: request(port, wrong)[0] == 503)


def test_every_example_is_tested():
    names = re.findall("<!-- example: (.*?) -->", README)
    assert len(names) == len(set(names)) == README.count("```python") == 11
    source = (ROOT / "clients/python/tests/test_readme.py").read_text()
    for name in names:
        assert name.split()[0] in source


def test_program_that_ends_is_reported(tmp_path):
    with pytest.raises(AssertionError, match="ended"):
        with program([sys.executable, "-c", "print('no')"], free_port(), tmp_path):
            pass
