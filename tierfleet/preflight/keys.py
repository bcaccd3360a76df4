"""The customer-managed KMS keys that the fleet file names."""

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from tierfleet.preflight.finding import Account, Finding

AREA = "keys"
# Who publishes to the alarm topic, and what SNS needs of a key for it.
# docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
_PUBLISHERS = ("cloudwatch.amazonaws.com", "events.amazonaws.com")
_PUBLISH_ACTIONS = ("kms:Decrypt", "kms:GenerateDataKey*")


def check(account: Account) -> Iterator[Finding]:
    """Each key exists, is enabled and encrypts; the topic's key lets its publishers use it."""
    encryption = account.config.encryption
    keys = {
        "bucket_kms_key_arn": encryption.bucket_kms_key_arn,
        "volume_kms_key_arn": encryption.volume_kms_key_arn,
        "topic_kms_key_arn": encryption.topic_kms_key_arn,
    }
    for field, arn in keys.items():
        if arn is not None:
            yield from _key(account.client("kms"), field, arn)


def _key(kms: Any, field: str, arn: str) -> Iterator[Finding]:
    try:
        key = kms.describe_key(KeyId=arn)["KeyMetadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            raise
        message = f"{field}: there is no key {arn}"
        yield Finding(area=AREA, status="problem", message=message, remedy="correct the ARN in the fleet file")
        return
    state, usage = key["KeyState"], key["KeyUsage"]
    spec = key.get("KeySpec", "SYMMETRIC_DEFAULT")
    if (state, usage, spec) != ("Enabled", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"):
        yield Finding(
            area=AREA,
            status="problem",
            message=f"{field}: the key is {state}, {usage}, {spec}",
            remedy="it must be Enabled, ENCRYPT_DECRYPT and SYMMETRIC_DEFAULT: enable it, or name another key",
        )
        return
    if field == "topic_kms_key_arn":
        refused = _refused_publishers(json.loads(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"]))
        if refused:
            yield Finding(
                area=AREA,
                status="problem",
                message=f"{field}: the key's policy does not let {' and '.join(refused)} publish",
                remedy=f"allow the service {' and '.join(_PUBLISH_ACTIONS)} in the key's policy",
            )
            return
    yield Finding(area=AREA, status="ok", message=f"{field}: the key is enabled")


def _refused_publishers(policy: dict[str, Any]) -> list[str]:
    """The services that no Allow statement names with the actions of a publisher. Conditions are not evaluated."""
    allowed = set()
    for statement in _list(policy["Statement"]):
        principal = statement.get("Principal")
        services = _list(principal.get("Service", [])) if isinstance(principal, dict) else []
        actions = {action.lower() for action in _list(statement.get("Action", []))}
        decrypts = bool(actions & {"kms:*", "kms:decrypt"})
        encrypts = bool(actions & {"kms:*", "kms:generatedatakey*", "kms:generatedatakey"})
        if statement["Effect"] == "Allow" and decrypts and encrypts:
            allowed.update(services)
    return [service for service in _PUBLISHERS if service not in allowed]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
