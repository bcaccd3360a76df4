"""A miniature fleet as plain CloudFormation: one multi-model endpoint, dedicated tenants, gates, a route document."""

import hashlib
import json
from typing import Any

ROLE_ARN = "arn:aws:iam::111122223333:role/sagemaker-execution"
IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BAKE_MINUTES = 6

GATE_CODE = """
import json, urllib.request
import boto3

sagemaker, runtime = boto3.client("sagemaker"), boto3.client("sagemaker-runtime")

def handler(event, context):
    print(event["RequestType"])
    status, reason = "SUCCESS", ""
    wanted = event["ResourceProperties"]
    if event["RequestType"] != "Delete":
        endpoint = sagemaker.describe_endpoint(EndpointName=wanted["EndpointName"])
        if endpoint["EndpointConfigName"] != wanted["EndpointConfigName"]:
            status, reason = "FAILED", "endpoint serves " + endpoint["EndpointConfigName"]
        elif "TargetModel" in wanted:
            runtime.invoke_endpoint(
                EndpointName=wanted["EndpointName"], TargetModel=wanted["TargetModel"], Body=b"0",
                CustomAttributes="warm-up")
    answer = {"Status": status, "Reason": reason, "PhysicalResourceId": "gate-" + wanted["EndpointName"],
              "StackId": event["StackId"], "RequestId": event["RequestId"],
              "LogicalResourceId": event["LogicalResourceId"]}
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request)
"""

Resource = dict[str, Any]
Template = dict[str, Any]


def ref(logical_id: str) -> dict[str, str]:
    return {"Ref": logical_id}


def attribute(logical_id: str, name: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [logical_id, name]}


def model(url: str, *, mode: str = "SingleModel") -> Resource:
    container = {"Image": IMAGE, "Mode": mode, "ModelDataUrl": url}
    return {
        "Type": "AWS::SageMaker::Model",
        "Properties": {"ExecutionRoleArn": ROLE_ARN, "PrimaryContainer": container},
    }


def endpoint_config(model_id: str, instance_type: str, instances: int = 2) -> Resource:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": attribute(model_id, "ModelName"),
        "InstanceType": instance_type,
        "InitialInstanceCount": instances,
        "InitialVariantWeight": 1,
    }
    return {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [variant]}}


def endpoint(name: str, config_id: str, **properties: Any) -> Resource:
    return {
        "Type": "AWS::SageMaker::Endpoint",
        "Properties": {
            "EndpointName": name,
            "EndpointConfigName": attribute(config_id, "EndpointConfigName"),
            "RetainAllVariantProperties": True,
            **properties,
        },
    }


def scaling(name: str, endpoint_id: str, minimum: int = 2, maximum: int = 6) -> dict[str, Resource]:
    return {
        "Target": {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
            "DependsOn": [endpoint_id],
            "Properties": {
                "ServiceNamespace": "sagemaker",
                "ResourceId": f"endpoint/{name}/variant/AllTraffic",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
                "MinCapacity": minimum,
                "MaxCapacity": maximum,
            },
        },
        "Policy": {
            "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
            "Properties": {
                "PolicyName": "requests",
                "PolicyType": "TargetTrackingScaling",
                "ScalingTargetId": ref("Target"),
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 3000,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                    "ScaleInCooldown": 300,
                    "ScaleOutCooldown": 60,
                },
            },
        },
    }


def gate(name: str, config_id: str, service_token: Any, depends_on: list[str], **properties: str) -> Resource:
    return {
        "Type": "Custom::WarmGate",
        "DependsOn": depends_on,
        "Properties": {
            "ServiceToken": service_token,
            "EndpointName": name,
            "EndpointConfigName": attribute(config_id, "EndpointConfigName"),
            **properties,
        },
    }


def tail_name(instance_type: str) -> str:
    return f"mini--dev--tail--all--mme-{instance_type.removeprefix('ml.').replace('.', '-')}"


def whale_name(tenant: str) -> str:
    return f"mini--dev--whale--{tenant}--single-m5-large"


def canary(*alarm_names: str) -> dict[str, Any]:
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "CANARY",
                "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                "WaitIntervalInSeconds": 300,
            },
            "TerminationWaitInSeconds": 120,
            "MaximumExecutionTimeoutInSeconds": 1800,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarm_names]},
    }


def whale_template(bucket: str, tenant: str, version: str, alarm_name: str) -> Template:
    name = whale_name(tenant)
    return {
        "Parameters": {"GateArn": {"Type": "String"}},
        "Resources": {
            "Model": model(f"s3://{bucket}/models/{tenant}/{version}.tar.gz"),
            "Config": endpoint_config("Model", "ml.m5.large"),
            "Endpoint": endpoint(name, "Config", DeploymentConfig=canary(alarm_name)),
            **scaling(name, "Endpoint", maximum=8),
            "Gate": gate(name, "Config", ref("GateArn"), ["Endpoint"]),
        },
        "Outputs": {"EndpointName": {"Value": attribute("Endpoint", "EndpointName")}},
    }


def alarm(name: str, namespace: str, metric: str, **dimensions: str) -> Resource:
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": name,
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()],
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        },
    }


def route_resources(document: dict[str, Any], depends_on: list[str]) -> dict[str, Resource]:
    application = ref("Application")
    return {
        "Application": {"Type": "AWS::AppConfig::Application", "Properties": {"Name": "mini-dev"}},
        "Environment": {
            "Type": "AWS::AppConfig::Environment",
            "Properties": {
                "ApplicationId": application,
                "Name": "dev",
                "Monitors": [{"AlarmArn": attribute("RouteErrors", "Arn")}],
            },
        },
        "Profile": {
            "Type": "AWS::AppConfig::ConfigurationProfile",
            "Properties": {"ApplicationId": application, "Name": "routes", "LocationUri": "hosted"},
        },
        "Routes": {
            "Type": "AWS::AppConfig::HostedConfigurationVersion",
            "Properties": {
                "ApplicationId": application,
                "ConfigurationProfileId": ref("Profile"),
                "Content": json.dumps(document),
                "ContentType": "application/json",
            },
        },
        "Strategy": {
            "Type": "AWS::AppConfig::DeploymentStrategy",
            "Properties": {
                "Name": "bake",
                "DeploymentDurationInMinutes": 0,
                "GrowthFactor": 100,
                "FinalBakeTimeInMinutes": BAKE_MINUTES,
                "ReplicateTo": "NONE",
            },
        },
        "Deployment": {
            "Type": "AWS::AppConfig::Deployment",
            "DependsOn": depends_on,
            "Properties": {
                "ApplicationId": application,
                "EnvironmentId": ref("Environment"),
                "ConfigurationProfileId": ref("Profile"),
                "ConfigurationVersion": ref("Routes"),
                "DeploymentStrategyId": ref("Strategy"),
            },
        },
    }


def fleet(account: Any, *, whales: dict[str, str] | None = None, tail_instance_type: str = "ml.m5.xlarge") -> Template:
    """The template of a fleet with these whales (tenant -> version); uploads the nested templates."""
    whales = whales or {}
    account.upload("models/m37/1.tar.gz")
    tail = tail_name(tail_instance_type)
    whale_alarm = {f"Alarm{t}": alarm(f"mini-{t}-slow", "Test", "Slow", Tenant=t) for t in whales}
    nested = {f"Whale{t}": _nested(account, t, version) for t, version in whales.items()}
    routes = {"tail": tail, "tenants": {t: whale_name(t) for t in whales}}
    return {
        "Resources": {
            "GateRole": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "AssumeRolePolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": "lambda.amazonaws.com"},
                                "Action": "sts:AssumeRole",
                            }
                        ],
                    }
                },
            },
            "GateFunction": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": "python3.11",
                    "Handler": "index.handler",
                    "Role": attribute("GateRole", "Arn"),
                    "Timeout": 30,
                    "Code": {"ZipFile": GATE_CODE},
                },
            },
            "RouteErrors": alarm("mini-route-errors", "Test", "RouteErrors"),
            "TailModel": model(f"s3://{account.bucket}/models/", mode="MultiModel"),
            "TailConfig": endpoint_config("TailModel", tail_instance_type),
            "Tail": endpoint(tail, "TailConfig"),
            **scaling(tail, "Tail"),
            "TailGate": gate(
                tail, "TailConfig", attribute("GateFunction", "Arn"), ["Tail"], TargetModel="m37/1.tar.gz"
            ),
            **whale_alarm,
            **nested,
            **route_resources(routes, ["TailGate", "Target", "Policy", *whale_alarm, *nested]),
        }
    }


def _nested(account: Any, tenant: str, version: str) -> Resource:
    account.upload(f"models/{tenant}/{version}.tar.gz")
    body = json.dumps(whale_template(account.bucket, tenant, version, f"mini-{tenant}-slow"))
    key = f"templates/{hashlib.sha256(body.encode()).hexdigest()}.json"
    account.upload(key, body.encode())
    return {
        "Type": "AWS::CloudFormation::Stack",
        "DependsOn": [f"Alarm{tenant}"],
        "Properties": {
            "TemplateURL": f"https://s3.eu-west-1.amazonaws.com/{account.bucket}/{key}",
            "Parameters": {"GateArn": attribute("GateFunction", "Arn")},
        },
    }
