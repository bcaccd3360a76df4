"""The hosting shapes: one module each, and this table."""

from collections.abc import Mapping
from typing import Final

from tierfleet.runtime.hosting.asynchronous import ASYNC
from tierfleet.runtime.hosting.dedicated import DEDICATED
from tierfleet.runtime.hosting.multi_container import MULTI_CONTAINER
from tierfleet.runtime.hosting.multi_model import MULTI_MODEL
from tierfleet.runtime.hosting.pipeline import PIPELINE
from tierfleet.runtime.hosting.serverless import SERVERLESS
from tierfleet.runtime.hosting.shape import REAL_TIME_ANSWER_SECONDS, REAL_TIME_BODY_BYTES, HostingShape

SHAPES: Final[Mapping[str, HostingShape]] = {
    shape.hosting: shape
    for shape in (
        MULTI_MODEL,
        DEDICATED,
        MULTI_CONTAINER,
        SERVERLESS,
        PIPELINE,
        ASYNC,
    )
}
"""Every shape by the word of `hosting`."""

LONGEST_ANSWER_SECONDS: Final = max(shape.longest_answer_seconds for shape in SHAPES.values())

__all__ = [
    "ASYNC",
    "DEDICATED",
    "LONGEST_ANSWER_SECONDS",
    "MULTI_CONTAINER",
    "MULTI_MODEL",
    "PIPELINE",
    "REAL_TIME_ANSWER_SECONDS",
    "REAL_TIME_BODY_BYTES",
    "SERVERLESS",
    "SHAPES",
    "HostingShape",
]
