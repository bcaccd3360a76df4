"""The fleet fraud-prod on loopback, as a command finds it."""

from collections.abc import Iterator

import pytest
from loopback import REGION, FakeAws, service_models_read_once, serving


@pytest.fixture
def aws() -> FakeAws:
    """Its routes with a probe and the tail's warm-up list."""
    aws = FakeAws()
    assert aws.routes is not None
    aws.routes["warm_up"] = {
        "probe": {"content_type": "text/csv", "body": "1,2,3"},
        "tiers": {"tail": {"tenants": ["m02", "m03", "m01"], "concurrency": 1, "deadline_seconds": 60}},
    }
    return aws


@pytest.fixture
def url(aws: FakeAws) -> Iterator[str]:
    with serving(aws) as url:
        yield url


@pytest.fixture
def as_caller(url: str, no_credentials: None, quick_clients: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command calls is answered here, and it has credentials and a region."""
    for name, value in (
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", REGION),
    ):
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def quick_clients() -> Iterator[None]:
    with service_models_read_once():
        yield
