"""Signs the requests of schemathesis: CALLER is NAME@REALM, SEED its seed in base32."""

import base64
import json
import os

import pyotp
import schemathesis


@schemathesis.auth(refresh_interval=5)
class Token:
    def get(self, case, context):
        token = pyotp.TOTP(os.environ["SEED"]).now()
        text = f"{os.environ['CALLER']}:{token}"
        return base64.b64encode(text.encode()).decode()

    def set(self, case, data, context):
        # Two kinds of credentials are none.
        for name in list(case.headers):
            if name.lower().startswith("x-auth-"):
                del case.headers[name]
        case.headers["Authorization"] = f"Basic {data}"


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """Sends lines: mostly of identities, and the generated text as it is."""
    text = value if isinstance(value, str) else json.dumps(value)
    line = json.dumps({"name": text[:20], "realm": "bulk"})
    return f"{line}\n{text}\n".encode("utf-8", "replace")
