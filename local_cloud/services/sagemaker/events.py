"""SageMaker's events on EventBridge's default bus."""

import json
from typing import Any

from ministack.services import eventbridge

from local_cloud.core import event_log

# "SageMaker AI may send multiple events to EventBridge for each state change": consumers must cope with it.
# https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
EVENTS_PER_IN_SERVICE = 3
events_per_in_service = EVENTS_PER_IN_SERVICE


def publish_endpoint_state_change(endpoint: dict[str, Any], status: str) -> None:
    """Send `SageMaker Endpoint State Change`; `status` in the event's own spelling, such as IN_SERVICE."""
    entry = {
        "Source": "aws.sagemaker",
        "DetailType": "SageMaker Endpoint State Change",
        "Resources": [endpoint["EndpointArn"]],
        "Detail": json.dumps({**endpoint, "EndpointStatus": status, "Tags": {}}),
    }
    copies = events_per_in_service if status == "IN_SERVICE" else 1
    eventbridge._put_events({"Entries": [entry] * copies}, allow_aws_source=True)
    event_log.record("EndpointStateChange", endpoint["EndpointName"], status=status)
