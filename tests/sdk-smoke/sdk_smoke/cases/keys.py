"""Customer master keys."""

from __future__ import annotations

import base64

from ..bench import Bench, check, equal, refused
from ..vault import ACCOUNT, REGION
from . import action, is_time

PLAIN = base64.b64encode(b"what is to be \x00\xff hidden").decode()
CONTEXT = {"app": "shop", "stage": "größer"}


def state(bench: Bench, key: str) -> str:
    return bench.helper.call("DescribeKey", KeyId=key)["KeyMetadata"]["KeyState"]


def alias(bench: Bench, key: str) -> str:
    name = f"alias/{bench.name()}"
    bench.helper.call("CreateAlias", AliasName=name, KeyId=key)
    return name


@action("CreateKey")
def create_key(bench: Bench) -> None:
    made = bench.call("CreateKey", Description="a key of ours", KeyUsage="ENCRYPT/DECRYPT", Origin="Aliyun_KMS")
    told = made["KeyMetadata"]
    equal(told["Arn"], f"acs:kms:{REGION}:{ACCOUNT}:key/{told['KeyId']}", "Arn")
    equal(told["KeyState"], "Enabled", "KeyState")
    equal(told["KeyUsage"], "ENCRYPT/DECRYPT", "KeyUsage")
    equal(told["Description"], "a key of ours", "Description")
    equal(told["Creator"], ACCOUNT, "Creator")
    equal((told["DeleteDate"], told["MaterialExpireTime"]), ("", ""), "dates that there are not")
    is_time(told["CreationDate"], "CreationDate")
    equal(state(bench, told["KeyId"]), "Enabled", "the state of the key that was made")


@action("DescribeKey")
def describe_key(bench: Bench) -> None:
    key = bench.key(Description="told")
    for name in (key, alias(bench, key), f"acs:kms:{REGION}:{ACCOUNT}:key/{key}"):
        told = bench.call("DescribeKey", KeyId=name)["KeyMetadata"]
        equal((told["KeyId"], told["Description"], told["KeySpec"]), (key, "told", "Aliyun_AES_256"), f"of {name}")
    refused("Forbidden.KeyNotFound", 404, lambda: bench.call("DescribeKey", KeyId="no-such-key"))


@action("ListKeys")
def list_keys(bench: Bench) -> None:
    key = bench.key()
    page = bench.call("ListKeys", PageNumber=1, PageSize=1)
    equal((len(page["Keys"]["Key"]), page["PageNumber"], page["PageSize"]), (1, 1, 1), "a page")
    listed, number = [], 0
    while number == 0 or len(listed) < page["TotalCount"]:
        number += 1
        page = bench.call("ListKeys", PageNumber=number, PageSize=100)
        listed += page["Keys"]["Key"]
        check(number < 50, "the list does not end")
    check({"KeyId": key, "KeyArn": f"acs:kms:{REGION}:{ACCOUNT}:key/{key}"} in listed, "the key is not listed")


@action("EnableKey")
def enable_key(bench: Bench) -> None:
    key = bench.key()
    bench.helper.call("DisableKey", KeyId=key)
    bench.call("EnableKey", KeyId=key)
    equal(state(bench, key), "Enabled", "the state")


@action("DisableKey")
def disable_key(bench: Bench) -> None:
    key = bench.key()
    name = bench.secret(EncryptionKeyId=key)
    bench.call("DisableKey", KeyId=key)
    equal(state(bench, key), "Disabled", "the state")
    refused("Rejected.Disabled", 409, lambda: bench.helper.call("Encrypt", KeyId=key, Plaintext=PLAIN))
    read = lambda: bench.helper.call("GetSecretValue", SecretName=name)
    refused("Rejected.Disabled", 409, read)
    bench.helper.call("EnableKey", KeyId=key)
    equal(read()["SecretData"], "one", "the secret under the key that is enabled again")


@action("UpdateKeyDescription")
def update_key_description(bench: Bench) -> None:
    key = bench.key(Description="before")
    bench.call("UpdateKeyDescription", KeyId=key, Description="after it")
    told = bench.helper.call("DescribeKey", KeyId=key)["KeyMetadata"]
    equal(told["Description"], "after it", "Description")
    name = alias(bench, key)
    refused("Unsupported.Alias", 400, lambda: bench.call("UpdateKeyDescription", KeyId=name, Description="x"))


@action("ScheduleKeyDeletion")
def schedule_key_deletion(bench: Bench) -> None:
    key = bench.key()
    bench.call("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    told = bench.helper.call("DescribeKey", KeyId=key)["KeyMetadata"]
    equal(told["KeyState"], "PendingDeletion", "the state")
    is_time(told["DeleteDate"], "DeleteDate")
    refused("Rejected.PendingDeletion", 409, lambda: bench.helper.call("Encrypt", KeyId=key, Plaintext=PLAIN))


@action("CancelKeyDeletion")
def cancel_key_deletion(bench: Bench) -> None:
    key = bench.key()
    refused("Rejected.StateModifiedFailed", 409, lambda: bench.call("CancelKeyDeletion", KeyId=key))
    bench.helper.call("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    bench.call("CancelKeyDeletion", KeyId=key)
    equal(state(bench, key), "Enabled", "the state")


@action("SetDeletionProtection")
def set_deletion_protection(bench: Bench) -> None:
    key = bench.key()
    arn = f"acs:kms:{REGION}:{ACCOUNT}:key/{key}"
    settings = dict(ProtectedResourceArn=arn, DeletionProtectionDescription="in use")
    bench.call("SetDeletionProtection", **settings, EnableDeletionProtection=True)
    told = bench.helper.call("DescribeKey", KeyId=key)["KeyMetadata"]
    equal(told["DeletionProtection"], "Enabled", "DeletionProtection")
    try:
        bench.helper.call("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    except Exception:  # Which code it is, the contract does not say.
        equal(state(bench, key), "Enabled", "the state")
    else:
        check(False, "a protected key was scheduled for deletion")
    bench.call("SetDeletionProtection", ProtectedResourceArn=arn, EnableDeletionProtection=False)
    bench.helper.call("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)


@action("CreateAlias")
def create_alias(bench: Bench) -> None:
    key, name = bench.key(), f"alias/{bench.name()}"
    bench.call("CreateAlias", AliasName=name, KeyId=key)
    equal(bench.helper.call("DescribeKey", KeyId=name)["KeyMetadata"]["KeyId"], key, "the key behind the alias")
    refused("AliasAlreadyExists", 400, lambda: bench.call("CreateAlias", AliasName=name, KeyId=key))


@action("UpdateAlias")
def update_alias(bench: Bench) -> None:
    first, second = bench.key(), bench.key()
    name = alias(bench, first)
    bench.call("UpdateAlias", AliasName=name, KeyId=second)
    equal(bench.helper.call("DescribeKey", KeyId=name)["KeyMetadata"]["KeyId"], second, "the key behind the alias")


@action("DeleteAlias")
def delete_alias(bench: Bench) -> None:
    name = alias(bench, bench.key())
    bench.call("DeleteAlias", AliasName=name)
    refused("Forbidden.AliasNotFound", 404, lambda: bench.call("DeleteAlias", AliasName=name))


def row(name: str, key: str) -> dict:
    plain = name.removeprefix("alias/")
    return {"AliasName": name, "AliasArn": f"acs:kms:{REGION}:{ACCOUNT}:alias/{plain}", "KeyId": key}


@action("ListAliases")
def list_aliases(bench: Bench) -> None:
    key = bench.key()
    name = alias(bench, key)
    listed, number = [], 0
    while number == 0 or len(listed) < page["TotalCount"]:
        number += 1
        page = bench.call("ListAliases", PageNumber=number, PageSize=100)
        listed += page["Aliases"]["Alias"]
        check(number < 50, "the list does not end")
    check(row(name, key) in listed, "the alias is not listed")


@action("ListAliasesByKeyId")
def list_aliases_by_key_id(bench: Bench) -> None:
    key = bench.key()
    equal(bench.call("ListAliasesByKeyId", KeyId=key)["Aliases"], {"Alias": []}, "aliases of a new key")
    name = alias(bench, key)
    page = bench.call("ListAliasesByKeyId", KeyId=key, PageNumber=1, PageSize=10)
    equal(page["Aliases"]["Alias"], [row(name, key)], "aliases of the key")
    equal(page["TotalCount"], 1, "TotalCount")


@action("Encrypt")
def encrypt(bench: Bench) -> None:
    key = bench.key()
    hidden = bench.call("Encrypt", KeyId=alias(bench, key), Plaintext=PLAIN, EncryptionContext=CONTEXT)
    equal(hidden["KeyId"], key, "KeyId")
    check(bool(hidden["KeyVersionId"]), "there is no KeyVersionId")
    shown = bench.helper.call("Decrypt", CiphertextBlob=hidden["CiphertextBlob"], EncryptionContext=CONTEXT)
    equal(shown["Plaintext"], PLAIN, "what was encrypted")


@action("Decrypt")
def decrypt(bench: Bench) -> None:
    key = bench.key()
    blob = bench.helper.call("Encrypt", KeyId=key, Plaintext=PLAIN, EncryptionContext=CONTEXT)["CiphertextBlob"]
    shown = bench.call("Decrypt", CiphertextBlob=blob, EncryptionContext=CONTEXT)
    equal((shown["Plaintext"], shown["KeyId"]), (PLAIN, key), "what was decrypted")
    refused("InvalidParameter", 400, lambda: bench.call("Decrypt", CiphertextBlob=blob, EncryptionContext={"app": "x"}))
    refused("InvalidParameter", 400, lambda: bench.call("Decrypt", CiphertextBlob=blob))


def opens(bench: Bench, made: dict, **context) -> bytes:
    return base64.b64decode(bench.helper.call("Decrypt", CiphertextBlob=made["CiphertextBlob"], **context)["Plaintext"])


@action("GenerateDataKey")
def generate_data_key(bench: Bench) -> None:
    key = bench.key()
    made = bench.call("GenerateDataKey", KeyId=key)
    equal(len(base64.b64decode(made["Plaintext"])), 32, "bytes without parameters")
    equal(opens(bench, made), base64.b64decode(made["Plaintext"]), "the data key")
    made = bench.call("GenerateDataKey", KeyId=key, NumberOfBytes=100, EncryptionContext=CONTEXT)
    equal(len(opens(bench, made, EncryptionContext=CONTEXT)), 100, "bytes that were asked for")
    made = bench.call("GenerateDataKey", KeyId=key, KeySpec="AES_128")
    equal(len(opens(bench, made)), 16, "bytes of AES_128")


@action("GenerateDataKeyWithoutPlaintext")
def generate_data_key_without_plaintext(bench: Bench) -> None:
    made = bench.call("GenerateDataKeyWithoutPlaintext", KeyId=bench.key(), KeySpec="AES_256")
    check(not made.get("Plaintext"), "there is a plaintext")
    equal(len(opens(bench, made)), 32, "bytes")


@action("CreateKeyVersion")
def create_key_version(bench: Bench) -> None:
    key = bench.key()
    blob = bench.helper.call("Encrypt", KeyId=key, Plaintext=PLAIN)["CiphertextBlob"]
    made = bench.call("CreateKeyVersion", KeyId=key)["KeyVersion"]
    equal(made["KeyId"], key, "KeyId")
    is_time(made["CreationDate"], "CreationDate")
    hidden = bench.helper.call("Encrypt", KeyId=key, Plaintext=PLAIN)
    equal(hidden["KeyVersionId"], made["KeyVersionId"], "the version that encrypts now")
    equal(bench.helper.call("Decrypt", CiphertextBlob=blob)["Plaintext"], PLAIN, "what the version before encrypted")


@action("ListKeyVersions")
def list_key_versions(bench: Bench) -> None:
    key = bench.key()
    made = bench.helper.call("CreateKeyVersion", KeyId=key)["KeyVersion"]
    page = bench.call("ListKeyVersions", KeyId=key, PageNumber=1, PageSize=10)
    equal(page["TotalCount"], 2, "TotalCount")
    check(made["KeyVersionId"] in [it["KeyVersionId"] for it in page["KeyVersions"]["KeyVersion"]], "it is not listed")


@action("DescribeKeyVersion")
def describe_key_version(bench: Bench) -> None:
    key = bench.key()
    version = bench.helper.call("DescribeKey", KeyId=key)["KeyMetadata"]["PrimaryKeyVersion"]
    told = bench.call("DescribeKeyVersion", KeyId=key, KeyVersionId=version)["KeyVersion"]
    equal((told["KeyId"], told["KeyVersionId"]), (key, version), "the version")
    is_time(told["CreationDate"], "CreationDate")


@action("UpdateRotationPolicy")
def update_rotation_policy(bench: Bench) -> None:
    key = bench.key()
    bench.call("UpdateRotationPolicy", KeyId=key, EnableAutomaticRotation=True, RotationInterval="30d")
    told = bench.helper.call("DescribeKey", KeyId=key)["KeyMetadata"]
    equal((told["AutomaticRotation"], told["RotationInterval"]), ("Enabled", "2592000s"), "the policy")
    is_time(told["NextRotationDate"], "NextRotationDate")
    bench.call("UpdateRotationPolicy", KeyId=key, EnableAutomaticRotation=False)
    told = bench.helper.call("DescribeKey", KeyId=key)["KeyMetadata"]
    equal(told["AutomaticRotation"], "Disabled", "the policy that was taken back")
