"""What a call brought back, and the scores in it, whichever image and tier wrote them.

The stock XGBoost image answers the same request in other bytes on a multi-model and on a dedicated endpoint:
`[0.1, 0.2]` and `{"predictions": [{"score": 0.1}, …]}` as JSON, one line and one line per row as CSV.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.runtime.client.pointer_cache import PointerSource

CSV: Final = "text/csv"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a call's time went, in seconds: waiting for a slot and between attempts, finding the endpoint and the
    model's version, InvokeEndpoint (all attempts), and all of it together."""

    waiting_seconds: float
    resolving_seconds: float
    calling_seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answered call.

    body, content_type: as the model server sent them. tier, endpoint: what served it; fell_back: the default tier,
    because the routed endpoint is gone. model_version: of the pointer; on a dedicated endpoint what the routes pin,
    which the endpoint may be ahead of while it changes (docs/calling.md), None in older routes. pointer: where the
    pointer came from, None on a dedicated endpoint. attempts: InvokeEndpoint calls, from 1.
    """

    body: bytes
    content_type: str
    tenant: str
    tier: str
    endpoint: str
    fell_back: bool
    model_version: str | None
    pointer: PointerSource | None
    attempts: int
    timings: Timings

    @property
    def predictions(self) -> list[float]:
        """One score per row; raises ValueError if the body holds anything else."""
        return parse_scores(self.body)


def parse_scores(body: bytes) -> list[float]:
    """The scores in a reply of any image on any tier, as JSON or CSV; raises ValueError if it is not one per row.

    The bytes decide, not the content type: some servers state one type and send another.
    """
    text = body.decode("utf-8").strip()
    if text[:1] in {"[", "{"}:
        try:
            document = json.loads(text)
        except RecursionError:
            raise ValueError(f"the reply is nested too deeply: {_start(text)}") from None
        scores = document.get("predictions") if isinstance(document, dict) else document
        if not isinstance(scores, list):
            raise ValueError(f"the reply has no list of predictions: {_start(text)}")
        return [_number(score, text) for score in scores]
    return [_number(part, text) for part in text.replace("\n", ",").split(",") if part.strip()]


def csv_rows(rows: Iterable[Sequence[float | None]]) -> bytes:
    """Rows of features as `text/csv`, without a header; None and NaN become `nan`, a missing value.

    Raises ValueError for no rows, an empty row, rows of different lengths, or an infinite feature.
    """
    lines = []
    width = None
    for number, row in enumerate(rows):
        try:
            values = [float("nan") if value is None else float(value) for value in row]
        except (TypeError, OverflowError) as error:
            raise ValueError(f"row {number} has a feature that is no number: {error}") from error
        width = len(values) if width is None else width
        if not values or len(values) != width:
            raise ValueError(f"row {number} has {len(values)} features, allowed: {width or 'at least 1'}")
        if any(math.isinf(value) for value in values):
            raise ValueError(f"row {number} has an infinite feature, allowed: numbers, None and nan")
        lines.append(",".join(map(repr, values)))
    if not lines:
        raise ValueError("there are no rows to score")
    return "\n".join(lines).encode()


def _number(value: Any, text: str) -> float:
    if isinstance(value, dict):
        value = value.get("score")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"the reply is not one score per row: {_start(text)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"the reply has a number beyond every float: {_start(text)}") from None


def _start(text: str) -> str:
    return repr(text[:60])
