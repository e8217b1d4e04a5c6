"""A vault of its own: made by `strongroom init` with SoftHSM, served over TLS."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from .clients import Key, Place

ACCOUNT = "1234567890123456"
REGION = "cn-hangzhou"
PROGRAMS = pathlib.Path(os.environ["SDK_SMOKE_PROGRAMS"])

# Keys and addresses of whoever runs this have no place in here.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("ALIBABA_CLOUD_", "STRONGROOM_", "credentials_", "cache_client_"))
}


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def key_of(profile: pathlib.Path) -> Key:
    """The access key in a file that the program has written."""
    text = profile.read_text()
    member = lambda name: re.search(rf'^{name} *= *"(.*)"$', text, re.MULTILINE).group(1)
    return Key(member("access_key_id"), member("access_key_secret"))


class Vault:
    """A vault, and the process that serves it."""

    def __init__(self, folder: pathlib.Path, settings: str = ""):
        self.folder = folder
        self._process = None
        folder.mkdir(mode=0o700)
        self.endpoint = f"127.0.0.1:{free_port()}"
        self.config = folder / "vault" / "strongroom.toml"
        self._program(
            ["init", "--data-dir", str(folder / "vault"), "--listen", self.endpoint, "--account", ACCOUNT]
            + ["--region", REGION, "--credentials-file", str(folder / "admin.toml")]
        )
        self.ca = folder / "vault" / "tls" / "ca.pem"
        self.place = Place(self.endpoint, str(self.ca), REGION)
        if settings:
            self.config.write_text(self.config.read_text() + settings)

    def _program(self, arguments: list[str], **variables: str) -> str:
        done = subprocess.run(
            [PROGRAMS / "strongroom", *arguments], env={**CLEAN, **variables}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"strongroom {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def store_cloud_key(self, key_id: str, secret_file: pathlib.Path) -> None:
        """Gives the vault its key for Cloud Assistant."""
        secret = ["--access-key-id", key_id, "--secret-file", str(secret_file)]
        self._program(["cloud", "credentials", "--config", str(self.config), *secret])

    def as_admin(self, *arguments: str) -> str:
        """Runs a command with the administrator's key."""
        return self._program(
            list(arguments),
            STRONGROOM_PROFILES=str(self.folder / "admin.toml"),
            STRONGROOM_ENDPOINT=self.endpoint,
            STRONGROOM_CA_FILE=str(self.ca),
            STRONGROOM_REGION=REGION,
        )

    def user(self, name: str, policy: str | None) -> Key:
        """The access key of a new user, who may what the document says, or nothing."""
        self.as_admin("user", "create", name)
        profile = self.folder / f"{name}.toml"
        self.as_admin("key", "create", "--user", name, "--credentials-file", str(profile))
        if policy:
            document = self.folder / f"{name}.json"
            document.write_text(policy)
            self.as_admin("policy", "create", name, "--document-file", str(document))
            self.as_admin("policy", "attach", name, "--user", name)
        return key_of(profile)

    def serve(self) -> None:
        """Starts the process and waits until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAMS / "strongroom", "serve", "--config", str(self.config)],
                env=CLEAN, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until = time.monotonic() + 60
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the vault does not serve:\n{self.log()}")
            time.sleep(0.05)

    def get(self, path: str) -> bytes:
        """What is served there to everybody."""
        # As strict as Python is from 3.13 on.
        context = ssl.create_default_context(cafile=self.ca)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        with urllib.request.urlopen(f"https://{self.endpoint}{path}", context=context, timeout=10) as answer:
            return answer.read()

    def _is_healthy(self) -> bool:
        try:
            self.get("/healthz")
        except urllib.error.HTTPError:
            return False
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                raise
            return False
        return True

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """The end of what the process has logged."""
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-30:])

    def stop(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
