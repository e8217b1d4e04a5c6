"""What a case is given, and how cases are run and told."""

from __future__ import annotations

import dataclasses
import itertools
import signal
import time
import traceback
from typing import Callable

from .clients import Client, Key, Refused, open_client
from .vault import Vault

# Seconds after which a case that hangs is a failed one.
PATIENCE = 180


class Failed(AssertionError):
    """What a case finds wrong."""


def check(holds: bool, what: str) -> None:
    """Fails the case with that sentence unless it holds."""
    if not holds:
        raise Failed(what)


def equal(found, expected, what: str) -> None:
    """Fails the case unless both are the same."""
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def refused(code: str, status: int, call: Callable[[], object]) -> Refused:
    """What the client raises; fails the case unless it is that code with that status."""
    try:
        answer = call()
    except Refused as error:
        equal(error.code, code, f"the code ({error.message})")
        if error.status is not None:
            equal(error.status, status, "the status")
        return error
    raise Failed(f"expected {code}, found the answer {answer!r}")


def eventually(what: str, condition: Callable[[], object], seconds: float = 60):
    """What the condition gives, once that is something."""
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        check(time.monotonic() < until, f"waited in vain: {what}")
        time.sleep(0.1)


@dataclasses.dataclass
class Bench:
    """A client to be tried, and what is needed around it."""

    vault: Vault
    user: Key
    stranger: Key
    client: Client
    helper: Client
    hosts: object = None
    _numbers: itertools.count = dataclasses.field(default_factory=lambda: NUMBERS)

    def name(self) -> str:
        """A name that nothing has yet."""
        return f"smoke-{next(self._numbers)}"

    def call(self, action: str, **parameters):
        """The answer that the client under test gets."""
        answer = self.client.call(action, **parameters)
        check(bool(answer.get("RequestId")) or self.client.kind.startswith("cache"), "the answer has no RequestId")
        return answer

    def takes(self, action: str, *parameters: str) -> bool:
        """Whether the client under test knows these parameters of the action."""
        return all(self.client.takes(action, parameter) for parameter in parameters)

    def open(self, key: Key) -> Client:
        """A client of the kind under test with another key."""
        return open_client(self.client.kind, self.vault.place, key)

    def secret(self, **parameters) -> str:
        """The name of a new Generic secret, whose version v1 is `one`."""
        name = self.name()
        self.helper.call("CreateSecret", SecretName=name, VersionId="v1", SecretData="one", **parameters)
        return name

    def key(self, **parameters) -> str:
        """The id of a new key."""
        return self.helper.call("CreateKey", **parameters)["KeyMetadata"]["KeyId"]


NUMBERS = itertools.count(1)


class Tally:
    """Runs cases, tells of each in a line, and counts."""

    def __init__(self):
        self.passed = self.failed = 0

    def run(self, client: str, name: str, case: Callable[[], object]) -> bool:
        """Runs a case; whether it passed."""

        def hang(_signal, _frame):
            raise Failed(f"not over after {PATIENCE} seconds")

        former = signal.signal(signal.SIGALRM, hang)
        signal.alarm(PATIENCE)
        since = time.monotonic()
        try:
            case()
        except Exception as error:  # Whatever a client raises is a finding.
            self.fail(client, name, error)
            return False
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, former)
        self.passed += 1
        took = time.monotonic() - since
        print(f"ok    {client:<12} {name}{f' ({took:.0f} s)' if took >= 2 else ''}", flush=True)
        return True

    def fail(self, client: str, name: str, error: BaseException) -> None:
        """Tells of a case that did not pass."""
        self.failed += 1
        print(f"FAIL  {client:<12} {name}", flush=True)
        told = str(error) if isinstance(error, (Failed, Refused)) else "".join(traceback.format_exception(error))
        for line in told.strip().splitlines():
            print(f"      {line}")
        place = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in place if "/sdk_smoke/cases/" in frame.filename]
        if ours:
            print(f"      at {ours[-1].filename.rsplit('/sdk_smoke/', 1)[1]}:{ours[-1].lineno}", flush=True)
