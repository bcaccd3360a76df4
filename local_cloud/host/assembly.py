"""Deploys a synthesised cloud assembly by boto3: what the CDK CLI does, without its three seconds a call.

Tests use this. The demo and a few tests go through the real CLI.
"""

import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.host.processes import LocalCloud

# Every entry of an asset archive has this date, so that the same files give the same bytes.
_ASSET_DATE = (1980, 1, 1, 0, 0, 0)
_POLL_SECONDS = 0.01


class DeploymentError(RuntimeError):
    """A stack did not reach the state it was deployed for; the message ends with the failed events."""


@dataclass(frozen=True)
class AssembledStack:
    name: str
    account: str
    region: str
    template_file: Path
    tags: dict[str, str]


def stacks(assembly: Path) -> Iterator[AssembledStack]:
    """The stacks of one assembly (of one Stage) in the order of their dependencies."""
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    waiting = {k: v for k, v in artifacts.items() if v["type"] == "aws:cloudformation:stack"}
    while waiting:
        ready = [k for k, v in waiting.items() if not set(v.get("dependencies", [])) & waiting.keys()]
        for key in ready:
            artifact = waiting.pop(key)
            _, _, place = artifact["environment"].partition("aws://")
            account, region = place.split("/")
            properties = artifact["properties"]
            yield AssembledStack(
                name=properties.get("stackName", key),
                account=account,
                region=region,
                template_file=assembly / properties["templateFile"],
                tags=properties.get("tags", {}),
            )


def publish_assets(cloud: LocalCloud, assembly: Path, account: str, region: str) -> None:
    """Upload every file asset to the bucket its manifest names, as `cdk bootstrap` and `cdk-assets` would."""
    s3 = cloud.client("s3", account, region=region)
    ssm = cloud.client("ssm", account, region=region)
    # The rules of CDK's templates refuse an account that was not bootstrapped.
    ssm.put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String", Overwrite=True)
    existing = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for manifest in assembly.glob("*.assets.json"):
        for asset in json.loads(manifest.read_text()).get("files", {}).values():
            source = assembly / asset["source"]["path"]
            body = _archive(source) if asset["source"]["packaging"] == "zip" else source.read_bytes()
            for destination in asset["destinations"].values():
                bucket = _in(destination["bucketName"], account, region)
                if bucket not in existing:
                    s3.create_bucket(Bucket=bucket, **_location(region))
                    existing.add(bucket)
                s3.put_object(Bucket=bucket, Key=_in(destination["objectKey"], account, region), Body=body)


def deploy(cloud: LocalCloud, stack: AssembledStack) -> str:
    """Create or update one stack, whose assets are published. Returns its final status, always a successful one."""
    client = cloud.client("cloudformation", stack.account, region=stack.region)
    bucket = f"cdk-hnb659fds-assets-{stack.account}-{stack.region}"
    key = f"templates/{stack.name}.json"
    s3 = cloud.client("s3", stack.account, region=stack.region)
    s3.put_object(Bucket=bucket, Key=key, Body=stack.template_file.read_bytes())
    request = {
        "StackName": stack.name,
        "TemplateURL": f"https://s3.{stack.region}.amazonaws.com/{bucket}/{key}",
        "Capabilities": ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": name, "Value": value} for name, value in stack.tags.items()],
    }
    try:
        client.describe_stacks(StackName=stack.name)
    except ClientError:
        client.create_stack(**request)
    else:
        try:
            client.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return str(client.describe_stacks(StackName=stack.name)["Stacks"][0]["StackStatus"])
            raise
    status = wait(client, stack.name)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise DeploymentError(f"{stack.name} ended {status}: {failures(client, stack.name)}")
    return status


def destroy(cloud: LocalCloud, stack: AssembledStack) -> None:
    client = cloud.client("cloudformation", stack.account, region=stack.region)
    stack_id = client.describe_stacks(StackName=stack.name)["Stacks"][0]["StackId"]
    client.delete_stack(StackName=stack.name)
    if (status := wait(client, stack_id)) != "DELETE_COMPLETE":
        raise DeploymentError(f"{stack.name} ended {status}: {failures(client, stack_id)}")


def wait(client: Any, stack_name: str) -> str:
    """The stack's status once no operation is in progress."""
    while True:
        status = str(client.describe_stacks(StackName=stack_name)["Stacks"][0]["StackStatus"])
        if not status.endswith("IN_PROGRESS"):
            return status
        time.sleep(_POLL_SECONDS)


def failures(client: Any, stack_name: str) -> str:
    """Logical id and reason of every failed event, nested stacks included."""
    lines = []
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_name)
    for event in (event for page in pages for event in page["StackEvents"]):
        if not event["ResourceStatus"].endswith("_FAILED"):
            continue
        lines.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}")
        nested = event.get("PhysicalResourceId", "")
        if event["ResourceType"] == "AWS::CloudFormation::Stack" and nested not in ("", event["StackId"]):
            lines.append(failures(client, nested))
    return "; ".join(line for line in lines if line)


def first_failure(client: Any, stack_name: str) -> str | None:
    """The resource that made the last operation of a stack fail, and its reason. Looks into nested stacks."""
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_name)
    failed = None
    for event in (event for page in pages for event in page["StackEvents"]):
        status, itself = event["ResourceStatus"], event.get("PhysicalResourceId") == event["StackId"]
        if itself and status in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
            break
        if not itself and status.endswith("_FAILED") and "cancelled" not in event.get("ResourceStatusReason", ""):
            failed = event  # newest first: the last one seen is the cause
    if failed is None:
        return None
    reason = failed.get("ResourceStatusReason", "")
    nested = re.search(r"arn:\S+:cloudformation:\S+:stack/\S+", f"{failed.get('PhysicalResourceId')} {reason}")
    if failed["ResourceType"] == "AWS::CloudFormation::Stack" and nested:
        return first_failure(client, nested[0]) or reason
    return f"{failed['LogicalResourceId']} ({failed['ResourceType']}) failed: {reason}"


def _location(region: str) -> dict[str, Any]:
    """us-east-1 is the one region that is not named as a location."""
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def _archive(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _ASSET_DATE)
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _in(text: str, account: str, region: str) -> str:
    return text.replace("${AWS::AccountId}", account).replace("${AWS::Region}", region)
