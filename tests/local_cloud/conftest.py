"""One local emulator for the whole run, empty for each module; every test has an AWS account of its own in it."""

import itertools
from collections.abc import Iterator

import pytest

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account, advance_to_noon
from local_cloud.testing.served_account import Served

_accounts = itertools.count(100000000001)


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("local-cloud")) as running:
        yield running


@pytest.fixture(scope="module")
def cloud(process: LocalCloud) -> LocalCloud:
    """Emptied, since what earlier modules left is looked at with each step of the clock."""
    process.admin("reset", {})
    return process


@pytest.fixture
def account(cloud: LocalCloud, request: pytest.FixtureRequest) -> Iterator[Account]:
    cloud.admin("clock", {"mode": "skip"})
    cloud.admin("faults", {})
    early_start = request.config.getoption("--early-start")
    cloud.admin("cloudformation", {"early_start": early_start, "cancel_waits_for_the_resource": False})
    advance_to_noon(cloud)
    yield Account(cloud, str(next(_accounts)))
    cloud.admin("clock", {"mode": "skip"})


@pytest.fixture
def served(cloud: LocalCloud) -> Iterator[Served]:
    """An account of a module's own emulator, whose `cloud` serves models."""
    cloud.admin("clock", {"mode": "skip"})
    served = Served(Account(cloud, str(next(_accounts))))
    yield served
    cloud.admin("faults", {})
    cloud.admin("clock", {"mode": "skip"})
    served.delete_all()
