"""The cache clients: PyPI aliyun-secret-manager-client (v1) and alibabacloud-secretsmanager-client-v2."""

from __future__ import annotations

import json
import logging
import warnings

from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException
from Tea.exceptions import TeaException

from . import Client, Key, Place, Refused, Unreachable

# They log every failed call with its trace; what is wrong is raised as well.
QUIET = logging.getLogger("sdk-smoke.cache")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
# Version 1 checks no certificates and is warned at every call; a case holds it to that.
warnings.filterwarnings("ignore", message="Unverified HTTPS request")


class Cache(Client):
    """A cache client of either version; it knows GetSecretValue alone."""

    def __init__(self, cache):
        self.cache = cache

    def has(self, action: str) -> bool:
        return action == "GetSecretValue"

    def call(self, action: str, **parameters):
        assert self.has(action) and list(parameters) == ["SecretName"], "cache clients read by name"
        try:
            info = self.cache.get_secret_info(parameters["SecretName"])
        except ServerException as error:
            status = error.get_http_status()
            raise Refused(error.get_error_code(), status, error.get_error_msg(), "ServerException") from error
        except ClientException as error:
            raise Unreachable(f"{error.get_error_code()}: {error.get_error_msg()}") from error
        except TeaException as error:
            if getattr(error, "statusCode", None) or getattr(error, "status_code", None):
                status = getattr(error, "status_code", None) or error.statusCode
                raise Refused(error.code, status, error.message, type(error).__name__) from error
            raise Unreachable(f"{error.code}: {error.message}") from error
        return {
            "SecretName": info.secret_name,
            "SecretData": info.secret_value,
            "VersionId": info.version_id,
            "SecretType": info.secret_type,
            "SecretDataType": info.secret_data_type,
            "ExtendedConfig": info.extended_config,
            "AutomaticRotation": info.automatic_rotation,
        }

    def refresh(self, name: str) -> bool:
        """Asks the vault again, whatever is cached."""
        return self.cache.refresh_now(name)

    def close(self) -> None:
        self.cache.close()


def make(place: Place, key: Key, version: int) -> Cache:
    """The cache client of that version."""
    return _v1(place, key) if version == 1 else _v2(place, key)


def _v1(place: Place, key: Key) -> Cache:
    from alibaba_cloud_secretsmanager_client.model.region_info import RegionInfo
    from alibaba_cloud_secretsmanager_client.secret_manager_cache_client_builder import (
        SecretManagerCacheClientBuilder,
    )
    from alibaba_cloud_secretsmanager_client.service.default_secret_manager_client_builder import (
        DefaultSecretManagerClientBuilder,
    )

    client = (
        DefaultSecretManagerClientBuilder.standard()
        .with_access_key(key.id, key.secret)
        .add_region_info(RegionInfo(place.region, False, place.endpoint))
        .build()
    )
    return Cache(SecretManagerCacheClientBuilder.new_cache_client_builder(client).with_logger(QUIET).build())


def _v2(place: Place, key: Key) -> Cache:
    from alibabacloud_secretsmanager_client_v2.secret_manager_cache_client_builder import (
        SecretManagerCacheClientBuilder,
    )
    from alibabacloud_secretsmanager_client_v2.service.default_secret_manager_client_builder import (
        DefaultSecretManagerClientBuilder,
    )
    from alibabacloud_tea_openapi.utils_models import Config

    settings = {"ca": place.ca} if place.ca else {}
    config = Config(
        access_key_id=key.id,
        access_key_secret=key.secret,
        region_id=place.region,
        endpoint=place.endpoint,
        **settings,
    )
    client = DefaultSecretManagerClientBuilder.standard().add_config(config).build()
    return Cache(SecretManagerCacheClientBuilder.new_cache_client_builder(client).with_logger(QUIET).build())
