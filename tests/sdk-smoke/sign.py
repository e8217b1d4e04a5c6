"""Signs what schemathesis sends with ACS3-HMAC-SHA256 (kms-secrets.md section 2.5).

Loaded by schemathesis as its hooks. The access key is read from a file that
SDK_SMOKE_KEY_FILE names: its id and its secret, a line each.
"""

import hashlib
import hmac
import os
import pathlib
import secrets
import time
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import requests.auth
import schemathesis

KEY_ID, KEY_SECRET = pathlib.Path(os.environ["SDK_SMOKE_KEY_FILE"]).read_text().split()


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Signature(requests.auth.AuthBase):
    """Puts the headers of a signature on a request that is ready to be sent."""

    def __call__(self, request):
        # The document tells operations apart by a fragment, which is not sent.
        parts = urlsplit(request.url)
        request.url = urlunsplit((parts.scheme, parts.netloc, "/", parts.query, ""))
        body = request.body or b""
        if isinstance(body, str):
            body = body.encode()
            request.body = body
        headers = request.headers
        headers["host"] = parts.netloc
        headers["x-acs-date"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        headers["x-acs-signature-nonce"] = secrets.token_hex(16)
        headers["x-acs-content-sha256"] = digest(body)
        signed = {name.lower(): value for name, value in headers.items()}
        signed = {n: v for n, v in signed.items() if n in ("host", "content-type") or n.startswith("x-acs-")}
        names = ";".join(sorted(signed))
        pairs = sorted((quote(k, "~"), quote(v, "~")) for k, v in parse_qsl(parts.query, keep_blank_values=True))
        canonical = [request.method, "/", "&".join(f"{k}={v}" for k, v in pairs)]
        canonical += ["".join(f"{name}:{text(signed[name]).strip()}\n" for name in sorted(signed))]
        canonical += [names, digest(body)]
        to_sign = "ACS3-HMAC-SHA256\n" + digest("\n".join(canonical).encode())
        signature = hmac.new(KEY_SECRET.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = f"ACS3-HMAC-SHA256 Credential={KEY_ID},SignedHeaders={names},Signature={signature}"
        return request


def text(value) -> str:
    """A header's value, which may be bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


schemathesis.auth.set_from_requests(Signature())


@schemathesis.hook
def after_call(_context, case, response):
    """Notes what each call got, for the lines that are printed of it."""
    try:
        code = response.json().get("Code", "")
    except ValueError:
        code = "not JSON"
    line = f"{case.operation.definition.raw['operationId']} {response.status_code} {code}\n"
    with open(os.environ["SDK_SMOKE_CALLS"], "a", encoding="utf-8") as calls:
        calls.write(line)
