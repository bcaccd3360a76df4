"""Repairs error replies whose body AWS does not document: botocore's parser raises arbitrary exceptions for them."""

import json
from typing import Any, Final

_JSON_SERVICES: Final = ("sagemaker-runtime", "appconfigdata")
_TEXTS: Final = ("message", "Message", "code", "__type", "OriginalMessage", "LogStreamArn")
_LONGEST_TEXT_CHARACTERS: Final = 2_000


def make_readable(client: Any) -> None:
    """Have a boto3 client accept any error body. Its status and error type still say what happened."""
    if client.meta.service_model.service_name in _JSON_SERVICES:
        client.meta.events.register("before-parse", _make_readable)


def _make_readable(response_dict: dict[str, Any], **_: Any) -> None:
    if response_dict["status_code"] >= 300:
        response_dict["body"] = readable(response_dict["body"])


def readable(body: bytes) -> bytes:
    """A JSON object with the fields of `body` that have AWS's types. Any other body becomes its message."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        said = {"message": body[:_LONGEST_TEXT_CHARACTERS].decode("utf-8", "replace")}
    fields: dict[str, Any] = {name: said[name] for name in _TEXTS if isinstance(said.get(name), str)}
    status = said.get("OriginalStatusCode")
    if type(status) is int and 100 <= status <= 999:
        fields["OriginalStatusCode"] = status
    return json.dumps(fields).encode()
