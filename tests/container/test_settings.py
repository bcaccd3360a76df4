"""Settings and the memory they leave."""

import os
import re
from pathlib import Path

import pytest
from running_server import ROOT, RunningServer
from tierfleet_server.memory_limit import MIB, budget_bytes, memory_limit_bytes
from tierfleet_server.settings import VARIABLES, Settings, SettingsError

GIB = 1024 * MIB


def test_defaults_are_sagemakers() -> None:
    settings = Settings.from_environment({"PATH": "/bin", "SAGEMAKER_PROGRAM": ""})
    assert (settings.multi_model, settings.port, str(settings.model_directory)) == (
        False,
        8080,
        "/opt/ml/model",
    )
    assert settings.max_request_bytes == 6 * 1024 * 1024


def test_every_variable_reaches_its_field() -> None:
    values = {
        "SAGEMAKER_MULTI_MODEL": ("true", True),
        "SAGEMAKER_BIND_TO_PORT": ("9000", 9000),
        "SAGEMAKER_MAX_REQUEST_SIZE": ("2048", 2048),
        "MAX_CONTENT_LENGTH": ("4096", 4096),
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": ("application/json", "application/json"),
        "SAGEMAKER_CONTAINER_LOG_LEVEL": ("30", 30),
        "TIERFLEET_BIND_HOST": ("127.0.0.1", "127.0.0.1"),
        "TIERFLEET_MODEL_DIRECTORY": ("/m", Path("/m")),
        "TIERFLEET_MEMORY_BUDGET_MIB": ("512", 512),
        "TIERFLEET_MEMORY_RESERVE_MIB": ("0", 0),
        "TIERFLEET_PREDICT_THREADS": ("3", 3),
        "TIERFLEET_MAX_WAITING_PER_MODEL": ("9", 9),
        "TIERFLEET_INVOCATION_TIMEOUT_SECONDS": ("40", 40),
        "TIERFLEET_REQUEST_TIMEOUT_SECONDS": ("5", 5),
        "TIERFLEET_DRAIN_SECONDS": ("6", 6),
        "TIERFLEET_ACCESS_LOG": ("1", True),
    }
    assert set(values) == set(VARIABLES)
    for variable, (text, value) in values.items():
        field = VARIABLES[variable][0]
        assert getattr(Settings.from_environment({variable: text}), field) == value
        assert getattr(Settings.from_environment({variable: text}), field) != getattr(Settings(), field)


def test_every_wrong_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(
            {"SAGEMAKER_BIND_TO_PORT": "http", "SAGEMAKER_MULTI_MODEL": "maybe", "TIERFLEET_BUDGET": "1",
             "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "image/png", "TIERFLEET_PREDICT_THREADS": "0"}
        )  # fmt: skip
    for part in (
        "SAGEMAKER_BIND_TO_PORT='http': must be a whole number from 1 to 65535",
        "SAGEMAKER_MULTI_MODEL='maybe': must be true or false",
        "TIERFLEET_BUDGET: no such setting; known: TIERFLEET_BIND_HOST",
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT='image/png': must be one of text/csv",
        "TIERFLEET_PREDICT_THREADS='0': must be a whole number from 1 to 256",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "environment", [{"SAGEMAKER_MULTI_MODEL": "perhaps"}, {"TIERFLEET_MEMORY_RESERVE_MIB": "60000000"}]
)
def test_a_server_with_a_bad_setting_does_not_start(environment: dict[str, str], tmp_path: Path) -> None:
    server = RunningServer(environment, tmp_path / "log")
    assert server.wait() == 2
    assert next(iter(environment)) in (tmp_path / "log").read_text()


def test_the_guide_lists_every_setting_with_its_default() -> None:
    guide = (ROOT / "docs" / "container.md").read_text()
    documented = set(re.findall(r"^\| `((?:SAGEMAKER|TIERFLEET|MAX)_[A-Z_]+)` \|", guide, re.M))
    assert documented == set(VARIABLES)
    for variable, (field, _) in VARIABLES.items():
        default = getattr(Settings(), field)
        row = re.search(rf"^\| `{variable}` \|([^|]*)\|", guide, re.M)
        assert row is not None
        if isinstance(default, bool):
            assert row[1].strip() == f"`{str(default).lower()}`"
        elif default is not None and field != "predict_threads":
            assert row[1].strip() == f"`{default}`"


def machine(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": "MemFree: 1 kB\nMemTotal: 16777216 kB\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 16 * GIB),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 16 * GIB),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{3 * GIB}\n"}, 3 * GIB),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": f"{4 * GIB}\n",
          "sys/fs/cgroup/a/memory.max": f"{2 * GIB}\n"}, 2 * GIB),
        ({"proc/self/cgroup": "0::/of-the-host\n", "sys/fs/cgroup/memory.max": f"{2 * GIB}\n"}, 2 * GIB),
        ({"proc/self/cgroup": "4:cpu,cpuacct:/x\n3:memory:/x\n",
          "sys/fs/cgroup/memory/x/memory.limit_in_bytes": f"{5 * GIB}\n"}, 5 * GIB),
        ({"proc/self/cgroup": "3:memory:/\n",
          "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 16 * GIB),
    ],
)  # fmt: skip
def test_the_limit_is_the_tightest_there_is(files: dict[str, str], limit: int, tmp_path: Path) -> None:
    assert memory_limit_bytes(machine(tmp_path, files)) == limit


def test_this_machine_has_a_limit() -> None:
    assert 256 * MIB < memory_limit_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_budget_leaves_a_reserve() -> None:
    assert budget_bytes(16 * GIB) == 16 * GIB - 16 * GIB // 10
    assert budget_bytes(1 * GIB) == 768 * MIB
    assert budget_bytes(1 * GIB, reserve_mib=100) == 924 * MIB
    assert budget_bytes(1 * GIB, budget_mib=5000) == 5000 * MIB
    with pytest.raises(ValueError, match="leaves nothing of the 200 MiB limit"):
        budget_bytes(200 * MIB)
