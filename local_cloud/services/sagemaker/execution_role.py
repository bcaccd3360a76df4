"""Credentials of a Model's execution role, as SageMaker fetches artefacts with them."""

import hashlib

from ministack import app
from ministack.services import sts

Credentials = tuple[str, str, str]
"""Access key, secret key, session token."""


def credentials(role_arn: str) -> Credentials | None:
    """A session of the role; None where IAM is not enforced. Its trust policy is not evaluated."""
    if not app.AUTH:
        return None
    digest = hashlib.sha256(f"sagemaker:{role_arn}".encode()).hexdigest()
    access_key, secret_key, token = f"ASIA{digest[:16].upper()}", f"secret{digest}", f"token{digest}"
    account, role_name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    sts.register_session(
        access_key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/SageMaker",
            "UserId": f"{role_name}:SageMaker",
            "SecretAccessKey": secret_key,
            "SessionToken": token,
        },
    )
    return access_key, secret_key, token
