"""The examples of docs/clients.md, run as they stand there."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from .bench import Tally, check, equal
from .clients import Key
from .vault import CLEAN, Vault

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "clients.md"
VALUE = "correct horse"


def examples(page: str) -> list[tuple[str, str, str]]:
    """Title, language and text of each example on the page."""
    found, title = [], ""
    for part in re.finditer(r"^#+ (?P<title>[^\n]+)$|^```(?P<language>python|js)\n(?P<text>.*?)^```$", page, re.M | re.S):
        if part["title"]:
            title = part["title"]
        else:
            found.append((title, part["language"], part["text"]))
    return found


def run(tally: Tally, vault: Vault, user: Key) -> None:
    """Runs each example in a folder of its own, beside ca.pem; it must print the value of app/db."""
    make = ["secret", "create", "app/db", "--value-file", "-"]
    folder = vault.folder / "examples"
    folder.mkdir()
    value = folder / "value"
    value.write_text(VALUE)
    vault.as_admin(*make[:-1], str(value))
    found = examples(PAGE.read_text())
    for number, (title, language, text) in enumerate(found, 1):
        name = f"example {number}: {title}"
        tally.run("docs", name, lambda text=text, language=language, number=number: one(vault, user, folder / str(number), language, text))
    tally.run("docs", "the page names the versions that are run", lambda: versions(PAGE.read_text()))


def versions(page: str) -> None:
    """Every client that is installed stands on the page with its version."""
    tests = PAGE.parents[1] / "tests" / "sdk-smoke"
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (tests / "clients.txt").read_text(), re.M))
    packages = json.loads((tests / "package.json").read_text())["dependencies"]
    told = re.findall(r"`([a-z0-9@/_-]+)` (\d+\.\d+\.\d+)", page)
    check(len(told) >= 7, f"the page names {len(told)} versions")
    for name, version in told:
        equal(packages.get(name) or pinned.get(name.replace("_", "-")) or pinned.get(name), version, f"the version of {name}")


def one(vault: Vault, user: Key, folder: pathlib.Path, language: str, text: str) -> None:
    """Runs one example."""
    folder.mkdir()
    shutil.copy(vault.ca, folder / "ca.pem")
    file = folder / ("example.py" if language == "python" else "example.js")
    file.write_text(text)
    environment = {
        **CLEAN,
        "NODE_PATH": os.environ["SDK_SMOKE_NODE_MODULES"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": user.id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": user.secret,
        "STRONGROOM_ENDPOINT": vault.endpoint,
        "NODE_EXTRA_CA_CERTS": "ca.pem",
    }
    program = sys.executable if language == "python" else "node"
    done = subprocess.run(
        [program, file.name], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    check(done.returncode == 0, f"exit code {done.returncode}:\n{done.stderr[-3000:]}")
    equal(set(done.stdout.split("\n")) - {""}, {VALUE}, "what it prints")
