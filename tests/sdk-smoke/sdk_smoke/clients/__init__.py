"""One face for every client: `call(action, **parameters)`.

The parameters have their names on the wire; where one is JSON in a string, it is
given as a list or dictionary. Each client passes them on as its users do: by its
request classes and their setters, where it has some.
"""

from __future__ import annotations

import dataclasses
import importlib

# Name -> (module, settings). The order is that of the page docs/clients.md.
KINDS = {
    "python": ("tea", {}),
    "python-v1": ("tea", {"signature_algorithm": "v2"}),
    "python-sm3": ("tea", {"signature_algorithm": "ACS3-HMAC-SM3"}),
    "python-acs4": ("tea", {"signature_version": "v4"}),
    "python-core": ("core", {}),
    "npm-kms": ("node", {"client": "kms"}),
    "npm-openapi": ("node", {"client": "openapi"}),
    "cache-v1": ("cache", {"version": 1}),
    "cache-v2": ("cache", {"version": 2}),
}

# Those that only read values.
CACHES = ("cache-v1", "cache-v2")
# Those that have more than that.
WHOLE = tuple(kind for kind in KINDS if kind not in CACHES)


@dataclasses.dataclass(frozen=True)
class Key:
    """An access key of the vault."""

    id: str
    secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the vault is, and the file with the authority to believe, if any."""

    endpoint: str
    ca: str | None
    region: str


class Refused(Exception):
    """What a client raised because of an answer of the vault."""

    def __init__(self, code: str, status: int | None, message: str, raised: str):
        super().__init__(f"{code} (HTTP {status}), raised as {raised}: {message}")
        self.code, self.status, self.message, self.raised = code, status, message, raised


class Unreachable(Exception):
    """What a client raised because it got no answer."""


class Client:
    """A client of some kind, with one access key."""

    kind: str

    def has(self, action: str) -> bool:
        """Whether the client knows the action."""
        raise NotImplementedError

    def takes(self, action: str, parameter: str) -> bool:
        """Whether the client knows that parameter of the action."""
        return True

    def call(self, action: str, **parameters):
        """The answer, with its names on the wire."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what runs for the client."""


def open_client(kind: str, place: Place, key: Key) -> Client:
    """A client of that kind."""
    module, settings = KINDS[kind]
    client = importlib.import_module(f"{__name__}.{module}").make(place, key, **settings)
    client.kind = kind
    return client
