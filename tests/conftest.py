"""One synth per session, shared by every test that reads templates."""

import json
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

# The jsii child inherits these when it starts, so they are set before the first import of aws_cdk. The validator alone
# would take longer than all tests; `make synth` keeps it on.
os.environ["CDK_VALIDATION"] = "false"
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

import run_reaper
from hypothesis import HealthCheck, settings

from local_cloud.testing.fleets import CONFIG, ROOT, Synth, read_templates
from tierfleet.config import FleetConfig

# The first import of readline sets COLUMNS and LINES in the environment of the process, which os.environ does not show:
# every command that a test starts would format for a terminal of that width. So import it first, then unset both.
with suppress(ImportError):
    import readline  # noqa: F401
for _size in ("COLUMNS", "LINES"):
    os.environ.pop(_size, None)
    os.unsetenv(_size)

# A shell that starts the tests in the background makes them, and all that they start, ignore Ctrl-C; nohup adds SIGHUP.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(_number, signal.SIG_DFL)

# A slow machine is not a failure: no deadline for an example, nor for drawing it. Every run tries the same examples, so
# that a failure is the change's; `pytest --hypothesis-profile explore` tries others.
settings.register_profile("tierfleet", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("tierfleet")


# The files that take longest, longest first. A worker that began one last would work on while the other has nothing.
_LONG_FILES = (
    "local_cloud/test_pages_run.py",
    "local_cloud/serving/test_moves.py",
    "local_cloud/serving/test_faults.py",
    "local_cloud/serving/test_guardrail.py",
    "local_cloud/test_first_hour.py",
    "container/test_memory.py",
    "local_cloud/services/stacks/test_cancel.py",
    "local_cloud/serving/test_real_fleet.py",
    "tierfleet/runtime/client/test_node.py",
    "tierfleet/runtime/client/test_faults.py",
    "tierfleet/runtime/client/test_fork.py",
    "tierfleet/cli/test_diff.py",
    "local_cloud/test_commands_end.py",
    "local_cloud/test_route_parts.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After the long files those with the most tests come first, so that short files even out the end of a run."""
    here = Path(__file__).parent
    ranks = {here / name: rank for rank, name in enumerate(_LONG_FILES)}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -counts[item.path]))


def pytest_sessionstart() -> None:
    """However this run ends, by SIGTERM or SIGKILL too, what it started ends with it."""
    os.environ[run_reaper.MARK] = f"{os.getpid()}-{time.time_ns()}"
    run_reaper.start(os.environ[run_reaper.MARK])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--early-start", default="creation", help="CloudFormation's early start in the emulator: off, creation, always"
    )
    parser.addoption("--update-snapshots", action="store_true", help="rewrite tests/snapshots from this synth")
    parser.addoption("--pip", action="store_true", help="run what pages install with pip too, which needs a network")


@pytest.fixture
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that boto3 looks at says who calls, in which region, or where."""
    for name in (
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture(scope="session")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Synth:
    """synth(*configs) -> the directory of their cloud assembly, under the flags of cdk.json."""
    import aws_cdk as cdk

    from stacks.fleet_stage import FleetStage

    context = json.loads((ROOT / "cdk.json").read_text())["context"]

    def synthesise(*configs: FleetConfig) -> Path:
        outdir = tmp_path_factory.mktemp("cdk.out")
        app = cdk.App(context=context, outdir=str(outdir), tree_metadata=False, analytics_reporting=False)
        for config in configs:
            FleetStage(app, config)
        app.synth()
        return outdir

    return synthesise


@pytest.fixture(scope="session")
def assembly(synth: Synth) -> Path:
    """The cloud assembly of every fleet file in config/."""
    from tierfleet.config import load_all

    return synth(*load_all(CONFIG))


@pytest.fixture(scope="session")
def templates(assembly: Path) -> dict[str, dict[str, Any]]:
    """Every template of the assembly by its file's name without endings, nested stacks included."""
    return read_templates(assembly)
