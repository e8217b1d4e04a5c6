"""Cloud Assistant, emulated, and a Linux host with a real sshd to log on to."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import subprocess

from .vault import ACCOUNT, CLEAN, PROGRAMS, REGION

INSTANCE = "i-smoke-web"
CLOUD_KEY = "LTAIsmokecloudkey"
SSH = ["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"] + [
    "-o", "ConnectTimeout=10", "-o", "NumberOfPasswordPrompts=1",
]  # fmt: skip


def make_key_pair(file: pathlib.Path) -> tuple[str, str]:
    """A new RSA key pair: the private key in PEM, the public one in a line."""
    make = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-C", "first", "-f", str(file)]
    subprocess.run(make, check=True)
    return file.read_text(), file.with_suffix(".pub").read_text().strip()


class Hosts:
    """One host, and the emulator that delivers commands to it."""

    def __init__(self, folder: pathlib.Path, passwords: dict[str, str], keys: dict[str, pathlib.Path]):
        self.folder = folder
        folder.mkdir(mode=0o700)
        self._emulator = None
        command = [PROGRAMS / "test-host", "start", "--name", "smoke-web", "--dir", folder / "host"]
        command += ["--instance-id", INSTANCE, "--passwords-stdin"]
        for user in keys:
            command += ["--user", user]
        for user, file in keys.items():
            command += ["--authorized-key", f"{user}:{file}"]
        lines = "".join(f"{user}:{password}\n" for user, password in passwords.items())
        started = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
        if started.returncode != 0:
            raise RuntimeError(f"the test host did not start: {started.stderr.strip()}")
        self.address = json.loads(started.stdout)["address"]
        try:
            self._emulate()
        except BaseException:
            self.stop()
            raise

    def _emulate(self) -> None:
        secret = secrets.token_hex(16)
        self.cloud_secret_file = self.folder / "cloud-key"
        config = self.folder / "emulator.toml"
        for file in (self.cloud_secret_file, config):
            file.touch(mode=0o600)
        self.cloud_secret_file.write_text(secret + "\n")
        config.write_text(
            f"""listen = "127.0.0.1:0"
state_dir = "{self.folder}/emulator"
ca_dir = "{self.folder}/emulator-ca"
region = "{REGION}"
account = "{ACCOUNT}"
access_keys = [{{ id = "{CLOUD_KEY}", secret = "{secret}" }}]

[[instances]]
id = "{INSTANCE}"
name = "smoke-web"
addresses = ["{self.address}"]
runner = "namespace"
pid_file = "{self.folder}/host/pid"
"""
        )
        with (self.folder / "emulator.log").open("ab") as log:
            self._emulator = subprocess.Popen(
                [PROGRAMS / "cloud-assistant-emulator", "--config", config],
                env=CLEAN, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        ready = self._emulator.stdout.readline()
        if not ready:
            raise RuntimeError(f"the emulator did not start:\n{(self.folder / 'emulator.log').read_text()}")
        told = json.loads(ready)
        self.endpoint, self.ca = told["listening"], told["ca"]
        self.settings = f'\n[cloud]\nendpoint = "{self.endpoint}"\nca_file = "{self.ca}"\n'
        self._install_plugin(secret)

    def _install_plugin(self, secret: str) -> None:
        command = [PROGRAMS / "strongroom", "plugin", "install", INSTANCE, "--region", REGION]
        command += ["--binary", os.environ["SDK_SMOKE_PLUGIN"]]
        command += ["--cloud-endpoint", self.endpoint, "--cloud-ca-file", self.ca]
        key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": CLOUD_KEY, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
        done = subprocess.run(command, env={**CLEAN, **key}, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the plug-in was not installed: {done.stderr.strip()}")

    def password_opens(self, user: str, password: str) -> bool:
        """Whether one can log on with that password."""
        options = ["-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no"]
        return self._logs_on(["sshpass", "-d", "0", "ssh", *SSH, *options], user, password)

    def key_opens(self, user: str, private_key: str) -> bool:
        """Whether one can log on with that private key."""
        file = self.folder / f"key-{secrets.token_hex(4)}"
        file.touch(mode=0o600)
        file.write_text(private_key if private_key.endswith("\n") else private_key + "\n")
        options = ["-o", "PreferredAuthentications=publickey", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
        try:
            return self._logs_on(["ssh", *SSH, *options, "-i", str(file)], user, "")
        finally:
            file.unlink()

    def _logs_on(self, command: list[str], user: str, standard_input: str) -> bool:
        word = secrets.token_hex(8)
        command = [*command, f"{user}@{self.address}", "echo", word]
        done = subprocess.run(
            command, input=standard_input, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode == 0 and done.stdout.strip() == word

    def stop(self) -> None:
        """Ends the emulator and the host."""
        if self._emulator is not None:
            self._emulator.terminate()
            self._emulator.wait(30)
            self._emulator.stdout.close()
        if (self.folder / "host").is_dir():
            stop = [PROGRAMS / "test-host", "stop", "--dir", self.folder / "host"]
            subprocess.run(stop, capture_output=True, check=False)
