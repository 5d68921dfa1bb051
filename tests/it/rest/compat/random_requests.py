"""Sends the same random requests to a running realmgate and to the model, and compares the responses.

Reads {"address": [host, port], "residents": [[name, realm, seed] …], "seed": …, "requests": …} on standard input.
The first three residents are an administrator, a verifier and a user. Prints how many responses of each status
were compared, and exits with 1 if any differ.
"""

import base64
import collections
import http.client
import json
import random
import string
import sys
import threading
import time
import urllib.parse

import model

THREADS = 8
# The number of differences that are printed before a thread stops.
SHOWN = 5
REALMS = ["ungleich-admin", "ungleich-auth", "payments", "Payments", "café", "r\u2028s"]
NAMES = [f"n{number}" for number in range(20)] + [
    "svc", "SVC", "caf\u00e9", "cafe\u0301", "a b", "a\tb", "x" * 128, "\u00e9" * 128, "5", "\u2029",
]  # fmt: skip
SPACES = ["", "", "", " ", "\n", "\u00a0", "\u2003", "\x1f"]
ODD = [
    None, True, False, [], ["x"], {}, {"a": 1}, "", " \n", "\u3000", "a\0b", "\ud800", "x\udfffy", "x" * 129,
    "\u00e9" * 129, "\0" + "x" * 129 + "\udc00", 5, 0, -7, 10**30, 1.5, 1e300, -0.0, 1e-5, "x",
]  # fmt: skip
TYPES = ["json"] * 6 + ["form"] * 2 + ["parts"] * 2
ACCEPTS = [None] * 16 + [
    "*/*", "application/*", "application/json", "application/json; indent=4", "application/json; indent=0",
    "application/json; indent=99", "application/json; indent=x", "application/xml", "text/csv",
]  # fmt: skip
FOREIGN = [
    ("Authorization", ""), ("Authorization", "Basic"), ("Authorization", "Basic bmdpbng6c2VjcmV0"),
    ("Authorization", "Basic bmdpbng6MTIzNDU2"), ("Authorization", "Bearer x"), ("X-Auth-Token", ""),
    ("X-Auth-Token", "123456"), ("X-Auth-Name", "auth"), ("Cookie", "a=b"), ("X-HTTP-Method-Override", "GET"),
]  # fmt: skip


class Chooser:
    """Generates requests. Only one instance may change identities, so that the others see none change."""

    def __init__(self, seed, server, may_change):
        self.random = random.Random(seed)
        self.server, self.may_change = server, may_change

    def pick(self, choices):
        return self.random.choice(choices)

    def chance(self, percent):
        return self.random.random() * 100 < percent

    def request(self):
        method, path = self.target()
        fields = self.caller(path) + (self.subject() if "verify" in path else self.change())
        if self.chance(10):
            self.random.shuffle(fields)
        if self.chance(8):
            fields.insert(0, self.pick([("x", [1, {"y": None}]), ("\ud800", 1), ("seed", "AAAA"), ("Name", "x")]))
        if self.chance(4) and fields:
            # The last value counts.
            fields.insert(0, (self.pick(fields)[0], self.pick(ODD)))
        request = model.Request(method, path)
        if self.chance(8):
            request.query = self.pick(["format=json", "format=", "format=xml", "page=2", "limit=1&name=x", "a=%zz"])
        request.accept = self.pick(ACCEPTS)
        if self.chance(20):
            request.more = [self.pick(FOREIGN)]
        self.write(request, fields)
        return request

    def target(self):
        if self.chance(3):
            return self.pick(["GET", "POST"]), self.pick(
                ["/nope/", "/nope", "/ungleichotp", "/ungleichotp/verify", "/ungleichotp/3", "/ungleichotp/1/x/",
                 "/ungleichotp//verify/", "/x.json"]
            )  # fmt: skip
        if self.chance(4):
            return self.pick(["GET", "GET", "HEAD", "OPTIONS", "POST", "DELETE"]), "/"
        if self.chance(20 if self.may_change else 60):
            methods = ["POST"] * 24 + ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]
            return self.pick(methods), "/ungleichotp/verify/"
        if self.may_change and self.chance(50):
            return self.pick(["GET"] * 2 + ["POST"] * 9 + ["HEAD", "OPTIONS", "PUT", "DELETE"]), self.pick(
                ["/ungleichotp/", "/ungleichotp/", "/ungleichotp.json", "/ungleichotp.json/"]
            )
        if not self.may_change and self.chance(30):
            # The other instances do not know which identities exist.
            return self.pick(["OPTIONS", "PUT", "DELETE", "PURGE"]), "/ungleichotp/"
        methods = ["GET", "GET", "GET", "HEAD", "OPTIONS", "POST"]
        number = self.pick([1, 2, 3] * 4 + ["0", "999999", "x", "03", "%C3%A9", "9223372036854775807"])
        if self.may_change:
            methods += ["PUT", "PUT", "PATCH", "PATCH", "PATCH", "DELETE", "DELETE", "DELETE", "DELETE"]
            made = [number for number in self.server.identities if number > 3]
            if made and self.chance(80):
                number = self.pick(made)
            elif number in (1, 2, 3, "03"):
                methods = methods[:5]
        return self.pick(methods), f"/ungleichotp/{number}{self.pick(['/', '/', '/', '.json', '.json/'])}"

    def who(self, realm=None):
        known = [it for it in self.server.identities.values() if it[2] and (realm is None or it[1] == realm)]
        return self.pick(known)

    def code(self, seed):
        """A token that is correct, or far outside the window: one near the window proves nothing."""
        step = int(time.time()) // 30
        if self.chance(85):
            # At the edge of the window, the step may end in the meantime.
            return model.token(seed, step + self.pick([0, 0, 0, -1, 1, -2, 2]))
        near = {model.token(seed, step + offset) for offset in range(-12, 13)}
        codes = [f"{self.random.randrange(10**6):06}", "x", "12345", "\u0661\u0662\u0663\u0661\u0662\u0663"]
        code = self.pick(codes)
        return "x" if code in near else code

    def credential(self, names, who):
        name, realm, seed = who
        code = self.code(seed)
        fields = dict(zip(names, (name, realm, code)))
        if code.isascii() and code.isdigit() and not code.startswith("0") and self.chance(10):
            fields[names[2]] = int(code)
        if self.chance(5):
            wide = {ord(digit): 0xFEE0 + ord(digit) for digit in string.digits}
            fields[names[2]] = code.translate(wide)
        for key, value in fields.items():
            if isinstance(value, str) and self.chance(8) and len(value) < 120:
                fields[key] = self.pick(SPACES) + value + self.pick(SPACES)
        if self.chance(6):
            key = self.pick(names)
            if self.chance(40):
                del fields[key]
            else:
                fields[key] = self.pick(ODD)
        return list(fields.items())

    def caller(self, path):
        if self.chance(3):
            return []
        entitled = "ungleich-auth" if "verify" in path else "ungleich-admin"
        realm = self.pick([entitled] * 4 + ["ungleich-admin", "ungleich-auth", None])
        return self.credential(("auth_name", "auth_realm", "auth_token"), self.who(realm))

    def subject(self):
        return self.credential(("name", "realm", "token"), self.who())

    def change(self):
        fields = [("name", self.pick(NAMES)), ("realm", self.pick(REALMS))]
        if self.chance(15):
            fields[self.pick([0, 1])] = (self.pick(["name", "realm"]), self.pick(ODD))
        if self.chance(10):
            fields.pop(self.pick([0, 1]))
        return fields

    def write(self, request, fields):
        kind = self.pick(TYPES)
        if self.chance(2):
            request.content_type = self.pick(["text/plain", "application/xml", None])
            request.body = b"{}"
        elif kind == "json":
            self.write_json(request, fields)
        else:
            texts = [(key, value) for key, value in fields if isinstance(value, str) and sendable(key + value)]
            if kind == "form":
                self.write_form(request, texts)
            else:
                self.write_parts(request, texts)

    def charset(self, text):
        """Mostly UTF-8; otherwise an encoding that has all characters of the text."""
        if self.chance(15):
            for charset in self.random.sample(["iso-8859-1", "latin-1", "iso-8859-15", "utf-8"], 4):
                try:
                    text.encode(charset)
                except UnicodeEncodeError:
                    continue
                quote = self.pick(["", "", '"'])
                return charset, f"; charset={quote}{charset}{quote}"
        return "utf-8", ""

    def write_json(self, request, fields):
        plain = sendable("".join(key + (value if isinstance(value, str) else "") for key, value in fields))
        is_ascii = not plain or self.chance(50)
        colon, comma = self.pick([(":", ","), (": ", ", "), (" :\t", " ,\n"), (":\r\n", ",")])
        pairs = [f"{json.dumps(k, ensure_ascii=is_ascii)}{colon}{json.dumps(v, ensure_ascii=is_ascii)}" for k, v in fields]
        text = "{" + comma.join(pairs) + "}"
        if self.chance(3):
            text = self.pick(["null", "5", "1.5", '"x"', "[]", "true", " ", "[{}]", "NaN", "[-Infinity]", "\ufeff{}"])
        if self.chance(10):
            text = self.broken(text)
        charset, parameter = self.charset(text)
        request.content_type = self.pick(["application/json", "Application/JSON"]) + parameter
        request.body = text.encode(charset, "replace")
        if charset == "utf-8" and self.chance(1):
            request.body += b"\xff"

    def broken(self, text):
        at = self.random.randrange(len(text))
        put = self.pick(list('"{}[]:,\\ 0-e.tnu\n\x01é') + ["\\u12", "\\ud83d\\", "NaN", "//", "'", ",,"])
        kinds = [text[:at], text[:at] + text[at + 1 :], text[:at] + put + text[at:], text[:at] + put + text[at + 1 :]]
        return self.pick(kinds + [text + put])

    def write_form(self, request, fields):
        charset, parameter = self.charset("".join(key + value for key, value in fields))
        quote = self.pick([urllib.parse.quote, urllib.parse.quote_plus])
        pairs = [f"{quote(k, encoding=charset)}={quote(v, encoding=charset)}" for k, v in fields]
        text = "&".join(pairs)
        if self.chance(10):
            text = self.pick(["&", "&&x&", "=&", "%zz=1&"]) + text
        request.content_type = "application/x-www-form-urlencoded" + parameter
        request.body = text.encode()

    def write_parts(self, request, fields):
        charset, parameter = self.charset("".join(key + value for key, value in fields))
        boundary = self.pick(["x", "----WebKitFormBoundaryAbC123", "a/b=c:d?(e)'+_,-.", "=_0.1"])
        quote = self.pick(["", '"'])
        request.content_type = f"multipart/form-data; boundary={quote}{boundary}{quote}{parameter}"
        body = b"preamble\r\n" if self.chance(10) else b""
        for key, value in fields:
            data, more = value.encode(charset), ""
            if self.chance(15):
                data, more = base64.encodebytes(data), "Content-Transfer-Encoding: base64\r\n"
            elif self.chance(5):
                more = "Content-Type: text/plain\r\n"
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n{more}\r\n'
            body += head.encode() + data + b"\r\n"
        if not fields or not self.chance(15):
            body += f"--{boundary}--\r\n".encode()
        request.body = body


def sendable(text):
    return not any("\ud800" <= char <= "\udfff" for char in text)


class Asker(threading.Thread):
    """Sends requests over a connection of its own."""

    def __init__(self, address, chooser, requests):
        super().__init__()
        self.connection = http.client.HTTPConnection(*address, timeout=20)
        self.chooser, self.requests = chooser, requests
        self.statuses, self.differences = collections.Counter(), []

    def run(self):
        for number in range(self.requests):
            request = self.chooser.request()
            expected = self.chooser.server.answer(request)
            found = self.ask(request)
            self.statuses[found.status] += 1
            self.learn(request, expected, found)
            if expected != found:
                self.differences.append((number, request, expected, found))
                if len(self.differences) == SHOWN:
                    return

    def ask(self, request):
        target = request.path + (f"?{request.query}" if request.query else "")
        connection = self.connection
        connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", request.host)
        fields = [("Content-Type", request.content_type), ("Accept", request.accept), *request.more]
        for name, value in fields:
            if value is not None:
                connection.putheader(name, value)
        if request.body:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        body = answer.read().decode()
        names = ["Allow", "Vary", "Content-Type", "Location", "Content-Length"]
        fields = {name: answer.headers[name] for name in names if name in answer.headers}
        if answer.status == 301:
            del fields["Content-Length"]
        return model.Answer(answer.status, body, fields)

    def learn(self, request, expected, found):
        """A new seed is only known from the response."""
        if expected.status != 201 or found.status != 201:
            return
        made = json.loads(found.body)
        seed, number = made["seed"], made["id"]
        if len(seed) == 32 and set(seed) <= set(string.ascii_uppercase + "234567"):
            self.chooser.server.identities[number][2] = seed
            expected.body = expected.body.replace("null", json.dumps(seed))
            expected.fields["Content-Length"] = str(len(expected.body.encode()))


def main():
    given = json.load(sys.stdin)
    askers = []
    for number in range(THREADS):
        server = model.Server(given["residents"])
        chooser = Chooser(f"{given['seed']}/{number}", server, may_change=number == 0)
        askers.append(Asker(given["address"], chooser, given["requests"] // THREADS))
    for asker in askers:
        asker.start()
    statuses, failed = collections.Counter(), False
    for place, asker in enumerate(askers):
        asker.join()
        statuses += asker.statuses
        for number, request, expected, found in asker.differences:
            failed = True
            print(f"\n{place}/{number}: {request}\nthe model: {expected}\nrealmgate: {found}", file=sys.stderr)
    print(json.dumps(statuses))
    if failed or sum(statuses.values()) != given["requests"] // THREADS * THREADS:
        sys.exit(1)


main()
