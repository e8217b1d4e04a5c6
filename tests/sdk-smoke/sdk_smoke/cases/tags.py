"""Tags, in the old form (one resource) and the new one (several)."""

from __future__ import annotations

from ..bench import Bench, equal
from ..vault import REGION
from . import action

TAGS = [{"TagKey": "env", "TagValue": "prod"}, {"TagKey": "team", "TagValue": "smoke"}]


def of_secret(bench: Bench, name: str) -> dict[str, str]:
    told = bench.helper.call("DescribeSecret", SecretName=name, FetchTags="true")
    return {tag["TagKey"]: tag["TagValue"] for tag in told["Tags"]["Tag"]}


def of_key(bench: Bench, key: str) -> dict[str, str]:
    listed = bench.helper.call("ListResourceTags", KeyId=key)
    return {tag["TagKey"]: tag["TagValue"] for tag in listed["Tags"]["Tag"]}


@action("TagResource")
def tag_resource(bench: Bench) -> None:
    key = bench.key()
    bench.call("TagResource", KeyId=key, Tags=TAGS)
    equal(of_key(bench, key), {"env": "prod", "team": "smoke"}, "tags of the key")
    if bench.takes("TagResource", "SecretName"):
        name = bench.secret()
        bench.call("TagResource", SecretName=name, Tags=TAGS)
        equal(of_secret(bench, name), {"env": "prod", "team": "smoke"}, "tags of the secret")


@action("UntagResource")
def untag_resource(bench: Bench) -> None:
    key = bench.key()
    bench.helper.call("TagResource", KeyId=key, Tags=TAGS)
    bench.call("UntagResource", KeyId=key, TagKeys=["env"])
    equal(of_key(bench, key), {"team": "smoke"}, "tags of the key")
    if bench.takes("UntagResource", "SecretName"):
        name = bench.secret(Tags=TAGS)
        bench.call("UntagResource", SecretName=name, TagKeys=["env", "team"])
        equal(of_secret(bench, name), {}, "tags of the secret")


@action("ListResourceTags")
def list_resource_tags(bench: Bench) -> None:
    key = bench.key()
    equal(bench.call("ListResourceTags", KeyId=key)["Tags"], {"Tag": []}, "tags of a new key")
    bench.helper.call("TagResource", KeyId=key, Tags=TAGS)
    listed = bench.call("ListResourceTags", KeyId=key)["Tags"]["Tag"]
    expected = [{"KeyId": key, **tag} for tag in TAGS]
    equal(sorted(listed, key=lambda tag: tag["TagKey"]), expected, "tags of the key")


NEW = [{"Key": tag["TagKey"], "Value": tag["TagValue"]} for tag in TAGS]


@action("TagResources")
def tag_resources(bench: Bench) -> None:
    names = [bench.secret(), bench.secret()]
    bench.call("TagResources", RegionId=REGION, ResourceType="secret", ResourceId=names, Tag=NEW)
    for name in names:
        equal(of_secret(bench, name), {"env": "prod", "team": "smoke"}, f"tags of {name}")


@action("UntagResources")
def untag_resources(bench: Bench) -> None:
    names = [bench.secret(Tags=TAGS), bench.secret(Tags=TAGS)]
    bench.call("UntagResources", RegionId=REGION, ResourceType="secret", ResourceId=names, TagKey=["env"])
    for name in names:
        equal(of_secret(bench, name), {"team": "smoke"}, f"tags of {name}")
    bench.call("UntagResources", RegionId=REGION, ResourceType="secret", ResourceId=names, All=True)
    equal(of_secret(bench, names[0]), {}, "tags after all were taken away")


@action("ListTagResources")
def list_tag_resources(bench: Bench) -> None:
    name = bench.secret(Tags=TAGS)
    listed = bench.call("ListTagResources", RegionId=REGION, ResourceType="secret", ResourceId=[name])
    expected = [{"ResourceId": name, "ResourceType": "secret", **tag} for tag in TAGS]
    found = listed["TagResources"]["TagResource"]
    equal(sorted(found, key=lambda tag: tag["TagKey"]), expected, "tags of the secret")
    equal(listed["NextToken"], "", "NextToken")
    wanted = [{"Key": "env", "Value": "prod"}]
    one = bench.call("ListTagResources", RegionId=REGION, ResourceType="secret", ResourceId=[name], Tag=wanted)
    check = [tag["TagKey"] for tag in one["TagResources"]["TagResource"]]
    equal("env" in check, True, "the tag that was asked for is listed")
