"""The `aws` commands of a page of docs/, run as bash would start them, by boto3 against the local emulator.

bash expands a block with an `aws` that only writes its arguments down, so quoting, variables and $(date ...) are the
page's own. The AWS CLI itself is no dependency: it pins another botocore than the one that is tested here.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jmespath
from botocore import xform_name

from local_cloud.testing.account import Account

DOCS = Path(__file__).resolve().parents[2] / "docs"
_RECORD = "aws() { for word in \"$@\"; do printf '%s\\0' \"$word\"; done; printf '\\1'; }"
# Of the CLI, not of the operation; paging has a value, output too.
_OWN = {"--query": 1, "--output": 1, "--max-items": 1, "--region": 1}
_FALSE = re.compile("--no-(.*)")


@dataclass(frozen=True)
class Command:
    """service: as the CLI names it; options: by name without dashes, the values of each; query: JMESPath."""

    service: str
    operation: str
    options: dict[str, list[str]]
    positional: list[str]
    query: str | None

    def __str__(self) -> str:
        return f"aws {self.service} {self.operation} {self.options or self.positional}"


def blocks(page: str) -> list[str]:
    """Every sh block of a page, in order."""
    return re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def commands(script: str, *, setup: str = "") -> list[Command]:
    """What bash would start; AssertionError where it says that something is wrong."""
    run = subprocess.run(
        ["bash", "-euc", f"{_RECORD}\n{setup}\n{script}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, ""), f"{script}\n{run.stderr}"
    return [_command(words.split("\0")[:-1]) for words in run.stdout.split("\1")[:-1]]


def answer(account: Account, command: Command) -> Any:
    """What the command prints, as data. Raises botocore's errors; AssertionError for an option there is none of."""
    if command.service == "s3":
        return _s3(account, command)
    client = account.client({"s3api": "s3"}.get(command.service, command.service))
    method = command.operation.replace("-", "_")
    operation = client.meta.method_to_api_mapping[method]
    shape = client.meta.service_model.operation_model(operation).input_shape
    members = {xform_name(name, "-"): (name, member) for name, member in shape.members.items()}
    request = {}
    for option, values in command.options.items():
        negated = _FALSE.fullmatch(f"--{option}")
        name, member = members[negated[1] if negated and option not in members else option]
        request[name] = (negated is None) if not values else _value(member, values)
    if client.can_paginate(method):
        reply = client.get_paginator(method).paginate(**request).build_full_result()
    else:
        reply = getattr(client, method)(**request)
    reply.pop("ResponseMetadata", None)
    return reply if command.query is None else jmespath.search(command.query, reply)


def _command(words: list[str]) -> Command:
    service, operation, *rest = words
    options: dict[str, list[str]] = {}
    positional: list[str] = []
    last: list[str] = positional
    for word in rest:
        if word.startswith("--"):
            last = options.setdefault(word.removeprefix("--"), [])
        else:
            last.append(word)
    for own in _OWN:
        assert len(options.get(own.removeprefix("--"), [""])) == 1, f"{own} takes one value: {words}"
    query = options.pop("query", [None])[0]
    for own in _OWN:
        options.pop(own.removeprefix("--"), None)
    return Command(service, operation, options, positional, query)


def _value(shape: Any, words: list[str]) -> Any:
    """A value as the CLI reads it: a list of words, or its shorthand Key=value,Key=value."""
    match shape.type_name:
        case "list":
            return [_value(shape.member, [word]) for word in words]
        case "structure" if "=" in words[0]:
            pairs = dict(pair.split("=", 1) for pair in words[0].split(","))
            return {key: _value(shape.members[key], [value]) for key, value in pairs.items()}
        case "structure" | "map":
            return json.loads(words[0])
        case "integer" | "long":
            return int(words[0])
        case "double" | "float":
            return float(words[0])
        case "boolean":
            return words[0] == "true"
        case "blob":
            return words[0].encode()
    assert len(words) == 1, words
    return words[0]


def _s3(account: Account, command: Command) -> Any:
    """`aws s3 ls` and `aws s3 cp s3://... -`."""
    address = re.fullmatch(r"s3://([^/]+)/(.*)", command.positional[0])
    assert address
    if command.operation == "ls":
        return account.client("s3").list_objects_v2(Bucket=address[1], Prefix=address[2]).get("Contents", [])
    assert (command.operation, command.positional[1:]) == ("cp", ["-"])
    return account.client("s3").get_object(Bucket=address[1], Key=address[2])["Body"].read()
