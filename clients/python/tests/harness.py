"""A real realmgate, servers that misbehave, and applications in processes of their own."""

import contextlib
import http.server
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCE = ROOT / "clients/python/src"
PATIENCE = 20.0


def until(what, condition):
    """Polls until a condition holds, with a deadline."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


def binary():
    path = os.environ.get("REALMGATE_BINARY")
    if not path:
        raise RuntimeError("REALMGATE_BINARY is not set: run `cargo test --test it python::`, or set it to a binary")
    return path


def environment(**more):
    """The environment without the variables that realmgate or its client read."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("REALMGATE_", "UNGLEICHOTP"))}
    kept.pop("PYTHONPATH", None)
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1", **more}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Gate:
    """A running realmgate with a folder of its own."""

    def __init__(self, more="", service=""):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        self._config = self.folder / "realmgate.toml"
        self._config.write_text(
            f'[store]\nurl = "sqlite:{self.folder}/realmgate.db"\n[limits]\nconnections = 500\nrequests = 500\n'
            f'[service]\nlisten = "127.0.0.1:0"\n{service}[metrics]\nlisten = "127.0.0.1:0"\n'
            f'[gateway]\nlisten = "127.0.0.1:0"\n{more}'
        )
        self._log = open(self.folder / "log", "wb")
        self._start()
        self.admin = json.loads(self.run("init"))
        self.auth = self.create("verifier", "ungleich-auth")

    def _start(self):
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [binary(), "serve", "--config", self._config, "--ready-file", ready],
            stderr=self._log,
            env=environment(),
        )
        until("realmgate is ready", lambda: self._is_ready(ready))
        addresses = json.loads(ready.read_text())
        self.url = "http://" + addresses["service"]
        self.proxy = "http://" + addresses["gateway"]

    def _is_ready(self, ready):
        if self._process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text())
        return ready.exists()

    def run(self, *arguments):
        command = [binary(), *arguments, "--json", "--config", self._config]
        done = subprocess.run(command, capture_output=True, env=environment(), timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, name, realm, *options):
        return json.loads(self.run("identity", "create", "--name", name, "--realm", realm, *options))

    def disable(self, name, realm):
        self.run("identity", "disable", "--name", name, "--realm", realm)

    def log(self):
        return (self.folder / "log").read_text()

    def stop(self):
        self._process.terminate()
        self._process.wait(PATIENCE)

    def close(self):
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._folder.cleanup()


def routes(port, realm="payments"):
    """A route for a realm to an application on a port, and a public one."""
    return (
        '[[route]]\nname = "public"\npath = "/public"\nallow = "anyone"\nupstream = "app"\n'
        f'[[route]]\nname = "app"\nallow = [{{ realm = "{realm}" }}]\nupstream = "app"\n'
        f'[upstream.app]\npeers = ["127.0.0.1:{port}"]\n'
    )


class Recorder:
    """An HTTP server that records requests, and answers as a function says: (status, headers, body)."""

    def __init__(self, answer=lambda request: (200, {}, b"ok"), context=None):
        self.requests = []
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                recorder.requests.append(self)
                status, headers, body = answer(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)
                self.close_connection = True

            do_GET = do_POST = do_PATCH = do_DELETE = _answer

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def certificate(folder, *names):
    """Makes a certificate for these names. Returns its path and the server's context."""
    key, path = folder / "key.pem", folder / "cert.pem"
    san = "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", path, "-days", "2", "-subj", f"/CN={names[0]}", "-addext", san],
        check=True, capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return path, context


class Raw:
    """A TCP server that hands each connection to a function, for responses that are no HTTP."""

    def __init__(self, serve):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._serve = serve
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                self._serve(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def program(command, port, folder, **variables):
    """Runs a server until it listens on a port, and ends it afterwards."""
    log_path = pathlib.Path(folder) / "program.log"
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**variables), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:

        def listens():
            if process.poll() is not None:
                raise AssertionError(f"{command} ended: {log_path.read_text()}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True

        until("the application listens", listens)
        yield log_path
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def gunicorn(module, port, folder, **variables):
    command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--graceful-timeout", "1", module]
    return program(command, port, folder, **variables)


def uvicorn(module, port, folder, **variables):
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--no-proxy-headers", module]
    return program(command, port, folder, **variables)
