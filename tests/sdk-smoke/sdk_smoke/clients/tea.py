"""PyPI alibabacloud_kms20160120: the current SDK for Python, in its four modes."""

from __future__ import annotations

import inspect
import json
import re

from alibabacloud_kms20160120 import models
from alibabacloud_kms20160120.client import Client as Kms
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.exceptions import DaraException, UnretryableException
from Tea.exceptions import TeaException

from . import Client, Key, Place, Refused, Unreachable


def snake(action: str) -> str:
    """The name of the method for an action."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()


class Tea(Client):
    """The SDK, with one configuration."""

    def __init__(self, place: Place, key: Key, **mode: str):
        settings = {"ca": place.ca} if place.ca else {}
        self._kms = Kms(
            Config(
                access_key_id=key.id,
                access_key_secret=key.secret,
                region_id=place.region,
                endpoint=place.endpoint,
                **settings,
                **mode,
            )
        )

    def has(self, action: str) -> bool:
        return hasattr(self._kms, snake(action))

    def call(self, action: str, **parameters):
        method = getattr(self._kms, snake(action))
        arguments = []
        if inspect.signature(method).parameters:
            arguments.append(self._request(action, parameters))
        try:
            return method(*arguments).body.to_map()
        except AlibabaCloudException as error:
            raise Refused(error.code, error.status_code, error.message, type(error).__name__) from error
        except UnretryableException as error:
            # With ACS4 refusals come like this, too.
            inner = error.inner_exception
            if isinstance(inner, TeaException) and inner.data:
                status = inner.data.get("HttpStatus")
                raise Refused(inner.code, status, inner.message, "UnretryableException") from error
            raise Unreachable(f"{error} {inner!r}") from error
        except DaraException as error:
            raise Unreachable(str(error)) from error

    @staticmethod
    def _request(action: str, parameters: dict):
        kind = getattr(models, f"{action}Request")
        types = {name: str(it.annotation) for name, it in inspect.signature(kind).parameters.items()}
        request = kind()
        given = {}
        for name, value in parameters.items():
            field = _field(kind, name)
            if types[field] == "str" and isinstance(value, (dict, list)):
                value = json.dumps(value)
            given[name] = value
        request.from_map(given)
        lost = set(given) - set(request.to_map())
        if lost:
            raise TypeError(f"{kind.__name__} does not take {sorted(lost)}")
        return request


def _field(kind: type, wire: str) -> str:
    plain = wire.replace("_", "").lower()
    for field in inspect.signature(kind).parameters:
        if field.replace("_", "") == plain:
            return field
    raise TypeError(f"{kind.__name__} has no {wire}")


def make(place: Place, key: Key, **mode: str) -> Tea:
    """The SDK in the mode that the settings give."""
    return Tea(place, key, **mode)
