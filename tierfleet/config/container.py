"""The image of a container and what it is given."""

from collections.abc import Mapping

from tierfleet.config.section import Section


class Container(Section):
    """The image that serves the models."""

    image: str
    """`sagemaker-xgboost` or `sagemaker-scikit-learn` (AWS's stock images), `tierfleet` (our dense server), or
    a full ECR URI. -> AWS::SageMaker::Model PrimaryContainer.Image"""
    version: str | None = None
    """Tag of a stock image, such as `1.7-1`; needed for stock images only."""
    environment: Mapping[str, str] = {}
    """Passed to the container as it is, script mode (`SAGEMAKER_PROGRAM`, `SAGEMAKER_SUBMIT_DIRECTORY`)
    included; at most 100 entries. -> PrimaryContainer.Environment"""
