"""Billing: writes invoices, and orders more of what stock runs out of. Asks stock for prices."""

import os

import httpx
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel
from realmgate import Credential, InRealm, TrustHeaders
from realmgate.asgi import Middleware, identity
from realmgate.httpx import RealmgateAuth

GATEWAY = os.environ["GATEWAY"]

app = FastAPI()
app.add_middleware(
    Middleware, source=TrustHeaders(peers=["127.0.0.1"]), policy=InRealm("storefront", "warehouse")
)
# The credential goes to realmgate only, whatever this client requests.
others = httpx.AsyncClient(base_url=GATEWAY, auth=RealmgateAuth(Credential.from_environment(), origin=GATEWAY))


class Order(BaseModel):
    customer: str
    item: str


@app.post("/billing/invoices")
async def invoice(order: Order, request: Request):
    if not InRealm("storefront").allows(identity(request.scope)):
        raise HTTPException(403)
    price = await others.get(f"/stock/prices/{order.item}")
    price.raise_for_status()
    return {"to": order.customer, "cents": price.json()["cents"], "through": str(identity(request.scope))}


@app.post("/billing/purchases/{item}")
async def purchase(item: str, request: Request):
    if not InRealm("warehouse").allows(identity(request.scope)):
        raise HTTPException(403)
    return {"bought": 10, "item": item, "for": str(identity(request.scope))}
