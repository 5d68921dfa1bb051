"""Reports the request that Flask sees."""

from flask import Flask, jsonify, request

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

app = Flask(__name__)


def told(page):
    environ = request.environ
    return jsonify(
        page=page,
        path=environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
        root=environ.get("SCRIPT_NAME", ""),
        method=request.method,
        query=environ.get("QUERY_STRING", ""),
        scheme=request.scheme,
        host=request.host,
        user=environ.get("REMOTE_USER") or "",
        body=request.get_data().decode(),
    )


@app.route("/admin", methods=METHODS)
@app.route("/admin/<path:rest>", methods=METHODS)
def admin(rest=""):
    return told("admin")


@app.route("/", methods=METHODS)
@app.route("/<path:rest>", methods=METHODS)
def page(rest=""):
    return told("page")
