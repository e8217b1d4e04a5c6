"""Runs everything, or one part: see scripts/sdk-smoke."""

from __future__ import annotations

import argparse
import json
import pathlib
import signal
import sys
import tempfile

from . import documents, openapi
from .bench import Bench, Failed, Tally, check
from .cases import TABLE, ecs, errors, secrets
from .clients import CACHES, KINDS, WHOLE, Refused, Unreachable, open_client
from .hosts import CLOUD_KEY, Hosts
from .vault import Vault

ROOT = pathlib.Path(__file__).parents[3]
PARTS = (*KINDS, "docs", "schemathesis")
EVERYTHING = [
    {"Effect": "Allow", "Action": "kms:*", "Resource": "*"},
    {"Effect": "Allow", "Action": "ecs:DescribeInstances", "Resource": "*"},
]
USER = json.dumps({"Version": "1", "Statement": EVERYTHING})
# So low that one client reaches it alone.
THROTTLED = "\n[quotas.per_second]\nGetSecretValue = 2\n"


def served() -> set[str]:
    """The actions of the KMS API that the appliance serves, its own extensions left out."""
    described = (ROOT / "schema" / "api" / "kms").glob("*.toml")
    return {file.stem for file in described if "\nextension = true" not in file.read_text()}


def compare_tables() -> None:
    """Every action that is served has a case."""
    missing = sorted(served() - set(TABLE))
    check(not missing, f"no case in tests/sdk-smoke/sdk_smoke/cases tries {', '.join(missing)}")


class Smoke:
    """The vaults, the host and the count of one run."""

    def __init__(self, folder: pathlib.Path, parts: tuple[str, ...], examples: int):
        self.folder, self.parts, self.examples = folder, parts, examples
        self.tally = Tally()
        self.tried: set[str] = set()
        self.running = []

    def run(self) -> None:
        """All of it; what runs is ended afterwards."""
        try:
            if any(part in WHOLE for part in self.parts):
                self._hosts()
            if set(self.parts) != {"schemathesis"}:
                self._vaults()
            for part in self.parts:
                if part in KINDS:
                    self._client(part)
            if "docs" in self.parts:
                documents.run(self.tally, self.vault, self.user)
            if set(KINDS) <= set(self.parts):
                self.tally.run("all", "every action has a case", compare_tables)
                self.tally.run("all", "every action passed with a client", self._all_tried)
            if "schemathesis" in self.parts:
                openapi.run(self.tally, self.folder / "api", self.examples)
        finally:
            for part in reversed(self.running):
                part.stop()

    def _all_tried(self) -> None:
        missing = sorted(served() - self.tried)
        check(not missing, f"with none: {', '.join(missing)}")

    def _hosts(self) -> None:
        accounts = ecs.Accounts(self.folder)
        self.hosts = Hosts(self.folder / "hosts", accounts.passwords, accounts.public_files)
        self.hosts.accounts = accounts
        self.running.append(self.hosts)

    def _vaults(self) -> None:
        hosts = getattr(self, "hosts", None)
        self.vault = Vault(self.folder / "main", hosts.settings if hosts else "")
        if hosts:
            self.vault.store_cloud_key(CLOUD_KEY, hosts.cloud_secret_file)
        self.throttled = Vault(self.folder / "throttled", THROTTLED)
        for vault in (self.vault, self.throttled):
            self.running.append(vault)
            vault.serve()
        self.user = self.vault.user("smoke", USER)
        self.stranger = self.vault.user("stranger", None)
        self.throttled_user = self.throttled.user("smoke", USER)

    def _bench(self, kind: str, vault: Vault, user) -> Bench:
        client = open_client(kind, vault.place, user)
        return Bench(
            vault, user, self.stranger, client, open_client("python", vault.place, user), getattr(self, "hosts", None)
        )

    def _client(self, kind: str) -> None:
        bench = self._bench(kind, self.vault, self.user)
        try:
            self._cases(kind, bench)
        finally:
            bench.client.close()
        limited = self._bench(kind, self.throttled, self.throttled_user)
        try:
            if kind == "cache-v2":
                self.tally.run(kind, "error: throttled for a while", lambda: errors.patient(limited))
            else:
                self.tally.run(kind, "error: throttled", lambda: errors.throttled(limited))
        finally:
            limited.client.close()

    def _cases(self, kind: str, bench: Bench) -> None:
        run = lambda name, case: self.tally.run(kind, name, lambda: case(bench))
        if kind in CACHES:
            run("life of a Generic secret", secrets.cached_life)
        else:
            for action in sorted(TABLE):
                if action in served() and bench.client.has(action) and run(action, TABLE[action]):
                    self.tried.add(action)
            run("life of a Generic secret", secrets.life)
            in_query = kind in ("python-core", "npm-kms")
            run("long values", lambda it: secrets.long_values(it, in_query))
        if kind in ecs.LIVES:
            run("life of an ECS secret: password", lambda it: ecs.life(it, "pw"))
            run("life of an ECS secret: SSH key", lambda it: ecs.life(it, "key"))
        if kind in WHOLE and kind != "npm-kms" and "UpdateSecret" in served():
            run("custom data of an ECS secret", ecs.custom_data)
        for name in ("not_found", "denied", "wrong_secret", "unknown_key", "without_ca"):
            run(f"error: {name.replace('_', ' ')}", getattr(errors, name))


def main() -> int:
    """Exit code 0 when every case passed, 1 otherwise, 3 when they could not be run."""
    parser = argparse.ArgumentParser(prog="sdk-smoke")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--examples", type=int, default=15)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    # So that what runs is ended, too, when somebody ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=pathlib.Path.cwd()))
    smoke = Smoke(folder, tuple(arguments.only or PARTS), arguments.examples)
    try:
        smoke.run()
    except (RuntimeError, Failed, Refused, Unreachable) as error:
        print(f"sdk-smoke: {error}", file=sys.stderr)
        return 3
    finally:
        if arguments.keep or smoke.tally.failed:
            print(f"sdk-smoke: logs are kept in {folder}", file=sys.stderr)
        else:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{smoke.tally.passed} passed, {smoke.tally.failed} failed", flush=True)
    return 0 if smoke.tally.failed == 0 and smoke.tally.passed else 1


if __name__ == "__main__":
    CODE = main()
    # Cache clients leave threads behind that would keep the process.
    sys.stdout.flush()
    sys.stderr.flush()
    import os

    os._exit(CODE)
