"""Who may call which endpoint: InvokeEndpoint statements, per tenant."""

import re
from collections.abc import Sequence

from aws_cdk import aws_iam as iam

from constructs_lib import arns
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import RESERVED_TENANT_PATTERN, hashed_tenant


def grant_shared(
    grantee: iam.IGrantable, config: FleetConfig, endpoint_name: str, tenants: Sequence[str] | None
) -> iam.Grant:
    """Lets the grantee call a multi-model endpoint, of this name or pattern, for these tenants' models only.

    `tenants=["m1"]` allows `m1/*`. None allows every model. An empty list raises ValueError, because it must not mean
    every model. The slash matters: `m1*` would also match m10.
    Source: docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-security.html
    """
    conditions = None
    if tenants is not None:
        if not tenants:
            raise ValueError(f"no tenant to grant {endpoint_name} for; name tenants, or pass None for every model")
        conditions = {"StringLike": {"sagemaker:TargetModel": [f"{tenant}/*" for tenant in tenants]}}
    return iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["sagemaker:InvokeEndpoint"],
        resource_arns=[arns.endpoint(config, endpoint_name)],
        conditions=conditions,
    )


def any_generation(endpoint_name: str) -> str:
    """Pattern of an endpoint's name with any instance type and generation.

    While a deployment replaces an endpoint, callers use the old one until the routes change and the new one after. No
    word contains `--`, so the pattern matches no other tier or tenant.
    """
    return f"{endpoint_name.rpartition('--')[0]}--*"


def grant_future_dedicated(grantee: iam.IGrantable, config: FleetConfig, tenant: str) -> iam.Grant:
    """Lets the grantee call any endpoint of its own that this tenant has now or gets later.

    Promoting a tenant then does not wait for IAM. The wildcards cannot match another tenant, because no word of an
    endpoint's name contains `--`. The name holds the tenant's id, or its hash if the name would be too long. Raises
    ValueError for an id that has the form of a hash.
    """
    if re.fullmatch(RESERVED_TENANT_PATTERN, tenant):
        raise ValueError(f"tenant {tenant}: ids of this form are reserved for hashes in endpoint names; use another id")
    return iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["sagemaker:InvokeEndpoint"],
        resource_arns=[
            arns.endpoint(config, f"{config.fleet}--{config.environment}--*--{label}--*")
            for label in (tenant, hashed_tenant(tenant))
        ],
    )


def grant_dedicated(grantee: iam.IGrantable, config: FleetConfig, endpoint_name: str) -> iam.Grant:
    """Lets the grantee call the dedicated endpoint of this name or pattern."""
    return iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["sagemaker:InvokeEndpoint"],
        resource_arns=[arns.endpoint(config, endpoint_name)],
    )
