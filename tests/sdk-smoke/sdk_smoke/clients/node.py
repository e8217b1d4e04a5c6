"""npm @alicloud/kms20160120 and @alicloud/openapi-client, in a process of node."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

from . import Client, Key, Place, Refused, Unreachable

SCRIPT = pathlib.Path(__file__).parents[2] / "node" / "bridge.js"


class Node(Client):
    """A client that lives in a process of its own; one line of JSON a call."""

    def __init__(self, place: Place, key: Key, client: str):
        self._known = {}
        environment = {**os.environ, "NODE_PATH": os.environ["SDK_SMOKE_NODE_MODULES"]}
        environment.pop("NODE_EXTRA_CA_CERTS", None)
        if place.ca and client == "kms":
            environment["NODE_EXTRA_CA_CERTS"] = place.ca
        self._process = subprocess.Popen(
            ["node", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._ask(
            client=client,
            endpoint=place.endpoint,
            region=place.region,
            ca=place.ca,
            accessKeyId=key.id,
            accessKeySecret=key.secret,
        )

    def _ask(self, **question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of node has ended")
        return json.loads(line)

    def _parameters(self, action: str):
        if action not in self._known:
            self._known[action] = self._ask(has=action)["parameters"]
        return self._known[action]

    def has(self, action: str) -> bool:
        return self._parameters(action) is not None

    def takes(self, action: str, parameter: str) -> bool:
        known = self._parameters(action)
        return known == "any" or parameter in (known or ())

    def call(self, action: str, **parameters):
        for name in parameters:
            if not self.takes(action, name):
                raise TypeError(f"{action}Request has no {name}")
        answer = self._ask(action=action, parameters=parameters)
        if "error" not in answer:
            return answer["body"]
        error = answer["error"]
        if error["answered"]:
            raise Refused(error["code"], error["status"], error["message"], error["name"])
        raise Unreachable(f"{error['code']}: {error['message']}")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def make(place: Place, key: Key, client: str) -> Node:
    """One of the two clients for node."""
    return Node(place, key, client)
