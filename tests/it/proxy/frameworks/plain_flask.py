"""Reports which page Flask serves for a request."""

from flask import Flask

app = Flask(__name__)


@app.route("/admin")
@app.route("/admin/")
@app.route("/admin/<path:rest>")
def admin(rest=""):
    return "admin"


@app.route("/")
@app.route("/<path:rest>")
def other(rest=""):
    return "other"
