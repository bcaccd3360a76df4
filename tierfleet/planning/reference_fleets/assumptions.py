"""What the comparison assumes, since AWS gives no figure or no account has measured it. The text is shown with it."""

from typing import Final

from tierfleet.planning.replay.scaling import BOOT_MINUTES

SERVERLESS_MEMORY_MB: Final = 3072
"""The one size whose price was read."""
SERVERLESS_START_SECONDS: Final = 10.0
SERVERLESS_KEPT_SECONDS: Final = 300.0
"""How long a container without calls is kept. The local emulator does the same."""
ASYNC_WAKE_SECONDS: Final = 60.0 * (2 + BOOT_MINUTES)
"""Two datapoints of HasBacklogWithoutCapacity, then the instance."""
ASYNC_AWAKE_SECONDS: Final = 15 * 60.0
"""Target tracking scales in after 15 minutes below its target.
docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html"""
GROUP_TENANTS: Final = 100
CONTAINERS_PER_ENDPOINT: Final = 15
"""docs.aws.amazon.com/sagemaker/latest/dg/multi-container-endpoints.html"""
COMPONENT_MIB: Final = 128.0
"""MinMemoryRequiredInMb of an inference component is at least this.
docs.aws.amazon.com/sagemaker/latest/APIReference/API_InferenceComponentComputeResourceRequirements.html"""
EKS_CLUSTER_USD_PER_HOUR: Final = 0.10
"""aws.amazon.com/eks/pricing, standard support"""
EKS_BALANCER_USD_PER_HOUR: Final = 0.0225
"""aws.amazon.com/elasticloadbalancing/pricing, without capacity units"""
EBS_OVER_HOSTING: Final = 1 / 1.4
"""Price of an EBS volume over that of a hosting volume; see data/prices.toml."""

TEXT: Final = (
    "multi-model and EKS: the cheapest fleet that meets the alarm limits of the file; dedicated, pipeline and groups: "
    "two instances for each endpoint",
    "multi-container: 15 tenants share an endpoint here; in tierfleet an endpoint is one tenant's and costs what a "
    "dedicated one costs",
    "pipeline: a stage before the model that takes as long as the smallest model",
    f"serverless: {SERVERLESS_MEMORY_MB} MB, billed for the median time in the container; a container without calls is "
    f"kept {SERVERLESS_KEPT_SECONDS / 60:g} minutes and starts in {SERVERLESS_START_SECONDS:g} s; starts are not "
    "billed",
    f"async: an instance is awake {ASYNC_AWAKE_SECONDS / 60:g} minutes after its last call and wakes in "
    f"{ASYNC_WAKE_SECONDS / 60:g}; prices of hosting",
    f"shared code: {GROUP_TENANTS} models in one process, as the tierfleet server holds XGBoost's own models; a new "
    "model of one tenant is a new version of its group",
    "one shared model: as large as the largest; no tenant has scores of its own",
    "inference components: a container for each tenant, sized by memory alone; nothing is cached, and each model is a "
    "deployment",
    "EKS: EC2's prices, one cluster and one load balancer; routing, cache, updates and on-call are yours and not "
    "priced",
)
