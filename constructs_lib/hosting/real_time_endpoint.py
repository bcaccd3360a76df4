"""What every endpoint with instances of one tenant, or of one pipeline, has around its Model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import endpoint_parts
from constructs_lib.alarms import AlarmAudience, AlarmSpec, add_alarms
from constructs_lib.endpoint_alarms import EndpointAlarms, dedicated_rollback_alarms, instance_alarms
from constructs_lib.endpoint_metrics import EndpointMetrics
from constructs_lib.variant_scaling import VariantScaling
from tierfleet.config import FleetConfig
from tierfleet.config.hosting.dedicated import DedicatedTier
from tierfleet.config.hosting.multi_container import MultiContainerTier
from tierfleet.config.hosting.pipeline import PipelineTier

# The next request goes to the instance with the fewest requests at work, not to a random one.
LEAST_OUTSTANDING_REQUESTS = "LEAST_OUTSTANDING_REQUESTS"


@dataclass(frozen=True)
class RealTimeEndpoint:
    """The endpoint of a Model, with what its construct passes on."""

    endpoint: sagemaker.CfnEndpoint
    endpoint_config_name: str
    metrics: EndpointMetrics


def real_time_endpoint(
    scope: Construct,
    *,
    endpoint_name: str,
    model: sagemaker.CfnModel,
    config: FleetConfig,
    tier: DedicatedTier | MultiContainerTier | PipelineTier,
    routing_strategy: str | None,
    audience: AlarmAudience,
    container_alarms: Callable[[EndpointMetrics], Sequence[AlarmSpec]] = lambda _: (),
) -> RealTimeEndpoint:
    """Define EndpointConfig and Endpoint of a Model, the endpoint's scaling and its alarms, below `scope`.

    routing_strategy: None leaves it to SageMaker. container_alarms: what else is watched, beyond the endpoint.
    """
    routing = (
        sagemaker.CfnEndpointConfig.RoutingConfigProperty(routing_strategy=routing_strategy)
        if routing_strategy is not None
        else None
    )
    endpoint_config = endpoint_parts.endpoint_config(scope, model=model, config=config, tier=tier, routing=routing)
    metrics = EndpointMetrics(endpoint_name, tier.hosting)
    endpoint = endpoint_parts.endpoint(
        scope,
        endpoint_name=endpoint_name,
        endpoint_config=endpoint_config,
        tier=tier,
        rollback_alarms=add_alarms(scope, dedicated_rollback_alarms(metrics, tier.alarms), audience),
    )
    specs = [*instance_alarms(metrics, tier), *container_alarms(metrics)]
    alarms = EndpointAlarms(scope, "Alarms", specs=specs, audience=audience)
    scaling = VariantScaling(
        scope, "Scaling", endpoint=endpoint, metrics=metrics, tier=tier, scale_on_cache=None, audience=audience
    )
    # Created after the endpoint and deleted before it. A reference alone would not wait until it is in service.
    for later in (alarms, scaling):
        later.node.add_dependency(endpoint)
    return RealTimeEndpoint(endpoint, endpoint_config.attr_endpoint_config_name, metrics)
