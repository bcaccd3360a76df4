"""SageMaker's container contract: requests in, replies out."""

from .dispatch import Contract, is_invocation, memory_owner
from .invocations import DEDICATED_MODEL
from .management import ALLOWED
from .messages import Answer, Reply, Request, failed, refused

__all__ = [
    "ALLOWED", "DEDICATED_MODEL", "Answer", "Contract", "Reply", "Request", "failed", "is_invocation", "memory_owner",
    "refused",
]  # fmt: skip
