"""schemathesis on /openapi.json, against a vault that is thrown away."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import subprocess

from .bench import Failed, Tally, check
from .clients import open_client
from .vault import CLEAN, Vault

HOOKS = pathlib.Path(__file__).parents[1]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# It draws destructive calls; what it may not do is nothing.
ANYTHING = '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'


def run(tally: Tally, folder: pathlib.Path, examples: int) -> None:
    """Draws requests for every operation and holds the answers to the document."""
    vault = Vault(folder)
    try:
        vault.serve()
        key = vault.user("caller", ANYTHING)
        document = json.loads(vault.get("/openapi.json"))
        offer(document, there_is(vault, key))
        (folder / "openapi.json").write_text(json.dumps(document))
        secret = folder / "key"
        secret.touch(mode=0o600)
        secret.write_text(f"{key.id}\n{key.secret}\n")
        output = draw(vault, folder, examples)
        report(tally, vault, document, folder, output)
    finally:
        vault.stop()


def there_is(vault: Vault, key) -> dict[str, list[str]]:
    """Makes some things, and gives their names by parameter."""
    client = open_client("python", vault.place, key)
    for name in ("app/one", "app/two", "app/three", "app/gone"):
        client.call("CreateSecret", SecretName=name, VersionId="v1", SecretData="one")
    client.call("DeleteSecret", SecretName="app/gone")
    victim = vault.user("victim", ANYTHING)
    names = {
        "SecretName": ["app/one", "app/two", "app/three", "app/gone"],
        "VersionId": ["v1", "v2"],
        "VersionStage": ["ACSCurrent", "Mine"],
        "UserName": ["victim", "VICTIM"],
        "PolicyName": ["victim"],
        "UserAccessKeyId": [victim.id],
        "ResourceType": ["secret", "key"],
        "RegionId": [vault.place.region],
        # So that not every call that is drawn is only a trial, or has what is not supported.
        "DryRun": ["false", ""],
        "Recipient": [""],
    }
    keys = [client.call("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(3)]
    for number, made in enumerate(keys):
        client.call("CreateAlias", AliasName=f"alias/{number}", KeyId=made)
    hidden = client.call("Encrypt", KeyId=keys[0], Plaintext="b25l")
    names["KeyId"] = ["alias/0", *keys]
    names["KeyVersionId"] = [hidden["KeyVersionId"]]
    names["AliasName"] = ["alias/0", "alias/1", "alias/new"]
    names["CiphertextBlob"] = [hidden["CiphertextBlob"]]
    names["ResourceId"] = ["app/one", *keys]
    return names


def offer(document: dict, names: dict[str, list[str]]) -> None:
    """Lets parameters be drawn, by turns, from what there is and from the examples of the document."""
    for operation, path in document["paths"].items():
        body = path["post"].get("requestBody")
        content = body["content"]["application/x-www-form-urlencoded"] if body else {}
        form = content.get("schema", {})
        plain_call = {}
        for members in (form.get("properties", {}), form.get("patternProperties", {})):
            for name, schema in members.items():
                plain = name.strip("^$").split("\\.")[0]
                pool = names.get(plain, [])
                # What is deleted is always the same, so that the rest lives on.
                if operation.startswith(("/#Delete", "/#Disable", "/#Schedule")):
                    pool = pool[-1:]
                pool = pool + schema.get("examples", [])
                if pool:
                    members[name] = {"anyOf": [{"enum": pool}, schema]}
                    plain_call[name] = pool[0]
        # With nothing but what is required, so that some calls do succeed.
        required = form.get("required", [])
        if content and set(required) <= set(plain_call):
            content["example"] = {name: plain_call[name] for name in required}


def draw(vault: Vault, folder: pathlib.Path, examples: int) -> str:
    """Runs schemathesis; what it printed."""
    command = [os.environ["SDK_SMOKE_SCHEMATHESIS"], "run", str(folder / "openapi.json")]
    command += ["--url", f"https://{vault.endpoint}", "--tls-verify", str(vault.ca), "--checks", CHECKS]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--seed", "20"]
    command += ["--workers", "2", "--continue-on-failure", "--no-shrink", "--warnings", "off"]
    command += ["--report", "json", "--report-json-path", str(folder / "report.json")]
    environment = {
        **CLEAN,
        "PYTHONPATH": str(HOOKS),
        "SCHEMATHESIS_HOOKS": "sign",
        "SDK_SMOKE_KEY_FILE": str(folder / "key"),
        "SDK_SMOKE_CALLS": str(folder / "calls"),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    output = done.stdout + done.stderr
    if not (folder / "report.json").exists():
        raise RuntimeError(f"schemathesis did not run:\n{output[-3000:]}")
    return output


def report(tally: Tally, vault: Vault, document: dict, folder: pathlib.Path, output: str) -> None:
    """A line for each operation, with what it answered."""
    found = json.loads((folder / "report.json").read_text())
    calls = collections.defaultdict(collections.Counter)
    codes = collections.Counter()
    for line in (folder / "calls").read_text().splitlines():
        name, status, code = line.split(" ", 2)
        calls[name][status] += 1
        codes[code] += 1
    wrong = collections.defaultdict(list)
    for failure in found["failures"]:
        for operation in failure["operations"]:
            wrong[operation.removeprefix("POST ")].append(failure["title"])
    for path in sorted(document["paths"]):
        name = path.removeprefix("/#")
        told = ", ".join(f"{count} times {status}" for status, count in sorted(calls[name].items()))
        tally.run("schemathesis", f"{name}: {told}", lambda path=path, name=name: one(calls[name], wrong[path]))
    tally.run("schemathesis", "the vault and its document", lambda: whole(vault, found, calls, codes, output))


def one(statuses: collections.Counter, wrong: list[str]) -> None:
    """An operation was called, and nothing that it answered is wrong."""
    check(sum(statuses.values()) > 0, "it was not called")
    check(not [status for status in statuses if status.startswith("5")], "a server error")
    check(not wrong, f"{', '.join(wrong)}: see below")


def whole(vault: Vault, found: dict, calls: dict, codes: collections.Counter, output: str) -> None:
    """The run was complete, its signatures were good, and it came past the checks of parameters."""
    check(found["complete"] and found["operations"]["errored"] == 0, f"not complete:\n{output[-4000:]}")
    check(found["test_cases"]["with_failures"] == 0, f"failures:\n{output[-8000:]}")
    check(codes["SignatureDoesNotMatch"] == 0, f"{codes['SignatureDoesNotMatch']} signatures were wrong")
    fine = [name for name, statuses in calls.items() if statuses["200"]]
    check(2 * len(fine) > len(calls), f"only {len(fine)} of {len(calls)} operations had a call that succeeded: {sorted(fine)}")
    check(vault.is_running(), f"the vault has ended:\n{vault.log()}")
