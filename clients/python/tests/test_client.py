"""The REST client against the real binary, and against servers that misbehave."""

import json
import socket
import ssl
import threading
import time

import pytest

from conftest import credential, wrong_token
from harness import Raw, Recorder, certificate, free_port
from realmgate import (
    CallerRejected,
    Client,
    ConfigurationError,
    Credential,
    InvalidRequest,
    NotAllowed,
    NotFound,
    RealmgateError,
    SubjectRejected,
    Unavailable,
    UnexpectedAnswer,
)

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
ANYONE = Credential("n", "r", SEED)


def test_identities_are_created_listed_updated_and_deleted(admin):
    created = admin.create("shop", "crud")
    assert len(created.seed) == 32 and created.seed not in repr(created)
    with pytest.raises(InvalidRequest, match="unique set"):
        admin.create("shop", "crud")
    listed = [one for one in admin.list() if one.realm == "crud"]
    assert [(one.id, one.name, one.seed) for one in listed] == [(created.id, "shop", None)]
    assert admin.find("shop", "crud").id == created.id
    moved = admin.update("shop", "crud", new_name="till", new_realm="crud2")
    assert (moved.id, moved.name, moved.realm) == (created.id, "till", "crud2")
    admin.delete("till", "crud2")
    for missing in (admin.find, admin.delete):
        with pytest.raises(NotFound):
            missing("till", "crud2")
    with pytest.raises(NotFound):
        admin.update("till", "crud2", new_name="x")
    with pytest.raises(ConfigurationError):
        admin.update("till", "crud2")


def test_created_identity_is_verified(admin, verifier_client):
    created = admin.create("café:1", "crud é")
    caller = Credential(created.name, created.realm, created.seed)
    verifier_client.verify(caller.name, caller.realm, caller.token(), client_address="192.0.2.7")
    assert verifier_client.accepts(caller.name, caller.realm, wrong_token(caller)) is False
    admin.delete(created.name, created.realm)
    with pytest.raises(SubjectRejected):
        verifier_client.verify(caller.name, caller.realm, caller.token())


def test_tokens_of_other_parameters_are_verified(gate, verifier_client):
    for number, (algorithm, digits, period) in enumerate([("SHA256", 8, 60), ("SHA512", 7, 15), ("SHA1", 6, 30)]):
        made = gate.create(
            f"p{number}", "kinds", "--algorithm", algorithm, "--digits", str(digits), "--period", str(period)
        )
        for caller in (
            Credential(made["name"], "kinds", made["seed"], algorithm=algorithm, digits=digits, period=period),
            Credential.from_otpauth(made["uri"]),
        ):
            assert len(caller.token()) == digits
            verifier_client.verify(caller.name, caller.realm, caller.token())


def test_clock_offset_corrects_a_wrong_clock(gate, verifier_client, billing):
    wrong = Credential("n", "payments", SEED, clock=lambda: time.time() - 600)
    assert wrong.token() != Credential("n", "payments", SEED).token()
    seed = gate.create("late", "payments")["seed"]
    late = Credential("late", "payments", seed, clock=lambda: time.time() - 600)
    assert not verifier_client.accepts("late", "payments", late.token())
    late.clock_offset = 600
    assert verifier_client.accepts("late", "payments", late.token())


def test_whose_fault_it_was_is_known(gate, admin, verifier_client, billing):
    with pytest.raises(SubjectRejected, match="billing@payments"):
        verifier_client.verify("billing", "payments", wrong_token(billing))
    with pytest.raises(NotAllowed, match="billing@payments may not verify"):
        Client(gate.url, billing).verify("billing", "payments", billing.token())
    with pytest.raises(NotAllowed):
        Client(gate.url, billing).list()
    stranger = Client(gate.url, Credential("nobody", "ungleich-auth", SEED))
    with pytest.raises(CallerRejected, match="nobody@ungleich-auth") as error:
        stranger.verify("billing", "payments", billing.token())
    assert abs(error.value.ahead) < 5
    with pytest.raises(InvalidRequest, match="client_address"):
        verifier_client.verify("billing", "payments", billing.token(), client_address="nowhere")


def test_rejection_says_how_wrong_the_clock_is(gate, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 120)
    late = Credential("nobody", "ungleich-admin", SEED)
    with pytest.raises(CallerRejected, match="the local clock is 1[12][0-9] s behind the server's"):
        Client(gate.url, late).list()


@pytest.mark.parametrize("end", ["", "/", "/ungleichotp", "/ungleichotp/", "/ungleichotp/verify/"])
def test_every_url_that_was_in_use_works(gate, billing, end):
    assert Client(gate.url + end, credential(gate.auth)).accepts("billing", "payments", billing.token())


def test_client_of_the_environment(gate, billing):
    environ = {
        "UNGLEICHOTPSERVER": gate.url,
        "UNGLEICHOTPNAME": gate.auth["name"],
        "UNGLEICHOTPREALM": gate.auth["realm"],
        "UNGLEICHOTPSEED": gate.auth["seed"],
    }
    Client.from_environment(environ).verify("billing", "payments", billing.token())
    del environ["UNGLEICHOTPSERVER"]
    with pytest.raises(ConfigurationError):
        Client.from_environment(environ)
    Client.from_environment({**environ, "REALMGATE_URL": gate.url}).verify("billing", "payments", billing.token())


@pytest.mark.parametrize(
    "url", ["", "otp.example.org", "ftp://h", "http://", "http://u:p@h", "http://h?x", "http://h#x", "http://h:0",
            "http://h:65536", "http://h\\@evil", "http://h h", "http://é"]
)
def test_impossible_urls_are_rejected(url):
    with pytest.raises(ConfigurationError):
        Client(url, ANYONE)


@pytest.mark.parametrize("timeout", [0, -1, 3601, float("nan")])
def test_impossible_timeouts_are_rejected(timeout):
    with pytest.raises(ConfigurationError):
        Client("http://h", ANYONE, timeout=timeout)


def test_server_that_is_away_is_unavailable():
    client = Client(f"http://127.0.0.1:{free_port()}", ANYONE)
    for call in (client.list, lambda: client.accepts("n", "r", "123456"), lambda: client.verify("n", "r", "123456")):
        with pytest.raises(Unavailable, match="cannot be reached"):
            call()


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b'{"status":"OK"}'),
        (200, {"Content-Type": "text/html"}, b'{"status":"OK"}'),
        (200, JSON, b""),
        (200, JSON, b"OK"),
        (200, JSON, b'{"status":"OK"'),
        (200, JSON, b'{"status":"NO"}'),
        (200, JSON, b'{"status":true}'),
        (200, JSON, b'{"status":["OK"]}'),
        (200, JSON, b'[{"status":"OK"}]'),
        (200, JSON, b'"OK"'),
        (200, JSON, b'\xff{"status":"OK"}'),
        (200, JSON, b"[" * 60000),
        (200, JSON, b'{"status":"OK","x":"' + b"x" * (64 << 10) + b'"}'),
        (201, JSON, b'{"status":"OK"}'),
        (202, JSON, b'{"status":"OK"}'),
        (204, JSON, b""),
        (302, {"Location": "/ungleichotp/verify/", **JSON}, b'{"status":"OK"}'),
        (403, JSON, b'{"detail":"other words"}'),
        (403, JSON, b'{"status":"OK"}'),
        (403, {}, b"<h1>Forbidden</h1>"),
        (404, JSON, b'{"detail":"Not found."}'),
        (500, JSON, b'{"status":"OK"}'),
        (503, JSON, b'{"status":"OK"}'),
        (429, JSON, b'{"status":"OK"}'),
    ],
)
def test_no_other_answer_verifies_a_token(answer):
    with Recorder(lambda request: answer) as server:
        client = Client(server.url, ANYONE)
        with pytest.raises(Unavailable):
            client.accepts("n", "r", "123456")
        with pytest.raises(RealmgateError):
            client.verify("n", "r", "123456")
        assert len(server.requests) == 2


def test_redirects_are_not_followed():
    with Recorder() as elsewhere:
        answer = (307, {"Location": elsewhere.url + "/ungleichotp/verify/"}, b"")
        with Recorder(lambda request: answer) as server:
            with pytest.raises(UnexpectedAnswer):
                Client(server.url, ANYONE).accepts("n", "r", "123456")
        assert not elsewhere.requests


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\r\n\r\n",
        b"220 mail.example.org ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\nContent-Type: application/json\r\n\r\n{\"status\":\"OK\"}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 " + b"2" * 70000,
    ],
)
def test_answer_that_is_no_http_is_unavailable(text):
    with Raw(lambda connection: connection.sendall(text)) as server:
        with pytest.raises(Unavailable):
            Client(server.url, ANYONE, timeout=5).accepts("n", "r", "123456")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_server_that_trickles_is_cut_off_at_the_timeout(start):
    def trickle(connection):
        connection.sendall(start)
        for _ in range(2000):
            connection.sendall(b"x")
            time.sleep(0.05)

    with Raw(trickle) as server:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="within 0.5 s"):
            Client(server.url, ANYONE, timeout=0.5).accepts("n", "r", "123456")
        assert time.monotonic() - started < 20


def test_body_without_end_is_cut_off_at_its_bound():
    sent = []

    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x" * 65536)
            sent.append(1)

    with Raw(flood) as server:
        with pytest.raises(UnexpectedAnswer, match="more than 65536 bytes"):
            Client(server.url, ANYONE).accepts("n", "r", "123456")
    assert len(sent) < 500


@pytest.mark.parametrize(
    "body",
    ["{}", "[1]", "[{}]", '[{"id":1,"name":"n"}]', '[{"id":true,"name":"n","realm":"r"}]',
     '[{"id":"../x","name":"n","realm":"r"}]', '[{"id":-1,"name":"n","realm":"r"}]',
     '[{"id":1,"name":"n","realm":["r"]}]', '[{"id":1,"name":"n","realm":"r","seed":5}]'],
)
def test_list_of_anything_else_is_an_error(body):
    with Recorder(lambda request: (200, JSON, body.encode())) as server:
        with pytest.raises(UnexpectedAnswer):
            Client(server.url, ANYONE).list()


def test_answer_about_another_identity_is_an_error():
    def answer(request):
        if request.command == "GET":
            return 200, JSON, b'[{"id":1,"name":"n","realm":"r"}]'
        status = {"POST": 201, "PATCH": 200, "DELETE": 200}[request.command]
        return status, JSON, json.dumps({"id": 1, "name": "other", "realm": "r", "seed": SEED}).encode()

    with Recorder(answer) as server:
        client = Client(server.url, ANYONE)
        for call in (
            lambda: client.create("n", "r"),
            lambda: client.update("n", "r", new_name="m"),
            lambda: client.delete("n", "r"),
        ):
            with pytest.raises(UnexpectedAnswer):
                call()


def test_identity_that_is_listed_twice_is_not_touched():
    body = b'[{"id":1,"name":"n","realm":"r"},{"id":2,"name":"n","realm":"r"}]'
    with Recorder(lambda request: (200, JSON, body)) as server:
        with pytest.raises(Unavailable, match="twice"):
            Client(server.url, ANYONE).delete("n", "r")
        assert [request.command for request in server.requests] == ["GET"]


def test_server_without_ids_verifies_and_lists_but_does_not_delete():
    with Recorder(lambda request: (200, JSON, b'[{"name":"n","realm":"r"}]')) as server:
        client = Client(server.url, ANYONE)
        assert client.find("n", "r").id is None
        with pytest.raises(Unavailable, match="id"):
            client.delete("n", "r")


def test_untrusted_certificate_is_rejected(tmp_path):
    path, context = certificate(tmp_path, "localhost")
    listener = socket.create_server(("127.0.0.1", 0))
    received = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    request = b""
                    while not request.endswith(b"}"):
                        request += tls.recv(65536)
                    received.append(request)
                    body = b'{"status":"OK"}'
                    tls.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                        % (len(body), body)
                    )
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    try:
        with pytest.raises(Unavailable, match="TLS"):
            Client(f"https://localhost:{port}", ANYONE).accepts("n", "r", "123456")
        assert not received
        trusting = ssl.create_default_context(cafile=str(path))
        assert Client(f"https://localhost:{port}", ANYONE, context=trusting).accepts("n", "r", "123456")
        with pytest.raises(Unavailable, match="TLS"):
            Client(f"https://127.0.0.1:{port}", ANYONE, context=trusting).accepts("n", "r", "123456")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
