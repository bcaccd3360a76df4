"""AWS on loopback for one test. Without tests/conftest.py, since boto3 and pytest are enough for these tests."""

from collections.abc import Iterator

import boto3
import pytest
from loopback import FakeAws, serving, session


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
