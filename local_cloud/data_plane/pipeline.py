"""Serial pipelines: the containers of one instance in order, each reply being the next one's request.

That a reply's content type is the next request's is how AWS's examples behave; no page says it. What becomes of the
caller's Accept is not documented either: here the last container gets it, and the others write their default.
https://docs.aws.amazon.com/sagemaker/latest/dg/inference-pipelines.html
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from local_cloud.data_plane import invocation_errors
from local_cloud.data_plane.instances.container_client import ContainerReply
from local_cloud.data_plane.instances.instance import Instance

# Source: docs.aws.amazon.com/sagemaker/latest/dg/inference-pipeline-troubleshoot.html
MAX_BYTES_BETWEEN_STAGES: Final = 5 * 1024 * 1024

Headers = dict[bytes, bytes]
Ask = Callable[[Instance, Headers, bytes], Awaitable[tuple[ContainerReply, float]]]
"""Asks one container; its reply and the seconds that it took."""


@dataclass(frozen=True)
class Passed:
    """How far a request came."""

    reply: ContainerReply
    """Of the last container that was asked."""
    container: str
    """Its hostname."""
    seconds: float
    """Of all containers together."""


def entries(groups: Sequence[Sequence[Instance]]) -> list[Instance]:
    """Of each instance whose containers are all in service, the container that decides where a request goes: the one in
    MultiModel mode, else the first."""
    ready = [group for group in groups if all(instance.in_service for instance in group)]
    return [next((each for each in group if each.spec.multi_model), group[0]) for group in ready]


def stages(groups: Sequence[Sequence[Instance]], entry: Instance) -> Sequence[Instance]:
    """The containers of the instance of this one, in order."""
    return next(group for group in groups if entry in group)


async def through(
    containers: Sequence[Instance], headers: Headers, body: bytes, *, ask: Ask, observe: Callable[[str, float], None]
) -> Passed:
    """The request's way until a container fails or the last one has answered. observe: told the hostname and the
    seconds of each container.

    Raises ServiceError where a reply is too large for the next container.
    """
    seconds = 0.0
    for place, container in enumerate(containers):
        last = place == len(containers) - 1
        passed = {name: value for name, value in headers.items() if last or name != b"accept"}
        reply, taken = await ask(container, passed, body)
        name = container.spec.hostname or ""
        observe(name, taken)
        seconds += taken
        if last or not 200 <= reply.status < 300:
            return Passed(reply, name, seconds)
        following = containers[place + 1].spec.hostname or ""
        if len(reply.body) > MAX_BYTES_BETWEEN_STAGES:
            raise invocation_errors.too_large_between(name, following, len(reply.body), MAX_BYTES_BETWEEN_STAGES)
        headers, body = _next_headers(headers, reply), reply.body
    raise ValueError("a pipeline has no container")


def _next_headers(headers: Headers, reply: ContainerReply) -> Headers:
    content_type = reply.headers.get(b"content-type", b"application/octet-stream")
    return {**headers, b"content-type": content_type}
