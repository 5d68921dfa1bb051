"""Services as they were written for ungleich-otp, with pyotp for tokens and requests or urllib for HTTP.

Reads {"url": …, "admin"|"auth"|"user": [name, realm, seed]} on standard input and exits with 1 at the
first response that such a service would not understand.
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import pyotp
import requests

KEYS = ("name", "realm", "token")


def fields(prefix, who, token=None):
    name, realm, seed = who
    values = (name, realm, token or pyotp.TOTP(seed).now())
    return {prefix + key: value for key, value in zip(KEYS, values)}


def with_requests(method, url, body, how="json"):
    kinds = {
        "json": {"json": body},
        "form": {"data": body},
        "parts": {"files": {key: (None, value) for key, value in body.items()}},
    }
    answer = requests.request(method, url, timeout=20, **kinds[how])
    return answer.status_code, answer.json() if answer.content else None


def with_urllib(method, url, body, how="json"):
    data, kind = {
        "json": (json.dumps(body), "application/json"),
        "form": (urllib.parse.urlencode(body), "application/x-www-form-urlencoded"),
    }[how]
    request = urllib.request.Request(
        url, data.encode(), {"Content-Type": kind}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        status, content = refused.code, refused.read()
    return status, json.loads(content) if content else None


def expect(what, answer, status, body):
    if answer != (status, body):
        sys.exit(f"{what}: {answer!r} instead of {(status, body)!r}")


REFUSED = {"detail": "Incorrect authentication credentials."}
FORBIDDEN = {"detail": "You do not have permission to perform this action."}


def verify(ask, verify_url, auth, user):
    """Both generations of fields, in every encoding that the library supports."""
    generations = {"0.8": ("auth_", ""), "0.6": ("", "verify")}
    encodings = ("json", "form", "parts") if ask is with_requests else ("json", "form")
    for generation, (caller, subject) in generations.items():
        for how in encodings:
            what = f"{ask.__name__}, {generation}, {how}"

            def verified(who, token, of):
                body = {**fields(caller, who), **fields(subject, of, token)}
                return ask("POST", verify_url, body, how)

            expect(what, verified(auth, None, user), 200, {"status": "OK"})
            expect(what, verified(auth, "x", user), 403, FORBIDDEN)
            expect(what, verified(user, None, user), 403, FORBIDDEN)
            stranger = ["nobody", *auth[1:]]
            expect(what, verified(stranger, None, user), 403, REFUSED)


def administer(ask, url, admin, caller):
    """Creates, reads, renames and deletes a service; 0.6 had names only for verification."""

    def body(**more):
        return {**fields(caller, admin), **more}

    if caller:
        name = ask.__name__
        status, created = ask("POST", url, body(name=name, realm="services"))
        if status != 201 or len(created["seed"]) != 32:
            sys.exit(f"create: {status}")
        one = f"{url}{created['id']}/"
        listed = {"id": created["id"], "name": name, "realm": "services"}
        expect("retrieve", ask("GET", one, body()), 200, listed)
        renamed = {**listed, "name": name + "-2"}
        expect("rename", ask("PATCH", one, body(name=name + "-2")), 200, renamed)
        expect("replace", ask("PUT", one, body(name=name, realm="services")), 200, listed)
        expect("remove", ask("DELETE", one, body()), 204, None)
        expect("removed", ask("DELETE", one, body()), 404, {"detail": "Not found."})
    status, everybody = ask("GET", url, body())
    if status != 200 or admin[0] not in [it["name"] for it in everybody]:
        sys.exit(f"list: {status}")


def main():
    given = json.load(sys.stdin)
    url = given["url"] + "/ungleichotp/"
    for ask in (with_requests, with_urllib):
        verify(ask, url + "verify/", given["auth"], given["user"])
        for caller in ("auth_", ""):
            administer(ask, url, given["admin"], caller)


main()
