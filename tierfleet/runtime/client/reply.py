"""The reply of a call and the scores in it, from every image and tier.

The stock XGBoost image answers the same request differently on a multi-model and on a dedicated endpoint: `[0.1,
0.2]` and `{"predictions": [{"score": 0.1}, …]}` as JSON, one line and one line per row as CSV. Several scores per row
are `[[0.1, 0.9], …]` and `{"predictions": [{"score": [0.1, 0.9]}, …]}` as JSON, `[0.1, 0.9],[…]` as CSV.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.runtime.client.pointer_cache import PointerSource
from tierfleet.runtime.contributions import Contributions, Scores, number_of, parse_contributions, start_of
from tierfleet.runtime.number_text import is_plain

CSV: Final = "text/csv"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Timings:
    """How long the parts of a call took, in seconds."""

    waiting_seconds: float
    """Waiting for a slot, and between attempts."""

    resolving_seconds: float
    """Finding the endpoint and the model version."""

    calling_seconds: float
    """All attempts of InvokeEndpoint."""

    total_seconds: float
    """The whole call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answered call.

    >>> reply = fleet.invoke("m37", b"0.3,1.0,12.5")
    >>> reply.predictions
    [50.8]
    >>> reply.endpoint, reply.model_version
    ('fraud--prod--tail--all--mme-m5-xlarge', 'v1')
    """

    body: bytes
    """As the model server sent it."""

    content_type: str
    """As the model server sent it."""

    tenant: str

    tier: str
    """The tier that answered."""

    endpoint: str
    """The endpoint that answered."""

    container: str | None = None
    """The hostname of the container that answered; None unless the endpoint is a multi-container endpoint."""

    fell_back: bool
    """Whether the default tier answered because the endpoint in the routes does not exist."""

    model_version: str | None
    """On a multi-model endpoint the pointer's version. On a dedicated endpoint the version in the routes, which may be
    older than the one that answered during a rollout (docs/calling.md); None in routes of an older fleet."""

    pointer: PointerSource | None
    """Where the pointer came from; None on a dedicated endpoint."""

    attempts: int
    """InvokeEndpoint calls, from 1."""

    timings: Timings

    @property
    def predictions(self) -> Scores:
        """One score per row, or a list of scores per row if the model has several (`parse_scores`).

        Raises ValueError if the body has anything else.
        """
        return parse_scores(self.body)

    @property
    def contributions(self) -> Contributions:
        """The contributions of a call with `accept=CONTRIBS`; raises ValueError if the body has none."""
        return parse_contributions(self.body)


def parse_scores(body: bytes, *, rows: int | None = None) -> Scores:
    """The scores in a reply of any image on any tier, as JSON, JSON lines or CSV.

    Returns one float per row. For a model with several scores per row (multi:softprob, several targets or quantiles) it
    returns one list of floats per row, all of the same length. rows: how many were sent, if known.

    The format follows from the bytes, not from the content type: some servers declare one type and send another. A
    single line `0.1,0.9` is ambiguous: two rows with one score each, as the stock image writes them, or, if one row
    was sent, a row of two scores. A list `[0.1, 0.9]` is always two rows. JSON is never ambiguous, so request JSON.

    Raises ValueError for anything else: other shapes, rows of different lengths, texts, and null, which means that a
    score is not finite.
    """
    text = body.decode("utf-8").strip()
    table = _json_rows(text) if text[:1] in {"[", "{"} else _csv_rows(text, rows)
    scores = [_row_scores(row, text) for row in table]
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
            # Lists that the stock image writes into CSV, a line each or behind commas.
            document = json.loads(f"[{','.join(line for line in text.splitlines() if line.strip())}]")
    except RecursionError:
        raise ValueError(f"the reply is nested too deeply: {start_of(text)}") from None
    except ValueError:
        raise ValueError(f"the reply is not JSON: {start_of(text)}") from None
    if isinstance(document, dict):
        document = [document] if "score" in document else document.get("predictions")
    if not isinstance(document, list):
        raise ValueError(f"the reply has no list of predictions: {start_of(text)}")
    return document


def _csv_rows(text: str, rows: int | None) -> list[Any]:
    # A comma may end a line. An empty cell anywhere else is refused as no number: the scores after it would move up.
    lines = [line.rstrip(" ,").split(",") for line in text.splitlines() if line.strip(" ,")]
    # One line has all rows on a multi-model endpoint of the stock image, a score each.
    if len(lines) == 1 and (rows != 1 or len(lines[0]) == 1):
        return lines[0]
    return lines


def _row_scores(value: Any, text: str) -> float | list[float]:
    if isinstance(value, dict):
        value = value.get("score")
    if isinstance(value, list) and len(value) > 1:
        return [number_of(item, text) for item in value]
    return number_of(value[0] if isinstance(value, list) and value else value, text)


_NO_LISTS: Final = (str, bytes, bytearray, Mapping, Set)


def _feature(value: Any) -> float:
    if isinstance(value, str) and not is_plain(value):
        raise ValueError(f"could not convert string to float: {value[:40]!r}")
    return math.nan if value is None else float(value)


def csv_rows(rows: Iterable[Sequence[float | None]]) -> bytes:
    """Rows of features as `text/csv`, without a header; None and NaN become `nan`, a missing value.

    Raises ValueError for no rows, an empty row, rows of different lengths, an infinite feature, and for what has no
    order of features or iterates over something else than them: texts, tables by name, sets, data frames.
    """
    lines = []
    width = None
    if isinstance(rows, _NO_LISTS) or not isinstance(rows, Iterable):
        raise ValueError(f"the rows are a {type(rows).__name__}, allowed: a list of rows")
    if hasattr(rows, "to_numpy"):  # a data frame iterates over its columns' names
        raise ValueError(f"the rows are a {type(rows).__name__}, allowed: a list of rows; give .to_numpy()")
    for number, row in enumerate(rows):
        if isinstance(row, _NO_LISTS):
            raise ValueError(
                f"row {number} is a {type(row).__name__}, allowed: a list of features in the model's order"
            )
        try:
            values = [_feature(value) for value in row]
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"row {number} has a feature that is not a number: {error}") from error
        width = len(values) if width is None else width
        if not values or len(values) != width:
            raise ValueError(f"row {number} has {len(values)} features, allowed: {width or 'at least 1'}")
        # XGBoost refuses infinite values, and JSON and CSV have no common text for them.
        if any(math.isinf(value) for value in values):
            raise ValueError(f"row {number} has an infinite feature, allowed: numbers, None and nan")
        # repr has the fewest digits that read back as the same double.
        lines.append(",".join(map(repr, values)))
    if not lines:
        raise ValueError("no rows were given, allowed: at least 1")
    return "\n".join(lines).encode()
