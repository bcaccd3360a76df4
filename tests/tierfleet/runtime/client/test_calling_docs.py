"""docs/calling.md is what callers in other languages build on: it says what the code does."""

import inspect
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tierfleet.runtime import metrics, names
from tierfleet.runtime.aws_errors import Kind
from tierfleet.runtime.client import FleetClient, retries
from tierfleet.runtime.client import errors as call_errors
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.route_parsing import parse_routes

PAGE = (Path(__file__).parents[4] / "docs" / "calling.md").read_text()
JSON_BLOCKS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("field", fields(ClientSettings), ids=lambda field: field.name)
def test_every_setting_is_listed_with_its_default(field: object) -> None:
    default = getattr(ClientSettings(), field.name)  # type: ignore[attr-defined]
    shown = "None" if default is None else f"{default:,g}"
    assert f"| `{field.name}` | {shown} |" in PAGE  # type: ignore[attr-defined]


@pytest.mark.parametrize("parameter", [name for name in inspect.signature(FleetClient).parameters if name[0] != "_"])
def test_every_parameter_is_explained(parameter: str) -> None:
    assert f"`{parameter}`" in PAGE or f"{parameter}, " in PAGE


def test_every_error_is_explained() -> None:
    errors = {name for name, value in vars(call_errors).items() if inspect.isclass(value) and name.endswith("Error")}
    own = {name for name in errors if issubclass(getattr(call_errors, name), call_errors.CallError)}
    assert [name for name in sorted(own) if f"`{name}`" not in PAGE] == []


def test_every_callers_metric_is_explained() -> None:
    callers = {metrics.ROUTE_ERRORS, metrics.ROUTE_FALLBACK, metrics.CALLS, metrics.CALL_ERRORS, metrics.CALL_LATENCY}
    assert [name for name in sorted(callers) if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ("ModelNotReadyException (429)", [Kind.MODEL_NOT_READY]),
        ("ThrottlingException, ServiceUnavailable (503)", [Kind.THROTTLED, Kind.UNAVAILABLE]),
        ("InternalDependencyException (530)", [Kind.DEPENDENCY]),
        ("ModelError with OriginalStatusCode 507", [Kind.OUT_OF_MEMORY, Kind.CONTAINER_BUSY]),
        ("Connection failed or reset", [Kind.CONNECTION]),
        ("Read timeout, if time is left", [Kind.READ_TIMEOUT]),
    ],
)
def test_the_retry_table_is_the_codes(row: str, kinds: list[Kind]) -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {row}")]
    attempts = line.split("|")[2].strip()
    for kind in kinds:
        most = retries.MOST_ATTEMPTS[kind]
        assert attempts == ("until the deadline" if most == float("inf") else str(most))


def test_every_retried_kind_has_a_row() -> None:
    assert len(retries.MOST_ATTEMPTS) == 8


def test_the_examples_are_valid() -> None:
    routes, pointer, policy = JSON_BLOCKS
    document = parse_routes(json.dumps(routes))
    assert document.route_of("m01").endpoint == "fraud--prod--whale--m01--dedicated-m5-large"
    assert pointer["target_model"].startswith(f"{pointer['tenant']}/")
    text = json.dumps(policy)
    assert names.models_bucket("fraud", "prod", "111122223333", "eu-west-1") in text
    assert names.catalog_key("m37") in text
    assert {"sagemaker:TargetModel": "m37/*"} in [
        statement.get("Condition", {}).get("StringLike") for statement in policy["Statement"]
    ]


def test_a_caller_needs_boto3_and_the_standard_library_alone() -> None:
    program = (
        "import sys, tierfleet.runtime.client\n"
        "foreign = {name.split('.')[0] for name in sys.modules} & {'pydantic', 'aws_cdk', 'typer', 'rich', 'tomlkit'}\n"
        "ours = [name for name in sys.modules if name.startswith('tierfleet.') and name.split('.')[1] != 'runtime']\n"
        "assert not foreign and not ours, (foreign, ours)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[4])


def test_the_warm_up_does_not_load_the_client() -> None:
    program = (
        "import sys, tierfleet.runtime.warm_up.run, tierfleet.runtime.appconfig\n"
        "client = {'client', 'call', 'call_metrics', 'route_cache', 'pointer_cache', 'single_flight', 'reply'}\n"
        "loaded = {name.rsplit('.', 1)[1] for name in sys.modules if name.startswith('tierfleet.runtime.')}\n"
        "assert not client & loaded\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[4])
