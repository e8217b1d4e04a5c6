"""Secrets of type Generic."""

from __future__ import annotations

import json
import string

from ..bench import Bench, check, equal, refused
from ..vault import ACCOUNT, REGION
from . import action, is_time


@action("CreateSecret")
def create_secret(bench: Bench) -> None:
    name = bench.name()
    value = 'spaces, ümläute, "quotes" and * ! \' ( ) ~ & = + %\n'
    parameters = dict(SecretName=name, VersionId="v1", SecretData=value, Description="a description with spaces")
    parameters["Tags"] = [{"TagKey": "team", "TagValue": "smoke"}]
    made = bench.call("CreateSecret", **parameters)
    equal(made["SecretName"], name, "SecretName")
    equal(made["VersionId"], "v1", "VersionId")
    equal(made["Arn"], f"acs:kms:{REGION}:{ACCOUNT}:secret/{name}", "Arn")
    kept = bench.helper.call("GetSecretValue", SecretName=name)
    equal(kept["SecretData"], value, "the value that was stored")
    again = lambda: bench.call("CreateSecret", SecretName=name, VersionId="v1", SecretData="other")
    refused("Rejected.ResourceExist", 409, again)
    if bench.takes("CreateSecret", "SecretType"):
        rds = lambda: bench.call("CreateSecret", **{**parameters, "SecretName": bench.name(), "SecretType": "Rds"})
        refused("UnsupportedOperation", 400, rds)


@action("GetSecretValue")
def get_secret_value(bench: Bench) -> None:
    name = bench.secret()
    read = bench.call("GetSecretValue", SecretName=name)
    equal(read["SecretData"], "one", "SecretData")
    equal(read["SecretDataType"], "text", "SecretDataType")
    equal(read["VersionId"], "v1", "VersionId")
    equal(read["VersionStages"], {"VersionStage": ["ACSCurrent"]}, "VersionStages")
    is_time(read["CreateTime"], "CreateTime")
    bench.helper.call("PutSecretValue", SecretName=name, VersionId="v2", SecretData="two")
    equal(bench.call("GetSecretValue", SecretName=name, VersionId="v1")["SecretData"], "one", "by version")
    by_stage = bench.call("GetSecretValue", SecretName=name, VersionStage="ACSPrevious")
    equal(by_stage["SecretData"], "one", "by stage")
    arn = f"acs:kms:{REGION}:{ACCOUNT}:secret/{name}"
    equal(bench.call("GetSecretValue", SecretName=arn)["SecretData"], "two", "by ARN")


@action("PutSecretValue")
def put_secret_value(bench: Bench) -> None:
    name = bench.secret()
    stages = ["ACSCurrent", "Blue"]
    put = bench.call("PutSecretValue", SecretName=name, VersionId="v2", SecretData="two", VersionStages=stages)
    equal(put["VersionId"], "v2", "VersionId")
    equal(sorted(put["VersionStages"]["VersionStage"]), stages, "VersionStages")
    equal(bench.helper.call("GetSecretValue", SecretName=name, VersionStage="Blue")["SecretData"], "two", "the value")
    other = lambda: bench.call("PutSecretValue", SecretName=name, VersionId="v2", SecretData="other")
    refused("Rejected.ResourceExist", 409, other)


@action("UpdateSecret")
def update_secret(bench: Bench) -> None:
    name = bench.secret(Description="before")
    equal(bench.call("UpdateSecret", SecretName=name, Description="after it")["SecretName"], name, "SecretName")
    equal(bench.helper.call("DescribeSecret", SecretName=name)["Description"], "after it", "Description")


@action("DescribeSecret")
def describe_secret(bench: Bench) -> None:
    tags = [{"TagKey": "team", "TagValue": "smoke"}]
    name = bench.secret(Description="of one", Tags=tags)
    told = bench.call("DescribeSecret", SecretName=name, FetchTags="true")
    equal(told["SecretName"], name, "SecretName")
    equal(told["Description"], "of one", "Description")
    equal(told["Tags"], {"Tag": tags}, "Tags")
    is_time(told["CreateTime"], "CreateTime")
    is_time(told["UpdateTime"], "UpdateTime")
    check(not bench.call("DescribeSecret", SecretName=name).get("Tags"), "there are tags that nobody asked for")


@action("ListSecrets")
def list_secrets(bench: Bench) -> None:
    tag = bench.name()
    names = sorted(bench.secret(Tags=[{"TagKey": tag, "TagValue": "x"}]) for _ in range(3))
    page = bench.call("ListSecrets", PageNumber=1, PageSize=2, FetchTags="true")
    equal(page["PageNumber"], 1, "PageNumber")
    equal(page["PageSize"], 2, "PageSize")
    equal(len(page["SecretList"]["Secret"]), 2, "secrets on a page")
    check(page["TotalCount"] >= 3, "TotalCount is too small")
    if bench.takes("ListSecrets", "Filters"):
        wanted = [{"Key": "TagKey", "Values": [tag]}, {"Key": "TagValue", "Values": ["x", "y"]}]
        found = bench.call("ListSecrets", Filters=wanted, PageSize=100)
        equal(sorted(secret["SecretName"] for secret in found["SecretList"]["Secret"]), names, "those with the tag")
        equal(found["TotalCount"], 3, "TotalCount")
        none = bench.call("ListSecrets", Filters=[{"Key": "SecretName", "Values": ["no-such"]}])
        equal(none["SecretList"], {"Secret": []}, "an empty list")


@action("ListSecretVersionIds")
def list_secret_version_ids(bench: Bench) -> None:
    name = bench.secret()
    for number in (2, 3):
        bench.helper.call("PutSecretValue", SecretName=name, VersionId=f"v{number}", SecretData=str(number))
    listed = bench.call("ListSecretVersionIds", SecretName=name)
    stages = {version["VersionId"]: version["VersionStages"]["VersionStage"] for version in listed["VersionIds"]["VersionId"]}
    equal(stages, {"v3": ["ACSCurrent"], "v2": ["ACSPrevious"]}, "versions with stages")
    whole = bench.call("ListSecretVersionIds", SecretName=name, IncludeDeprecated="true", PageSize=2, PageNumber=2)
    equal([version["VersionId"] for version in whole["VersionIds"]["VersionId"]], ["v1"], "the second page of all")
    equal(whole["TotalCount"], 3, "TotalCount")


@action("UpdateSecretVersionStage")
def update_secret_version_stage(bench: Bench) -> None:
    name = bench.secret()
    bench.helper.call("PutSecretValue", SecretName=name, VersionId="v2", SecretData="two")
    moved = bench.call("UpdateSecretVersionStage", SecretName=name, VersionStage="ACSCurrent", MoveToVersion="v1")
    equal(moved["SecretName"], name, "SecretName")
    equal(bench.helper.call("GetSecretValue", SecretName=name)["SecretData"], "one", "the current value")
    bench.call("UpdateSecretVersionStage", SecretName=name, VersionStage="Mine", MoveToVersion="v2")
    mine = lambda: bench.helper.call("GetSecretValue", SecretName=name, VersionStage="Mine")
    equal(mine()["SecretData"], "two", "the value of the own stage")
    bench.call("UpdateSecretVersionStage", SecretName=name, VersionStage="Mine", RemoveFromVersion="v2")
    refused("Forbidden.ResourceNotFound", 404, mine)


@action("DeleteSecret")
def delete_secret(bench: Bench) -> None:
    name = bench.secret()
    planned = bench.call("DeleteSecret", SecretName=name, RecoveryWindowInDays="7")
    is_time(planned["PlannedDeleteTime"], "PlannedDeleteTime")
    read = lambda: bench.helper.call("GetSecretValue", SecretName=name)
    refused("Rejected.ResourceInDeleteWindow", 409, read)
    bench.call("DeleteSecret", SecretName=name, ForceDeleteWithoutRecovery="true")
    refused("Forbidden.ResourceNotFound", 404, read)
    refused("InvalidParameter", 400, lambda: bench.call("DeleteSecret", SecretName=bench.secret(), RecoveryWindowInDays="6"))


@action("RestoreSecret")
def restore_secret(bench: Bench) -> None:
    name = bench.secret()
    refused("Rejected.ResourceInUse", 409, lambda: bench.call("RestoreSecret", SecretName=name))
    bench.helper.call("DeleteSecret", SecretName=name)
    equal(bench.call("RestoreSecret", SecretName=name)["SecretName"], name, "SecretName")
    equal(bench.helper.call("GetSecretValue", SecretName=name)["SecretData"], "one", "the value")


@action("SetSecretPolicy")
def set_secret_policy(bench: Bench) -> None:
    name = bench.secret()
    bench.call("SetSecretPolicy", SecretName=name, PolicyName="default", Policy=policy())
    kept = bench.helper.call("GetSecretPolicy", SecretName=name, PolicyName="default")
    equal(json.loads(kept["Policy"]), policy(), "the policy that was stored")


@action("GetSecretPolicy")
def get_secret_policy(bench: Bench) -> None:
    name = bench.secret()
    default = json.loads(bench.call("GetSecretPolicy", SecretName=name, PolicyName="default")["Policy"])
    equal(default["Version"], "1", "Version of the policy that every secret has")
    bench.helper.call("SetSecretPolicy", SecretName=name, PolicyName="default", Policy=policy())
    kept = bench.call("GetSecretPolicy", SecretName=name, PolicyName="default")
    equal(json.loads(kept["Policy"]), policy(), "the policy that was stored")


def policy() -> dict:
    """A policy that lets the account do everything."""
    everything = {"Effect": "Allow", "Principal": {"RAM": [f"acs:ram::{ACCOUNT}:*"]}, "Action": ["kms:*"], "Resource": ["*"]}
    return {"Version": "1", "Statement": [{"Sid": "all", **everything}]}


@action("GetRandomPassword")
def get_random_password(bench: Bench) -> None:
    equal(len(bench.call("GetRandomPassword")["RandomPassword"]), 32, "the length without parameters")
    options = dict(PasswordLength="40", ExcludePunctuation="true", ExcludeUppercase="true", ExcludeCharacters="abc1")
    word = bench.call("GetRandomPassword", **options, RequireEachIncludedType="true")["RandomPassword"]
    equal(len(word), 40, "the length")
    allowed = set(string.ascii_lowercase + string.digits) - set("abc1")
    check(set(word) <= allowed, "it has characters that were excluded")
    refused("InvalidParameter", 400, lambda: bench.call("GetRandomPassword", PasswordLength="7"))


@action("BatchGetSecretValue")
def batch_get_secret_value(bench: Bench) -> None:
    first, second = bench.secret(), bench.secret()
    wanted = [{"SecretName": first}, {"SecretName": second, "VersionId": "v1"}, {"SecretName": "no-such"}]
    read = bench.call("BatchGetSecretValue", SecretsList=wanted)
    equal([value["SecretName"] for value in read["SecretValues"]], [first, second], "what was read")
    equal(read["SecretValues"][0]["SecretData"], "one", "SecretData")
    equal([error["Code"] for error in read["Errors"]], ["Forbidden.ResourceNotFound"], "Errors")
    equal(read["Errors"][0]["SecretName"], "no-such", "the name of what was not read")


def life(bench: Bench) -> None:
    """All that happens to a secret, through the client under test alone."""
    name = bench.name()
    bench.call("CreateSecret", SecretName=name, VersionId="v1", SecretData="first value")
    equal(bench.call("GetSecretValue", SecretName=name)["SecretData"], "first value", "the first value")
    page, listed = 0, set()
    while page == 0 or len(listed) < answer["TotalCount"]:
        page += 1
        answer = bench.call("ListSecrets", PageNumber=page, PageSize=100)
        listed |= {secret["SecretName"] for secret in answer["SecretList"]["Secret"]}
        check(page < 50, "the list does not end")
    check(name in listed, "the list does not have the secret")
    bench.call("PutSecretValue", SecretName=name, VersionId="v2", SecretData="second value")
    equal(bench.call("GetSecretValue", SecretName=name)["SecretData"], "second value", "the second value")
    before = bench.call("GetSecretValue", SecretName=name, VersionStage="ACSPrevious")
    equal(before["SecretData"], "first value", "the value before")
    versions = bench.call("ListSecretVersionIds", SecretName=name)["VersionIds"]["VersionId"]
    equal(sorted(version["VersionId"] for version in versions), ["v1", "v2"], "its versions")
    check(not bench.call("DescribeSecret", SecretName=name).get("PlannedDeleteTime"), "it is to be deleted")
    bench.call("DeleteSecret", SecretName=name, RecoveryWindowInDays="30")
    is_time(bench.call("DescribeSecret", SecretName=name)["PlannedDeleteTime"], "PlannedDeleteTime")
    refused("Rejected.ResourceInDeleteWindow", 409, lambda: bench.call("GetSecretValue", SecretName=name))
    bench.call("RestoreSecret", SecretName=name)
    equal(bench.call("GetSecretValue", SecretName=name)["SecretData"], "second value", "the restored value")
    bench.call("DeleteSecret", SecretName=name, ForceDeleteWithoutRecovery="true")
    refused("Forbidden.ResourceNotFound", 404, lambda: bench.call("GetSecretValue", SecretName=name))


def cached_life(bench: Bench) -> None:
    """What a cache client sees of a secret that another client keeps."""
    name = bench.secret()
    equal(bench.call("GetSecretValue", SecretName=name)["SecretData"], "one", "the first value")
    bench.helper.call("PutSecretValue", SecretName=name, VersionId="v2", SecretData="two")
    equal(bench.call("GetSecretValue", SecretName=name)["SecretData"], "one", "what is cached")
    check(bench.client.refresh(name), "the refresh failed")
    read = bench.call("GetSecretValue", SecretName=name)
    equal((read["SecretData"], read["VersionId"]), ("two", "v2"), "what was refreshed")
    equal(read["SecretType"], "Generic", "SecretType")
    bench.helper.call("DeleteSecret", SecretName=name)
    check(not bench.client.refresh(name), "a deleted secret was refreshed")
    bench.helper.call("RestoreSecret", SecretName=name)
    check(bench.client.refresh(name), "the restored secret was not refreshed")


def long_values(bench: Bench, in_query: bool) -> None:
    """The longest value goes through; one that needs too long a URL is refused by 414."""
    name = bench.name()
    longest = "x" * 30_720
    bench.call("CreateSecret", SecretName=name, VersionId="v1", SecretData=longest)
    equal(bench.call("GetSecretValue", SecretName=name)["SecretData"], longest, "the longest value")
    # Nine characters a letter in a URL.
    umlauts = "語" * 10_000
    put = lambda: bench.call("PutSecretValue", SecretName=name, VersionId="v2", SecretData=umlauts)
    if in_query:
        try:
            put()
        except Exception as error:  # What a client makes of it differs; that it says so does not.
            check("414" in str(error) or "URI" in str(error) or "long" in str(error).lower(), f"not a clear error: {error}")
        else:
            check(False, "a URL of 90,000 characters went through")
    else:
        put()
        equal(bench.call("GetSecretValue", SecretName=name)["SecretData"], umlauts, "a value of three-byte letters")
