"""The table of CloudFormation resource types that we add to ministack, or replace in it."""

from typing import Any

from local_cloud.services import appconfig, scheduler
from local_cloud.services.autoscaling import resource_types as cloudformation_scaling
from local_cloud.services.cloudwatch import composite_alarms, metric_alarms
from local_cloud.services.sagemaker import resource_types

Handler = dict[str, Any]

HANDLERS: dict[str, Handler] = {
    "AWS::SageMaker::Model": {
        "create": resource_types.model_create,
        "update": resource_types.tags_update,
        "delete": resource_types.model_delete,
    },
    "AWS::SageMaker::EndpointConfig": {
        "create": resource_types.config_create,
        "update": resource_types.tags_update,
        "delete": resource_types.config_delete,
    },
    "AWS::SageMaker::Endpoint": {
        "create": resource_types.endpoint_create,
        "update": resource_types.endpoint_update,
        "update_with_logical_id": True,
        "delete": resource_types.endpoint_delete,
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
        "create": scheduler.create,
        "update": scheduler.update,
        "delete": scheduler.delete,
    },
    "AWS::AppConfig::Deployment": {
        "create": appconfig.create,
        "delete": appconfig.delete,
    },
}

# Their handlers wait on the clock, so they must not run on ministack's event loop.
WAITING_TYPES = frozenset({"AWS::SageMaker::Endpoint", "AWS::AppConfig::Deployment"})

# Where a physical name is given and kept, a replacement is refused as CloudFormation refuses it.
NAME_PROPERTIES = {
    "AWS::SageMaker::Model": "ModelName",
    "AWS::SageMaker::EndpointConfig": "EndpointConfigName",
}
