"""The VPC that the containers are attached to."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from tierfleet.config.quotas import quotas
from tierfleet.preflight.finding import Account, Finding

AREA = "network"
_UNKNOWN_IDS = ("InvalidSubnetID.NotFound", "InvalidGroup.NotFound", "InvalidGroupId.Malformed")


def check(account: Account) -> Iterator[Finding]:
    """Subnets and security groups exist in one VPC, have room, and reach S3."""
    network = account.config.network
    if network is None:
        return
    ec2 = account.client("ec2")
    try:
        subnets = ec2.describe_subnets(SubnetIds=list(network.subnets))["Subnets"]
        groups = ec2.describe_security_groups(GroupIds=list(network.security_group_ids))["SecurityGroups"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in _UNKNOWN_IDS:
            raise
        message = f"[network]: {error.response['Error']['Message']}"
        yield Finding(area=AREA, status="problem", message=message, remedy="correct the ids in the fleet file")
        return
    vpcs = {item["VpcId"] for item in (*subnets, *groups)}
    if len(vpcs) != 1:
        yield Finding(
            area=AREA,
            status="problem",
            message=f"subnets and security groups are in {len(vpcs)} VPCs: {', '.join(sorted(vpcs))}",
            remedy="name subnets and security groups of one VPC",
        )
        return
    zones = {subnet["AvailabilityZone"] for subnet in subnets}
    if len(zones) < 2:
        yield Finding(
            area=AREA,
            status="problem",
            message=f"all subnets are in {zones.pop()}",
            remedy="SageMaker needs subnets in at least two Availability Zones: name another subnet",
        )
    yield _room(account, subnets)
    yield from _way_to_s3(account, ec2, vpcs.pop(), subnets)


def _room(account: Account, subnets: list[dict[str, Any]]) -> Finding:
    """One interface an instance; an update has both fleets."""
    free = sum(subnet["AvailableIpAddressCount"] for subnet in subnets)
    needed = next(q.while_updating for q in quotas(account.config) if q.name.startswith("Number of instances"))
    if free >= needed:
        return Finding(area=AREA, status="ok", message=f"the subnets have {free} free addresses, {needed} needed")
    return Finding(
        area=AREA,
        status="problem",
        message=f"the subnets have {free} free addresses; an update at the maximum needs {needed}",
        remedy="name larger subnets, or lower instances.max",
    )


def _way_to_s3(account: Account, ec2: Any, vpc: str, subnets: list[dict[str, Any]]) -> Iterator[Finding]:
    region = account.config.region
    endpoints = ec2.describe_vpc_endpoints(
        Filters=[
            {"Name": "vpc-id", "Values": [vpc]},
            {"Name": "service-name", "Values": [f"com.amazonaws.{region}.s3", f"cn.com.amazonaws.{region}.s3"]},
        ]
    )["VpcEndpoints"]
    interface = any(endpoint["VpcEndpointType"] == "Interface" for endpoint in endpoints)
    gateway_tables = {table for endpoint in endpoints for table in endpoint.get("RouteTableIds", [])}
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    for subnet in subnets:
        table = _route_table(tables, subnet["SubnetId"])
        name = subnet["SubnetId"]
        if table is not None and table["RouteTableId"] in gateway_tables:
            yield Finding(area=AREA, status="ok", message=f"{name} reaches S3 by a gateway endpoint")
        elif interface:
            yield Finding(area=AREA, status="ok", message=f"{name} reaches S3 by an interface endpoint")
        elif table is not None and any("NatGatewayId" in route for route in table["Routes"]):
            yield Finding(
                area=AREA,
                status="ok",
                message=f"{name} reaches S3 by a NAT gateway, which costs by the byte; a gateway endpoint is free",
            )
        else:
            yield Finding(
                area=AREA,
                status="problem",
                message=f"{name} does not reach S3, so no model can be loaded",
                remedy=f"add an S3 gateway endpoint to {vpc} and to the subnet's route table",
            )


def _route_table(tables: list[dict[str, Any]], subnet: str) -> dict[str, Any] | None:
    """The subnet's own route table, else the VPC's main one."""
    main = None
    for table in tables:
        for association in table.get("Associations", []):
            if association.get("SubnetId") == subnet:
                return table
            if association.get("Main"):
                main = table
    return main
