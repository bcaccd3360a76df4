"""A refusal is called the same whatever Python the server runs on."""

import pytest
from tierfleet_server.model.refusal import Refusal

KINDS = {
    400: "BadRequest",
    405: "MethodNotAllowed",
    413: "RequestEntityTooLarge",
    414: "RequestUriTooLong",
    415: "UnsupportedMediaType",
    416: "RequestedRangeNotSatisfiable",
    422: "UnprocessableEntity",
    431: "RequestHeaderFieldsTooLarge",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}


@pytest.mark.parametrize("status", KINDS)
def test_a_status_has_one_name(status: int) -> None:
    assert Refusal(status, "").kind == KINDS[status]
