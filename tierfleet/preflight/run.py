"""Every check of the preflight, one after the other; one that fails hides no other."""

from collections.abc import Callable, Iterator
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.aws_problem import aws_problem
from tierfleet.preflight import capacity, deployment, identity, image, keys, network, storage
from tierfleet.preflight.finding import Account, Finding

Check = Callable[[Account], Iterator[Finding]]

# In the order in which a deployment would meet them, each with the permissions it needs.
CHECKS: Final[tuple[tuple[str, Check, str], ...]] = (
    ("credentials", identity.check, "sts:GetCallerIdentity"),
    ("bootstrap", deployment.bootstrap, "ssm:GetParameter"),
    ("stacks", deployment.stacks, "cloudformation:DescribeStacks and s3:ListBucket"),
    ("bucket", storage.check, "s3:ListBucket and s3:GetObject on the model bucket"),
    ("keys", keys.check, "kms:DescribeKey and kms:GetKeyPolicy"),
    ("image", image.check, "ecr:BatchGetImage and ecr:GetRepositoryPolicy"),
    (
        "network",
        network.check,
        "ec2:DescribeSubnets, DescribeSecurityGroups, DescribeVpcEndpoints and DescribeRouteTables",
    ),
    ("quotas", capacity.check, "servicequotas:ListServiceQuotas and ListAWSDefaultServiceQuotas"),
)


def preflight(account: Account, *, begins: Callable[[str], None] = lambda _area: None) -> list[Finding]:
    """Every finding; begins: told the area of each check before it starts. Only reads.

    What AWS refuses or does not answer is a finding of status `unknown`, never an exception.
    """
    findings: list[Finding] = []
    for area, check, permissions in CHECKS:
        begins(area)
        try:
            findings.extend(check(account))
        except (ClientError, BotoCoreError) as error:
            sentence = aws_problem(error, area, permissions=f"the preflight needs {permissions}")
            findings.append(Finding(area=area, status="unknown", message=sentence))
    return findings
