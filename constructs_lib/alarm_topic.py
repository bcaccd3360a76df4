"""Where alarms and scaling events go."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from constructs_lib import arns
from tierfleet.config import FleetConfig
from tierfleet.runtime.names import alarm_topic


class AlarmTopic(Construct):
    """The topic of a fleet's alarms.

    `AlarmTopic(self, "Alarms", config=config)` defines AWS::SNS::Topic and its policy. Subscribe to it by hand, once.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig) -> None:
        super().__init__(scope, construct_id)
        key_arn = config.encryption.topic_kms_key_arn
        topic = sns.Topic(
            self,
            "Topic",
            topic_name=alarm_topic(config.fleet, config.environment),
            master_key=kms.Key.from_key_arn(self, "Key", key_arn) if key_arn else None,
            enforce_ssl=True,
        )
        # EventBridge ignores topic policies with a condition: the event would be dropped silently.
        # Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        # CloudWatch sends both keys. Source: docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
        here = {
            "StringEquals": {"aws:SourceAccount": config.account},
            "ArnLike": {"aws:SourceArn": arns.alarm(config, "*")},
        }
        for service, conditions in (("cloudwatch", here), ("events", None)):
            topic.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=f"PublishFrom{service.title()}",
                    principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    conditions=conditions,
                )
            )
