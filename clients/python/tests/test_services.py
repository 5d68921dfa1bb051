"""Services: whom they believe, what the application sees, and that every failure is a rejection."""

import asyncio
import base64
import threading

import pytest

from conftest import credential, wrong_token
from harness import Recorder, free_port, until
from realmgate import (
    AnyRealm,
    Client,
    ConfigurationError,
    Credential,
    HeaderNames,
    Identity,
    InRealm,
    TrustHeaders,
    Unavailable,
    Verifier,
    VerifyTokens,
    asgi,
    wsgi,
)

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
BILLING = Identity("billing", "payments")
PROVED = [("X-Auth-Name", "billing"), ("X-Auth-Realm", "payments"), ("X-Forwarded-User", "billing@payments")]
PEER = "10.0.0.2"
TRUST = TrustHeaders(peers=[PEER])


class Seen:
    """What the application saw, and the response."""

    status = None
    headers = ()
    body = b""
    identity = None
    called = False
    fields = ()


def through_wsgi(source, headers=(), peer=PEER, policy=AnyRealm(), method="GET", **more):
    """Sends a request through the middleware, as a WSGI server does: duplicate headers are joined with a comma."""
    environ = {"REQUEST_METHOD": method, "PATH_INFO": "/", "REMOTE_ADDR": peer, **more}
    for name, value in headers:
        key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    seen = Seen()

    def app(environ, start_response):
        seen.called, seen.identity = True, wsgi.identity(environ)
        seen.fields = {key: value for key, value in environ.items() if key.isupper() and isinstance(value, str)}
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"in"]

    def start(status, headers, *rest):
        seen.status, seen.headers = int(status[:3]), headers

    seen.body = b"".join(wsgi.Middleware(app, source, policy)(environ, start))
    return seen


def through_asgi(source, headers=(), peer=PEER, policy=AnyRealm(), method="GET", kind="http"):
    client = (peer, 1234) if peer else None
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": kind, "method": method, "path": "/", "headers": raw, "client": client}
    seen = Seen()

    async def app(scope, receive, send):
        seen.called, seen.identity = True, asgi.identity(scope)
        seen.fields = {
            "HTTP_" + name.decode().upper().replace("-", "_"): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        if kind == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
            await send({"type": "http.response.body", "body": b"in"})
        else:
            await send({"type": "websocket.accept"})

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            seen.headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        elif message["type"] == "http.response.body":
            seen.body += message["body"]
        else:
            seen.status = {"websocket.close": 403, "websocket.accept": 101}[message["type"]]

    asyncio.run(asgi.Middleware(app, source, policy)(scope, receive, send))
    return seen


every_server = pytest.mark.parametrize("through", [through_wsgi, through_asgi], ids=["wsgi", "asgi"])


def basic(identity, token):
    return "Authorization", "Basic " + base64.b64encode(f"{identity}:{token}".encode()).decode()


def three(identity, token):
    return [("X-Auth-Name", identity.name), ("X-Auth-Realm", identity.realm), ("X-Auth-Token", token)]


def value(headers, name):
    return [found for key, found in headers if key.lower() == name.lower()]


# The identity headers.


@every_server
def test_headers_of_a_configured_peer_are_the_identity(through):
    for peers in ([PEER], ["10.0.0.0/24"], ["192.0.2.1", "10.0.0.2/32"], ["::ffff:10.0.0.2", PEER]):
        seen = through(TrustHeaders(peers=peers), PROVED)
        assert (seen.status, seen.identity) == (200, BILLING)
    assert through(TrustHeaders(peers=["10.0.0.0/8"]), PROVED, peer="::ffff:10.0.0.2").identity == BILLING
    assert through(TrustHeaders(peers=["fd00::/8"]), PROVED, peer="fd00::1").identity == BILLING


@every_server
@pytest.mark.parametrize("peer", ["10.0.0.3", "127.0.0.1", "::1", "", None, "10.0.0.2.evil", "unix", "10.0.0.2, 1.2.3.4"])
def test_headers_of_anyone_else_are_ignored(through, peer):
    seen = through(TRUST, PROVED, peer=peer)
    assert (seen.status, seen.called) == (401, False)
    assert value(seen.headers, "WWW-Authenticate")
    seen = through(TRUST, PROVED, peer=peer, policy=None)
    assert (seen.status, seen.identity) == (200, None)
    assert not [key for key in seen.fields if "AUTH" in key or "USER" in key]


@every_server
def test_unix_socket_is_a_peer_of_its_own(through):
    source = TrustHeaders(peers=["unix"])
    assert through(source, PROVED, peer="").identity == BILLING
    assert through(source, PROVED, peer=PEER).status == 401


@every_server
@pytest.mark.parametrize(
    "headers",
    [
        PROVED[:2],
        PROVED[1:],
        [PROVED[0], PROVED[2]],
        # Each of them twice, and all of them.
        [*PROVED, ("X-Auth-Name", "billing")],
        [*PROVED, ("X-Auth-Realm", "ops")],
        [*PROVED, ("X-Forwarded-User", "root@ops")],
        [*PROVED, *PROVED],
        [("X-Auth-Name", "root"), ("X-Auth-Realm", "ops"), ("X-Forwarded-User", "root@ops"), *PROVED],
        # Another identity in one than in the others.
        [PROVED[0], PROVED[1], ("X-Forwarded-User", "root@payments")],
        [PROVED[0], ("X-Auth-Realm", "ops"), PROVED[2]],
        # Not as realmgate writes them.
        [("X-Auth-Name", "bill%69ng"), PROVED[1], ("X-Forwarded-User", "bill%69ng@payments")],
        [("X-Auth-Name", "caf%c3%a9"), PROVED[1], ("X-Forwarded-User", "caf%c3%a9@payments")],
        [("X-Auth-Name", "%FF"), PROVED[1], ("X-Forwarded-User", "%FF@payments")],
        [("X-Auth-Name", "a b"), PROVED[1], ("X-Forwarded-User", "a b@payments")],
        [("X-Auth-Name", "%00a"), PROVED[1], ("X-Forwarded-User", "%00a@payments")],
        [("X-Auth-Name", "x" * 129), PROVED[1], ("X-Forwarded-User", "x" * 129 + "@payments")],
        [("X-Auth-Name", ""), PROVED[1], PROVED[2]],
    ],
)
def test_other_headers_of_a_peer_are_no_identity(through, headers):
    for policy in (AnyRealm(), None):
        seen = through(TRUST, headers, policy=policy)
        assert (seen.status, seen.called) == (401, False), headers


@every_server
def test_absent_and_empty_headers_are_unauthenticated(through):
    empty = [(name, "") for name, _ in PROVED]
    for headers in ([], empty, [("X-Auth-Token", "")]):
        assert through(TRUST, headers).status == 401
        seen = through(TRUST, headers, policy=None)
        assert (seen.status, seen.identity, seen.called) == (200, None, True)


def test_name_with_a_comma_passes_and_joined_headers_do_not():
    found = [("X-Auth-Name", "a,b"), ("X-Auth-Realm", "c,d"), ("X-Forwarded-User", "a,b@c,d")]
    assert through_wsgi(TRUST, found).identity == Identity("a,b", "c,d")
    joined = [("X-Auth-Name", "a,b"), ("X-Auth-Realm", "c,d"), ("X-Forwarded-User", "a@c,b@d")]
    assert through_wsgi(TRUST, joined).status == 401


@pytest.mark.parametrize(
    "peers", [[], "127.0.0.1", ["0.0.0.0/0"], ["::/0"], ["*"], ["app.example.org"], [""], ["10.0.0.1/8"], ["127.0.0.1:80"]]
)
def test_peers_that_are_everyone_or_nobody_are_rejected(peers):
    with pytest.raises(ConfigurationError):
        TrustHeaders(peers=peers)


def test_peers_are_required():
    with pytest.raises(TypeError):
        TrustHeaders()


@every_server
def test_names_of_the_headers_can_be_changed(through):
    source = TrustHeaders(peers=[PEER], names=HeaderNames(name="X-Who", realm="X-Where"))
    headers = [("X-Who", "billing"), ("X-Where", "payments"), PROVED[2]]
    assert through(source, headers).identity == BILLING
    assert through(source, PROVED).status == 401


# The request as the application sees it.


@every_server
def test_application_sees_no_token_and_no_identity_header(through):
    headers = [*PROVED, ("X-Auth-Token", "123456"), basic("billing@payments", "123456"), ("X-Other", "1")]
    seen = through(TRUST, headers)
    assert seen.identity == BILLING and seen.fields["HTTP_X_OTHER"] == "1"
    hidden = {"HTTP_X_AUTH_NAME", "HTTP_X_AUTH_REALM", "HTTP_X_AUTH_TOKEN", "HTTP_X_FORWARDED_USER"}
    assert not hidden & set(seen.fields) and "HTTP_AUTHORIZATION" not in seen.fields


@every_server
def test_authorization_of_the_application_stays(through):
    for text in ("Bearer abc", "Basic " + base64.b64encode(b"user:password").decode(), "Digest x"):
        seen = through(TRUST, [*PROVED, ("Authorization", text)])
        assert seen.fields["HTTP_AUTHORIZATION"] == text


def test_other_spellings_of_the_headers_are_hidden():
    spelled = [("X_Auth_Name", "root"), ("x.auth.realm", "ops"), ("X-Auth_Token", "1"), ("X_Forwarded_User", "root@ops")]
    seen = through_asgi(TRUST, [*PROVED, *spelled])
    assert (seen.status, seen.identity, seen.fields) == (200, BILLING, {})
    assert through_asgi(TRUST, spelled).status == 401
    seen = through_wsgi(TRUST, PROVED, **{"HTTP_X.AUTH.REALM": "ops"})
    assert "HTTP_X.AUTH.REALM" not in seen.fields


def test_remote_user_is_the_proved_identity_or_nothing():
    spoofed = {"REMOTE_USER": "root", "AUTH_TYPE": "Basic"}
    seen = through_wsgi(TRUST, PROVED, **spoofed)
    assert (seen.fields["REMOTE_USER"], seen.fields["AUTH_TYPE"]) == ("billing@payments", "realmgate")
    seen = through_wsgi(TRUST, [], policy=None, **spoofed)
    assert "REMOTE_USER" not in seen.fields and "AUTH_TYPE" not in seen.fields
    # A key of the server's own, that a client cannot set, is not taken either.
    assert through_wsgi(TRUST, [], **{"realmgate.identity": BILLING}).status == 401


# Policies.


@every_server
def test_policy_decides_who_may_pass(through):
    for policy, status in (
        (AnyRealm(), 200),
        (InRealm("payments"), 200),
        (InRealm("ops", "payments"), 200),
        (InRealm("ops"), 403),
        (InRealm("Payments"), 403),
        (InRealm("payments "[:-1] + "x"), 403),
    ):
        seen = through(TRUST, PROVED, policy=policy)
        assert (seen.status, seen.called) == (status, status == 200), policy
    assert through(TRUST, [], policy=InRealm("payments")).status == 401


@pytest.mark.parametrize("realms", [(), ("",), (" a",), (None,)])
def test_impossible_realms_are_rejected(realms):
    with pytest.raises(ConfigurationError):
        InRealm(*realms)


@every_server
def test_rejection_to_head_has_no_body(through):
    assert through(TRUST, [], method="HEAD").body == b""
    seen = through(TRUST, [])
    assert value(seen.headers, "Content-Length") == [str(len(seen.body))] and seen.body


def test_web_sockets_are_guarded():
    assert through_asgi(TRUST, PROVED, kind="websocket").status == 101
    for headers, peer in (([], PEER), (PROVED, "10.0.0.3"), (PROVED[:2], PEER)):
        seen = through_asgi(TRUST, headers, peer=peer, kind="websocket")
        assert (seen.status, seen.called) == (403, False)
    assert through_asgi(TRUST, PROVED, kind="websocket", policy=InRealm("ops")).called is False


def test_unknown_kind_of_connection_is_an_error_and_lifespan_passes():
    async def app(scope, receive, send):
        called.append(scope["type"])

    called = []
    middleware = asgi.Middleware(app, TRUST)
    asyncio.run(middleware({"type": "lifespan"}, None, None))
    with pytest.raises(RuntimeError):
        asyncio.run(middleware({"type": "webtransport", "headers": []}, None, None))
    assert called == ["lifespan"]


# Tokens that the service verifies itself.


@pytest.fixture
def source(verifier_client):
    return VerifyTokens(verifier_client)


@every_server
def test_both_forms_of_a_credential_are_verified(through, source, billing):
    token = billing.token()
    for headers in ([basic("billing@payments", token)], three(BILLING, token)):
        seen = through(source, headers)
        assert (seen.status, seen.identity, seen.body) == (200, BILLING, b"in")
        assert not [key for key in seen.fields if "AUTH" in key and key not in ("AUTH_TYPE",)]
        assert value(seen.headers, "Cache-Control") == ["private"]
    beside = [*three(BILLING, token), ("Authorization", "Bearer abc")]
    assert through(source, beside).fields["HTTP_AUTHORIZATION"] == "Bearer abc"


@every_server
def test_anything_else_is_no_credential(through, source, billing):
    token = billing.token()
    good = three(BILLING, token)
    both = [*good, basic("billing@payments", token)]
    cases = [
        [basic("billing@payments", wrong_token(billing))],
        [basic("billing@ops", token)],
        [basic("nobody@payments", token)],
        [basic("billing", token)],
        [basic("billing@payments", "")],
        [("Authorization", "Basic"), ],
        [("Authorization", "Basic !!!")],
        [("Authorization", "Basic " + "A" * 5000)],
        [("Authorization", "Basic " + base64.b64encode(b"\xff@r:123456").decode())],
        [basic("billing@payments", token), basic("billing@payments", token)],
        both,
        good[:2],
        good[1:],
        [*good, good[0]],
        [*good, good[2]],
        [*good[:2], ("X-Auth-Token", "")],
    ]
    for headers in cases:
        for policy in (AnyRealm(), None):
            seen = through(source, headers, policy=policy)
            assert (seen.status, seen.called) == (401, False), headers
    # Not for realmgate.
    for headers in ([], [("Authorization", "Bearer abc")], PROVED[2:]):
        assert through(source, headers).status == 401
        seen = through(source, headers, policy=None)
        assert (seen.status, seen.identity) == (200, None)


@every_server
def test_identity_headers_prove_nothing_to_a_service_that_verifies(through, source):
    for peer in (PEER, "127.0.0.1"):
        assert through(source, PROVED, peer=peer).status == 401


@every_server
def test_service_fails_closed_without_the_server(through, billing):
    away = VerifyTokens(Client(f"http://127.0.0.1:{free_port()}", credential_of_nobody()))
    headers = three(BILLING, billing.token())
    for policy in (AnyRealm(), None):
        seen = through(away, headers, policy=policy)
        assert (seen.status, seen.called) == (503, False)
    # Who presents nothing does not depend on the server.
    assert through(away, []).status == 401
    assert through(away, [], policy=None).status == 200


def credential_of_nobody():
    return Credential("verifier", "ungleich-auth", SEED)


JSON = {"Content-Type": "application/json"}


@every_server
@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b'{"status":"OK"}'),
        (200, JSON, b"not json"),
        (200, JSON, b'{"status":"ok"}'),
        (200, JSON, b"[]"),
        (200, JSON, b'{"status":"OK"}' + b" " * (64 << 10)),
        (301, {"Location": "/elsewhere"}, b""),
        (403, JSON, b"{}"),
        (403, JSON, b'{"detail":"Incorrect authentication credentials."}'),
        (500, JSON, b'{"status":"OK"}'),
        (400, JSON, b'{"name":["This field may not be blank."]}'),
    ],
    ids=range(10),
)
def test_service_fails_closed_on_every_other_answer(through, answer):
    with Recorder(lambda request: answer) as server:
        source = VerifyTokens(Client(server.url, credential_of_nobody()))
        seen = through(source, three(BILLING, "123456"))
        assert (seen.status, seen.called) == (503, False)
        assert not source.verifier.is_cached(BILLING, "123456")


@every_server
def test_service_fails_closed_on_an_error_of_its_own(through, caplog):
    class Broken(VerifyTokens):
        def identify(self, incoming):
            raise ZeroDivisionError

    source = Broken(Client("http://127.0.0.1:9", credential_of_nobody()))
    assert through(source, three(BILLING, "123456")).status == 503
    assert "ZeroDivisionError" in caplog.text


@every_server
def test_verifier_that_may_not_verify_lets_nobody_pass(through, gate, billing):
    source = VerifyTokens(Client(gate.url, billing))
    assert through(source, three(BILLING, billing.token())).status == 401
    source = VerifyTokens(Client(gate.url, credential_of_nobody()))
    assert through(source, three(BILLING, billing.token())).status == 503


@every_server
def test_address_of_the_client_is_named_to_the_server(through, caplog):
    with Recorder(lambda request: (200, JSON, b'{"status":"OK"}')) as server:
        for peer, expected in ((PEER, PEER), ("::ffff:192.0.2.1", "192.0.2.1"), ("", None), ("x", None)):
            source = VerifyTokens(Client(server.url, credential_of_nobody()))
            assert through(source, three(BILLING, "123456"), peer=peer).status == 200
            body = server.requests[-1].body.decode()
            assert (f'"client_address": "{expected}"' in body) == (expected is not None), peer
            assert ("client_address" in body) == (expected is not None)


@every_server
def test_no_log_line_has_a_token(through, caplog, source, billing):
    caplog.set_level("DEBUG")
    token = billing.token()
    for headers in (three(BILLING, token), three(BILLING, wrong_token(billing)), [*three(BILLING, token), *PROVED]):
        through(source, headers)
    assert token not in caplog.text and wrong_token(billing) not in caplog.text


# The cache.


class Clock:
    now = 1_000_000_000.0

    def __call__(self):
        return self.now


class Counting:
    """Stands for a client: says yes, and counts."""

    def __init__(self, clock=None, takes=0.0):
        self.count, self._clock, self._takes = 0, clock, takes

    def accepts(self, name, realm, token, *, client_address=None):
        self.count += 1
        if self._clock is not None:
            self._clock.now += self._takes
        return token != "000000"


def test_valid_token_is_asked_about_once_in_its_step():
    clock = Clock()
    clock.now = 1_000_000_020.0  # the start of a step
    client = Counting()
    verifier = Verifier(client, clock=clock)
    for after in (0, 1, 29.999):
        clock.now = 1_000_000_020.0 + after
        assert verifier.is_valid(BILLING, "123456")
    assert client.count == 1
    clock.now = 1_000_000_050.0
    assert not verifier.is_cached(BILLING, "123456")
    assert verifier.is_valid(BILLING, "123456") and client.count == 2


def test_backward_clock_asks_again():
    clock, client = Clock(), Counting()
    verifier = Verifier(client, clock=clock)
    verifier.is_valid(BILLING, "123456")
    clock.now -= 3600
    assert not verifier.is_cached(BILLING, "123456")


def test_answer_that_takes_longer_than_the_step_is_not_remembered_beyond_it():
    clock = Clock()
    clock.now = 1_000_000_049.0
    verifier = Verifier(Counting(clock, takes=5.0), clock=clock)
    assert verifier.is_valid(BILLING, "123456")
    assert clock.now == 1_000_000_054.0
    assert not verifier.is_cached(BILLING, "123456")


def test_rejections_are_never_remembered():
    client = Counting()
    verifier = Verifier(client)
    for _ in range(3):
        assert not verifier.is_valid(BILLING, "000000")
    assert client.count == 3 and not verifier._valid


def test_each_part_of_a_credential_is_a_part_of_the_key():
    clock, client = Clock(), Counting()
    verifier = Verifier(client, clock=clock)
    assert verifier.is_valid(BILLING, "123456")
    for identity, token in (
        (BILLING, "123457"),
        (Identity("billing", "ops"), "123456"),
        (Identity("billin", "gpayments"), "123456"),
        (Identity("billing", "payments1"), "23456"),
    ):
        assert not verifier.is_cached(identity, token)
    # Nothing in the memory of the cache is a token.
    assert all(b"123456" not in key for key in verifier._valid)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_cache_is_bounded(size):
    clock, client = Clock(), Counting()
    verifier = Verifier(client, cache_size=size, clock=clock)
    for number in range(size + 50):
        assert verifier.is_valid(Identity(f"n{number}", "r"), "123456")
        assert len(verifier._valid) <= size
    assert len(verifier._valid) == size
    # The newest stay.
    assert verifier.is_cached(Identity(f"n{size + 49}", "r"), "123456")
    assert not verifier.is_cached(Identity("n0", "r"), "123456")


def test_cache_stays_bounded_under_threads():
    clock = Clock()
    verifier = Verifier(Counting(), cache_size=10, clock=clock)

    def work(start):
        for number in range(300):
            verifier.is_valid(Identity(f"n{start + number}", "r"), "123456")

    threads = [threading.Thread(target=work, args=(300 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(verifier._valid) == 10


def test_cache_can_be_off_for_all_or_for_some_realms():
    clock, client = Clock(), Counting()
    verifier = Verifier(client, cache_size=0, clock=clock)
    for _ in range(3):
        assert verifier.is_valid(BILLING, "123456")
    assert client.count == 3
    client = Counting()
    verifier = Verifier(client, uncached_realms=["payments"], clock=clock)
    for _ in range(3):
        assert verifier.is_valid(BILLING, "123456")
        assert verifier.is_valid(Identity("a", "ops"), "123456")
    assert client.count == 4


@pytest.mark.parametrize("wrong", [{"cache_size": -1}, {"period": 0}, {"period": 3601}, {"uncached_realms": "payments"}])
def test_impossible_caches_are_rejected(wrong):
    with pytest.raises(ConfigurationError):
        Verifier(Counting(), **wrong)


def test_disabled_identity_passes_at_most_to_the_end_of_the_step(gate, verifier_client):
    caller = credential(gate.create("leaver", "payments"))
    clock = Clock()
    verifier = Verifier(verifier_client, clock=clock)
    identity, token = Identity("leaver", "payments"), caller.token()
    assert verifier.is_valid(identity, token)
    gate.disable("leaver", "payments")
    until("the server has noticed", lambda: not verifier_client.accepts("leaver", "payments", caller.token()))
    assert verifier.is_cached(identity, token)
    clock.now += 30
    assert not verifier.is_valid(identity, token)


def test_verified_tokens_survive_an_outage_to_the_end_of_the_step_only():
    answers = [(200, JSON, b'{"status":"OK"}')]
    with Recorder(lambda request: answers[-1]) as server:
        clock = Clock()
        verifier = Verifier(Client(server.url, credential_of_nobody()), clock=clock)
        assert verifier.is_valid(BILLING, "123456")
        answers.append((503, JSON, b"{}"))
        assert verifier.is_valid(BILLING, "123456")
        with pytest.raises(Unavailable):
            verifier.is_valid(BILLING, "654321")
        clock.now += 30
        with pytest.raises(Unavailable):
            verifier.is_valid(BILLING, "123456")


def test_event_loop_goes_on_while_the_server_is_asked():
    ticks = []

    def slowly(request):
        until("the event loop has gone on", lambda: len(ticks) > 5)
        return 200, JSON, b'{"status":"OK"}'

    with Recorder(slowly) as server:
        source = VerifyTokens(Client(server.url, credential_of_nobody()))

        async def app(scope, receive, send):
            pass

        async def main():
            async def tick():
                while True:
                    ticks.append(1)
                    await asyncio.sleep(0.01)

            ticking = asyncio.ensure_future(tick())
            raw = [(name.lower().encode(), text.encode()) for name, text in three(BILLING, "123456")]
            scope = {"type": "http", "method": "GET", "headers": raw, "client": (PEER, 1)}
            await asgi.Middleware(app, source)(scope, None, None)
            ticking.cancel()

        asyncio.run(main())
        assert len(ticks) > 5
