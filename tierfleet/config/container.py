"""The image of a container, what it is given, and a row that it answers."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from tierfleet.config.section import Section


class Container(Section):
    """The image that serves the models."""

    image: str
    """`sagemaker-xgboost` or `sagemaker-scikit-learn` (AWS's stock images), `tierfleet` (our dense server), or
    a full ECR URI. -> AWS::SageMaker::Model PrimaryContainer.Image"""
    version: str | None = None
    """Tag of a stock image, such as `1.7-1`; needed for stock images only."""
    environment: Mapping[str, str] = {}
    """Passed to the container as it is; at most 100 entries. -> PrimaryContainer.Environment"""


class Probe(Section):
    """One valid row of every model of the fleet: the warm-up and the parity checks send it."""

    content_type: str
    """Content type of the row, such as `text/csv`."""
    body: Annotated[str, Field(min_length=1, max_length=100_000)]
    """The row. An invalid one counts as an Invocation5XXError on a multi-model endpoint."""
