"""Service Quotas: the SageMaker quotas of a new account, and requests for more, which stay pending.

The local emulator enforces no quota. The values are what `tierfleet config show` counts against; quota codes are made
from the names, since AWS lists its own only to accounts.
https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/Welcome.html
"""

import hashlib
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region, new_uuid

from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.core.pagination import page
from tierfleet import instance_types
from tierfleet.config import quotas

_SERVICE = {"ServiceCode": "sagemaker", "ServiceName": "Amazon SageMaker"}
_PAGE_SIZE = 100
_requests = AccountRegionScopedDict()


def list_services(request: dict[str, Any]) -> dict[str, Any]:
    services, following = _page([dict(_SERVICE)], request)
    return {"Services": services, **following}


def list_service_quotas(request: dict[str, Any]) -> dict[str, Any]:
    quotas = [quota for quota in _quotas(request) if request.get("QuotaCode") in (None, quota["QuotaCode"])]
    quotas, following = _page(quotas, request)
    return {"Quotas": quotas, **following}


def get_service_quota(request: dict[str, Any]) -> dict[str, Any]:
    return {"Quota": _quota(request)}


def request_service_quota_increase(request: dict[str, Any]) -> dict[str, Any]:
    quota = _quota(request)
    if request["DesiredValue"] <= quota["Value"]:
        raise ServiceError(
            "IllegalArgumentException",
            f"You must provide a quota value greater than or equal to the current quota value of {quota['Value']:g}",
        )
    if any(held["QuotaCode"] == quota["QuotaCode"] for held in _requests.values()):
        raise ServiceError(
            "ResourceAlreadyExistsException", "Only one open service quota increase request is allowed per quota."
        )
    now = clock.now()
    made = {key: quota[key] for key in ("ServiceCode", "ServiceName", "QuotaCode", "QuotaName", "QuotaArn", "Unit")}
    made |= {"GlobalQuota": False, "DesiredValue": request["DesiredValue"], "QuotaRequestedAtLevel": "ACCOUNT"}
    made |= {"Id": new_uuid().replace("-", ""), "Status": "PENDING", "Created": now, "LastUpdated": now}
    _requests[made["Id"]] = made
    return {"RequestedQuota": made}


def get_requested_change(request: dict[str, Any]) -> dict[str, Any]:
    if request["RequestId"] not in _requests:
        raise _missing(f"request {request['RequestId']}")
    return {"RequestedQuota": _requests[request["RequestId"]]}


def list_requested_changes(request: dict[str, Any]) -> dict[str, Any]:
    """Also by quota: the filters that a request names, all of them."""
    filters = {key: request[key] for key in ("ServiceCode", "QuotaCode", "Status") if key in request}
    changes = [held for held in _requests.values() if all(held[key] == value for key, value in filters.items())]
    changes, following = _page(changes, request)
    return {"RequestedQuotas": changes, **following}


def clear() -> None:
    _requests._data.clear()


def _quotas(request: dict[str, Any]) -> list[dict[str, Any]]:
    if request["ServiceCode"] != _SERVICE["ServiceCode"]:
        raise _missing(f"service {request['ServiceCode']}; the local emulator knows sagemaker")
    values = {
        f"{name} for endpoint usage": quotas.DEFAULT_INSTANCES_OF_TYPE.get(name, 0)
        for name in sorted(instance_types.hosting_types())
    }
    values["Number of instances across active endpoints"] = quotas.DEFAULT_INSTANCES_ACROSS_ENDPOINTS
    values["Maximum number of instances per endpoint"] = quotas.DEFAULT_INSTANCES_PER_ENDPOINT
    values[quotas.SERVERLESS_ENDPOINTS] = quotas.DEFAULT_SERVERLESS_ENDPOINTS
    values[quotas.SERVERLESS_CONCURRENCY] = quotas.DEFAULT_SERVERLESS_CONCURRENCY
    return [_described(name, value) for name, value in values.items()]


def _described(name: str, value: int) -> dict[str, Any]:
    code = f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
    return {
        **_SERVICE,
        "QuotaArn": f"arn:aws:servicequotas:{get_region()}:{get_account_id()}:sagemaker/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": float(value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }


def _quota(request: dict[str, Any]) -> dict[str, Any]:
    for quota in _quotas(request):
        if quota["QuotaCode"] == request["QuotaCode"]:
            return quota
    raise _missing(f"quota {request['QuotaCode']}")


def _page(items: list[dict[str, Any]], request: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    try:
        return page(
            items,
            max_results=request.get("MaxResults"),
            next_token=request.get("NextToken"),
            default_size=_PAGE_SIZE,
        )
    except ServiceError as error:
        raise ServiceError("InvalidPaginationTokenException", error.message) from None


def _missing(what: str) -> ServiceError:
    return ServiceError("NoSuchResourceException", f"The request failed because there is no {what}.")
