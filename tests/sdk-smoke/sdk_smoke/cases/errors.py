"""What clients raise when a call is refused, throttled, or the server is not believed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

from ..bench import Bench, Failed, check, equal, refused
from ..clients import Key, Place, Refused, open_client


def read(client, name: str):
    return client.call("GetSecretValue", SecretName=name)


def not_found(bench: Bench) -> None:
    refused("Forbidden.ResourceNotFound", 404, lambda: read(bench.client, "no-such-secret"))


def denied(bench: Bench) -> None:
    name = bench.secret()
    client = bench.open(bench.stranger)
    try:
        refused("Forbidden.NoPermission", 403, lambda: read(client, name))
    finally:
        client.close()


def wrong_secret(bench: Bench) -> None:
    """The old core turns the code into its own when the string to sign is the same."""
    name = bench.secret()
    client = bench.open(Key(bench.user.id, "not-the-secret-of-this-key-at-all"))
    try:
        read(client, name)
    except Refused as error:
        check(error.code in ("SignatureDoesNotMatch", "InvalidAccessKeySecret"), f"the code is {error.code}")
        equal(error.status or 400, 400, "the status")
    else:
        raise Failed("a wrong secret was accepted")
    finally:
        client.close()


def unknown_key(bench: Bench) -> None:
    client = bench.open(Key("LTAIthereisnosuchkey", bench.user.secret))
    try:
        refused("InvalidAccessKeyId.NotFound", 404, lambda: read(client, "any"))
    finally:
        client.close()


def fresh(bench: Bench, name: str, ca: str | None) -> dict:
    """What a process of its own gets that believes this authority, or only the machine's."""
    question = {
        "kind": bench.client.kind,
        "place": [bench.vault.endpoint, ca, bench.vault.place.region],
        "key": [bench.user.id, bench.user.secret],
        "name": name,
    }
    command = [sys.executable, "-m", "sdk_smoke.cases.errors"]
    done = subprocess.run(
        command, input=json.dumps(question), capture_output=True, text=True, timeout=120, check=False
    )
    check(done.returncode == 0, f"the process failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def without_ca(bench: Bench) -> None:
    """A client that was not given the authority must not talk to the vault."""
    name = bench.secret()
    equal(fresh(bench, name, bench.vault.place.ca), {"value": "one"}, "what is read with the authority")
    got = fresh(bench, name, None)
    if bench.client.kind == "cache-v1":
        # It never looks at certificates, which docs/clients.md warns of.
        equal(got, {"value": "one"}, "what is read without checking")
        return
    check("error" in got, "a value was read from a server that nothing vouches for")
    check("certificate" in got["error"].lower(), f"the error does not speak of the certificate: {got['error']}")


def throttled(bench: Bench) -> None:
    """A burst over the limit is refused by the code that SDKs know."""
    # Of several names, because a cache client asks for each only once.
    names = [bench.secret() for _ in range(10)]

    def burst():
        for name in names:
            read(bench.client, name)

    error = refused("Rejected.Throttling", 429, burst)
    if bench.client.kind in ("python", "python-sm3"):
        equal(error.raised, "ThrottlingException", "what is raised")


def patient(bench: Bench) -> None:
    """A cache client meets refusals for a while and gets through."""
    name = bench.secret()
    rival = open_client("python", bench.vault.place, bench.user)
    refusals, stop = [], threading.Event()

    def take_everything():
        while not stop.is_set():
            try:
                read(rival, name)
            except Refused as error:
                refusals.append(error.code)

    thread = threading.Thread(target=take_everything)
    thread.start()
    timer = threading.Timer(5, stop.set)
    timer.start()
    try:
        while len(refusals) < 3:
            pass
        equal(read(bench.client, name)["SecretData"], "one", "what the cache client reads")
    finally:
        stop.set()
        timer.cancel()
        thread.join()
    equal(set(refusals), {"Rejected.Throttling"}, "what the rival met")


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    try:
        client = open_client(asked["kind"], Place(*asked["place"]), Key(*asked["key"]))
        told = {"value": read(client, asked["name"])["SecretData"]}
    except Exception as error:  # Each client has its own way to say it.
        told = {"error": f"{type(error).__name__}: {error} {error.__cause__}"}
    print(json.dumps(told), flush=True)
    # Cache clients leave threads behind.
    import os

    os._exit(0)
