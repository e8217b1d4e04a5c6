"""The table of what is tried of each action: one function an action.

A case calls its action through the client under test and prepares what it needs
through another one. Importing this package fills the table; it is compared with
the descriptions in schema/api/kms, so that an action without a case fails.
"""

from __future__ import annotations

import re
from typing import Callable

from ..bench import Bench, check

TABLE: dict[str, Callable[[Bench], None]] = {}

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def action(name: str):
    """Puts a case into the table."""

    def keep(case: Callable[[Bench], None]):
        assert name not in TABLE, f"{name} has two cases"
        TABLE[name] = case
        return case

    return keep


def is_time(text: str, what: str) -> None:
    """Fails the case unless that is a time in the form of the API."""
    check(isinstance(text, str) and TIME.fullmatch(text) is not None, f"{what} is no time: {text!r}")


from . import ecs, keys, secrets, service, tags  # noqa: E402  (they fill the table)

__all__ = ["TABLE", "action", "ecs", "is_time", "keys", "secrets", "service", "tags"]
