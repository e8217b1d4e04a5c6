"""What clients ask of the service when they start."""

from __future__ import annotations

from ..bench import Bench, equal
from ..vault import REGION
from . import action


@action("DescribeRegions")
def describe_regions(bench: Bench) -> None:
    equal(bench.call("DescribeRegions")["Regions"], {"Region": [{"RegionId": REGION}]}, "Regions")


@action("DescribeAccountKmsStatus")
def describe_account_kms_status(bench: Bench) -> None:
    equal(bench.call("DescribeAccountKmsStatus")["AccountStatus"], "Enabled", "AccountStatus")


@action("ListKmsInstances")
def list_kms_instances(bench: Bench) -> None:
    listed = bench.call("ListKmsInstances", PageNumber=1, PageSize=20)
    equal(listed["KmsInstances"], {"KmsInstance": []}, "KmsInstances")
    equal((listed["PageNumber"], listed["PageSize"], listed["TotalCount"]), (1, 20, 0), "the page")
