"""What CloudFormation's validators let through and AWS then refuses, or takes and does nothing with.

`check_template` returns one sentence a mistake. Values that only a deployment knows count as 64 characters.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tierfleet.aws_limits import TEMPLATE_BYTES
from tierfleet.template_limits import check_limits, text_of

Template = Mapping[str, Any]

# Namespace and dimensions of each metric, as AWS and the runtime publish them.
_REQUESTS = (
    "ModelLoadingWaitTime ModelDownloadingTime ModelLoadingTime ModelUnloadingTime ModelCacheHit Invocations "
    "InvocationsPerInstance Invocation4XXErrors Invocation5XXErrors InvocationModelErrors ModelLatency OverheadLatency "
    "ModelSetupTime ServerlessConcurrentExecutionsUtilization"
)
_INSTANCES = "LoadedModelCount CPUUtilization MemoryUtilization DiskUtilization"
_VARIANT = ("EndpointName", "VariantName")
# Of asynchronous endpoints. docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
_QUEUES = (
    "ApproximateBacklogSize ApproximateBacklogSizePerInstance ApproximateAgeOfOldestRequest HasBacklogWithoutCapacity"
)
_QUEUED_REQUESTS = (
    "InvocationsProcessed InvocationFailures ExpiredRequests RequestDownloadFailures ResponseUploadFailures "
    "NotificationFailures TimeInBacklog"
)
METRICS = {
    **{("AWS/SageMaker", name): ("EndpointName",) for name in _QUEUES.split()},
    **{("AWS/SageMaker", name): _VARIANT for name in _QUEUED_REQUESTS.split()},
    **{("AWS/SageMaker", name): _VARIANT for name in _REQUESTS.split()},
    **{("/aws/sagemaker/Endpoints", name): _VARIANT for name in _INSTANCES.split()},
    ("AWS/SageMaker", "ContainerLatency"): (*_VARIANT, "ContainerName"),
    **{("AWS/Lambda", name): ("FunctionName",) for name in ("AsyncEventsDropped", "Errors", "Invocations")},
    ("AWS/S3", "BytesDownloaded"): ("BucketName", "FilterId"),
    ("AWS/Events", "FailedInvocations"): ("RuleName",),
    ("AWS/Scheduler", "InvocationDroppedCount"): ("ScheduleGroup",),
}
# Published for each container too. docs.aws.amazon.com/sagemaker/latest/dg/multi-container-metrics.html
_OF_CONTAINERS = {
    *(("AWS/SageMaker", name) for name in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors")),
    *(("/aws/sagemaker/Endpoints", name) for name in ("CPUUtilization", "MemoryUtilization")),
}
# docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html lists the statistics of each metric.
_SUM_ONLY = {"Invocations", "InvocationsPerInstance"}
_PERCENTILES = {"ModelLatency", "ModelSetupTime"}

# Every wildcard an Allow statement may hold: action, resource as a regular expression, why it must be one.
_ACCOUNT = r"[a-z0-9-]+:[0-9]{12}"
_FLEET = r"[a-z0-9-]+--[a-z0-9-]+"
ALLOWED_WILDCARDS = (
    (
        "s3:GetObject",
        rf"arn:aws[a-z-]*:s3:::{_FLEET}/(models|catalog|routes|models/[a-z0-9-]+)/\*",
        "tenants are objects, not resources; a dedicated tenant's role reads that tenant's alone",
    ),
    (
        "s3:PutObject",
        rf"arn:aws[a-z-]*:s3:::{_FLEET}/routes/\*",
        "parts of a large route document, named by their content",
    ),
    (
        "s3:GetObject",
        rf"arn:aws[a-z-]*:s3:::{_FLEET}/\*/input/[a-z0-9-]+/\*",
        "requests of one tenant to its asynchronous endpoint; its tier may change",
    ),
    (
        "s3:(PutObject|AbortMultipartUpload)",
        rf"arn:aws[a-z-]*:s3:::{_FLEET}/\*/(output|failure)/[a-z0-9-]+/\*",
        "results of one tenant's asynchronous endpoint; its tier may change",
    ),
    ("ecr:GetAuthorizationToken", r"\*", "knows no resource level"),
    ("cloudwatch:PutMetricData", r"\*", "knows no resource level; bound to SageMaker's namespaces"),
    ("ec2:Describe*", r"\*", "VPC attachment: the describe calls know no resource level"),
    ("ec2:*Interface*", rf"arn:aws[a-z-]*:ec2:{_ACCOUNT}:network-interface/\*", "SageMaker makes the interfaces"),
    (
        "logs:*",
        rf"arn:aws[a-z-]*:logs:{_ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{_FLEET}--\*(--[a-z0-9-]+--\*)?",
        "while an endpoint is replaced it has two log groups",
    ),
    (
        "cloudwatch:DescribeAlarms",
        rf"arn:aws[a-z-]*:cloudwatch:{_ACCOUNT}:alarm:{_FLEET}--\*--[a-z0-9-]+--\*",
        "guardrails of the endpoints of this role",
    ),
    (
        "appconfig:*HostedConfigurationVersion*",
        rf"arn:aws[a-z-]*:appconfig:{_ACCOUNT}:application/<\w+>/configurationprofile/<\w+>"
        r"/hostedconfigurationversion/\*",
        "the number of a version exists only during the deployment",
    ),
    (
        "appconfig:*Deployment*",
        rf"arn:aws[a-z-]*:appconfig:{_ACCOUNT}:application/<\w+>/environment/<\w+>/deployment/\*",
        "the number of a deployment exists only once it has begun",
    ),
    (
        "sagemaker:DescribeEndpoint",
        rf"arn:aws[a-z-]*:sagemaker:{_ACCOUNT}:endpoint/{_FLEET}--\*",
        "gates of a promotion",
    ),
    (
        "sagemaker:InvokeEndpoint",
        rf"arn:aws[a-z-]*:sagemaker:{_ACCOUNT}:endpoint/{_FLEET}--\*--[a-z0-9-]+--\*",
        "a tenant's future dedicated endpoint (a promotion must not wait for IAM), or all shared ones (warm-up)",
    ),
    (
        "sagemaker:InvokeEndpoint",
        rf"arn:aws[a-z-]*:sagemaker:{_ACCOUNT}:endpoint/{_FLEET}--\*",
        "the comparing gate probes the endpoint that a tenant moves from, which the new template does not name",
    ),
    (
        "sagemaker:UpdateEndpointWeightsAndCapacities",
        rf"arn:aws[a-z-]*:sagemaker:{_ACCOUNT}:endpoint/{_FLEET}--\*--all--\*",
        "a new multi-model endpoint gets its predecessor's instances; its type is part of its name",
    ),
    (
        "cloudformation:DescribeStacks",
        rf"arn:aws[a-z-]*:cloudformation:{_ACCOUNT}:stack/[a-zA-Z0-9-]+-Fleet\*",
        "a stack's id, and nested stacks",
    ),
    ("lambda:InvokeFunction", r"<\w+>:\*", "the versions of one function"),
)


def check_template(template: Template) -> list[str]:
    """Every mistake of one template, in one sentence each."""
    return [finding for check in CHECKS for finding in check(template)]


def shared_prefixes(template: Template) -> Iterator[str]:
    """SageMaker joins a multi-model prefix and TargetModel as strings."""
    for name, properties in _of(template, "AWS::SageMaker::Model"):
        containers = [properties.get("PrimaryContainer"), *properties.get("Containers", [])]
        for container in filter(None, containers):
            if container.get("Mode") != "MultiModel":
                continue
            if "ModelDataSource" in container:
                yield f"{name}: a multi-model container takes no ModelDataSource"
            if not text_of(container.get("ModelDataUrl", "")).endswith("/"):
                yield f"{name}: ModelDataUrl of a multi-model container must end with /"


def capacities(template: Template) -> Iterator[str]:
    """Bounds that cross; a role that Application Auto Scaling has no use for."""
    for name, properties in _of(template, "AWS::ApplicationAutoScaling::ScalableTarget"):
        actions = {a["ScheduledActionName"]: a["ScalableTargetAction"] for a in properties.get("ScheduledActions", [])}
        for where, bounds in {"": properties, **actions}.items():
            least, most = bounds.get("MinCapacity", 1), bounds.get("MaxCapacity", float("inf"))
            if least > most:
                yield f"{name} {where}: MinCapacity {least} is above MaxCapacity {most}"
            if least < 1 and not _has_queue(template):
                yield f"{name} {where}: a real-time variant cannot scale to {least}"
        if "RoleARN" in properties:
            yield f"{name}: RoleARN, though the service-linked role does it all"


def limits(template: Template) -> Iterator[str]:
    """What the table of AWS limits refuses."""
    size = len(json.dumps(template, separators=(",", ":")))
    if size > TEMPLATE_BYTES.most:
        yield f"template has {size} bytes, at most {TEMPLATE_BYTES.most}"
    yield from check_limits(template)


def alarm_texts(template: Template) -> Iterator[str]:
    """Missing data is never left to the default, and every alarm says what to do."""
    for kind in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
        for name, properties in _of(template, kind):
            if kind == "AWS::CloudWatch::Alarm" and "TreatMissingData" not in properties:
                yield f"{name}: TreatMissingData is missing"
            if not re.search(r"https://\S+#[a-z0-9-]+$", properties.get("AlarmDescription", "")):
                yield f"{name}: the description ends with no runbook link"


def metrics(template: Template) -> Iterator[str]:
    """A misspelt namespace, name or dimension reads as no data for ever; so does a statistic that is not published."""
    for name, properties in _of(template, "AWS::CloudWatch::Alarm"):
        read = [query["MetricStat"] for query in properties.get("Metrics", []) if "MetricStat" in query]
        single = {"Metric": properties, "Stat": properties.get("ExtendedStatistic") or properties.get("Statistic")}
        for query in read or [single]:
            metric = query["Metric"]
            dimensions = tuple(dimension["Name"] for dimension in metric.get("Dimensions", []))
            yield from _metric(name, metric.get("Namespace"), metric.get("MetricName"), dimensions)
            yield from _statistic(name, metric.get("Namespace"), metric.get("MetricName"), str(query["Stat"]))
    for name, properties in _of(template, "AWS::CloudWatch::Dashboard"):
        for widget in json.loads(text_of(properties["DashboardBody"]))["widgets"]:
            for row in widget["properties"].get("metrics", []):
                if not isinstance(row[0], dict):
                    texts = [part for part in row if isinstance(part, str)]
                    yield from _metric(name, texts[0], texts[1], tuple(texts[2::2]))
                    yield from _statistic(name, texts[0], texts[1], row[-1]["stat"])


def _statistic(name: str, namespace: Any, metric: Any, statistic: str) -> Iterator[str]:
    unpublished = (metric in _SUM_ONLY and statistic != "Sum") or (
        statistic.startswith("p") and metric not in _PERCENTILES
    )
    if namespace == "AWS/SageMaker" and (namespace, metric) in METRICS and unpublished:
        yield f"{name}: {metric} has no statistic {statistic}"


def _metric(name: str, namespace: Any, metric: Any, dimensions: tuple[str, ...]) -> Iterator[str]:
    if namespace == "tierfleet":
        if dimensions not in {("Fleet", "Environment"), ("Fleet", "Environment", "Tier")}:
            yield f"{name}: {namespace} {metric} is not published with {dimensions}"
    elif (namespace, metric) not in METRICS:
        yield f"{name}: no metric {metric} is published in {namespace}"
    elif dimensions == (*_VARIANT, "ContainerName") and (namespace, metric) in _OF_CONTAINERS:
        return
    elif METRICS[namespace, metric] != dimensions:
        yield f"{name}: {namespace} {metric} is published with {METRICS[namespace, metric]}, not {dimensions}"


def _has_queue(template: Template) -> bool:
    """Whether the endpoint of the template is asynchronous. Only such an endpoint may have no instance."""
    configs = [properties for _, properties in _of(template, "AWS::SageMaker::EndpointConfig")]
    return bool(configs) and all("AsyncInferenceConfig" in properties for properties in configs)


def wake_ups(template: Template) -> Iterator[str]:
    """An alarm on HasBacklogWithoutCapacity only ever adds instances: it ends while the request still runs."""
    for name, properties in _of(template, "AWS::CloudWatch::Alarm"):
        if properties.get("MetricName") != "HasBacklogWithoutCapacity":
            continue
        for reaction in ("AlarmActions", "OKActions", "InsufficientDataActions"):
            for action in properties.get(reaction, []):
                policy = template["Resources"].get(action["Ref"], {}) if isinstance(action, dict) else {}
                steps = policy.get("Properties", {}).get("StepScalingPolicyConfiguration", {})
                if any(step["ScalingAdjustment"] < 0 for step in steps.get("StepAdjustments", [])):
                    yield f"{name}: {reaction} removes instances that work on a request"
                if policy and reaction != "AlarmActions":
                    yield f"{name}: {reaction} scales, and only AlarmActions may"


def _is_serverless(template: Template, endpoint: Mapping[str, Any]) -> bool:
    """Whether the configuration of an endpoint has a variant without instances, whose scaling nothing can undo."""
    name, _ = endpoint["EndpointConfigName"]["Fn::GetAtt"]
    variants = template["Resources"][name]["Properties"]["ProductionVariants"]
    return all("ServerlessConfig" in variant for variant in variants)


def endpoints(template: Template) -> Iterator[str]:
    """Names that block their own replacement, and updates that take capacity away or fail."""
    for kind, key in (("Model", "ModelName"), ("EndpointConfig", "EndpointConfigName")):
        for name, properties in _of(template, f"AWS::SageMaker::{kind}"):
            if key in properties:
                yield f"{name}: {key} is set, so the resource cannot be replaced"
    for name, properties in _of(template, "AWS::SageMaker::Endpoint"):
        if text_of(properties.get("EndpointName", "")).lower() != text_of(properties.get("EndpointName", "")):
            yield f"{name}: EndpointName is not lower case, IAM's ARNs are"
        if properties.get("RetainAllVariantProperties") is not True and not _is_serverless(template, properties):
            yield f"{name}: RetainAllVariantProperties is not true, an update would undo scaling"
        policy = properties.get("DeploymentConfig", {}).get("BlueGreenUpdatePolicy", {})
        if policy and "WaitIntervalInSeconds" not in policy["TrafficRoutingConfiguration"]:
            yield f"{name}: WaitIntervalInSeconds is missing, the API requires it"


def references_between_stacks(template: Template) -> Iterator[str]:
    """They deadlock a demotion."""
    for name, output in template.get("Outputs", {}).items():
        if "Export" in output:
            yield f"{name}: exported"
    text = json.dumps(template)
    for function in ("Fn::ImportValue", "Fn::GetStackOutput"):
        if f'"{function}"' in text:
            yield f"{function} is used"


def wildcards(template: Template) -> Iterator[str]:
    """IAM wildcards that ALLOWED_WILDCARDS does not list."""
    for name, resource in template.get("Resources", {}).items():
        for document in _policy_documents(resource.get("Properties", {})):
            for statement in _as_list(document["Statement"]):
                if statement["Effect"] != "Allow":
                    continue
                if _as_list(statement.get("Principal")) == ["*"] or statement.get("Principal") == {"AWS": "*"}:
                    yield f"{name}: everyone is allowed {statement['Action']}"
                for action in _as_list(statement.get("Action", [])):
                    for arn in map(text_of, _as_list(statement.get("Resource", []))):
                        if "*" in action or "NotResource" in statement or ("*" in arn and not _listed(action, arn)):
                            yield f"{name}: {action} on {arn} is an unlisted wildcard"


def _listed(action: str, arn: str) -> bool:
    for listed_action, resource, _reason in ALLOWED_WILDCARDS:
        if re.fullmatch(listed_action.replace("*", ".*"), action) and re.fullmatch(resource, arn):
            return True
    return False


CHECKS = (
    shared_prefixes,
    capacities,
    limits,
    alarm_texts,
    metrics,
    endpoints,
    wake_ups,
    references_between_stacks,
    wildcards,
)


def _of(template: Template, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, resource in template.get("Resources", {}).items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def _policy_documents(properties: Any) -> Iterator[Mapping[str, Any]]:
    """Every policy document, wherever a resource holds it."""
    if isinstance(properties, dict):
        if "Statement" in properties:
            yield properties
            return
        properties = list(properties.values())
    if isinstance(properties, list):
        for value in properties:
            yield from _policy_documents(value)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
