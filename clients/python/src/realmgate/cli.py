"""The command ``realmgate-otp``: tokens, and the REST API of realmgate and ungleich-otp."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, Dict, List, Optional

import realmgate

from .client import Client, Registered
from .credential import Credential
from .errors import (
    CallerRejected,
    ConfigurationError,
    InvalidRequest,
    NotAllowed,
    NotFound,
    RealmgateError,
    SubjectRejected,
)
from .identity import Identity, split_user

_EPILOG = """
The server and the caller come from options, or from REALMGATE_URL, REALMGATE_IDENTITY and REALMGATE_SEED_FILE or
REALMGATE_SEED, or from UNGLEICHOTPSERVER, UNGLEICHOTPNAME, UNGLEICHOTPREALM and UNGLEICHOTPSEED.

Exit codes: 0 success; 1 denied, not found, or already there; 2 wrong usage; 3 the server gives no answer.
"""


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (CallerRejected, InvalidRequest, NotAllowed, NotFound, SubjectRejected) as error:
        return _failed(error, 1)
    except ConfigurationError as error:
        return _failed(error, 2)
    except RealmgateError as error:
        return _failed(error, 3)
    return 0


def _failed(error: Exception, code: int) -> int:
    print(f"realmgate-otp: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="realmgate-otp",
        description="Computes tokens, and calls the REST API of realmgate or ungleich-otp.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"realmgate-otp {realmgate.__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON")
    common.add_argument("--server-url", metavar="URL", help="URL of the server, with or without /ungleichotp/")
    common.add_argument("--auth-name", metavar="NAME", help="name of the caller")
    common.add_argument("--auth-realm", metavar="REALM", help="realm of the caller")
    seeds = common.add_mutually_exclusive_group()
    seeds.add_argument("--auth-seed", metavar="SEED", help="seed of the caller, or - for standard input")
    seeds.add_argument("--auth-seed-file", metavar="FILE", help="file with the seed of the caller")
    common.add_argument("--clock-offset", metavar="SECONDS", type=float, default=0.0, help="added to the local time")
    common.add_argument("--timeout", metavar="SECONDS", type=float, default=10.0, help="limit of a request")
    who = argparse.ArgumentParser(add_help=False)
    who.add_argument("identity", nargs="?", metavar="NAME@REALM", help="the identity, split at the last @")
    who.add_argument("--name", help="name, instead of NAME@REALM")
    who.add_argument("--realm", help="realm, instead of NAME@REALM")

    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Any, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text + ".", parents=[common, *parents], allow_abbrev=False
        )
        command.set_defaults(run=run)
        return command

    token = add("token", _token, "print the current token of the caller")
    token.add_argument("--algorithm", help="SHA1, SHA256 or SHA512")
    token.add_argument("--digits", type=int, help="number of digits, 6 to 8")
    token.add_argument("--period", type=int, help="length of a time step in seconds")
    verify = add("verify", _verify, "verify a token of an identity", who)
    tokens = verify.add_mutually_exclusive_group(required=True)
    tokens.add_argument("--token", help="the token")
    tokens.add_argument("--seed", help="a seed whose current token is verified, or - for standard input")
    verify.add_argument("--client-address", metavar="ADDRESS", help="address of the client that presented the token")
    add("list", _list, "list all identities")
    add("create", _create, "create an identity and print its seed, once", who)
    add("delete", _delete, "delete an identity", who)
    return parser


def _token(options: argparse.Namespace) -> None:
    credential = _caller(options, "-")
    token, remaining = credential.token(), int(credential.remaining())
    _print(options, {"token": token, "remaining": remaining}, token)


def _verify(options: argparse.Namespace) -> None:
    identity = _who(options)
    token = options.token
    if options.seed is not None:
        subject = Credential(
            identity.name, identity.realm, _given(options.seed), clock_offset=options.clock_offset
        )
        token = subject.token()
    _client(options).verify(identity.name, identity.realm, token, client_address=options.client_address)
    _print(options, {"status": "OK"}, f"OK {identity}")


def _list(options: argparse.Namespace) -> None:
    found = _client(options).list()
    _print(options, [_fields(one) for one in found], "\n".join(_line(one) for one in found))


def _create(options: argparse.Namespace) -> None:
    identity = _who(options)
    created = _client(options).create(identity.name, identity.realm)
    _print(options, _fields(created), _line(created))


def _delete(options: argparse.Namespace) -> None:
    identity = _who(options)
    _client(options).delete(identity.name, identity.realm)
    _print(options, {"name": identity.name, "realm": identity.realm}, f"deleted {identity}")


def _client(options: argparse.Namespace) -> Client:
    url = options.server_url or os.environ.get("REALMGATE_URL") or os.environ.get("UNGLEICHOTPSERVER")
    if not url:
        raise ConfigurationError("give --server-url, or set REALMGATE_URL or UNGLEICHOTPSERVER")
    return Client(url, _caller(options), timeout=options.timeout)


def _caller(options: argparse.Namespace, default: str = "") -> Credential:
    """Returns the credential that the options and the environment describe; without a name, ``default``."""
    environ = os.environ
    user = environ.get("REALMGATE_IDENTITY", "")
    identity = split_user(user)
    if user and identity is None:
        raise ConfigurationError("REALMGATE_IDENTITY is not name@realm")
    name = options.auth_name or (identity.name if identity else environ.get("UNGLEICHOTPNAME") or default)
    realm = options.auth_realm or (identity.realm if identity else environ.get("UNGLEICHOTPREALM") or default)
    seed, seed_file = options.auth_seed, options.auth_seed_file
    if seed is None and seed_file is None:
        # A seed belongs to the identity that is set beside it.
        if identity is None and environ.get("UNGLEICHOTPSEED"):
            seed = environ["UNGLEICHOTPSEED"]
        else:
            seed_file = environ.get("REALMGATE_SEED_FILE") or None
            seed = environ.get("REALMGATE_SEED") if seed_file is None else None
    if not name or not realm or not (seed or seed_file):
        raise ConfigurationError(
            "give --auth-name, --auth-realm and --auth-seed or --auth-seed-file, or set REALMGATE_IDENTITY and "
            "REALMGATE_SEED_FILE, or UNGLEICHOTPNAME, UNGLEICHOTPREALM and UNGLEICHOTPSEED"
        )
    return Credential(
        name,
        realm,
        None if seed is None else _given(seed),
        seed_file=seed_file,
        algorithm=getattr(options, "algorithm", None),
        digits=getattr(options, "digits", None),
        period=getattr(options, "period", None),
        clock_offset=options.clock_offset,
    )


def _given(seed: str) -> str:
    return sys.stdin.read(4096).strip() if seed == "-" else seed


def _who(options: argparse.Namespace) -> Identity:
    if options.identity is not None:
        if options.name is not None or options.realm is not None:
            raise ConfigurationError("give either NAME@REALM or --name and --realm")
        identity = split_user(options.identity)
        if identity is None:
            raise ConfigurationError(f"{options.identity!r} is not NAME@REALM")
        return identity
    if not options.name or not options.realm:
        raise ConfigurationError("give NAME@REALM, or --name and --realm")
    return Identity(options.name, options.realm)


def _fields(identity: Registered) -> Dict[str, Any]:
    found: Dict[str, Any] = {"id": identity.id, "name": identity.name, "realm": identity.realm}
    if identity.seed is not None:
        found["seed"] = identity.seed
    return found


def _line(identity: Registered) -> str:
    number = "-" if identity.id is None else str(identity.id)
    line = f"{number:>6}  {_printable(identity.name)}@{_printable(identity.realm)}"
    return line if identity.seed is None else f"{line}  {_printable(identity.seed)}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _print(options: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value) if options.json else text)
