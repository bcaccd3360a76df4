"""One instance around a container of one's own: started, watched, started again, ended."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from process_state import stop

from local_cloud.data_plane.desired import VariantSpec
from local_cloud.data_plane.instances.container_client import ContainerGoneError
from local_cloud.data_plane.instances.instance import Instance
from local_cloud.data_plane.instances.model_cache import container_name
from local_cloud.data_plane.settings import DataPlaneSettings, SettingsError, from_options

STUB = Path(__file__).with_name("contract_stub.py")


class Artefacts:
    """Gives every model a directory with its name in it."""

    async def fetch(self, _scope: tuple[str, str], url: str, directory: Path, **_: int) -> int:
        directory.mkdir(parents=True)
        (directory / "model").write_text(url)
        return 10


def run(
    directory: Path,
    work: Callable[[Instance], Awaitable[None]],
    start_seconds: float = 120.0,
    room: int = 1,
    **environment: str,
) -> None:
    """Do the work with an instance whose container has room for so many models; it is retired at the end."""

    async def main() -> None:
        spec = VariantSpec("AllTraffic", 1, 1.0, "ml.m5.large", None, True, "s3://bucket/models/", environment)
        instance = Instance(
            "i-1",
            spec,
            scope=("111122223333", "eu-west-1"),
            directory=directory / "i-1",
            settings=DataPlaneSettings(
                command=f"{sys.executable} {STUB} {{port}} {room}", start_seconds=start_seconds, scale=0.03
            ),
            artefacts=Artefacts(),  # type: ignore[arg-type]
            observe=lambda *_: None,
            starting=asyncio.Semaphore(1),
        )
        try:
            await work(instance)
        finally:
            await instance.retire()
        assert instance.process is None
        assert not (directory / "i-1").exists()

    asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


async def url_of(instance: Instance, model: str) -> str:
    """Where the container was told that the model is, after a load."""
    assert instance.cache is not None
    assert instance.client is not None
    await instance.cache.ensure(model, max_wait_seconds=60)
    path = f"/models/{container_name(model)}/invoke".encode()
    reply = await instance.client.ask(b"POST", path, timeout_seconds=60)
    assert reply.status == 200
    return reply.body.decode()


def test_any_container_that_speaks_the_contract_will_do(tmp_path: Path) -> None:
    async def work(instance: Instance) -> None:
        await until(lambda: instance.in_service)
        for model in ("a", "b", "a"):
            directory = Path(await url_of(instance, model))
            assert (directory / "model").read_text() == f"s3://bucket/models/{model}"
        counters = instance.counters
        assert (counters.loads, counters.unloads, counters.disk_hits) == (3, 2, 1)

    run(tmp_path, work)


def test_a_container_that_never_says_507_is_kept_within_its_memory(tmp_path: Path) -> None:
    """Its budget is 221 MiB: with the interpreter, four models of 50 MiB are too many."""

    async def work(instance: Instance) -> None:
        await until(lambda: instance.in_service)
        assert instance.cache is not None
        for model in ("a", "b", "c", "d", "a", "e", "f"):
            await url_of(instance, model)
            instance.cache.enter(model)
            instance.cache.leave(model)

        assert instance.memory_budget_mib == 221
        assert 2 <= len(instance.cache.memory) <= 5
        assert list(instance.cache.memory)[-1] == "f"
        assert instance.counters.unloads > 0
        assert instance.counters.refusals_for_memory == 0

    run(tmp_path, work, room=100, MIB_PER_MODEL="50")


def test_a_container_that_ends_is_started_again_without_its_models(tmp_path: Path) -> None:
    async def work(instance: Instance) -> None:
        await until(lambda: instance.in_service)
        await url_of(instance, "a")
        assert instance.process is not None
        first = instance.process.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: instance.in_service and instance.process and instance.process.pid != first)

        assert instance.cache is not None
        assert not instance.cache.memory
        assert not instance.cache.disk.models
        assert instance.counters.restarts == 1

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("environment", "start_seconds", "reason"),
    [
        ({"ENDS": "1"}, 120.0, "the container ended with 1: cannot find its libraries"),
        ({"NEVER_HEALTHY": "1"}, 0.5, "/ping answered (503|nothing), not 200, for 0.5 s"),
    ],
)
def test_an_instance_that_never_gets_healthy_says_why(
    tmp_path: Path, environment: dict[str, str], start_seconds: float, reason: str
) -> None:
    async def work(instance: Instance) -> None:
        await until(lambda: instance.status == "Failed")
        assert re.match(reason, instance.reason)
        assert not instance.in_service

    run(tmp_path, work, start_seconds, **environment)


def test_it_ends_after_the_requests_that_it_has(tmp_path: Path) -> None:
    async def work(instance: Instance) -> None:
        await until(lambda: instance.in_service)
        instance.enter("a")
        retiring = asyncio.ensure_future(instance.retire())
        await until(lambda: not instance.in_service)
        assert instance.process is not None
        await url_of(instance, "a")  # what it has is still served
        instance.leave("a")
        await retiring

    run(tmp_path, work)


def test_a_request_on_a_container_that_dies_is_told(tmp_path: Path) -> None:
    async def work(instance: Instance) -> None:
        await until(lambda: instance.in_service)
        client, process = instance.client, instance.process
        assert client is not None
        assert process is not None
        stop(process.pid)
        asking = asyncio.ensure_future(client.ask(b"GET", b"/ping", timeout_seconds=60))
        await asyncio.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ContainerGoneError):
            await asking

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"scale": 0}, "scale is 0; it must be above 0"),
        ({"scale": 2}, "scale is 2; it must be at most 1"),
        ({"network_milliseconds": -1, "start_seconds": 0}, "network_milliseconds is -1.*; start_seconds is 0"),
        ({"sclae": 1}, "no such data plane setting: sclae; there are command, "),
    ],
)
def test_wrong_settings_are_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        from_options(options)


def test_budgets_follow_the_instance_type_and_the_scale() -> None:
    settings = DataPlaneSettings(scale=0.1)

    assert settings.memory_budget_mib("ml.m5.xlarge") == 1475  # 16 GiB x 0.9 x 0.1
    assert settings.disk_budget_bytes("ml.m5.xlarge", 100) == (10 * 2**30)
    assert settings.disk_budget_bytes("ml.m5d.xlarge", None) == 10 * 10**9
    with pytest.raises(ValueError, match="use a CPU type"):
        settings.memory_budget_mib("ml.p4d.24xlarge")


def test_an_image_may_have_a_command_of_its_own_by_uri_or_repository() -> None:
    uri = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/velocity"
    settings = from_options({"command": "any", "image_commands": {f"{uri}:1": "first", "team/velocity": "other"}})
    assert [settings.command_of(f"{uri}:1"), settings.command_of(f"{uri}:2")] == ["first", "other"]
    assert settings.command_of(f"{uri}@sha256:00") == "other"
    assert [settings.command_of("sagemaker-xgboost"), settings.command_of(None)] == ["any", "any"]
    with pytest.raises(SettingsError, match="image_commands has no command for velocity"):
        from_options({"image_commands": {"velocity": ""}})
