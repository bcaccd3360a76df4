"""The two steps around a fraud model: an order becomes the model's features, and its score becomes a decision."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

URGENT = frozenset(("urgent", "hurry", "asap", "today", "immediately", "express"))
_NIGHT_ENDS = 6


def features(order: Mapping[str, Any]) -> list[float]:
    """The six features of one order.

    >>> features({
    ...     "placed_at": "2027-09-18T03:15:00+02:00", "customer_since": "2027-09-16T12:00:00+00:00", "amount": 99.0,
    ...     "note": "URGENT, leave it at no. 5",
    ... })
    [4.605, 3.0, 1.0, 1.552, 0.04, 1.0]

    Raises ValueError for an order that it cannot read.
    """
    try:
        placed = _moment(order["placed_at"])
        since = _moment(order["customer_since"])
        amount, note = float(order["amount"]), str(order["note"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"order {str(order)[:200]}: {type(error).__name__}: {error}") from None
    if not 0 <= amount < math.inf:
        raise ValueError(f"amount is {amount}, allowed: 0 or more")
    words = [word.strip(".,;:!?").lower() for word in note.split()]
    return [
        round(math.log1p(amount), 3),
        float(placed.hour),
        float(placed.weekday() >= 5 or placed.hour < _NIGHT_ENDS),
        round((placed - since).total_seconds() / 86_400, 3),
        round(sum(character.isdigit() for character in note) / max(1, len(note)), 3),
        float(sum(word in URGENT for word in words)),
    ]


@dataclass(frozen=True)
class Policy:
    """From which score, 0 to 1, an order is looked at, and from which it is refused."""

    review_from: float
    refuse_from: float

    def __post_init__(self) -> None:
        if not 0 <= self.review_from <= self.refuse_from <= 1:
            raise ValueError(
                f"must hold 0 <= review_from <= refuse_from <= 1, not {self.review_from}, {self.refuse_from}"
            )


def decision(score: float, policy: Policy) -> dict[str, Any]:
    """What is done with an order, and why.

    >>> decision(0.83, Policy(review_from=0.4, refuse_from=0.8))
    {'decision': 'refuse', 'score': 0.83, 'reasons': ['score 0.83 is 0.8 or more']}

    Raises ValueError for a score that is no probability.
    """
    if not 0 <= score <= 1:  # NaN too, which would be below every limit
        raise ValueError(f"score is {score}, allowed: 0 to 1")
    score = round(score, 4)
    if score >= policy.refuse_from:
        return _decided("refuse", score, f"score {score:g} is {policy.refuse_from:g} or more")
    if score >= policy.review_from:
        reasons = [f"score {score:g} is {policy.review_from:g} or more", f"and below {policy.refuse_from:g}"]
        return _decided("review", score, *reasons)
    return _decided("approve", score, f"score {score:g} is below {policy.review_from:g}")


def csv(rows: Sequence[Sequence[float]]) -> str:
    """Rows as the model servers read them."""
    return "\n".join(",".join(map(repr, row)) for row in rows)


def _decided(what: str, score: float, *reasons: str) -> dict[str, Any]:
    return {"decision": what, "score": score, "reasons": list(reasons)}


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment
