"""The shop: takes orders of customers. Reserves the item at stock, and lets billing write the invoice."""

import os

import requests
from flask import Flask, request
from realmgate import Credential, InRealm, TrustHeaders
from realmgate.requests import RealmgateAuth
from realmgate.wsgi import Middleware, identity

GATEWAY = os.environ["GATEWAY"]

app = Flask(__name__)
app.wsgi_app = Middleware(app.wsgi_app, TrustHeaders(peers=["127.0.0.1"]), InRealm("customers"))

others = requests.Session()
# The credential goes to realmgate only, whatever this session requests.
others.auth = RealmgateAuth(Credential.from_environment(), origin=GATEWAY)


@app.post("/shop/orders")
def order():
    customer, item = str(identity(request.environ)), request.get_json()["item"]
    reserved = others.post(f"{GATEWAY}/stock/reservations/{item}", timeout=10)
    if reserved.status_code == 404:
        return {"error": f"there is no {item}"}, 404
    reserved.raise_for_status()
    invoice = others.post(f"{GATEWAY}/billing/invoices", json={"customer": customer, "item": item}, timeout=10)
    invoice.raise_for_status()
    return {"order": item, "left": reserved.json()["left"], "invoice": invoice.json()}
