"""Reports which page FastAPI serves for a request."""

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/admin")
@app.get("/admin/{rest:path}")
def admin(rest=""):
    return PlainTextResponse("admin")


@app.get("/{rest:path}")
def other(rest):
    return PlainTextResponse("other")
