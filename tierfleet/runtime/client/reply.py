"""What a call brought back, and the scores in it, whichever image and tier wrote them.

The stock XGBoost image answers the same request in other bytes on a multi-model and on a dedicated endpoint:
`[0.1, 0.2]` and `{"predictions": [{"score": 0.1}, …]}` as JSON, one line and one line per row as CSV. Of several scores
per row it makes `[[0.1, 0.9], …]` and `{"predictions": [{"score": [0.1, 0.9]}, …]}`, and `[0.1, 0.9],[…]` as CSV.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.runtime.client.pointer_cache import PointerSource
from tierfleet.runtime.contributions import Contributions, Scores, number_of, parse_contributions, start_of

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
    def predictions(self) -> Scores:
        """A score per row, or a list of scores per row where the model has several (`parse_scores`).

        Raises ValueError if the body holds anything else.
        """
        return parse_scores(self.body)

    @property
    def contributions(self) -> Contributions:
        """Those of a call with `accept=CONTRIBS`; raises ValueError if the body holds none."""
        return parse_contributions(self.body)


def parse_scores(body: bytes, *, rows: int | None = None) -> Scores:
    """The scores in a reply of any image on any tier, as JSON, JSON lines or CSV.

    One float per row; for a model with several scores per row (multi:softprob, several targets or quantiles) one list
    of floats per row, all of the same length. rows: how many were sent, if known.

    The bytes decide, not the content type: some servers state one type and send another. Only two forms can be read in
    two ways. A single line `0.1,0.9` is two rows of a score each, as the stock image writes them, or, where one row was
    sent, a row of two scores. A list `[0.1, 0.9]` is always two rows. So ask for JSON, in which nothing is in doubt.

    Raises ValueError for anything else: other shapes, rows of different lengths, texts, and null, which stands for a
    score that is no finite number.
    """
    text = body.decode("utf-8").strip()
    found = _json_rows(text) if text[:1] in {"[", "{"} else _csv_rows(text, rows)
    scores = [_row_scores(row, text) for row in found]
    one, several = [], []
    for score in scores:
        if isinstance(score, list):
            several.append(score)
        else:
            one.append(score)
    if not several:
        return one
    if one or len({len(score) for score in several}) > 1:
        raise ValueError(f"the reply has rows with different numbers of scores: {start_of(text)}")
    return several


def _json_rows(text: str) -> list[Any]:
    """Of JSON; or of one JSON value per row, a line each or behind commas, as the stock image writes lists into CSV."""
    try:
        try:
            document = json.loads(text)
        except ValueError:
            document = json.loads(f"[{','.join(line for line in text.splitlines() if line.strip())}]")
    except RecursionError:
        raise ValueError(f"the reply is nested too deeply: {start_of(text)}") from None
    except ValueError:
        raise ValueError(f"the reply is no JSON: {start_of(text)}") from None
    if isinstance(document, dict):
        document = [document] if "score" in document else document.get("predictions")
    if not isinstance(document, list):
        raise ValueError(f"the reply has no list of predictions: {start_of(text)}")
    return document


def _csv_rows(text: str, rows: int | None) -> list[Any]:
    lines = [[cell for cell in line.split(",") if cell.strip()] for line in text.splitlines() if line.strip(" ,")]
    if len(lines) == 1 and (rows != 1 or len(lines[0]) == 1):
        return lines[0]
    return lines


def _row_scores(value: Any, text: str) -> float | list[float]:
    if isinstance(value, dict):
        value = value.get("score")
    if isinstance(value, list) and len(value) > 1:
        return [number_of(item, text) for item in value]
    return number_of(value[0] if isinstance(value, list) and value else value, text)


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
