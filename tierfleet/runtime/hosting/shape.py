"""What a caller must know about a hosting shape."""

from dataclasses import dataclass
from typing import Final

# SageMaker answers within 60 s. A model that needs longer to load is answered with ModelNotReadyException.
REAL_TIME_ANSWER_SECONDS: Final = 70.0
# The largest request that SageMaker takes in a call, where a shape has no smaller limit.
# Source: docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
REAL_TIME_BODY_BYTES: Final = 6 * 2**20


@dataclass(frozen=True, kw_only=True)
class HostingShape:
    """One hosting shape of SageMaker, as clients, gates and endpoint names see it.

    `SHAPES["serverless"].longest_answer_seconds` is 250: a cold call may take that long.
    """

    hosting: str
    """The word of the fleet file and of the route document."""
    name_word: str
    """The first word of the last part of an endpoint's name, such as `mme` in `mme-m5-xlarge`."""
    shared: bool
    """Whether one endpoint serves many tenants. A call then names its model (TargetModel)."""
    always_in_memory: bool = False
    """Whether the model is in memory before a call."""
    names_container: bool = False
    """Whether each call names the container that answers it (TargetContainerHostname)."""
    longest_answer_seconds: float = REAL_TIME_ANSWER_SECONDS
    """How long a client waits for one answer, unless the caller's deadline is shorter."""
    falls_back: bool = True
    """Whether the default tier can answer for an endpoint that is gone: its models take the same requests."""
    max_body_bytes: int | None = None
    """The largest request that can be answered; None leaves that to SageMaker."""
    request_response: bool = True
    """Whether a call waits for its answer (`invoke`); otherwise it goes into a queue (`submit`). A tenant moves between
    two such shapes without losing a call."""
