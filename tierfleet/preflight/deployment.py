"""What the CDK finds in the account: its bootstrap stack, and the state of the fleet's own stacks."""

from collections.abc import Iterator

from botocore.exceptions import ClientError

from tierfleet.preflight.finding import Account, Finding
from tierfleet.preflight.storage import fleet_buckets, head_bucket

# The version that every synthesised stack asks for (requiresBootstrapStackVersion); a test compares.
BOOTSTRAP_VERSION = 6
_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
# A stack in one of these takes no update. docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
_STUCK = {
    "CREATE_FAILED": "delete the stack",
    "ROLLBACK_COMPLETE": "delete the stack: its first creation failed",
    "ROLLBACK_FAILED": "delete the stack: its first creation failed",
    "DELETE_FAILED": "delete the stack",
    "UPDATE_ROLLBACK_FAILED": "aws cloudformation continue-update-rollback --stack-name",
}


def bootstrap(account: Account) -> Iterator[Finding]:
    """The account and Region are bootstrapped for the CDK, with a version that the templates can use."""
    area, config = "bootstrap", account.config
    remedy = f"cdk bootstrap aws://{config.account}/{config.region}"
    try:
        version = int(account.client("ssm").get_parameter(Name=_PARAMETER)["Parameter"]["Value"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        message = f"{config.region} of account {config.account} is not bootstrapped for the CDK"
        yield Finding(area=area, status="problem", message=message, remedy=remedy)
        return
    if version < BOOTSTRAP_VERSION:
        message = f"the bootstrap stack has version {version}; version {BOOTSTRAP_VERSION} is needed"
        yield Finding(area=area, status="problem", message=message, remedy=remedy)
        return
    yield Finding(area=area, status="ok", message=f"the bootstrap stack has version {version}")


def stacks(account: Account) -> Iterator[Finding]:
    """The fleet's stacks do not exist yet, or take an update."""
    config = account.config
    cloudformation = account.client("cloudformation")
    for word in ("Models", "Fleet"):
        name = f"{config.fleet}-{config.environment}-{word}"
        try:
            status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" not in error.response["Error"]["Message"]:
                raise
            # `retain` keeps the buckets when their stack is deleted. The check of the buckets reports other owners.
            buckets = fleet_buckets(config) if word == "Models" else []
            kept = [bucket for bucket in buckets if head_bucket(account, bucket)[0] == 200]
            for bucket in kept:
                message = f"{name} does not exist, and {bucket}, which it would create, does: a deployment fails"
                remedy = f"cdk import {config.fleet}-{config.environment}/Models takes the bucket, or delete the bucket"
                yield Finding(area="stacks", status="problem", message=message, remedy=remedy)
            if not kept:
                yield Finding(area="stacks", status="ok", message=f"{name} does not exist yet")
            continue
        if status in _STUCK:
            remedy = _STUCK[status]
            command = f"{remedy} {name}" if remedy.endswith("--stack-name") else remedy
            yield Finding(area="stacks", status="problem", message=f"{name} is {status}", remedy=command)
        elif status.endswith("IN_PROGRESS"):
            message, wait = f"{name} is {status}: another operation is running", "wait until it ends"
            yield Finding(area="stacks", status="problem", message=message, remedy=wait)
        else:
            yield Finding(area="stacks", status="ok", message=f"{name} is {status}")
