"""Requests from S3, results to S3, and notifications to SNS, with the execution role's credentials."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.data_plane.instances.role_clients import Reader, RoleClients

_THREADS = 8


class TransferError(Exception):
    """S3 or SNS refused; the message is one sentence."""


@dataclass
class Objects:
    """Reads and writes objects and publishes messages in threads of its own."""

    ministack_url: str
    _clients: RoleClients = field(init=False)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "async-objects"))

    def __post_init__(self) -> None:
        self._clients = RoleClients(self.ministack_url, _THREADS)

    async def read(self, reader: Reader, location: str) -> bytes:
        """The object at `s3://bucket/key`. Raises TransferError."""

        def get() -> bytes:
            bucket, key = _split(location)
            read: bytes = self._clients.client("s3", reader).get_object(Bucket=bucket, Key=key)["Body"].read()
            return read

        body: bytes = await self._in_thread(get, f"Amazon S3 did not give {location}")
        return body

    async def write(self, reader: Reader, location: str, body: bytes, content_type: str) -> None:
        """Raises TransferError."""

        def put() -> None:
            bucket, key = _split(location)
            self._clients.client("s3", reader).put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)

        await self._in_thread(put, f"Amazon S3 did not take {location}")

    async def publish(self, reader: Reader, topic_arn: str, message: dict[str, Any]) -> None:
        """Raises TransferError."""

        def tell() -> None:
            self._clients.client("sns", reader).publish(TopicArn=topic_arn, Message=json.dumps(message))

        await self._in_thread(tell, f"Amazon SNS did not take a message for {topic_arn}")

    async def _in_thread(self, work: Any, what: str) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (ClientError, BotoCoreError, ValueError) as error:
            raise TransferError(f"{what}: {error}") from None


def message(
    *,
    region: str,
    endpoint: str,
    inference_id: str,
    received_at: float,
    content_type: str,
    input_location: str | None,
    output: dict[str, str] | None,
    failure: str | None,
) -> dict[str, Any]:
    """What SNS is told of a request that has ended.

    docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html
    """
    request = {"contentType": content_type, "endpointName": endpoint, "inputLocation": input_location}
    told: dict[str, Any] = {
        "awsRegion": region,
        "eventTime": _iso(datetime.now(UTC)),
        "receivedTime": _iso(datetime.fromtimestamp(received_at, UTC)),
        "invocationStatus": "Failed" if failure is not None else "Completed",
        "requestParameters": {key: value for key, value in request.items() if value is not None},
        "inferenceId": inference_id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    if failure is not None:
        told["failureReason"] = failure
    if output is not None:
        told["responseParameters"] = output
    return told


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _split(location: str) -> tuple[str, str]:
    bucket, slash, key = location.removeprefix("s3://").partition("/")
    if not location.startswith("s3://") or not slash or not key:
        raise ValueError(f"{location} is not s3://bucket/key")
    return bucket, key
