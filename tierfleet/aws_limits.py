"""The limits of AWS that a fleet can meet, with their sources: used by the check of a fleet file, by synthesis and by
tests.

Here are the counts, sizes and patterns that rules name; `property_limits` has the values of template properties.
A `shape` is a shape of botocore's service model: a test compares the numbers and patterns with it.
"""

from dataclasses import dataclass
from typing import Final

_GENERAL = "docs.aws.amazon.com/general/latest/gr"
_CLOUDFORMATION = "docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"
_SCHEDULES = "docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"
_TAGS = "docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html"
_BUCKETS = "docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"
_DASHBOARDS = "docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html"


@dataclass(frozen=True)
class Limit:
    """At most `most` of `unit`. `shape`: `service:Shape` of botocore that says the same."""

    most: int
    unit: str
    source: str
    shape: str = ""


STACK_RESOURCES: Final = Limit(500, "resources a stack", _CLOUDFORMATION)
# A nested stack and its parent are one operation. 2,500 in all; the rest is for what CDK and AWS add.
OPERATION_RESOURCES: Final = Limit(2400, "resources a stack and its nested stacks", _CLOUDFORMATION)
STACK_PARAMETERS: Final = Limit(200, "parameters a template", _CLOUDFORMATION)
STACK_OUTPUTS: Final = Limit(200, "outputs a template", _CLOUDFORMATION)
TEMPLATE_BYTES: Final = Limit(1_000_000, "bytes a template", _CLOUDFORMATION)
HOSTED_DOCUMENT_BYTES: Final = Limit(2 * 1024 * 1024, "bytes a hosted configuration", f"{_GENERAL}/appconfig.html")
SCALABLE_TARGETS: Final = Limit(500, "scalable targets of SageMaker a region", f"{_GENERAL}/as-app.html")
SCHEDULED_ACTIONS: Final = Limit(200, "scheduled actions a scalable target", f"{_GENERAL}/as-app.html")
SCALING_POLICIES: Final = Limit(50, "scaling policies a scalable target", f"{_GENERAL}/as-app.html")
STEP_ADJUSTMENTS: Final = Limit(20, "step adjustments a scaling policy", f"{_GENERAL}/as-app.html")
SCHEDULE_EXPRESSION: Final = Limit(256, "characters a schedule", _SCHEDULES, "scheduler:ScheduleExpression")
TIME_ZONE: Final = Limit(50, "characters a time zone", _SCHEDULES, "scheduler:ScheduleExpressionTimezone")
EVENT_PATTERN: Final = Limit(2048, "characters an event pattern", f"{_GENERAL}/ev.html")
DASHBOARD_METRICS: Final = Limit(2500, "metrics a dashboard", _DASHBOARDS)
WIDGET_METRICS: Final = Limit(500, "metrics a widget", _DASHBOARDS)
DASHBOARD_WIDGETS: Final = Limit(500, "widgets a dashboard", _DASHBOARDS)
ENDPOINT_NAME: Final = Limit(63, "characters an endpoint name", "CreateEndpoint", "sagemaker:EndpointName")
BUCKET_NAME: Final = Limit(63, "characters a bucket name", _BUCKETS)
CONTAINER_IMAGE: Final = Limit(255, "characters an image", "ContainerDefinition", "sagemaker:ContainerImage")
ENVIRONMENT_ENTRIES: Final = Limit(100, "variables a container", "ContainerDefinition", "sagemaker:EnvironmentMap")
ENVIRONMENT_KEY: Final = Limit(1024, "characters a name", "ContainerDefinition", "sagemaker:EnvironmentKey")
ENVIRONMENT_VALUE: Final = Limit(1024, "characters a value", "ContainerDefinition", "sagemaker:EnvironmentValue")
ENVIRONMENT_BYTES: Final = Limit(32 * 1024, "bytes of all variables together", "ContainerDefinition")
CONTENT_TYPE: Final = Limit(1024, "characters a content type", "InvokeEndpoint", "sagemaker-runtime:Header")
LAMBDA_ENVIRONMENT_BYTES: Final = Limit(
    4096, "bytes of a function's environment", "docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"
)
ROLE_POLICIES: Final = Limit(
    10_240,
    "characters of a role's inline policies",
    "docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html",
)
# Tags of a resource, including tierfleet's own; AWS's `aws:` tags do not count.
TAGS: Final = Limit(50, "tags a resource", _TAGS, "sagemaker:TagList")
TAG_KEY: Final = Limit(128, "characters a tag's key", _TAGS, "iam:tagKeyType")
TAG_VALUE: Final = Limit(256, "characters a tag's value", _TAGS, "iam:tagValueType")

# Regions where SageMaker hosts models and CloudFormation has no AWS::SageMaker::Model, EndpointConfig and Endpoint.
# Source: the regional schemas of cfn-lint 1.58.0, which are CloudFormation's own.
REGIONS_WITHOUT_TYPES: Final = frozenset(("me-central-1", "us-gov-east-1"))
# CloudFormation passes integers of 32 bits to a service.
INTEGER: Final = 2**31 - 1
# The years of a cron and of a one-time schedule.
SCHEDULE_YEARS: Final = (1970, 2199)
# A call takes at most 60 s and a load 360 s: an alarm with a higher limit never fires.
# Source: docs.aws.amazon.com/sagemaker/latest/dg/invoke-multi-model-endpoint.html
LONGEST_CALL_SECONDS: Final = 60
LONGEST_LOAD_SECONDS: Final = 360
# Letters, numbers and spaces of any language, and these: IAM's \p{L}\p{Z}\p{N}_.:/=+\-@, where Python's \w is letters,
# numbers and _. No tabs and line ends.
TAG_PATTERN: Final = "[\\w \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000.:/=+\\-@]*"
# Of keys and values, in any case. Source: docs.aws.amazon.com/batch/latest/userguide/tag-restrictions.html
RESERVED_TAG_PREFIX: Final = "aws:"
# Source: the bucket naming rules.
RESERVED_BUCKET_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
RESERVED_BUCKET_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3", "-an")
ENVIRONMENT_KEY_PATTERN: Final = "[a-zA-Z_][a-zA-Z0-9_]*"
STACK_NAME_PATTERN: Final = "[a-zA-Z][a-zA-Z0-9-]*"
# Not the API's [-0-9a-zA-Z]+: EC2's own ids have 8 or 17 hexadecimal digits.
SUBNET_PATTERN: Final = "subnet-([0-9a-f]{8}|[0-9a-f]{17})"
SECURITY_GROUP_PATTERN: Final = "sg-([0-9a-f]{8}|[0-9a-f]{17})"
# Key ids are UUIDs, or `mrk-` and 32 digits. Source: docs.aws.amazon.com/kms/latest/developerguide/concepts.html
KMS_KEY_PATTERN: Final = (
    r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/"
    r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})"
)
# A role or user, by its exact ARN: a session's aws:PrincipalArn is its role's. No wildcards.
# Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html (names and paths)
PRINCIPAL_PATTERN: Final = r"arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/([!-)+->@-~]{1,510}/)?[A-Za-z0-9+=,.@_-]{1,64}"
# The values of AWS::Logs::LogGroup RetentionInDays. Source: PutRetentionPolicy.
LOG_RETENTION_DAYS: Final = frozenset(
    (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
)
