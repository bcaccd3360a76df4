"""Which image serves the models."""

from typing import Any

import pytest
from synthesis import template_of

from constructs_lib.serving_image import ServingImage
from local_cloud.testing.fleets import DELETE, fleet
from tierfleet import images

URI = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/ours/server:7"


def serving_image(**changes: Any) -> ServingImage:
    config = fleet(**changes)
    built: list[ServingImage] = []
    template_of(
        config,
        lambda stack: built.append(ServingImage(stack, "Image", container=config.container, region=config.region)),
    )
    return built[0]


@pytest.mark.parametrize("region", sorted(images.publishing_accounts()))
def test_a_stock_image_comes_from_the_account_that_publishes_it_in_the_region(region: str) -> None:
    image = serving_image(region=region)
    account = images.publishing_accounts()[region]
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    assert image.uri == f"{account}.dkr.ecr.{region}.{suffix}/sagemaker-xgboost:1.7-1"
    partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rsplit("-", 2)[0], "aws")
    assert image.repository_arn == f"arn:{partition}:ecr:{region}:{account}:repository/sagemaker-xgboost"


def test_scikit_learn_tags_carry_the_processor() -> None:
    image = serving_image(container={"image": "sagemaker-scikit-learn", "version": "1.2-1"})
    assert image.uri == "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


def test_a_full_uri_is_used_as_it_is() -> None:
    image = serving_image(container={"image": URI, "version": DELETE})
    assert image.uri == URI
    assert image.repository_arn == "arn:aws:ecr:eu-west-1:123456789012:repository/ours/server"
