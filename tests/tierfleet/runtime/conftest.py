"""AWS on loopback for one test. These tests also run without tests/conftest.py, on boto3 and pytest alone."""

from collections.abc import Iterator

import boto3
import pytest
from hypothesis import settings
from loopback import FakeAws, serving, session

# As in tests/conftest.py: a slow machine is not a failure.
settings.register_profile("tierfleet", deadline=None)
settings.load_profile("tierfleet")


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def url(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(aws) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield url


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    return session()
