"""serverless: an endpoint without instances for one tenant. AWS starts a container when a call needs one."""

from typing import Final

from tierfleet.runtime.hosting.shape import HostingShape

# A cold call may take 3 minutes for the download and /ping, and 1 minute for /invocations.
# Source: docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-invoke.html
COLD_CALL_SECONDS: Final = 240.0

SERVERLESS: Final = HostingShape(
    hosting="serverless",
    name_word="serverless",
    shared=False,
    longest_answer_seconds=COLD_CALL_SECONDS + 10,
    # 4 MB for requests and replies. Source: docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    max_body_bytes=4 * 1024 * 1024,
)
