"""An asynchronous endpoint: one tenant, with a queue in front and results in S3."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import arns, endpoint_parts, invoke_grants
from constructs_lib.alarms import AlarmAudience, AlarmSpec, MetricMath, add_alarms
from constructs_lib.endpoint_alarms import FIVE_MINUTES, EndpointAlarms, disk, memory
from constructs_lib.endpoint_metrics import MILLISECONDS_PER_SECOND, EndpointMetrics
from constructs_lib.graphs import Graph, Row, TenantEndpoint, TenantGraphs, expression, limits, scaled
from constructs_lib.hosting.async_rights import grant_submit
from constructs_lib.hosting.async_scaling import QueueScaling
from tierfleet.config import FleetConfig, routes
from tierfleet.config.guardrail_time import ROLLBACK_DATAPOINTS, ROLLBACK_PERIOD_SECONDS
from tierfleet.config.hosting.asynchronous import AsyncAlarmLimits, AsyncTier
from tierfleet.runtime.names import async_prefix

_RUNBOOK_SECTION = "asynchronous-endpoint"


def failures(metrics: EndpointMetrics, limits: AsyncAlarmLimits) -> AlarmSpec:
    """The ratio of failed requests. It has a literal name, since it must exist before the endpoint it may roll back.

    SageMaker publishes no Invocations for an asynchronous endpoint, so a ratio of 5XX to them would never exist.
    """
    return AlarmSpec(
        id="Failures",
        name=metrics.alarm_name("failures"),
        watches=MetricMath(
            # min_requests is for five minutes, and this alarm looks each minute. Without it one failed request at night
            # would roll an update back.
            f"IF(processed >= {limits.min_requests / 5:.12g}, failures / processed, 0)",
            "failure ratio",
            {
                "failures": metrics.metric("InvocationFailures", "Sum"),
                "processed": metrics.metric("InvocationsProcessed", "Sum"),
            },
        ),
        threshold=limits.max_failure_ratio,
        period_seconds=ROLLBACK_PERIOD_SECONDS,
        datapoints=ROLLBACK_DATAPOINTS,
        meaning=f"More than {100 * limits.max_failure_ratio:g} % of the requests fail in three of five minutes.",
        section=_RUNBOOK_SECTION,
    )


def queue_alarms(metrics: EndpointMetrics, limits: AsyncAlarmLimits) -> list[AlarmSpec]:
    """What an asynchronous endpoint is watched for once it exists: only what SageMaker publishes for one."""
    age = limits.max_age_of_oldest_request_seconds
    undelivered = ("RequestDownloadFailures", "ResponseUploadFailures", "NotificationFailures")
    return [
        AlarmSpec(
            id="OldestRequest",
            name=metrics.alarm_name("oldest-request"),
            # Not the size of the queue: a long queue that moves is what this hosting is for.
            watches=metrics.metric("ApproximateAgeOfOldestRequest", "Maximum"),
            threshold=age,
            period_seconds=FIVE_MINUTES,
            datapoints=(2, 2),
            meaning=f"A request has waited more than {age:g} s: the queue grows faster than instances.max empties it.",
            section=_RUNBOOK_SECTION,
        ),
        AlarmSpec(
            id="NoCapacity",
            name=metrics.alarm_name("no-capacity"),
            watches=metrics.metric("HasBacklogWithoutCapacity", "Average"),
            comparison="GreaterThanOrEqualToThreshold",
            threshold=1,
            period_seconds=60,
            # An instance takes minutes to start and to load its model. After 20 it will not come: usually a quota is in
            # the way.
            datapoints=(20, 20),
            meaning="Requests have waited for 20 minutes without an instance: the endpoint does not wake up.",
            section=_RUNBOOK_SECTION,
        ),
        AlarmSpec(
            id="Expired",
            name=metrics.alarm_name("expired"),
            # Nothing retries a dropped request, so the first one counts.
            watches=metrics.metric("ExpiredRequests", "Sum"),
            threshold=0,
            period_seconds=FIVE_MINUTES,
            datapoints=(1, 1),
            meaning="Requests were dropped because they waited or ran too long.",
            section=_RUNBOOK_SECTION,
        ),
        AlarmSpec(
            id="Undelivered",
            name=metrics.alarm_name("undelivered"),
            watches=MetricMath(
                # A counter without failures has no datapoint, and a sum with a missing part is missing too.
                "FILL(downloads, 0) + FILL(uploads, 0) + FILL(notifications, 0)",
                "undelivered",
                {
                    key: metrics.metric(name, "Sum")
                    for key, name in zip(("downloads", "uploads", "notifications"), undelivered, strict=True)
                },
            ),
            threshold=0,
            period_seconds=FIVE_MINUTES,
            datapoints=(1, 1),
            meaning="Requests could not be read from S3, or results could not be written or announced.",
            section=_RUNBOOK_SECTION,
        ),
        memory(metrics, limits.max_memory_percent),
        disk(metrics, limits.max_disk_percent),
    ]


class AsyncEndpoint(Construct):
    """An asynchronous endpoint for one tenant, with a queue, scaling to zero and alarms.

    `[tiers.backfill.tenants]` with the line `m08 = { model = "m08/2027-09-14.tar.gz" }`, on a tier with
    `hosting = "async"`, becomes one of these.

    Defines AWS::SageMaker::Model (Mode SingleModel, with the pinned artefact), EndpointConfig with an
    AsyncInferenceConfig, Endpoint, its scaling and its alarms. The bucket and the topics are in the Models stack.
    Source: docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        tier_name: str,
        tier: AsyncTier,
        tenant: str,
        image_uris: Sequence[str],
        execution_role: iam.IRole,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config, self._tenant = config, tenant
        self.endpoint_name = routes.endpoint_name(config, tier_name, tenant)
        model = endpoint_parts.model(
            self,
            config=config,
            execution_role=execution_role,
            containers=[endpoint_parts.single_model_container(config, tier, tenant, *image_uris)],
        )
        endpoint_config = endpoint_parts.endpoint_config(
            self, model=model, config=config, tier=tier, queue=_queue(config, tier_name, tier, tenant)
        )
        self.metrics = EndpointMetrics(self.endpoint_name, tier.hosting)
        self.endpoint = endpoint_parts.endpoint(
            self,
            endpoint_name=self.endpoint_name,
            endpoint_config=endpoint_config,
            tier=tier,
            rollback_alarms=add_alarms(self, [failures(self.metrics, tier.alarms)], audience),
        )
        self.endpoint_config_name = endpoint_config.attr_endpoint_config_name
        alarms = EndpointAlarms(self, "Alarms", specs=queue_alarms(self.metrics, tier.alarms), audience=audience)
        scaling = QueueScaling(
            self, "Scaling", endpoint=self.endpoint, metrics=self.metrics, tier=tier, audience=audience
        )
        # Created after the endpoint and deleted before it. A reference alone would not wait until it is in service.
        for later in (alarms, scaling):
            later.node.add_dependency(self.endpoint)

    def grant_submit(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets the grantee submit requests to this tenant's endpoint, whatever it is made of, and read the results."""
        name = invoke_grants.any_generation(self.endpoint_name)
        return grant_submit(grantee, self._config, name, self._tenant)


def _graphs(endpoints: Sequence[TenantEndpoint]) -> list[Graph]:
    outcomes: list[Row] = []
    for number, name in enumerate(("InvocationsProcessed", "InvocationFailures", "ExpiredRequests")):
        ids = [f"q{number}_{index}" for index in range(len(endpoints))]
        parts = [each.metrics.metric(name, "Sum") for each in endpoints]
        outcomes += [part.row(id=part_id, visible=False) for part_id, part in zip(ids, parts, strict=True)]
        outcomes.append(expression(f"SUM([{','.join(ids)}])", name))
    sizes = {each.tenant: each.metrics.metric("ApproximateBacklogSize", "Maximum") for each in endpoints}
    ages = {each.tenant: each.metrics.metric("ApproximateAgeOfOldestRequest", "Maximum") for each in endpoints}
    waits = {each.tenant: each.metrics.metric("TimeInBacklog", "Maximum") for each in endpoints}
    most_ages = [each.tier.alarms.max_age_of_oldest_request_seconds for each in endpoints]
    return [
        Graph("Requests in the queue and at work", [m.row(label=tenant, period=60) for tenant, m in sizes.items()]),
        Graph(
            "Age of the oldest request (seconds)",
            [m.row(label=tenant) for tenant, m in ages.items()],
            limits("alarm above", most_ages),
        ),
        Graph("Longest wait in the queue (seconds)", scaled(waits, MILLISECONDS_PER_SECOND)),
        Graph("Requests and failures", outcomes),
    ]


GRAPHS = TenantGraphs(
    "Asynchronous tenants: an endpoint with a queue each", _graphs, alarms=("failures", "oldest-request")
)
"""What the dashboard shows of these endpoints."""


def _queue(
    config: FleetConfig, tier_name: str, tier: AsyncTier, tenant: str
) -> sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty:
    """Where results go and who is told. SageMaker adds `/<id>.out` to the paths."""
    parts = sagemaker.CfnEndpointConfig
    paths = {
        kind: f"s3://{routes.async_bucket(config)}/{async_prefix(tier_name, kind, tenant)}".removesuffix("/")
        for kind in ("output", "failure")
    }
    concurrency = tier.max_concurrent_invocations_per_instance
    return parts.AsyncInferenceConfigProperty(
        output_config=parts.AsyncInferenceOutputConfigProperty(
            s3_output_path=paths["output"],
            s3_failure_path=paths["failure"],
            kms_key_id=config.encryption.bucket_kms_key_arn,
            notification_config=parts.AsyncInferenceNotificationConfigProperty(
                # Literal ARNs: a reference to the Models stack would be an export, which CloudFormation refuses to
                # change in use.
                success_topic=arns.async_topic(config, "success"),
                error_topic=arns.async_topic(config, "error"),
            ),
        ),
        client_config=None
        if concurrency is None
        else parts.AsyncInferenceClientConfigProperty(max_concurrent_invocations_per_instance=concurrency),
    )
