"""A model of an ungleich-otp 0.8 server, according to docs/compat.md and the recorded exchanges.

Independent of Django: `Server.answer` takes a request and returns the complete response. `random_requests.py` avoids
requests whose responses differ intentionally.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import struct
import time
import unicodedata
import urllib.parse
from dataclasses import dataclass, field

JSON = "application/json"
NAMES = ("name", "realm", "token")
ADMIN, AUTH = "ungleich-admin", "ungleich-auth"
PARSES = [JSON, "application/x-www-form-urlencoded", "multipart/form-data"]


@dataclass
class Request:
    method: str
    path: str
    query: str = ""
    host: str = "otp.example"
    content_type: str | None = None
    accept: str | None = None
    body: bytes = b""
    more: list = field(default_factory=list)


@dataclass
class Answer:
    status: int
    body: str = ""
    fields: dict = field(default_factory=dict)


class Refusal(Exception):
    def __init__(self, status, data):
        super().__init__(status)
        self.status, self.data = status, data


def detail(status, text):
    return Refusal(status, {"detail": text})


NOT_AUTHENTICATED = (403, "Incorrect authentication credentials.")
NOT_ALLOWED = (403, "You do not have permission to perform this action.")
NOT_FOUND = (404, "Not found.")


def token(seed, step):
    """RFC 6238 with SHA-1, 6 digits and 30 seconds."""
    key = base64.b32decode(seed)
    digest = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    start = digest[-1] & 15
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**6:06}"


def is_token(seed, code, window=3):
    """Returns whether a code is correct now. As in pyotp, full-width digits are digits."""
    now = int(time.time()) // 30
    right = {token(seed, now + offset) for offset in range(-window, window + 1)}
    return unicodedata.normalize("NFKC", code) in right


class Server:
    """Identities by number: [name, realm, seed]."""

    def __init__(self, residents, is_right=None):
        self.identities = dict(enumerate(([*it] for it in residents), 1))
        self.next = len(residents) + 1
        self.is_right = is_right or is_token

    # ---- the steps of a request

    def answer(self, request):
        view = self.route(request.path)
        if view is None:
            if not request.path.endswith("/") and self.route(request.path + "/"):
                location = request.path + "/" + (f"?{request.query}" if request.query else "")
                kind = "text/html; charset=utf-8"
                return Answer(301, "", {"Content-Type": kind, "Location": location})
            page = "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>"
            return shown(request, Answer(404, page, {"Content-Type": "text/html"}))
        allow, run = view
        indent, wide = 0, False
        try:
            indent = negotiate(request)
            status, data = run(request)
        except Refusal as refusal:
            status, data = refusal.status, refusal.data
            wide = status == 400 and "verify" in request.path and "detail" not in data
        fields = {"Allow": allow, "Vary": "Accept"}
        if status == 204:
            return Answer(204, "", fields)
        fields["Content-Type"] = JSON
        if wide:
            return shown(request, Answer(status, json.dumps(data, ensure_ascii=False), fields))
        return shown(request, Answer(status, rendered(data, indent), fields))

    def route(self, path):
        if path == "/":
            return "GET, HEAD, OPTIONS", self.root
        if re.fullmatch(r"/ungleichotp(/|\.json/?)", path):
            return "GET, POST, HEAD, OPTIONS", self.collection
        if path == "/ungleichotp/verify/":
            return "POST, OPTIONS", self.verify
        found = re.fullmatch(r"/ungleichotp/([^/.]+)(/|\.json/?)", path)
        if found:
            number = urllib.parse.unquote(found[1])
            run = lambda request: self.member(request, number)
            return "GET, PUT, PATCH, DELETE, HEAD, OPTIONS", run
        return None

    def caller(self, request, is_verify):
        """Returns the data of a request and its caller."""
        data = parsed(request)
        names = [f"auth_{name}" for name in NAMES]
        fields = data if isinstance(data, dict) else {}
        if not any(name in fields for name in names):
            # Version 0.6, where they cannot mean the subject.
            if is_verify:
                old = any(f"verify{name}" in fields for name in NAMES)
            else:
                old = request.method not in ("POST", "PUT", "PATCH") and "token" in fields
            names = NAMES if old else names
        texts, errors = read(fields, names)
        if errors:
            raise detail(*NOT_AUTHENTICATED)
        who = self.find(*texts[:2])
        if who is None or not self.is_right(who[2], texts[2]):
            raise detail(*NOT_AUTHENTICATED)
        return data, who

    def find(self, name, realm):
        found = [it for it in self.identities.values() if it[:2] == [name, realm]]
        return found[0] if found else None

    # ---- the resources

    def root(self, request):
        self.caller(request, False)
        if request.method in ("GET", "HEAD"):
            return 200, {"ungleichotp": f"http://{request.host}/ungleichotp/"}
        if request.method == "OPTIONS":
            about = "The default basic root view for DefaultRouter"
            return 200, described("Api Root", about, None)
        raise wrong_method(request)

    def verify(self, request):
        data, who = self.caller(request, True)
        may = who[1] == AUTH
        if request.method == "OPTIONS":
            return 200, described("Verify", "", "POST" if may else None)
        if request.method != "POST":
            raise wrong_method(request)
        if not may:
            raise detail(*NOT_ALLOWED)
        is_old = not any(f"auth_{name}" in data for name in NAMES)
        prefix = "verify" if is_old else ""
        names = [prefix + name for name in ("name", "token", "realm")]
        (name, code, realm), errors = read(data, names)
        if errors:
            raise Refusal(400, errors)
        subject = self.find(name, realm)
        if subject is None or not self.is_right(subject[2], code):
            raise detail(*NOT_ALLOWED)
        return 200, {"status": "OK"}

    def collection(self, request):
        data, who = self.caller(request, False)
        may = who[1] == ADMIN
        if request.method == "OPTIONS":
            return 200, described("Otp List", "", "POST" if may else None)
        if request.method not in ("GET", "HEAD", "POST"):
            raise wrong_method(request)
        if not may:
            raise detail(*NOT_ALLOWED)
        if request.method != "POST":
            return 200, [self.shape(number) for number in sorted(self.identities)]
        texts, errors = read(data, NAMES[:2])
        if errors:
            raise Refusal(400, errors)
        self.refuse_taken(*texts, None)
        number, self.next = self.next, self.next + 1
        self.identities[number] = [*texts, None]
        return 201, self.shape(number)

    def member(self, request, number):
        data, who = self.caller(request, False)
        may = who[1] == ADMIN
        known = number.isascii() and number.isdigit() and int(number) in self.identities
        if request.method == "OPTIONS":
            return 200, described("Otp Instance", "", "PUT" if may and known else None)
        if request.method not in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            raise wrong_method(request)
        if not may:
            raise detail(*NOT_ALLOWED)
        if not known:
            raise detail(*NOT_FOUND)
        number = int(number)
        if request.method == "DELETE":
            del self.identities[number]
            return 204, None
        if request.method in ("PUT", "PATCH"):
            is_whole = request.method == "PUT"
            names = [name for name in NAMES[:2] if is_whole or name in data]
            texts, errors = read(data, names)
            if errors:
                raise Refusal(400, errors)
            new = {**dict(zip(NAMES, self.identities[number])), **dict(zip(names, texts))}
            self.refuse_taken(new["name"], new["realm"], number)
            self.identities[number][:2] = [new["name"], new["realm"]]
        return 200, self.shape(number)

    def shape(self, number):
        name, realm, seed = self.identities[number]
        return {"id": number, "name": name, "realm": realm, "seed": seed}

    def refuse_taken(self, name, realm, but):
        pairs = [it[:2] for number, it in self.identities.items() if number != but]
        if [name, realm] in pairs:
            text = "The fields name, realm must make a unique set."
            raise Refusal(400, {"non_field_errors": [text]})


def wrong_method(request):
    return detail(405, f'Method "{request.method}" not allowed.')


def described(name, about, method):
    data = {"name": name, "description": about, "renders": [JSON], "parses": PARSES}
    if method:
        text = {"type": "string", "required": True, "read_only": False}
        given = {"type": "string", "required": False, "read_only": True}
        data["actions"] = {
            method: {
                "id": {**given, "type": "integer", "label": "Id"},
                "name": {**text, "label": "Name", "max_length": 128},
                "realm": {**text, "label": "Realm", "max_length": 128},
                "seed": {**given, "label": "Seed"},
            }
        }
    return data


# ---- writing a response


def negotiate(request):
    formats = urllib.parse.parse_qs(request.query, keep_blank_values=True).get("format", [""])
    if formats[-1] not in ("", "json"):
        raise detail(*NOT_FOUND)
    if request.accept in (None, "", "*/*", "application/*", JSON):
        return 0
    found = re.fullmatch(r"application/json; indent=(-?\w+)", request.accept)
    if not found:
        raise detail(406, "Could not satisfy the request Accept header.")
    try:
        return max(min(int(found[1]), 8), 0)
    except ValueError:
        return 0


def rendered(data, indent):
    if indent:
        text = json.dumps(data, ensure_ascii=False, indent=indent)
    else:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def shown(request, answer):
    answer.fields["Content-Length"] = str(len(answer.body.encode(errors="replace")))
    if request.method == "HEAD":
        answer.body = ""
    return answer


# ---- reading a body


def read(fields, names):
    """Returns the texts of the fields, and their faults."""
    texts, errors = [], {}
    for name in names:
        found = [] if name in fields else ["This field is required."]
        value = fields.get(name)
        text = "" if found else str(value).strip()
        if found:
            pass
        elif value is None:
            found = ["This field may not be null."]
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            found = ["Not a valid string."]
        elif text == "":
            found = ["This field may not be blank."]
        else:
            lone = [char for char in text if "\ud800" <= char <= "\udfff"]
            if len(text) > 128:
                found.append("Ensure this field has no more than 128 characters.")
            if "\0" in text:
                found.append("Null characters are not allowed.")
            if lone:
                found.append(f"Surrogate characters are not allowed: U+{ord(lone[0]):X}.")
        texts.append(text)
        if found:
            errors[name] = found
    return texts, errors


def parsed(request):
    """Returns the fields of a body; of a form, the last value of each."""
    if not request.body:
        return {}
    given = request.content_type or ""
    kind, parameters = media_type(given)
    charset = parameters.get("charset", "utf-8")
    if kind == JSON:
        return from_json(request.body, charset)
    if kind == "application/x-www-form-urlencoded":
        return from_form(request.body, charset)
    if kind == "multipart/form-data":
        return from_parts(request.body, parameters.get("boundary"), charset)
    raise detail(415, f'Unsupported media type "{given}" in request.')


def media_type(text):
    """Like cgi.parse_header, which Python has removed."""
    parts = re.findall(r'(?:[^;"]|"(?:\\.|[^"\\])*")+', text)
    parameters = {}
    for part in parts[1:]:
        key, equals, value = part.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1].replace("\\\\", "\\").replace('\\"', '"')
        if equals:
            parameters[key.strip().lower()] = value
    return (parts or [""])[0].strip().lower(), parameters


def from_json(body, charset):
    try:
        text = body.decode(charset)
        return json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        message = str(error)
        if error.msg.startswith("Illegal trailing comma"):
            # Python 3.13 has another message and another position.
            message = trailing_comma(text, error.pos)
        raise detail(400, f"JSON parse error - {message}") from error
    except ValueError as error:
        raise detail(400, f"JSON parse error - {error}") from error


def no_constant(name):
    raise ValueError(f"Out of range float values are not JSON compliant: {name!r}")


def trailing_comma(text, comma):
    end = re.compile(r"[ \t\n\r]*").match(text, comma + 1).end()
    words = "Expecting value"
    if text[end] == "}":
        words = "Expecting property name enclosed in double quotes"
    return str(json.JSONDecodeError(words, text, end))


def from_form(body, charset):
    try:
        text = body.decode(charset)
    except UnicodeDecodeError:
        text = body.decode("iso-8859-1")
    pairs = urllib.parse.parse_qsl(text, True, encoding=charset, errors="replace")
    return dict(pairs)


class File:
    """A field that was sent as a file, which is not text."""


def from_parts(body, boundary, charset):
    if not boundary or not re.fullmatch("[ -~]{0,200}[!-~]", boundary):
        raise detail(400, f"Multipart form parse error - Invalid boundary in multipart: {boundary}")
    fields = {}
    for part in re.split(rb"(?:\r?\n)?" + re.escape(b"--" + boundary.encode()), body)[1:]:
        head, blank, data = part.partition(b"\r\n\r\n")
        if not blank:
            continue
        lines = {}
        for line in head.decode(charset, "replace").split("\r\n"):
            key, colon, value = line.partition(":")
            if colon:
                lines[key.strip().lower()] = value.strip()
        _, parameters = media_type(lines.get("content-disposition", ""))
        if "name" not in parameters:
            continue
        if lines.get("content-transfer-encoding") == "base64":
            try:
                data = base64.b64decode(data)
            except binascii.Error:
                pass
        is_file = bool(parameters.get("filename"))
        value = File() if is_file else data.decode(charset, "replace")
        fields[parameters["name"].strip()] = value
    return fields
