"""What a template says of its endpoints' hosting shapes, held against what SageMaker takes and publishes.

`refused(template)` asks the local emulator's own rules of CreateEndpointConfig. `unpublished(template)` asks the table
of published metrics, alarm by alarm, for the shape in the endpoint's name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from local_cloud.core.errors import ServiceError
from local_cloud.services.sagemaker import endpoint_configs
from tierfleet.config.published_metrics import INSTANCES, REQUESTS, NotPublishedError, published
from tierfleet.runtime.hosting import SHAPES

Template = Mapping[str, Any]
_HOSTING = {shape.name_word: word for word, shape in SHAPES.items()}


def check_shapes(template: Template) -> list[str]:
    """A sentence for each property that SageMaker refuses and each metric that is never published."""
    return [*refused(template), *unpublished(template)]


def refused(template: Template) -> Iterator[str]:
    """Variants that CreateEndpointConfig refuses, and the ones that have neither instances nor a ServerlessConfig."""
    resources = template.get("Resources", {})
    for name, properties in _of(template, "AWS::SageMaker::EndpointConfig"):
        for variant in properties["ProductionVariants"]:
            if ("InstanceType" in variant) == ("ServerlessConfig" in variant):
                yield f"{name}: a variant has instances or a ServerlessConfig, and one of them only"
            model = resources[variant["ModelName"]["Fn::GetAtt"][0]]["Properties"]
            for check in endpoint_configs._CHECKS:
                try:
                    check(variant, model, properties)
                except ServiceError as error:
                    yield f"{name}: {error.message}"


def unpublished(template: Template) -> Iterator[str]:
    """Alarms on endpoints that watch a metric, a statistic or dimensions that their shape does not publish."""
    for name, properties in _of(template, "AWS::CloudWatch::Alarm"):
        single = {"Metric": properties, "Stat": properties.get("ExtendedStatistic") or properties.get("Statistic")}
        queries = [query["MetricStat"] for query in properties.get("Metrics", []) if "MetricStat" in query]
        for query in queries or [single]:
            metric = query["Metric"]
            dimensions = {item["Name"]: item["Value"] for item in metric.get("Dimensions", [])}
            if metric["Namespace"] not in (REQUESTS, INSTANCES) or not isinstance(dimensions.get("EndpointName"), str):
                continue
            hosting = _HOSTING[dimensions["EndpointName"].split("--")[4].split("-")[0]]
            try:
                of_container = "ContainerName" in dimensions
                told = published(hosting, metric["MetricName"], query["Stat"], of_container=of_container)
            except NotPublishedError as error:
                yield f"{name}: {error}"
                continue
            if (told.namespace, told.dimensions) != (metric["Namespace"], tuple(dimensions)):
                yield f"{name}: {told.name} is published in {told.namespace} under {told.dimensions}"


def _of(template: Template, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, resource in template.get("Resources", {}).items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})
