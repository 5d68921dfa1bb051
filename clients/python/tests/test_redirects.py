"""Where requests, httpx and aiohttp send a credential, and where they must not."""

import asyncio
import contextlib
import socket
import ssl

import aiohttp
import httpx
import pytest
import requests

from harness import Recorder, certificate
from realmgate import ConfigurationError, Credential, HeaderNames
from realmgate.aiohttp import RealmgateMiddleware
from realmgate.httpx import RealmgateAuth as HttpxAuth
from realmgate.requests import RealmgateAuth as RequestsAuth

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
CREDENTIAL = Credential("billing", "payments", SEED, clock=lambda: 59)
#: What gives a credential away: the letters of Basic after the name, or the token.
SECRETS = (CREDENTIAL.basic()[6:], "287082")

HOME = "http://a.example/start"
PLACES = ["http://a.example:80", "http://b.example:80", "http://a.example:81", "https://a.example:443",
          "https://b.example:443"]


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"), "a.example", "b.example")


#: Each name has an address of its own, and connections to it lead to the server for the name and the port.
ADDRESSES = {"a.example": "127.77.0.1", "b.example": "127.77.0.2"}
CONNECT = socket.socket.connect


class Network:
    """Servers under names of their own."""

    def __init__(self, certificate_path, context):
        self.certificate = str(certificate_path)
        #: The path that is redirected from each place, and where to.
        self.redirects = {}
        self._stack = contextlib.ExitStack()
        self.servers = {
            place: self._stack.enter_context(
                Recorder(self._answer(place), context if place.startswith("https") else None)
            )
            for place in PLACES
        }

    def _answer(self, place):
        def answer(request):
            status, location = self.redirects.get((place, request.path), (200, None))
            return status, {} if location is None else {"Location": location}, b"here"

        return answer

    def resolve(self, host, port, *arguments, **options):
        host = (host.decode() if isinstance(host, bytes) else host).lower()
        address = host if host in ADDRESSES.values() else ADDRESSES.get(host)
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, f"no {host}")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(port)))]

    def connect(self, connecting, address):
        for host, of_host in ADDRESSES.items():
            scheme = "https" if address[1] == 443 else "http"
            server = self.servers.get(f"{scheme}://{host}:{address[1]}")
            if address[0] == of_host:
                if server is None:
                    raise ConnectionRefusedError(f"no {host}:{address[1]}")
                address = ("127.0.0.1", server.port)
        return CONNECT(connecting, address)

    def with_credential(self):
        """Returns the place and path of each request that had any part of the credential."""
        return [(place, request.path) for place, request in self._all() if self._gives_away(request)]

    def without_credential(self):
        return [(place, request.path) for place, request in self._all() if not self._gives_away(request)]

    def _all(self):
        return [(place, request) for place, server in self.servers.items() for request in server.requests]

    @staticmethod
    def _gives_away(request):
        text = request.path + "".join(f"{name}: {value}\n" for name, value in request.headers.items())
        return any(secret in text for secret in SECRETS)

    def close(self):
        self._stack.close()


@pytest.fixture(scope="module")
def servers(tls):
    servers = Network(*tls)
    yield servers
    servers.close()


@pytest.fixture
def network(servers, monkeypatch):
    servers.redirects.clear()
    for server in servers.servers.values():
        server.requests.clear()
    monkeypatch.setattr(socket, "getaddrinfo", servers.resolve)
    monkeypatch.setattr(socket.socket, "connect", lambda *arguments: servers.connect(*arguments))
    return servers


def with_requests(network, url, names=None, origin=None):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = network.certificate
        return session.get(url, auth=RequestsAuth(CREDENTIAL, names=names, origin=origin), timeout=10).status_code


def with_requests_session(network, url, names=None, origin=None):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = network.certificate
        session.auth = RequestsAuth(CREDENTIAL, names=names, origin=origin)
        return session.post(url, data="x", timeout=10).status_code


def with_httpx(network, url, names=None, origin=None):
    verify = ssl.create_default_context(cafile=network.certificate)
    with httpx.Client(verify=verify, follow_redirects=True, trust_env=False) as client:
        return client.get(url, auth=HttpxAuth(CREDENTIAL, names=names, origin=origin)).status_code


def with_async_httpx(network, url, names=None, origin=None):
    async def call():
        verify = ssl.create_default_context(cafile=network.certificate)
        auth = HttpxAuth(CREDENTIAL, names=names, origin=origin)
        async with httpx.AsyncClient(verify=verify, follow_redirects=True, trust_env=False, auth=auth) as client:
            return (await client.post(url, content=b"x")).status_code

    return asyncio.run(call())


def with_aiohttp(network, url, names=None, origin=None):
    async def call():
        middleware = RealmgateMiddleware(CREDENTIAL, origin or url, names=names)
        verify = ssl.create_default_context(cafile=network.certificate)
        connector = aiohttp.TCPConnector(ssl=verify, resolver=aiohttp.ThreadedResolver())
        async with aiohttp.ClientSession(connector=connector, middlewares=[middleware]) as session:
            async with session.get(url) as response:
                return response.status

    return asyncio.run(call())


CALLS = [with_requests, with_requests_session, with_httpx, with_async_httpx, with_aiohttp]
every_library = pytest.mark.parametrize("call", CALLS)
every_form = pytest.mark.parametrize("names", [None, HeaderNames()], ids=["basic", "headers"])


@every_library
@every_form
def test_each_request_has_the_credential_once(network, call, names):
    assert call(network, HOME, names) == 200
    (request,) = network.servers["http://a.example:80"].requests
    expected = CREDENTIAL.headers(names)
    for name, value in expected.items():
        assert request.headers.get_all(name) == [value]
    others = {"Authorization", *HeaderNames().all()} - set(expected)
    assert not [name for name in others if request.headers.get(name)]


@every_library
@every_form
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/next", "http://a.example/next", "http://a.example:80/next"])
def test_redirect_within_the_origin_keeps_the_credential(network, call, names, status, location):
    network.redirects["http://a.example:80", "/start"] = status, location
    assert call(network, HOME, names) == 200
    home = "http://a.example:80"
    assert network.with_credential() == [(home, "/start"), (home, "/next")]


ELSEWHERE = [
    "http://b.example/next",
    "//b.example/next",
    "http://a.example:81/next",
    "https://a.example/next",
    "https://b.example/next",
    "http://a.example@b.example/next",
    "http://a.example:80@b.example/next",
    "http://a.example\\@b.example/next",
    "http://b.example\\@a.example/next",
    "http:\\\\b.example/next",
    "http://b.example#@a.example/",
    "HTTP://B.EXAMPLE/next",
    "http://a.example:81\t/next",
]


@every_library
@every_form
@pytest.mark.parametrize("location", ELSEWHERE)
def test_redirect_elsewhere_never_takes_the_credential_along(network, call, names, location):
    network.redirects["http://a.example:80", "/start"] = 302, location
    # Libraries disagree about some of them: some are errors, some lead back to a.example.
    with contextlib.suppress(
        requests.RequestException, httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, ValueError
    ):
        call(network, HOME, names)
    assert {place for place, _ in network.with_credential()} == {"http://a.example:80"}


@every_library
@every_form
@pytest.mark.parametrize(
    "location", ["http://b.example/next", "http://a.example:81/next", "https://a.example/next", "//b.example/next"]
)
def test_redirect_elsewhere_is_followed_without_it(network, call, names, location):
    network.redirects["http://a.example:80", "/start"] = 307, location
    assert call(network, HOME, names) == 200
    assert network.with_credential() == [("http://a.example:80", "/start")]
    (found,) = network.without_credential()
    assert found[1] == "/next" and found[0] != "http://a.example:80"


@every_library
@every_form
def test_downgrade_to_http_never_takes_the_credential_along(network, call, names):
    network.redirects["https://a.example:443", "/start"] = 302, "http://a.example/next"
    assert call(network, "https://a.example/start", names) == 200
    assert network.with_credential() == [("https://a.example:443", "/start")]
    assert network.without_credential() == [("http://a.example:80", "/next")]


@every_library
@every_form
def test_chain_over_another_host_shows_it_nothing(network, call, names):
    network.redirects["http://a.example:80", "/start"] = 302, "/second"
    network.redirects["http://a.example:80", "/second"] = 302, "http://b.example/third"
    network.redirects["http://b.example:80", "/third"] = 302, "http://b.example/fourth"
    network.redirects["http://b.example:80", "/fourth"] = 302, "http://a.example/last"
    assert call(network, HOME, names) == 200
    home = "http://a.example:80"
    assert network.with_credential()[:2] == [(home, "/start"), (home, "/second")]
    assert {place for place, _ in network.with_credential()} == {home}
    assert ("http://b.example:80", "/fourth") in network.without_credential()


@every_library
@every_form
def test_other_origin_than_the_given_one_gets_nothing(network, call, names):
    assert call(network, HOME, names, "https://a.example") == 200
    assert not network.with_credential()
    network.redirects["http://a.example:80", "/start"] = 302, "http://b.example/next"
    if call is not with_aiohttp:
        return
    # aiohttp calls the middleware for each request: the origin itself gets it after a redirect.
    assert call(network, HOME, names, "http://b.example") == 200
    assert network.with_credential() == [("http://b.example:80", "/next")]


@every_library
@pytest.mark.parametrize("url", ["http://user:secret@a.example/start", "http://user@a.example/start"])
def test_url_with_a_user_is_an_error(network, call, url):
    with pytest.raises(ConfigurationError):
        call(network, url)
    assert not network.with_credential() and not network.without_credential()


def test_token_is_new_for_each_request(network):
    times = iter([59, 1111111109])
    credential = Credential("billing", "payments", SEED, clock=lambda: next(times))
    with requests.Session() as session:
        session.trust_env = False
        session.auth = RequestsAuth(credential, names=HeaderNames())
        for _ in range(2):
            session.get(HOME, timeout=10)
    seen = network.servers["http://a.example:80"].requests
    assert [request.headers["X-Auth-Token"] for request in seen] == ["287082", "081804"]


def test_httpx_keeps_a_trace_that_was_there(network):
    events = []

    def trace(event, info):
        events.append(event)

    with httpx.Client(trust_env=False) as client:
        response = client.get(HOME, auth=HttpxAuth(CREDENTIAL), extensions={"trace": trace})
    assert response.status_code == 200 and "http11.send_request_headers.started" in events


def test_httpx_sends_the_credential_through_a_forward_proxy(network):
    # The proxy answers itself: what it gets is what it would forward.
    with httpx.Client(proxy="http://b.example:80", trust_env=False, follow_redirects=True) as client:
        network.redirects["http://b.example:80", "http://a.example/start"] = 302, "http://a.example:81/next"
        assert client.get(HOME, auth=HttpxAuth(CREDENTIAL)).status_code == 200
    assert network.with_credential() == [("http://b.example:80", "http://a.example/start")]
    assert network.without_credential() == [("http://b.example:80", "http://a.example:81/next")]
