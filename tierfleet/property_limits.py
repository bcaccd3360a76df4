"""The values that a property of a template may take: the part of the AWS limits that `template_limits` walks with."""

from dataclasses import dataclass
from typing import Final

from tierfleet.aws_limits import (
    BUCKET_NAME,
    ENVIRONMENT_KEY_PATTERN,
    EVENT_PATTERN,
    HOSTED_DOCUMENT_BYTES,
    INTEGER,
    LAMBDA_ENVIRONMENT_BYTES,
    ROLE_POLICIES,
    SCHEDULE_EXPRESSION,
    SCHEDULED_ACTIONS,
    SECURITY_GROUP_PATTERN,
    STEP_ADJUSTMENTS,
    SUBNET_PATTERN,
    TIME_ZONE,
)

_GENERAL = "docs.aws.amazon.com/general/latest/gr"


@dataclass(frozen=True)
class PropertyLimit:
    """The values that one property of a resource type may take.

    `path`: property names joined by dots; `[]` for each item of a list, `{}` for each value of a map and `{key}` for
    each key. `shortest`, `longest`: characters, items of a list, or `entries` of a map; `least`, `most`: a number. What
    is known only at deployment counts as 64 characters and matches every pattern.
    """

    resource_type: str
    path: str
    source: str
    shape: str = ""
    shortest: int = 0
    longest: int | None = None
    least: float | None = None
    most: float | None = None
    pattern: str | None = None
    distinct: bool = False
    entries: bool = False


def _sagemaker(kind: str, path: str, shape: str, **limits: object) -> PropertyLimit:
    return PropertyLimit(f"AWS::SageMaker::{kind}", path, "SageMaker API", f"sagemaker:{shape}", **limits)  # type: ignore[arg-type]


def _of(resource_type: str, path: str, source: str, shape: str = "", **limits: object) -> PropertyLimit:
    return PropertyLimit(f"AWS::{resource_type}", path, source, shape, **limits)  # type: ignore[arg-type]


def _container(place: str) -> tuple[PropertyLimit, ...]:
    environment = f"{place}.Environment"
    return (
        _sagemaker("Model", f"{place}.ContainerHostname", "ContainerHostname", longest=63, pattern=_NAME_PATTERN),
        _sagemaker("Model", f"{place}.Image", "ContainerImage", longest=255, pattern=r"[\S]+"),
        _sagemaker("Model", f"{place}.ModelDataUrl", "Url", longest=1024, pattern=r"(https|s3)://([^/]+)/?(.*)"),
        _sagemaker("Model", environment, "EnvironmentMap", longest=100, entries=True),
        _sagemaker("Model", f"{environment}.{{key}}", "EnvironmentKey", longest=1024, pattern=ENVIRONMENT_KEY_PATTERN),
        _sagemaker("Model", f"{environment}.{{}}", "EnvironmentValue", longest=1024),
    )


_SHIFT = "DeploymentConfig.BlueGreenUpdatePolicy"
_ROUTING = f"{_SHIFT}.TrafficRoutingConfiguration"
_VARIANT = "ProductionVariants[]"
_SERVERLESS = f"{_VARIANT}.ServerlessConfig"
_ASYNC = "AsyncInferenceConfig"
_TRACKING = "TargetTrackingScalingPolicyConfiguration"
_STEPS = "StepScalingPolicyConfiguration"
_NAME_PATTERN = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
PROPERTY_LIMITS: Final[tuple[PropertyLimit, ...]] = (
    _sagemaker("Endpoint", "EndpointName", "EndpointName", shortest=1, longest=63, pattern=_NAME_PATTERN),
    _sagemaker("Endpoint", f"{_ROUTING}.WaitIntervalInSeconds", "WaitIntervalInSeconds", least=0, most=3600),
    _sagemaker("Endpoint", f"{_ROUTING}.CanarySize.Value", "CapacitySizeValue", least=1, most=INTEGER),
    _sagemaker("Endpoint", f"{_ROUTING}.LinearStepSize.Value", "CapacitySizeValue", least=1, most=INTEGER),
    _sagemaker("Endpoint", f"{_SHIFT}.TerminationWaitInSeconds", "TerminationWaitInSeconds", least=0, most=3600),
    _sagemaker(
        "Endpoint",
        f"{_SHIFT}.MaximumExecutionTimeoutInSeconds",
        "MaximumExecutionTimeoutInSeconds",
        least=600,
        most=28_800,
    ),
    _sagemaker(
        "Endpoint",
        "DeploymentConfig.AutoRollbackConfiguration.Alarms",
        "AlarmList",
        shortest=1,
        longest=10,
        distinct=True,
    ),
    _sagemaker("EndpointConfig", f"{_VARIANT}.VariantName", "VariantName", longest=63, pattern=_NAME_PATTERN),
    _sagemaker("EndpointConfig", f"{_VARIANT}.InitialInstanceCount", "InitialTaskCount", least=1, most=INTEGER),
    _sagemaker("EndpointConfig", f"{_VARIANT}.VolumeSizeInGB", "ProductionVariantVolumeSizeInGB", least=1, most=512),
    _sagemaker(
        "EndpointConfig",
        f"{_VARIANT}.ModelDataDownloadTimeoutInSeconds",
        "ProductionVariantModelDataDownloadTimeoutInSeconds",
        least=60,
        most=3600,
    ),
    _sagemaker(
        "EndpointConfig",
        f"{_VARIANT}.ContainerStartupHealthCheckTimeoutInSeconds",
        "ProductionVariantContainerStartupHealthCheckTimeoutInSeconds",
        least=60,
        most=3600,
    ),
    _sagemaker("EndpointConfig", f"{_SERVERLESS}.MemorySizeInMB", "ServerlessMemorySizeInMB", least=1024, most=6144),
    _sagemaker("EndpointConfig", f"{_SERVERLESS}.MaxConcurrency", "ServerlessMaxConcurrency", least=1, most=200),
    _sagemaker(
        "EndpointConfig",
        f"{_SERVERLESS}.ProvisionedConcurrency",
        "ServerlessProvisionedConcurrency",
        least=1,
        most=200,
    ),
    _sagemaker(
        "EndpointConfig",
        f"{_ASYNC}.ClientConfig.MaxConcurrentInvocationsPerInstance",
        "MaxConcurrentInvocationsPerInstance",
        least=1,
        most=1000,
    ),
    *(
        _sagemaker("EndpointConfig", f"{_ASYNC}.OutputConfig.{path}", "DestinationS3Uri", longest=512)
        for path in ("S3OutputPath", "S3FailurePath")
    ),
    *(
        _sagemaker("EndpointConfig", f"{_ASYNC}.OutputConfig.NotificationConfig.{topic}", "SnsTopicArn", longest=2048)
        for topic in ("SuccessTopic", "ErrorTopic")
    ),
    _sagemaker("EndpointConfig", "KmsKeyId", "KmsKeyId", longest=2048, pattern="[a-zA-Z0-9:/_-]*"),
    *(limit for place in ("PrimaryContainer", "Containers[]") for limit in _container(place)),
    _sagemaker("Model", "Containers", "ContainerDefinitionList", longest=15),
    _sagemaker("Model", "VpcConfig.Subnets", "Subnets", shortest=1, longest=16, distinct=True),
    _of("SageMaker::Model", "VpcConfig.Subnets[]", "EC2's ids", longest=32, pattern=SUBNET_PATTERN),
    _sagemaker("Model", "VpcConfig.SecurityGroupIds", "VpcSecurityGroupIds", shortest=1, longest=5, distinct=True),
    _of("SageMaker::Model", "VpcConfig.SecurityGroupIds[]", "EC2's ids", longest=32, pattern=SECURITY_GROUP_PATTERN),
    _of(
        "ApplicationAutoScaling::ScalableTarget",
        "ResourceId",
        "RegisterScalableTarget",
        "application-autoscaling:ResourceIdMaxLen1600",
        shortest=1,
        longest=1600,
    ),
    _of("ApplicationAutoScaling::ScalableTarget", "MinCapacity", "32-bit integer", least=0, most=INTEGER),
    _of("ApplicationAutoScaling::ScalableTarget", "MaxCapacity", "32-bit integer", least=1, most=INTEGER),
    _of(
        "ApplicationAutoScaling::ScalableTarget",
        "ScheduledActions",
        SCHEDULED_ACTIONS.source,
        longest=SCHEDULED_ACTIONS.most,
    ),
    _of(
        "ApplicationAutoScaling::ScalableTarget",
        "ScheduledActions[].ScheduledActionName",
        "PutScheduledAction",
        "application-autoscaling:ScheduledActionName",
        shortest=1,
        longest=256,
        pattern="[a-z0-9-]+",
    ),
    _of("ApplicationAutoScaling::ScalableTarget", "ScheduledActions[].Timezone", TIME_ZONE.source, longest=50),
    _of("ApplicationAutoScaling::ScalingPolicy", f"{_TRACKING}.TargetValue", "double", least=8.515920e-109, most=1e15),
    _of("ApplicationAutoScaling::ScalingPolicy", f"{_TRACKING}.ScaleOutCooldown", "integer", least=0, most=INTEGER),
    _of("ApplicationAutoScaling::ScalingPolicy", f"{_TRACKING}.ScaleInCooldown", "integer", least=0, most=INTEGER),
    _of("ApplicationAutoScaling::ScalingPolicy", f"{_STEPS}.Cooldown", "integer", least=0, most=INTEGER),
    _of(
        "ApplicationAutoScaling::ScalingPolicy",
        f"{_STEPS}.StepAdjustments",
        STEP_ADJUSTMENTS.source,
        longest=STEP_ADJUSTMENTS.most,
    ),
    _of(
        "ApplicationAutoScaling::ScalingPolicy",
        f"{_STEPS}.StepAdjustments[].ScalingAdjustment",
        "integer",
        least=-INTEGER,
        most=INTEGER,
    ),
    _of("CloudWatch::Alarm", "AlarmName", "PutMetricAlarm", "cloudwatch:AlarmName", shortest=1, longest=255),
    _of("CloudWatch::Alarm", "AlarmDescription", "PutMetricAlarm", "cloudwatch:AlarmDescription", longest=1024),
    _of("CloudWatch::Alarm", "Dimensions", "PutMetricAlarm", "cloudwatch:Dimensions", longest=30),
    # CloudWatch keeps values of -2^360 to 2^360.
    _of("CloudWatch::Alarm", "Threshold", "PutMetricData", least=-(2.0**360), most=2.0**360),
    _of(
        "CloudWatch::Alarm",
        "Metrics[].Expression",
        "MetricDataQuery",
        "cloudwatch:MetricExpression",
        shortest=1,
        longest=2048,
    ),
    _of(
        "CloudWatch::CompositeAlarm",
        "AlarmDescription",
        "PutCompositeAlarm",
        "cloudwatch:AlarmDescription",
        longest=1024,
    ),
    _of(
        "CloudWatch::CompositeAlarm",
        "AlarmRule",
        "PutCompositeAlarm",
        "cloudwatch:AlarmRule",
        shortest=1,
        longest=10_240,
    ),
    _of("CloudWatch::Dashboard", "DashboardName", "PutDashboard", shortest=1, longest=255, pattern="[A-Za-z0-9_-]+"),
    _of("AppConfig::Application", "Name", "CreateApplication", "appconfig:Name", shortest=1, longest=64),
    _of("AppConfig::DeploymentStrategy", "Name", "CreateDeploymentStrategy", "appconfig:Name", shortest=1, longest=64),
    _of("AppConfig::Environment", "Name", "CreateEnvironment", "appconfig:Name", shortest=1, longest=64),
    _of("AppConfig::Environment", "Monitors", "CreateEnvironment", "appconfig:MonitorList", longest=5),
    _of(
        "AppConfig::DeploymentStrategy",
        "FinalBakeTimeInMinutes",
        "CreateDeploymentStrategy",
        "appconfig:MinutesBetween0And24Hours",
        least=0,
        most=1440,
    ),
    _of(
        "AppConfig::ConfigurationProfile",
        "Validators[].Content",
        "CreateConfigurationProfile",
        "appconfig:StringWithLengthBetween0And32768",
        longest=32_768,
    ),
    _of(
        "AppConfig::HostedConfigurationVersion",
        "Content",
        HOSTED_DOCUMENT_BYTES.source,
        longest=HOSTED_DOCUMENT_BYTES.most,
    ),
    _of("Events::Rule", "Description", "PutRule", "events:RuleDescription", longest=512),
    _of("Events::Rule", "EventPattern", EVENT_PATTERN.source, longest=EVENT_PATTERN.most),
    _of("Events::Rule", "Targets", "docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html", longest=5),
    _of("Scheduler::Schedule", "Name", "CreateSchedule", "scheduler:Name", longest=64, pattern="[0-9a-zA-Z-_.]+"),
    _of("Scheduler::Schedule", "Description", "CreateSchedule", "scheduler:Description", longest=512),
    _of(
        "Scheduler::Schedule",
        "ScheduleExpression",
        SCHEDULE_EXPRESSION.source,
        SCHEDULE_EXPRESSION.shape,
        shortest=1,
        longest=256,
    ),
    _of("Scheduler::Schedule", "ScheduleExpressionTimezone", TIME_ZONE.source, TIME_ZONE.shape, shortest=1, longest=50),
    _of(
        "Scheduler::Schedule",
        "Target.RetryPolicy.MaximumRetryAttempts",
        "CreateSchedule",
        "scheduler:MaximumRetryAttempts",
        least=0,
        most=185,
    ),
    _of(
        "Scheduler::Schedule",
        "Target.RetryPolicy.MaximumEventAgeInSeconds",
        "CreateSchedule",
        "scheduler:MaximumEventAgeInSeconds",
        least=60,
        most=86_400,
    ),
    _of("IAM::Role", "Description", "CreateRole", "iam:roleDescriptionType", longest=1000),
    _of("IAM::Role", "AssumeRolePolicyDocument", ROLE_POLICIES.source, longest=2048),
    _of("Lambda::Function", "Description", "CreateFunction", "lambda:Description", longest=256),
    # Lambda's own limit is 900 s; the API's model also has the longer limit of other kinds of function.
    _of("Lambda::Function", "Timeout", LAMBDA_ENVIRONMENT_BYTES.source, least=1, most=900),
    _of(
        "Lambda::EventInvokeConfig",
        "MaximumEventAgeInSeconds",
        "PutFunctionEventInvokeConfig",
        "lambda:MaximumEventAgeInSeconds",
        least=60,
        most=21_600,
    ),
    _of("S3::Bucket", "BucketName", BUCKET_NAME.source, shortest=3, longest=63, pattern="[a-z0-9][a-z0-9.-]*[a-z0-9]"),
    _of(
        "S3::BucketPolicy",
        "PolicyDocument",
        "docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html",
        longest=20_480,
    ),
    _of("SNS::Topic", "TopicName", "CreateTopic", shortest=1, longest=256, pattern="[A-Za-z0-9_-]+"),
    _of("SNS::TopicPolicy", "PolicyDocument", f"{_GENERAL}/sns.html", longest=30_720),
    _of("SSM::Parameter", "Value", f"{_GENERAL}/ssm.html", longest=4096),
)
