"""Credentials: tokens, the clock, seed files, the environment."""

import base64
import json
import logging
import os
import threading

import pytest

from realmgate import ConfigurationError, Credential, HeaderNames, Seed, SeedError

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
OTHER = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
URL = f"otpauth://totp/realmgate:billing%40payments?secret={SEED}&algorithm=SHA1&digits=8&period=30"


def at(time, **more):
    return Credential("billing", "payments", clock=lambda: time, **{"seed": SEED, **more})


def test_token_is_that_of_the_clock():
    assert at(59).token() == "287082"
    assert at(59, digits=8).token() == "94287082"


def test_clock_offset_is_added():
    assert at(1111111109 - 600, clock_offset=600).token() == "081804"
    credential = at(0)
    credential.clock_offset = 59
    assert credential.token() == "287082"


def test_remaining_is_the_rest_of_the_step():
    assert at(59).remaining() == 1
    assert at(60).remaining() == 30
    assert at(60, period=60).remaining() == 60


def test_otpauth_url_is_a_seed_with_parameters():
    assert Credential("n", "r", URL, clock=lambda: 59).token() == "94287082"
    # An explicit argument takes precedence.
    assert Credential("n", "r", URL, digits=6, clock=lambda: 59).token() == "287082"
    credential = Credential.from_otpauth(URL, clock=lambda: 59)
    assert (credential.name, credential.realm, credential.token()) == ("billing", "payments", "94287082")
    assert Credential.from_otpauth(URL, name="x", realm="y").name == "x"
    with pytest.raises(ConfigurationError):
        Credential.from_otpauth(f"otpauth://totp/me?secret={SEED}")


def test_json_of_an_identity_is_a_seed_with_parameters(tmp_path):
    members = {"name": "café", "seed": SEED, "algorithm": "SHA1", "digits": 8, "period": 30}
    printed = json.dumps(members, ensure_ascii=False)
    of_api = json.dumps({"seed": SEED, "parameters": {"algorithm": "SHA1", "digits": 8, "period": 30}})
    for text in (printed, of_api):
        assert Credential("n", "r", text, clock=lambda: 59).token() == "94287082"
        file = tmp_path / "seed.json"
        file.write_text(text + "\n", encoding="utf-8")
        assert Credential("n", "r", seed_file=file, clock=lambda: 59).token() == "94287082"
    # `realmgate init` prints no parameters.
    assert Credential("n", "r", json.dumps({"seed": SEED}), clock=lambda: 59).token() == "287082"
    bad = ["{}", "{", '{"seed": 1}', f"{{\"seed\": \"{SEED}\", \"digits\": 20}}", f"{{\"seed\": \"{SEED}\"}}\n{{}}"]
    for text in bad + [f"[{{\"seed\": \"{SEED}\"}}]", f"{{\"seed\": \"{SEED}\", \"parameters\": 1}}"]:
        with pytest.raises(SeedError) as error:
            Credential("n", "r", text)
        assert SEED not in str(error.value)


def test_basic_is_name_at_realm_and_token():
    scheme, _, letters = at(59).basic().partition(" ")
    assert (scheme, base64.b64decode(letters)) == ("Basic", b"billing@payments:287082")
    accented = Credential("café", "r@s", SEED, clock=lambda: 59).basic()
    assert base64.b64decode(accented[6:]).decode() == "café@r@s:287082"


def test_name_that_a_form_cannot_carry_is_an_error():
    with pytest.raises(ConfigurationError):
        Credential("a:b", "r", SEED).basic()
    with pytest.raises(ConfigurationError):
        Credential("café", "r", SEED).headers(HeaderNames())
    with pytest.raises(ConfigurationError):
        Credential("a\r\nX-Evil: 1", "r", SEED).headers(HeaderNames())


def test_three_headers_have_the_names_that_are_given():
    headers = at(59).headers(HeaderNames(token="X-Who-Token"))
    assert headers == {"X-Auth-Name": "billing", "X-Auth-Realm": "payments", "X-Who-Token": "287082"}


@pytest.mark.parametrize("wrong", [{"name": "A_B"}, {"name": "a:b"}, {"name": ""}, {"name": "x-auth-realm"}])
def test_impossible_header_names_are_rejected(wrong):
    with pytest.raises(ConfigurationError):
        HeaderNames(**wrong)


def test_nothing_shows_seed_or_token():
    credential = at(59)
    for shown in (repr(credential), str(credential)):
        assert "billing" in shown and SEED not in shown and "287082" not in shown


@pytest.mark.parametrize("wrong", [{}, {"seed": SEED, "seed_file": "x"}, {"seed": ""}, {"seed": "not base32!"}])
def test_wrong_arguments_are_errors(wrong):
    with pytest.raises(ConfigurationError):
        Credential("n", "r", **wrong)


def test_seed_file_is_read_again_when_it_changes(tmp_path):
    file = tmp_path / "seed"
    file.write_text(SEED + "\n")
    credential = Credential("n", "r", seed_file=file, clock=lambda: 59)
    assert credential.token() == "287082"
    # The same length, so that only the times of the file differ.
    file.write_text(OTHER + "\n")
    os.utime(file, ns=(1, 1))
    assert credential.token() == Seed.from_base32(OTHER).token(credential.parameters, 59)
    # Replaced, as Kubernetes and most editors do.
    (tmp_path / "new").write_text(URL)
    os.replace(tmp_path / "new", file)
    assert credential.token() == "94287082"
    assert credential.parameters.digits == 8


def test_seed_file_that_breaks_leaves_the_last_good_seed(tmp_path, caplog):
    file = tmp_path / "seed"
    file.write_text(SEED)
    credential = Credential("n", "r", seed_file=str(file), clock=lambda: 59)
    for content in (b"", b"not base32!", b"\xff\xfe", b"A" * 5000):
        caplog.clear()
        (tmp_path / "new").write_bytes(content)
        os.replace(tmp_path / "new", file)
        with caplog.at_level(logging.WARNING, "realmgate"):
            for _ in range(3):
                assert credential.token() == "287082"
        # Once for each content.
        assert len(caplog.records) == 1
        assert "not base32!" not in caplog.text
    file.unlink()
    assert credential.token() == "287082"
    file.write_text(OTHER)
    assert credential.token() != "287082"


@pytest.mark.parametrize("content", [b"", b"\n", b"no seed", b"\xff", b"A" * 4097, b"otpauth://hotp/x?secret=MFRGG"])
def test_first_seed_file_must_be_good(tmp_path, content):
    file = tmp_path / "seed"
    file.write_bytes(content)
    with pytest.raises(SeedError):
        Credential("n", "r", seed_file=file)
    with pytest.raises(SeedError):
        Credential("n", "r", seed_file=tmp_path / "missing")


def test_threads_share_a_credential_whose_file_changes(tmp_path):
    file = tmp_path / "seed"
    file.write_text(SEED)
    credential = Credential("n", "r", seed_file=file, clock=lambda: 59)
    possible = {Seed.from_base32(seed).token(credential.parameters, 59) for seed in (SEED, OTHER)}
    wrong = []

    def work():
        for _ in range(200):
            token = credential.token()
            if token not in possible:
                wrong.append(token)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        (tmp_path / "new").write_text((SEED, OTHER)[number % 2])
        os.replace(tmp_path / "new", file)
    for thread in threads:
        thread.join()
    assert not wrong


def test_environment_of_ungleich_otp_is_understood():
    environ = {"UNGLEICHOTPNAME": "admin", "UNGLEICHOTPREALM": "ungleich-admin", "UNGLEICHOTPSEED": SEED}
    credential = Credential.from_environment(environ, clock=lambda: 59)
    assert (credential.name, credential.realm, credential.token()) == ("admin", "ungleich-admin", "287082")
    for missing in environ:
        with pytest.raises(ConfigurationError) as error:
            Credential.from_environment({**environ, missing: ""})
        assert missing in str(error.value)


def test_environment_of_realmgate_wins_as_a_whole(tmp_path):
    file = tmp_path / "seed"
    file.write_text(SEED)
    old = {"UNGLEICHOTPNAME": "old", "UNGLEICHOTPREALM": "old", "UNGLEICHOTPSEED": OTHER}
    for seed in ({"REALMGATE_SEED": SEED}, {"REALMGATE_SEED_FILE": str(file)}):
        environ = {**old, "REALMGATE_IDENTITY": "a@b@c", **seed}
        credential = Credential.from_environment(environ, clock=lambda: 59)
        assert (credential.name, credential.realm, credential.token()) == ("a@b", "c", "287082")
    for wrong in (
        {},
        {"REALMGATE_SEED": SEED, "REALMGATE_SEED_FILE": str(file)},
        {"REALMGATE_IDENTITY": "nobody", "REALMGATE_SEED": SEED},
    ):
        with pytest.raises(ConfigurationError):
            Credential.from_environment({**old, "REALMGATE_IDENTITY": "a@b", **wrong})


def test_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("REALMGATE_IDENTITY", "n@r")
    monkeypatch.setenv("REALMGATE_SEED", SEED)
    assert str(Credential.from_environment()) == "n@r"
