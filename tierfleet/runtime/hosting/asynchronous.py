"""async: an endpoint for one tenant that takes requests into a queue and writes results to S3.

`async` is a keyword of Python, so the modules of this shape are called `asynchronous`.
"""

from typing import Final

from tierfleet.runtime.hosting.shape import HostingShape

# The largest Body of InvokeEndpointAsync. A larger request is an object in S3.
# Source: botocore's model of sagemaker-runtime, InvokeEndpointAsyncInput.
MAX_INLINE_BYTES: Final = 128_000
# Source: docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
MAX_INPUT_BYTES: Final = 1_000_000_000

# How long a request may wait in the queue, and then run, in seconds.
LEAST_TTL_SECONDS: Final = 60
MOST_TTL_SECONDS: Final = 21_600
MOST_INVOCATION_SECONDS: Final = 3_600

ASYNC: Final = HostingShape(
    hosting="async",
    name_word="async",
    shared=False,
    request_response=False,
    max_body_bytes=MAX_INPUT_BYTES,
)
