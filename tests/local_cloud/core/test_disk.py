"""A disk that is full, read-only or limited is named as such, with the path and what to do; nothing is half-written."""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from process_state import wait_until_none_names

from local_cloud import start
from local_cloud.core.disk_problems import DiskError, disk_problem, disk_problem_printed
from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.instances.artefacts import Artefacts
from local_cloud.data_plane.instances.role_clients import Reader
from local_cloud.data_plane.settings import DataPlaneSettings
from local_cloud.host import cdk_cli
from local_cloud.testing.account import Account
from local_cloud.testing.fleets import CONFIG
from local_cloud.testing.served_account import Served, artefact, score

REPOSITORY = Path(__file__).resolve().parents[3]
SUPPORT = REPOSITORY / "tests" / "support"
ACCOUNT = "100000000001"


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own; the parameter is its mount options."""
    directory = tmp_path / "disk"
    directory.mkdir()
    options = getattr(request, "param", "size=1m")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Leave no byte free."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        ("size=64k,mode=755", "the disk is full; free some space or use another directory"),
        ("nr_inodes=4", r"the disk has no room for another file \(its inodes are used up\)"),
        ("ro", "the file system is read-only; use a directory that can be written"),
    ],
    indirect=["disk"],
)
def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path, disk: Path, reason: str) -> None:
    if "full" in reason:
        fill(disk)
    before = sorted(disk.iterdir())
    with pytest.raises(DiskError, match=rf"cannot write {disk}\S*: {reason}"):
        start(disk / "state", serving="models")
    wait_until_none_names(disk)
    assert sorted(disk.iterdir()) == before


def test_a_state_directory_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for state in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(DiskError, match=f"cannot write {tmp_path}/file.*(not a directory|a file of that name)"):
            start(state)


def test_up_on_a_full_disk_is_one_sentence(disk: Path) -> None:
    fill(disk)
    command = [str(Path(sys.executable).parent / "tierfleet"), "local", "up", str(CONFIG / "fraud-dev.toml")]
    ended = subprocess.run(command, cwd=disk, capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith(f"error: cannot write {disk}/.local-cloud")
    assert "the disk is full; free some space" in ended.stderr
    assert [path.name for path in disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("disk", ["size=12m"], indirect=True)
def test_a_model_that_the_disk_has_no_room_for_is_refused_and_the_others_serve(disk: Path) -> None:
    with start(disk / "state", account=ACCOUNT, serving="models") as cloud:
        served = Served(Account(cloud, ACCOUNT))
        served.publish(m01=1, m02=2)
        served.config("c")
        served.create("tail", "c")
        assert served.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)
        filler = fill(disk)
        with pytest.raises(ClientError, match=r"cannot write .*/instances/.*: the disk is full") as refused:
            served.invoke("tail", "m02")
        assert refused.value.response["Error"]["Code"] == "InternalFailure"
        assert served.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)

        served.config("another", "m02.tar.gz")
        served.sagemaker.create_endpoint(EndpointName="whale", EndpointConfigName="another")
        failed = served.settled("whale")
        assert failed["EndpointStatus"] == "Failed"
        assert "the disk is full; free some space" in failed["FailureReason"]
        assert cloud.admin("health") == {"pid": cloud.pid}

        filler.unlink()
        served.create("again", "another")
        assert served.score("again") == pytest.approx(score(2), rel=1e-6)


def fetched(directory: Path, packed: bytes) -> None:
    """Fetch an artefact from an S3 that has only this one."""

    class S3(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(packed)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), S3)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    artefacts = Artefacts(f"http://127.0.0.1:{server.server_address[1]}", DataPlaneSettings())
    reader: Reader = (("1", "eu-west-1"), None)
    try:
        asyncio.run(artefacts.fetch(reader, "s3://bucket/key", directory / "0" / "model", max_bytes=10**9))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("disk", ["size=64k", "nr_inodes=3", "ro"], indirect=True)
def test_an_artefact_is_not_blamed_for_the_disk(disk: Path) -> None:
    large = artefact(400)
    with pytest.raises(ServiceError) as refused:
        fetched(disk, large)
    assert refused.value.code == "InternalFailure"
    assert f"cannot write {disk}" in refused.value.message
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def test_a_limit_of_the_process_on_the_size_of_files_is_named(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        f"sys.path[:0] = {[str(REPOSITORY), str(SUPPORT)]!r}; "
        "from pathlib import Path; from local_cloud.testing.served_account import artefact; "
        "from tests.local_cloud.core import test_disk as t; "
        f"t.fetched(Path({str(tmp_path)!r}), artefact(400))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "a file may not become larger than the limit of this process (ulimit -f)" in ended.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096


def test_the_cdk_cli_on_a_full_disk_is_one_sentence(disk: Path) -> None:
    with start(disk / "state", account=ACCOUNT) as cloud:
        fill(disk)
        with pytest.raises(cdk_cli.CdkError, match=r"^cannot write .*: the disk is full; free some space[^\n]*$"):
            cdk_cli.bootstrap(cloud, ACCOUNT, "eu-west-1")


@pytest.mark.parametrize(
    ("printed", "sentence"),
    [
        ("Error: ENOSPC: no space left on device, write", "cannot write /s: the disk is full"),
        ("x\nError: EROFS: read-only file system, open '/a/b'\n    at f", "cannot write /a/b: the file system is read"),
        ("OSError: [Errno 28] No space left on device: '/a/c'\n", "cannot write /a/c: the disk is full"),
        ("OSError: [Errno 122] Disk quota exceeded: '/a'", "cannot write /a: the disk quota is used up"),
        ("EACCES: permission denied, mkdir '/a/d'", "cannot write /a/d: permission is denied"),
        ("Resource handler returned: AccessDenied", None),
        ("", None),
    ],
)
def test_what_other_programs_print_about_the_disk_is_understood(printed: str, sentence: str | None) -> None:
    told = disk_problem_printed(printed, Path("/s"))
    assert told is None if sentence is None else (told or "").startswith(sentence)


def test_every_reason_has_a_path_and_something_to_do(tmp_path: Path) -> None:
    for number in (28, 122, 27, 30, 13, 1, 20, 17, 21, 36, 24, 23, 5):
        named = disk_problem(OSError(number, os.strerror(number), "/named"), tmp_path)
        unnamed = disk_problem(OSError(number, os.strerror(number)), tmp_path)
        assert named.startswith("cannot write /named: ")
        assert unnamed.startswith(f"cannot write {tmp_path}: ")
        assert "; " in named
