"""ARNs of resources that a fleet names literally.

A reference between stacks would deadlock the demotion of a tenant, so no stack refers to another one.
"""

from tierfleet.config import FleetConfig, routes
from tierfleet.images import partition_of
from tierfleet.runtime import names


def models_bucket_name(config: FleetConfig) -> str:
    """Name of the bucket of models and catalog."""
    return names.models_bucket(config.fleet, config.environment, config.account, config.region)


def models_bucket(config: FleetConfig) -> str:
    """ARN of that bucket."""
    return f"arn:{partition_of(config.region)}:s3:::{models_bucket_name(config)}"


def async_bucket(config: FleetConfig) -> str:
    """ARN of the bucket of requests to asynchronous endpoints, and of results."""
    return f"arn:{partition_of(config.region)}:s3:::{routes.async_bucket(config)}"


def async_topic(config: FleetConfig, outcome: str) -> str:
    """ARN of the topic for requests that ended so: `success` or `error`."""
    return _regional(config, "sns", names.async_topic(config.fleet, config.environment, outcome))


def alarm_topic(config: FleetConfig) -> str:
    """ARN of the topic alarms go to."""
    return _regional(config, "sns", names.alarm_topic(config.fleet, config.environment))


def endpoint(config: FleetConfig, endpoint_name: str) -> str:
    """ARN of an endpoint, or of a pattern. SageMaker lower-cases names in ARNs; ours are lower case."""
    return _regional(config, "sagemaker", f"endpoint/{endpoint_name}")


def alarm(config: FleetConfig, alarm_name: str) -> str:
    """ARN of an alarm."""
    return _regional(config, "cloudwatch", f"alarm:{alarm_name}")


def endpoint_logs(config: FleetConfig, endpoint_name: str) -> str:
    """ARN pattern of the log group, and its streams, of an endpoint or of a pattern of endpoints."""
    return _regional(config, "logs", f"log-group:/aws/sagemaker/Endpoints/{endpoint_name}")


def ec2(config: FleetConfig, resource: str) -> str:
    """ARN of an EC2 resource, such as `subnet/<id>`."""
    return _regional(config, "ec2", resource)


def any_sagemaker_resource(config: FleetConfig) -> str:
    """ARN pattern of everything SageMaker of this account and region."""
    return _regional(config, "sagemaker", "*")


def stacks(config: FleetConfig, stack_name: str) -> str:
    """ARN pattern of a stack and of its nested stacks, whose names begin with its own."""
    return _regional(config, "cloudformation", f"stack/{stack_name}*")


def appconfig(config: FleetConfig, resource: str) -> str:
    """ARN of an AppConfig resource, such as `application/<id>`."""
    return _regional(config, "appconfig", resource)


def _regional(config: FleetConfig, service: str, resource: str) -> str:
    return f"arn:{partition_of(config.region)}:{service}:{config.region}:{config.account}:{resource}"
