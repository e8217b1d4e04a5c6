"""PyPI aliyun-python-sdk-core with aliyun-python-sdk-kms: the old SDK for Python."""

from __future__ import annotations

import importlib
import importlib.util
import json

from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException
from aliyunsdkcore.client import AcsClient

from . import Client, Key, Place, Refused, Unreachable

REQUESTS = "aliyunsdkkms.request.v20160120"


class Core(Client):
    """The SDK, which signs with V1 and sends everything in the query."""

    def __init__(self, place: Place, key: Key):
        settings = {"verify": place.ca} if place.ca else {}
        self._client = AcsClient(key.id, key.secret, place.region, **settings)
        self._endpoint = place.endpoint

    def has(self, action: str) -> bool:
        return importlib.util.find_spec(f"{REQUESTS}.{action}Request") is not None

    def call(self, action: str, **parameters):
        module = importlib.import_module(f"{REQUESTS}.{action}Request")
        request = getattr(module, f"{action}Request")()
        request.set_endpoint(self._endpoint)
        for name, value in parameters.items():
            self._set(request, name, value)
        try:
            return json.loads(self._client.do_action_with_exception(request))
        except ServerException as error:
            status = error.get_http_status()
            raise Refused(error.get_error_code(), status, error.get_error_msg(), "ServerException") from error
        except ClientException as error:
            raise Unreachable(f"{error.get_error_code()}: {error.get_error_msg()}") from error

    @staticmethod
    def _set(request, name: str, value) -> None:
        if name == "ExtendedConfig" and hasattr(request, "set_ExtendedConfigCustomData"):
            request.set_ExtendedConfigCustomData(json.dumps(value["CustomData"]))
        elif name == "RegionId":
            # The client sends its own with every call.
            pass
        elif isinstance(value, list) and hasattr(request, f"set_{name}s"):
            getattr(request, f"set_{name}s")(value)
        else:
            value = json.dumps(value) if isinstance(value, (dict, list)) else value
            getattr(request, f"set_{name}")(value)


def make(place: Place, key: Key) -> Core:
    """The old SDK."""
    return Core(place, key)
