"""The image, as far as it can be tried without an engine: linted, its steps run in a clean environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from running_server import ROOT, RunningServer

CONTAINER = ROOT / "container"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, in order."""
    text = re.sub(r"\\\n", " ", (CONTAINER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def final_stage() -> list[tuple[str, str]]:
    """Those of the stage that becomes the image."""
    steps = instructions()
    return steps[max(index for index, (name, _) in enumerate(steps) if name == "FROM") :]


def test_every_instruction_is_known_and_every_base_is_slim_and_named() -> None:
    known = {"FROM", "COPY", "RUN", "LABEL", "ENV", "EXPOSE", "STOPSIGNAL", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1, "what is built on one base runs on it"
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", bases[0]), "a tag can be moved"


def test_sagemaker_finds_its_labels() -> None:
    labels = {rest for name, rest in final_stage() if name == "LABEL"}
    prefix = "com.amazonaws.sagemaker.capabilities"
    assert labels == {f"{prefix}.multi-models=true", f"{prefix}.accept-bind-to-port=true"}


def test_the_image_runs_as_root_as_sagemaker_asks_and_holds_no_build_tools() -> None:
    """docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html: containers run with root users."""
    steps = final_stage()
    assert not [rest for name, rest in steps if name == "USER"]
    commands = " ".join(rest for name, rest in steps if name == "RUN")
    assert not re.search(r"apt|gcc|build-essential|curl|pip install", commands)
    assert "pip uninstall --yes pip setuptools wheel" in commands


def test_stopping_the_container_reaches_the_server() -> None:
    steps = dict(final_stage())
    assert json.loads(steps["ENTRYPOINT"]) == ["python", "-m", "tierfleet_server"]  # no shell between
    assert json.loads(steps["CMD"]) == ["serve"]
    assert steps["STOPSIGNAL"] == "SIGTERM"


def test_what_is_copied_is_there_and_nothing_else_is_needed() -> None:
    copied = [rest.split()[0] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    assert copied == ["requirements.txt", "tierfleet_forest", "tierfleet_server"]
    assert all((CONTAINER / name).exists() for name in copied)
    for module in CONTAINER.glob("tierfleet_*/*.py"):
        assert not re.search(r"^\s*(from|import) (tierfleet|stacks|constructs_lib)\b", module.read_text(), re.M)


def test_every_pin_has_hashes_and_is_the_tested_version() -> None:
    text = (CONTAINER / "requirements.txt").read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"\S+==\S+( +--hash=sha256:[0-9a-f]{64}){2}", pin) for pin in pins)
    tested = (ROOT / "requirements-container.txt").read_text()
    for pin in pins:
        assert re.search(rf"^{re.escape(pin.split()[0])}( ;.*)?$", tested, re.M), pin
    assert "index-url" not in text


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image's hashes are for Python 3.11")
def test_the_images_own_steps_make_a_server_that_serves(artefacts: dict[str, Path], tmp_path: Path) -> None:
    """Runs the Dockerfile's install and entry point, with its own paths moved to a directory."""
    root = tmp_path / "root"
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    python = str(tmp_path / "venv" / "bin" / "python")

    def moved(argument: str) -> str:
        return argument.replace("/opt/tierfleet", f"{root}/opt/tierfleet").replace("/build/", f"{CONTAINER}/")

    build = instructions()[: len(instructions()) - len(final_stage())]
    for name, rest in build:
        if name == "RUN":
            if rest.startswith("apt-get "):
                assert shutil.which("gcc")  # what it installs
                continue
            environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
            environment["PATH"] = f"{tmp_path}/venv/bin:{environment['PATH']}"
            subprocess.run(["sh", "-ec", moved(rest)], check=True, env=environment, capture_output=True)
        elif name == "COPY":
            source, target = rest.split()
            if target.startswith("/opt"):
                ignored = shutil.ignore_patterns("*.so", "__pycache__", "build", "*.egg-info")
                shutil.copytree(CONTAINER / source, root / target.lstrip("/"), ignore=ignored)
    environment = dict(rest.split("=", 1) for name, rest in final_stage() if name == "ENV")
    environment = {key: moved(value) for key, value in environment.items()}
    entry = [*json.loads(dict(final_stage())["ENTRYPOINT"]), *json.loads(dict(final_stage())["CMD"])]
    environment["SAGEMAKER_MULTI_MODEL"] = "true"
    server = RunningServer(environment, tmp_path / "log", command=[python, *entry[1:]])
    try:
        assert server.ask("GET", "/ping").status == 200, server.log.read_text()
        assert server.load("m", artefacts["json"]).status == 200
        assert server.invoke("m", b"1,2,3,4,5,6,7,8").status == 200
        assert list(root.rglob("_forest.abi3.so"))
        assert not list(root.rglob("scipy"))
        server.terminate()
        assert server.wait() == 0
    finally:
        server.close()


def test_an_argument_that_is_not_serve() -> None:
    environment = {**os.environ, "PYTHONPATH": str(CONTAINER)}
    command = [sys.executable, "-m", "tierfleet_server", "train"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "arguments ['train'] are not known" in done.stderr
