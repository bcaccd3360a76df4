"""The seam between the control plane and whatever answers an invocation.

`ConstantServer` is the only implementation for now: it runs no model. It answers a marked constant and
keeps what was asked, which is enough to prove routing, permissions and the request rules.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

CONSTANT_ANSWER = b'{"local_cloud": "no model was run"}'


@dataclass(frozen=True)
class InvocationRequest:
    body: bytes
    content_type: str | None = None
    accept: str | None = None
    target_model: str | None = None
    custom_attributes: str | None = None
    inference_id: str | None = None


@dataclass(frozen=True)
class InvocationReply:
    body: bytes
    content_type: str


class Server(Protocol):
    def failure_to_start(self, container: dict[str, Any]) -> str | None:
        """Why a fleet with this container never passes its health check; None when it does."""

    def serve(self, endpoint_name: str, variant_name: str, request: InvocationRequest) -> InvocationReply: ...


@dataclass
class ConstantServer:
    invocations: list[dict[str, Any]] = field(default_factory=list)
    # Containers whose ModelDataUrl contains one of these never become healthy.
    unhealthy_model_data: set[str] = field(default_factory=set)

    def failure_to_start(self, container: dict[str, Any]) -> str | None:
        url = container.get("ModelDataUrl", "")
        if any(fragment in url for fragment in self.unhealthy_model_data):
            return (
                "The primary container for production variant did not pass the ping health check. "
                "Please check CloudWatch logs for this endpoint."
            )
        return None

    def serve(self, endpoint_name: str, variant_name: str, request: InvocationRequest) -> InvocationReply:
        recorded = {k: v for k, v in asdict(request).items() if v is not None}
        recorded["body"] = request.body.decode("utf-8", errors="replace")
        self.invocations.append({"endpoint": endpoint_name, "variant": variant_name, **recorded})
        return InvocationReply(CONSTANT_ANSWER, "application/json")


server: Server = ConstantServer()
