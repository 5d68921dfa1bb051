"""The command ``realmgate-otp``, as its users run it."""

import json
import subprocess
import sys

import pytest

import realmgate
from conftest import wrong_token
from harness import ROOT, environment, free_port

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def run(*arguments, stdin="", **variables):
    done = subprocess.run(
        [sys.executable, "-m", "realmgate", *arguments],
        input=stdin, capture_output=True, text=True, env=environment(**variables), timeout=60,
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def variables(gate, who):
    identity = getattr(gate, who)
    return {
        "UNGLEICHOTPSERVER": gate.url,
        "UNGLEICHOTPNAME": identity["name"],
        "UNGLEICHOTPREALM": identity["realm"],
        "UNGLEICHOTPSEED": identity["seed"],
    }


def test_version_is_that_of_the_project():
    manifest = (ROOT / "Cargo.toml").read_text()
    assert f'\nversion = "{realmgate.__version__}"\n' in manifest
    assert run("--version") == (0, f"realmgate-otp {realmgate.__version__}", "")


def test_identity_is_created_listed_verified_and_deleted(gate):
    admin, auth = variables(gate, "admin"), variables(gate, "auth")
    code, text, _ = run("create", "till@shop", "--json", **admin)
    assert code == 0
    created = json.loads(text)
    code, text, error = run("create", "--name", "till", "--realm", "shop", **admin)
    assert (code, text) == (1, "") and "unique set" in error
    code, text, _ = run("list", **admin)
    assert code == 0 and "  till@shop" in text and created["seed"] not in text
    code, text, _ = run("token", "--auth-seed", "-", stdin=created["seed"] + "\n")
    assert code == 0 and len(text) == 6
    assert run("verify", "till@shop", "--token", text, **auth) == (0, "OK till@shop", "")
    ok = run("verify", "till@shop", "--seed", "-", "--json", stdin=created["seed"], **auth)
    assert ok == (0, '{"status": "OK"}', "")
    assert run("delete", "till@shop", **admin) == (0, "deleted till@shop", "")
    code, text, error = run("delete", "till@shop", **admin)
    assert (code, text) == (1, "") and "no identity" in error


def test_exit_codes_are_those_of_realmgate(gate, billing):
    auth = variables(gate, "auth")
    assert run("verify", "billing@payments", "--token", wrong_token(billing), **auth)[0] == 1
    assert run("list", **auth)[0] == 1
    assert run("list", **{**auth, "UNGLEICHOTPSEED": "!"})[0] == 2
    assert run("list", **{**auth, "UNGLEICHOTPSEED": ""})[0] == 2
    assert run("verify", "nobody", "--token", "1", **auth)[0] == 2
    assert run("verify", "a@b", **auth)[0] == 2
    assert run("nonsense")[0] == 2
    assert run("list", **{**auth, "UNGLEICHOTPSERVER": f"http://127.0.0.1:{free_port()}"})[0] == 3


def test_options_override_the_environment(gate, tmp_path):
    (tmp_path / "seed").write_text(gate.admin["seed"])
    options = [
        "--server-url", gate.url, "--auth-name", gate.admin["name"], "--auth-realm", gate.admin["realm"],
        "--auth-seed-file", str(tmp_path / "seed"),
    ]
    assert run("list", *options, **{**variables(gate, "auth"), "UNGLEICHOTPSERVER": "http://127.0.0.1:1"})[0] == 0
    environ = {"REALMGATE_URL": gate.url, "REALMGATE_IDENTITY": "admin@ungleich-admin"}
    assert run("list", REALMGATE_SEED=gate.admin["seed"], **environ)[0] == 0
    assert run("list", REALMGATE_SEED_FILE=str(tmp_path / "seed"), **environ)[0] == 0
    # The seed of another identity is not used for this one.
    assert run("list", UNGLEICHOTPSEED=gate.admin["seed"], **environ)[0] == 2


def test_token_has_the_parameters_of_the_identity():
    code, text, _ = run("token", "--digits", "8", "--algorithm", "sha512", "--json", REALMGATE_SEED=SEED)
    found = json.loads(text)
    assert code == 0 and len(found["token"]) == 8 and 0 <= found["remaining"] <= 30
    url = f"otpauth://totp/a@b?secret={SEED}&digits=7"
    assert len(run("token", "--auth-seed", "-", stdin=url)[1]) == 7


@pytest.mark.parametrize("command", ["token", "verify", "list", "create", "delete"])
def test_every_command_has_help(command):
    code, text, _ = run(command, "--help")
    assert code == 0 and "--auth-seed-file" in text


def test_names_cannot_write_to_the_terminal():
    from realmgate.cli import _line
    from realmgate.client import Registered

    assert _line(Registered(1, "a\x1b[2J", "r\n")) == "     1  a\\x1b[2J@r\\n"
