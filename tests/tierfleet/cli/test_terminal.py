"""Every command on every terminal: help with an example, no colours where none are wanted, ASCII, no traceback."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import tomlkit
from terminal import on_terminal
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG, ROOT, document
from tierfleet.cli import app
from tierfleet.cli.examples import EXAMPLES
from tierfleet.cost.ec2_prices import Ec2Prices
from tierfleet.cost.price_file import write_prices
from tierfleet.cost.prices import load_prices

runner = CliRunner()
TIERFLEET = str(Path(sys.executable).parent / "tierfleet")


def commands(group: TyperGroup, above: str = "") -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{above}{name} ")
        elif isinstance(command, TyperCommand):
            yield f"{above}{name}", command


COMMANDS = dict(commands(get_command(app)))  # type: ignore[arg-type]


def test_every_command_has_an_example() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_in_the_help_is_one_that_the_command_takes(name: str) -> None:
    help_text = runner.invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"}).stdout

    (example,) = re.findall(rf"Example: tierfleet {name}(.*)", help_text)
    words = shlex.split(example.partition(">")[0])
    assert " ".join(example.split()) == " ".join(EXAMPLES[name].split())
    COMMANDS[name].make_context(name, words)


def test_the_help_lists_the_commands_in_the_order_of_use() -> None:
    shown = runner.invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout

    listed = re.findall(r"^│ ([a-z]+)  ", shown, re.MULTILINE)
    order = "local config shapes diff cost models invoke batch warm plan prices preflight"
    assert listed == order.split()
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(("group", "first"), [("models", "validate"), ("plan", "fleet"), ("local", "up")])
def test_the_help_of_a_group_begins_with_the_first_command_to_use(group: str, first: str) -> None:
    shown = runner.invoke(app, [group, "--help"], env={"COLUMNS": "80"}).stdout
    assert re.findall(r"^│ ([a-z]+)  ", shown, re.MULTILINE)[0] == first


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_help_text_is_wrapped_by_the_terminal_alone(width: int) -> None:
    """A line of a docstring that ends early would show as a line that its first word would still fit."""
    for name in COMMANDS:
        shown = runner.invoke(app, [*name.split(), "--help"], env={"COLUMNS": str(width)}).stdout
        above = [line.strip() for line in shown.partition("╭")[0].splitlines()]
        for line, following in pairwise(above):
            if line and following and not line.startswith("Usage:"):
                assert len(line) + 1 + len(following.split()[0]) > width - 2, f"{name}: {line}"


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"tierfleet \d+\.\d+\.\d+\n", runner.invoke(app, ["--version"]).stdout)


def test_completion_can_be_installed() -> None:
    shown = runner.invoke(app, ["--help"]).stdout
    assert "--install-completion" in shown


def test_no_color_is_heard() -> None:
    file = str(CONFIG / "fraud-dev.toml")
    colour = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|38)[0-9;]*m")
    for no_color, coloured in (("", True), ("1", False)):
        screen, code = on_terminal([TIERFLEET, "config", "check", file], ROOT, NO_COLOR=no_color)
        assert (code, bool(colour.search(screen.written))) == (0, coloured)


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}])
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["local", "up", "--help"],
        ["config", "show", "config/fraud-dev.toml"],
        ["config", "check", "tests/→.toml"],
    ],
)
def test_an_ascii_terminal_gets_ascii(locale: dict[str, str], arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", **locale}
    done = subprocess.run([TIERFLEET, *arguments], cwd=ROOT, env=environment, capture_output=True, check=False)

    assert (done.stdout + done.stderr).isascii()
    assert done.returncode == (2 if "check" in arguments else 0)
    assert b"Traceback" not in done.stderr


OFFLINE = [
    *([*name.split(), "--help"] for name in COMMANDS),
    *(["config", name, "config/fraud-prod.toml"] for name in ("check", "show")),
    *(["config", name] for name in ("schema", "reference")),
    ["cost", "config/fraud-prod.toml", "--verbose"],
    ["cost", "--diff", "config/fraud-dev.toml", "config/fraud-prod.toml"],
    ["prices", "show"],
    ["models", "validate", "tests/→.ubj"],
    ["models", "package", "tests/→.ubj", "-o", "→"],
    ["models", "convert", "tests/→.ubj", "-o", "→"],
    ["plan", "curve", "tests/→.csv", "--resident-mib", "30"],
    ["plan", "fleet", "tests/→.csv", "--config", "config/fraud-dev.toml"],
    ["invoke", "→", "--local"],
    ["warm", "--local", "--tenants", "→"],
    ["preflight", "→.toml"],
    *(["local", name] for name in ("status", "events", "drive", "down")),
]
SWEEP = """
import json, sys
from tierfleet.cli import app, terminal
terminal.make_printable()
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments)
    except SystemExit as end:
        print(end.code)
"""


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}])
def test_every_command_works_on_an_ascii_terminal(locale: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(CONFIG, tmp_path / "config")
    environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", "COLUMNS": "80", **locale}
    program = [sys.executable, "-c", SWEEP, json.dumps(OFFLINE)]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, check=False)

    assert (done.stdout + done.stderr).isascii()
    assert b"Traceback" not in done.stderr
    ends = re.findall(rb"^\d+$", done.stdout, re.MULTILINE)
    assert (done.returncode, len(ends)) == (0, len(OFFLINE)), done.stderr[-500:]


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "package", "1.ubj", "-o"],
        ["models", "convert", "1.ubj", "-o"],
        ["plan", "synthesize", "churn", "--days", "0.01", "--requests-per-day", "100", "--out"],
        ["plan", "fleet", "rates.csv", "--config", "shop-test.toml", "--model-megabytes", "9", "--html"],
    ],
)
def test_a_place_that_cannot_be_written_is_one_sentence(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m01").mkdir()
    shutil.copy(ROOT / "examples" / "newest-xgboost" / "1.ubj", tmp_path)
    (tmp_path / "shop-test.toml").write_text(tomlkit.dumps(document()))
    (tmp_path / "rates.csv").write_text("tenant,requests_per_day\na,1000\n")
    (tmp_path / "file").write_text("not a folder")

    done = subprocess.run(
        [TIERFLEET, *arguments, "file/below"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2, done.stdout + done.stderr
    assert "error" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["prices", "show", "--region", "eu-west-1"],
        ["cost", "config/fraud-dev.toml"],
        ["cost", "--diff", "config/fraud-dev.toml", "config/fraud-prod.toml"],
        ["config", "check"],
    ],
)
def test_json_has_one_indentation(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    printed = runner.invoke(app, [*arguments, "--json"]).stdout
    assert printed == json.dumps(json.loads(printed), indent=2) + "\n"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".local-cloud").write_text("a file where the folder of the local emulator should be")
    for file in (CONFIG / "fraud-dev.toml", CONFIG / "fraud-dev.toml" / "below"):
        done = subprocess.run(
            [TIERFLEET, "local", "up", str(file)], cwd=tmp_path, capture_output=True, text=True, check=False
        )

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("width", ["60", "80", "100", "140"])
def test_the_bill_fits_the_terminal(width: str) -> None:
    shown = runner.invoke(app, ["cost", str(CONFIG / "fraud-prod.toml")], env={"COLUMNS": width}).stdout

    assert max(map(len, shown.splitlines())) <= max(int(width), 68), "the numbers alone take 68 columns"
    assert "$0.257 an hour" in " ".join(shown.split())
    assert "--verbose" in shown
    assert "cloudburn.io" not in shown
    assert "cloudburn.io" in runner.invoke(app, ["cost", str(CONFIG / "fraud-prod.toml"), "--verbose"]).stdout


def test_regions_without_prices_are_named_once_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "fraud-dev.toml"
    file.write_text((CONFIG / "fraud-dev.toml").read_text().replace("eu-west-1", "sa-east-1"))
    prices, fewer = load_prices(), tmp_path / "prices.toml"
    hosting, units = (
        {region: usd for region, usd in table.items() if region != "sa-east-1"}
        for table in (prices.hosting, prices.units)
    )
    write_prices(replace(prices, hosting=hosting, units=units, ec2=Ec2Prices()), fewer)

    said = runner.invoke(app, ["cost", str(file), "--prices", str(fewer)]).stderr

    assert said.count("sa-east-1") == 2
    assert "prices refresh --region sa-east-1" in said
    assert "--region us-east-1" in said
    assert runner.invoke(app, ["cost", str(file), "--region", "eu-west-1"]).exit_code == 0


@pytest.mark.parametrize("file", sorted(CONFIG.glob("*.toml")), ids=lambda file: file.stem)
def test_a_fleet_explained_fits_80_columns(file: Path) -> None:
    shown = runner.invoke(app, ["config", "show", str(file)], env={"COLUMNS": "80"}).stdout

    assert max(map(len, shown.splitlines())) <= 80


UUIDS = ("8c2e9a3e-7d1f-4b3a-9d55-0f1f3f1b2c7a", "e0d5f0c2-1b7a-4f0e-8a55-6b9f0d1c2e3f")


@pytest.fixture
def long_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose fleet has tenants with the longest names that people use, one of them newly dedicated."""
    monkeypatch.chdir(tmp_path)
    whale = {"tenants": {UUIDS[0]: {"model": f"{UUIDS[0]}/2026-11-14-retrained.tar.gz"}}}
    file = tmp_path / "shop-test.toml"
    file.write_text(tomlkit.dumps(document(tiers={"whale": whale})))
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    for command in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "--message", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    whale["tenants"][UUIDS[1]] = {"model": f"{UUIDS[1]}/1.tar.gz"}
    file.write_text(tomlkit.dumps(document(tiers={"whale": whale})))
    (tmp_path / "rates.toml").write_text("[requests_per_day]\n" + "\n".join(f'"{name}" = 90000' for name in UUIDS))
    (tmp_path / "traffic.csv").write_text("tenant,requests_per_day\n" + "\n".join(f"{name},90000" for name in UUIDS))
    return file


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "command",
    [
        "config check shop-test.toml",
        "config show shop-test.toml",
        "diff shop-test.toml",
        "cost shop-test.toml",
        "cost shop-test.toml --verbose --traffic traffic.csv",
        "cost --diff shop-test.toml",
        "prices show",
        "plan fleet rates.toml --config shop-test.toml --model-megabytes 30",
        "plan curve rates.toml --resident-mib 30 --capacity-models 100 --capacity-models 1000",
        "models validate absent --config shop-test.toml",
        "invoke unknown",
    ],
)
def test_what_a_command_prints_fits_the_terminal(long_names: Path, command: str, width: int) -> None:
    shown = runner.invoke(app, command.split(), env={"COLUMNS": str(width)})

    assert shown.exception is None or isinstance(shown.exception, SystemExit)
    lines = shown.output.splitlines()
    assert lines
    too_long = [line for line in lines if len(line.rstrip()) > width]
    assert too_long == []
