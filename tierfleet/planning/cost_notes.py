"""What a bill rests on and what it leaves out, in sentences."""

from tierfleet.config import DedicatedTier, FleetConfig
from tierfleet.instance_types import describe
from tierfleet.planning.bill import Bill
from tierfleet.planning.usage import Usage


def assumptions(bill: Bill, config: FleetConfig, usage: Usage) -> None:
    """Adds to the bill what was assumed and what is not in it."""
    notes, left_out = bill.notes, bill.left_out
    notes.append("a month has 730 hours; list prices on demand, without free tiers, Savings Plans, discounts and taxes")
    if bill.region != config.region:
        notes.append(f"priced as in {bill.region}, although the fleet is in {config.region}")
    if usage.traffic:
        notes.append(
            "expected: as many instances in each hour of a mean day as keep calls at the scaling target, at once"
        )
    else:
        notes.append("expected: every endpoint at its lower bounds, since no traffic was given (--traffic)")
    if any(tier.scale_on_cache for tier in config.multi_model_tiers.values()):
        notes.append("instances that scale_on_cache adds are in the column at max only")
    if any(tier.warm_up for tier in config.multi_model_tiers.values()):
        notes.append("a warm-up runs until its deadline, which is the most it can")
    if usage.artefact_megabytes is not None:
        lie = "version of each model lies" if usage.versions_kept == 1 else "versions of each model lie"
        notes.append(f"{usage.versions_kept} {lie} in the bucket (--versions-kept)")
    starts = "caller process that starts" if usage.callers == 1 else "caller processes that start"
    notes.append(f"{usage.callers} {starts} anew {usage.restarts_per_month:g} times a month (--callers)")
    defaults = [
        name
        for name, tier in sorted(config.tiers.items())
        if tier.volume_size_in_gb is None
        and not describe(tier.instance_type).local_nvme
        and not (isinstance(tier, DedicatedTier) and not tier.tenants)
    ]
    if defaults:
        left_out.append(f"volumes of {', '.join(defaults)}: SageMaker chooses their size; set volume_size_in_gb")
    if usage.artefact_megabytes is None:
        left_out.append("model storage: give --artefact-megabytes")
    elif usage.tail_tenants is None and usage.traffic is None:
        left_out.append(f"model storage of tier {config.default_tier}: give --tail-tenants or --traffic")
    if usage.traffic is None:
        left_out.append("S3 requests of calls: give --traffic")
    if usage.cold_share is None:
        left_out.append("models read from S3 by cold calls: give --cold-share (transfer within the region is free)")
    if not usage.log_bytes_per_call:
        left_out.append("what the containers log: give --log-bytes-per-call")
    if not usage.client_metrics:
        left_out.append("metrics that callers publish: give --client-metrics")
    if usage.nat_gateways and (usage.cold_share is None or usage.traffic is None or usage.artefact_megabytes is None):
        left_out.append("data through the NAT gateways: give --traffic, --cold-share and --artefact-megabytes")
    if config.network is not None and not usage.nat_gateways:
        left_out.append("NAT gateways, where the VPC has no S3 gateway endpoint: give --nat-gateways")
    left_out.append(
        "second sets of instances while endpoints update, data processed by endpoints, publishing models, SNS, KMS, "
        "image storage, Lambda's logs, custom resources of deployments"
    )
