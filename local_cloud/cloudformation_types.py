"""The table of CloudFormation resource types that we add to the emulator, or replace in it."""

from typing import Any

from local_cloud import (
    appconfig_deployments,
    cloudformation_sagemaker,
    cloudformation_scaling,
    composite_alarms,
    metric_alarms,
    schedules,
)

Handler = dict[str, Any]

HANDLERS: dict[str, Handler] = {
    "AWS::SageMaker::Model": {
        "create": cloudformation_sagemaker.model_create,
        "update": cloudformation_sagemaker.tags_update,
        "delete": cloudformation_sagemaker.model_delete,
    },
    "AWS::SageMaker::EndpointConfig": {
        "create": cloudformation_sagemaker.config_create,
        "update": cloudformation_sagemaker.tags_update,
        "delete": cloudformation_sagemaker.config_delete,
    },
    "AWS::SageMaker::Endpoint": {
        "create": cloudformation_sagemaker.endpoint_create,
        "update": cloudformation_sagemaker.endpoint_update,
        "update_with_logical_id": True,
        "delete": cloudformation_sagemaker.endpoint_delete,
    },
    "AWS::ApplicationAutoScaling::ScalableTarget": {
        "create": cloudformation_scaling.target_create,
        "update": cloudformation_scaling.target_update,
        "delete": cloudformation_scaling.target_delete,
    },
    "AWS::ApplicationAutoScaling::ScalingPolicy": {
        "create": cloudformation_scaling.policy_create,
        "update": cloudformation_scaling.policy_update,
        "delete": cloudformation_scaling.policy_delete,
    },
    "AWS::CloudWatch::Alarm": {
        "create": metric_alarms.create,
        "update": metric_alarms.update,
        "delete": metric_alarms.delete,
    },
    "AWS::CloudWatch::CompositeAlarm": {
        "create": composite_alarms.create,
        "update": composite_alarms.update,
        "delete": composite_alarms.delete,
    },
    "AWS::Scheduler::Schedule": {
        "create": schedules.create,
        "update": schedules.update,
        "delete": schedules.delete,
    },
    "AWS::AppConfig::Deployment": {
        "create": appconfig_deployments.create,
        "delete": appconfig_deployments.delete,
    },
}

# Their handlers wait on the clock, so they must not run on the emulator's event loop.
WAITING_TYPES = frozenset({"AWS::SageMaker::Endpoint", "AWS::AppConfig::Deployment"})

# Where a physical name is given and kept, a replacement is refused as CloudFormation refuses it.
NAME_PROPERTIES = {
    "AWS::SageMaker::Model": "ModelName",
    "AWS::SageMaker::EndpointConfig": "EndpointConfigName",
}
