"""The account's SageMaker quotas, against what the fleet needs."""

from collections.abc import Iterator
from typing import Any

from tierfleet.config.quotas import Quota, quotas
from tierfleet.preflight.finding import Account, Finding

AREA = "quotas"


def check(account: Account) -> Iterator[Finding]:
    """Every instance quota suffices for the fleet at its maximum, and for an update, which doubles the instances.

    What other endpoints of the account use is not subtracted.
    """
    by_name = _quotas(account)
    for needed in quotas(account.config):
        quota = by_name.get(needed.name)
        if quota is None:
            yield Finding(
                area=AREA,
                status="problem",
                message=f"{needed.name}: Service Quotas does not list it in {account.config.region}",
                remedy="the Region does not host this instance type: choose another type",
            )
            continue
        yield _finding(needed, quota, account.config.region)


def _finding(needed: Quota, quota: dict[str, Any], region: str) -> Finding:
    value = int(quota["Value"])
    wanted = needed.while_updating
    if value >= wanted:
        message = f"{needed.name}: {value}, {wanted} needed"
        return Finding(area=AREA, status="ok", message=message)
    enough = "enough until an update, which" if value >= needed.at_maximum else "too few; an update"
    return Finding(
        area=AREA,
        status="problem",
        message=f"{needed.name}: {value}, {enough} needs {wanted}",
        remedy=(
            "aws service-quotas request-service-quota-increase --service-code sagemaker "
            f"--quota-code {quota['QuotaCode']} --desired-value {wanted} --region {region}"
        ),
    )


def _quotas(account: Account) -> dict[str, dict[str, Any]]:
    """Each quota by its name: the account's own value where it has one, else AWS's default."""
    client = account.client("service-quotas")
    by_name: dict[str, dict[str, Any]] = {}
    for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
        for page in client.get_paginator(operation).paginate(ServiceCode="sagemaker"):
            by_name.update({quota["QuotaName"]: quota for quota in page["Quotas"]})
    return by_name
