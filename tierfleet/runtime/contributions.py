"""Contributions of features to scores: the dense server's reply to `Accept: application/json; contribs=true`.

`{"feature_names": [...], "predictions": [{"score": s, "bias": b, "contributions": [...]}, ...]}`. With several outputs
`bias` has one number, and `contributions` one list, for each output.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.runtime.number_text import is_plain

CONTRIBS: Final = "application/json; contribs=true"

# A score per row, or a list of scores per row.
Scores = list[float] | list[list[float]]


class NoContributionsError(ValueError):
    """The reply has scores but no contributions: its image cannot compute them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputContributions:
    """What each feature adds to one output of one row: SHAP values, as XGBoost's `pred_contribs` computes them.

    The unit is the margin's: the score before the objective's transform, for binary:logistic the log-odds.
    """

    contributions: tuple[float, ...]
    """One per feature, in the order of `Contributions.feature_names`."""

    bias: float
    """The output without any feature."""

    @property
    def margin(self) -> float:
        """The sum of bias and contributions. XGBoost's own margin is rounded to float32."""
        return math.fsum((self.bias, *self.contributions))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowContributions:
    """The score and contributions of one row."""

    score: float | list[float]
    """As `predict` returns it."""

    outputs: tuple[OutputContributions, ...]
    """One, or one for each class, target or quantile. multi:softmax has one score, the class, and an output for each
    class."""

    @property
    def contributions(self) -> tuple[float, ...]:
        """Of the only output; raises ValueError if there are several."""
        return self._only.contributions

    @property
    def bias(self) -> float:
        """Of the only output; raises ValueError if there are several."""
        return self._only.bias

    @property
    def margin(self) -> float:
        """Of the only output; raises ValueError if there are several."""
        return self._only.margin

    @property
    def _only(self) -> OutputContributions:
        if len(self.outputs) != 1:
            raise ValueError(f"the row has {len(self.outputs)} outputs; choose one, for example outputs[0]")
        return self.outputs[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """The explained rows of one call, in the order in which they were sent.

    >>> explained = fleet.explain("m37", [[0.3, 1.0, 12.5]])
    >>> explained.feature_names
    ('amount', 'country', 'age')
    >>> explained.reasons()[:2]
    [('age', 12.5), ('country', 1.0)]
    """

    feature_names: tuple[str, ...]
    rows: tuple[RowContributions, ...]

    def reasons(self, row: int = 0, output: int = 0) -> list[tuple[str, float]]:
        """Each feature and its contribution to one output of one row, the largest absolute value first."""
        named = zip(self.feature_names, self.rows[row].outputs[output].contributions, strict=True)
        return sorted(named, key=lambda reason: -abs(reason[1]))


def parse_contributions(body: bytes) -> Contributions:
    """The contributions in a reply.

    Raises NoContributionsError if the reply has only scores, ValueError if it is malformed.
    """
    text = body.decode("utf-8").strip()
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError(f"the reply is nested too deeply: {start_of(text)}") from None
    except ValueError:
        document = None
    names = document.get("feature_names") if isinstance(document, dict) else None
    if not isinstance(document, dict) or names is None:
        raise NoContributionsError(f"the reply has no contributions: {start_of(text)}")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"the reply's feature_names are not texts: {start_of(text)}")
    predictions = document.get("predictions")
    if not isinstance(predictions, list):
        raise ValueError(f"the reply has no list of predictions: {start_of(text)}")
    rows = tuple(_row(prediction, len(names), text) for prediction in predictions)
    if len({len(row.outputs) for row in rows}) > 1:
        raise ValueError(f"the reply has rows with different numbers of outputs: {start_of(text)}")
    return Contributions(feature_names=tuple(names), rows=rows)


def number_of(value: Any, text: str) -> float:
    """A number in a reply. Raises ValueError; text: the whole reply, for the message."""
    if value is None:
        raise ValueError(f"the reply has null for a number that is not finite: {start_of(text)}")
    odd = isinstance(value, str) and not is_plain(value)
    if odd or isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"the reply has a value that is not a number: {start_of(text)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"the reply has a number too large for a float: {start_of(text)}") from None
    except ValueError:
        raise ValueError(f"the reply has a value that is not a number: {start_of(text)}") from None


def start_of(text: str) -> str:
    """The first characters of a reply, for a message."""
    return repr(text[:60])


def _row(prediction: Any, features: int, text: str) -> RowContributions:
    if not isinstance(prediction, dict) or not {"score", "bias", "contributions"} <= prediction.keys():
        raise ValueError(f"the reply has a row without score, bias or contributions: {start_of(text)}")
    score, bias, contributions = (prediction[name] for name in ("score", "bias", "contributions"))
    if not isinstance(bias, list):
        bias, contributions = [bias], [contributions]
    if not isinstance(contributions, list) or not bias or len(bias) != len(contributions):
        raise ValueError(f"the reply has a row whose bias and contributions differ in outputs: {start_of(text)}")
    if not all(isinstance(one, list) and len(one) == features for one in contributions):
        raise ValueError(f"the reply has a row without one contribution for each of {features} features")
    outputs = tuple(
        OutputContributions(contributions=tuple(number_of(value, text) for value in one), bias=number_of(base, text))
        for base, one in zip(bias, contributions, strict=True)
    )
    if isinstance(score, list):
        return RowContributions(score=[number_of(value, text) for value in score], outputs=outputs)
    return RowContributions(score=number_of(score, text), outputs=outputs)
