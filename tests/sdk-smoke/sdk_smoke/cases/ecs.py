"""Secrets of type ECS: credentials of an instance, which the vault rotates."""

from __future__ import annotations

import json
import pathlib
import secrets

from ..bench import Bench, check, equal, eventually, refused
from ..clients import WHOLE
from ..hosts import INSTANCE, make_key_pair
from ..vault import REGION
from . import action

# Both Python SDKs go the whole way with either kind of credential.
LIVES = ("python", "python-core")


class Accounts:
    """The users of the test host, with what opens them at first."""

    def __init__(self, folder: pathlib.Path):
        rotated = [kind for kind in WHOLE if kind != "npm-kms"]
        names = [f"rot-{kind}" for kind in rotated] + [f"pw-{kind}" for kind in LIVES]
        self.passwords = {name: f"Begin-{secrets.token_hex(8)}" for name in names}
        self.pairs = {}
        self.public_files = {}
        for kind in LIVES:
            file = folder / f"first-{kind}"
            self.pairs[f"key-{kind}"] = make_key_pair(file)
            self.public_files[f"key-{kind}"] = file.with_suffix(".pub")


def create(bench: Bench, user: str, through) -> tuple[str, dict]:
    """Stores what opens a user of the host; the secret's name, and the value."""
    accounts = bench.hosts.accounts
    if user in accounts.pairs:
        private, public = accounts.pairs[user]
        kind, value = "SSHKey", {"UserName": user, "PublicKey": public, "PrivateKey": private}
    else:
        kind, value = "Password", {"UserName": user, "Password": accounts.passwords[user]}
    name = f"acs/ecs/{bench.name()}"
    made = through(
        "CreateSecret",
        SecretName=name,
        VersionId="v1",
        SecretType="ECS",
        SecretData=json.dumps(value),
        ExtendedConfig={"SecretSubType": kind, "RegionId": REGION, "InstanceId": INSTANCE, "CustomData": {"by": "smoke"}},
        EnableAutomaticRotation=True,
        RotationInterval="7d",
    )
    equal(made["SecretType"], "ECS", "SecretType")
    equal((made["AutomaticRotation"], made["RotationInterval"]), ("Enabled", "604800s"), "the rotation policy")
    return name, value


def rotate(bench: Bench, name: str, through) -> None:
    """Rotates and waits until the new version is the current one."""
    rotated = through("RotateSecret", SecretName=name, VersionId="v2")
    equal((rotated["SecretName"], rotated["VersionId"]), (name, "v2"), "what RotateSecret answers")
    current = lambda: bench.helper.call("GetSecretValue", SecretName=name)["VersionId"] == "v2"
    eventually("the rotation", current, 120)


@action("RotateSecret")
def rotate_secret(bench: Bench) -> None:
    name, _ = create(bench, f"rot-{bench.client.kind}", bench.helper.call)
    rotate(bench, name, bench.call)
    again = bench.call("RotateSecret", SecretName=name, VersionId="v2")
    equal(again["VersionId"], "v2", "the same version once more")
    generic = bench.secret()
    refused("UnsupportedOperation", 400, lambda: bench.call("RotateSecret", SecretName=generic, VersionId="v2"))
    bench.helper.call("DeleteSecret", SecretName=name, ForceDeleteWithoutRecovery="true")


@action("UpdateSecretRotationPolicy")
def update_secret_rotation_policy(bench: Bench) -> None:
    name, _ = create(bench, f"rot-{bench.client.kind}", bench.helper.call)
    bench.call("UpdateSecretRotationPolicy", SecretName=name, EnableAutomaticRotation=False)
    told = bench.helper.call("DescribeSecret", SecretName=name)
    equal(told["AutomaticRotation"], "Disabled", "AutomaticRotation")
    bench.call("UpdateSecretRotationPolicy", SecretName=name, EnableAutomaticRotation=True, RotationInterval="12h")
    told = bench.helper.call("DescribeSecret", SecretName=name)
    equal((told["AutomaticRotation"], told["RotationInterval"]), ("Enabled", "43200s"), "the policy")
    bench.helper.call("DeleteSecret", SecretName=name, ForceDeleteWithoutRecovery="true")


def custom_data(bench: Bench) -> None:
    """The two spellings of custom data: JSON text, and flattened by the current SDK."""
    name, _ = create(bench, f"rot-{bench.client.kind}", bench.helper.call)
    new = {"owner": "operations", "cost centre": "42 & more"}
    bench.call("UpdateSecret", SecretName=name, ExtendedConfig={"CustomData": new})
    kept = json.loads(bench.helper.call("DescribeSecret", SecretName=name)["ExtendedConfig"])
    equal(kept["CustomData"], new, "CustomData")
    equal(kept["InstanceId"], INSTANCE, "InstanceId")
    bench.helper.call("DeleteSecret", SecretName=name, ForceDeleteWithoutRecovery="true")


def life(bench: Bench, kind: str) -> None:
    """Store, read, log on, rotate, log on with the new one and no more with the old one."""
    user = f"{kind}-{bench.client.kind}"
    name, first = create(bench, user, bench.call)
    told = bench.call("DescribeSecret", SecretName=name)
    config = json.loads(told["ExtendedConfig"])
    equal((config["InstanceId"], config["CustomData"]), (INSTANCE, {"by": "smoke"}), "ExtendedConfig")
    check(config["CommandId"].startswith("cmd-ACS-KMS-RotateECSSecret"), "there is no CommandId")
    equal(told["AutomaticRotation"], "Enabled", "AutomaticRotation")

    def opens(value: dict) -> bool:
        if kind == "pw":
            return bench.hosts.password_opens(user, value["Password"])
        return bench.hosts.key_opens(user, value["PrivateKey"])

    read = bench.call("GetSecretValue", SecretName=name, FetchExtendedConfig=True)
    equal(json.loads(read["SecretData"]), first, "the value that was stored")
    check(opens(json.loads(read["SecretData"])), "no logon with the first value")
    rotate(bench, name, bench.call)
    read = bench.call("GetSecretValue", SecretName=name)
    second = json.loads(read["SecretData"])
    check(bool(read["LastRotationDate"]), "there is no LastRotationDate")
    check(opens(second), "no logon with the new value")
    eventually("that the old value opens nothing any more", lambda: not opens(first))
    before = bench.call("GetSecretValue", SecretName=name, VersionStage="ACSPrevious")
    equal(json.loads(before["SecretData"]), first, "the value before")
    put = lambda: bench.call("PutSecretValue", SecretName=name, VersionId="v3", SecretData=json.dumps(first))
    refused("UnsupportedOperation", 400, put)
    bench.call("DeleteSecret", SecretName=name, ForceDeleteWithoutRecovery="true")
