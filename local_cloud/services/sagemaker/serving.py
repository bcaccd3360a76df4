"""The seam between the control plane and whatever answers an invocation.

`ConstantServer` runs no model: it answers a marked constant and keeps what was asked, which is enough to prove
routing, permissions and the request rules. `model_servers.ModelServers` runs instances.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from local_cloud.services.sagemaker.endpoint import Change, Endpoint

CONSTANT_ANSWER = b'{"local_cloud": "no model was run"}'
Containers = list[dict[str, Any]]


@dataclass(frozen=True)
class InvocationRequest:
    body: bytes
    content_type: str | None = None
    accept: str | None = None
    target_model: str | None = None
    target_container: str | None = None
    custom_attributes: str | None = None
    inference_id: str | None = None


@dataclass(frozen=True)
class InvocationReply:
    body: bytes
    content_type: str


@dataclass(frozen=True)
class Started:
    """A fleet has been started: it is healthy, or this is why it never will be."""

    failure: str | None = None


class Server(Protocol):
    # Containers whose ModelDataUrl contains one of these never become healthy: a fault.
    unhealthy_model_data: set[str]

    def follow(self, endpoint: Endpoint, /) -> None:
        """The endpoint is now like this; it may be unchanged."""

    def started(self, endpoint: Endpoint, change: Change, containers: Containers, /) -> Started | None:
        """What became of the instances of a change; None while they start."""

    def collect(self) -> None:
        """Hand over to `observations` what was observed until now."""

    def clear(self) -> None:
        """Forget what was observed and injected."""


@dataclass
class ConstantServer:
    invocations: list[dict[str, Any]] = field(default_factory=list)
    unhealthy_model_data: set[str] = field(default_factory=set)

    def follow(self, _endpoint: Endpoint, /) -> None:
        pass

    def started(self, _endpoint: Endpoint, _change: Change, containers: Containers, /) -> Started | None:
        return Started(injected_failure(containers, self.unhealthy_model_data))

    def collect(self) -> None:
        pass

    def clear(self) -> None:
        self.invocations.clear()
        self.unhealthy_model_data.clear()

    def serve(self, endpoint_name: str, variant_name: str, request: InvocationRequest) -> InvocationReply:
        recorded = {k: v for k, v in asdict(request).items() if v is not None}
        recorded["body"] = request.body.decode("utf-8", errors="replace")
        self.invocations.append({"endpoint": endpoint_name, "variant": variant_name, **recorded})
        return InvocationReply(CONSTANT_ANSWER, "application/json")


def never_healthy(reason: str = "") -> str:
    """SageMaker's sentence about a fleet that did not start, and what is known here."""
    return (
        "The primary container for production variant did not pass the ping health check. "
        f"Please check CloudWatch logs for this endpoint.{f' ({reason})' if reason else ''}"
    )


def injected_failure(containers: Containers, unhealthy_model_data: set[str]) -> str | None:
    urls = [container.get("ModelDataUrl", "") for container in containers]
    hit = any(fragment in url for fragment in unhealthy_model_data for url in urls)
    return never_healthy() if hit else None


server: Server = ConstantServer()
