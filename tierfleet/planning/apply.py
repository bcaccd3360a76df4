"""Write a plan into the fleet file: comments and order kept, checked before anything is replaced. Deploys nothing."""

import difflib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Array, Item, Table

from tierfleet.config import ConfigError, FleetConfig, check_file
from tierfleet.config.problems import errors_of
from tierfleet.errors import InputError
from tierfleet.files import write_whole
from tierfleet.planning.change import Target
from tierfleet.planning.search.proposed import dedicated_tenants, dedicated_tier_name, proposed_tail
from tierfleet.runtime.names import WORD_PATTERN


@dataclass(frozen=True)
class FileEdit:
    """One file as it is and as it is to be."""

    path: Path
    before: str
    after: str

    @property
    def diff(self) -> str:
        """Unified; empty if nothing changes."""
        old, new = (text.replace("\r\n", "\n").splitlines(keepends=True) for text in (self.before, self.after))
        return "".join(difflib.unified_diff(old, new, str(self.path), f"{self.path} (planned)"))


def file_edits(path: Path, config: FleetConfig, target: Target) -> list[FileEdit]:
    """The fleet file, and the file of its warm-up list if it has one, as the plan wants them; only what changes.

    Raises InputError where a promoted tenant has no pin or no tier to join.
    """
    before = _text(path)
    document: Any = tomlkit.parse(before)
    name = config.default_tier
    tail = config.multi_model_tiers[name]
    table = document["tiers"][name]
    new = proposed_tail(tail, target.instance_type, target.instances)
    if new.instance_type != tail.instance_type:
        table["instance_type"] = new.instance_type
    for key in ("min", "max", "initial"):
        if getattr(new.instances, key) != getattr(tail.instances, key):
            table["instances"][key] = getattr(new.instances, key)
    if new.scaling.max_requests_per_second != tail.scaling.max_requests_per_second:
        rate = new.scaling.max_requests_per_second
        table["scaling"]["max_requests_per_second"] = int(rate) if rate == int(rate) else rate
    if new.volume_size_in_gb != tail.volume_size_in_gb:
        del table["volume_size_in_gb"]
    if target.models_per_instance not in (None, tail.models_per_instance):
        table["models_per_instance"] = target.models_per_instance
    _tenants(document, config, target)
    found = []
    if target.warm_up is not None and tail.warm_up is not None and target.warm_up != tail.warm_up.tenants:
        if tail.warm_up.tenants_file is None:
            table["warm_up"]["tenants"] = _array(table["warm_up"]["tenants"], target.warm_up)
        else:
            file = path.parent / tail.warm_up.tenants_file
            text = _text(file)
            found.append(FileEdit(file, text, _same_ends(text, _lines(text, target.warm_up))))
    found.insert(0, FileEdit(path, before, _same_ends(before, tomlkit.dumps(document))))
    return [edit for edit in found if edit.before != edit.after]


def write(edits: Sequence[FileEdit]) -> None:
    """Check the edited files as a whole, then replace each at once. Raises ConfigError; then nothing was written."""
    with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder:
        for edit in edits:
            _copy_siblings(edit.path.parent, Path(folder))
        for edit in edits:
            (Path(folder) / edit.path.name).write_text(edit.after, encoding="utf-8", newline="")
        for edit in edits:
            if edit.path.suffix == ".toml":
                checked = check_file(Path(folder) / edit.path.name)
                if errors := errors_of(checked.problems):
                    raise ConfigError(errors)
    for edit in edits:
        if _text(edit.path) != edit.before:
            raise InputError(f"{edit.path} was changed meanwhile; plan again")
    for edit in edits:
        write_whole(edit.path, edit.after)


def _text(file: Path) -> str:
    """With the line ends that it has."""
    return file.read_bytes().decode()


def _same_ends(before: str, after: str) -> str:
    """With Windows' line ends where the file had no others."""
    windows = before.count("\r\n") == before.count("\n") > 0
    return after.replace("\r\n", "\n").replace("\n", "\r\n") if windows else after


def _copy_siblings(directory: Path, folder: Path) -> None:
    """What a fleet file may refer to: text files beside it."""
    for file in directory.glob("*.txt"):
        (folder / file.name).write_bytes(file.read_bytes())


def _tenants(document: Any, config: FleetConfig, target: Target) -> None:
    now = dedicated_tenants(config)
    for tenant in target.demoted(config):
        del document["tiers"][now[tenant]]["tenants"][tenant]
    promoted = target.promoted(config)
    if not promoted:
        return
    joins = dedicated_tier_name(config)
    if joins not in config.tiers:
        raise InputError(
            f"{', '.join(promoted)} would be dedicated, and the file has no dedicated tier; add one with the latency "
            f'you promise:\n[tiers.{joins}]\nhosting = "dedicated"\ninstance_type = "ml.m5.large"\n'
            "instances = { min = 2, max = 4, initial = 2 }\nscaling = { max_requests_per_second = 100 }\n"
            "alarms = { max_model_latency_p99_milliseconds = 50 }"
        )
    if wrong := [tenant for tenant in promoted if not re.fullmatch(WORD_PATTERN, tenant)]:
        raise InputError(
            f"{', '.join(wrong)} would be dedicated, and a fleet file holds no such name: a tenant id must match "
            f"{WORD_PATTERN}; rename it in the traffic, or leave it where it is with --keep"
        )
    missing = [tenant for tenant in promoted if tenant not in target.pins]
    if missing:
        options = " ".join(f"--pin {tenant}=VERSION" for tenant in missing)
        raise InputError(
            f"{', '.join(missing)} become{'s' * (len(missing) == 1)} dedicated, which needs the version of the model; "
            f"give {options}"
        )
    table = document["tiers"][joins]
    if "tenants" not in table:
        table["tenants"] = tomlkit.table()
    for tenant in promoted:
        # Parsed, since only then it has the spaces that the other lines have.
        line = tomlkit.parse(f'{tenant} = {{ model = "{target.pins[tenant]}" }}\n')[tenant]
        _append(table["tenants"], tenant, line)


def _append(table: Any, key: str, value: Item) -> None:
    """Below the table's last line: what follows it, such as the comment above the next table, belongs to others."""
    keys = list(table.keys())
    if keys and isinstance(table, Table):
        # tomlkit has no public way; its own append goes behind the comments.
        table.value._insert_after(keys[-1], key, value)
    else:
        table[key] = value


def _array(old: Array, tenants: Sequence[str]) -> Item:
    """In the old one's form: as many a line as its first line has."""
    lines = [line for line in old.as_string().splitlines() if '"' in line]
    if len(lines) <= 1 and "\n" not in old.as_string():
        return tomlkit.item(list(tenants))
    a_line = max(lines[0].count('"') // 2, 1)
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())] or "    "
    rows = [tenants[start : start + a_line] for start in range(0, len(tenants), a_line)]
    text = "".join(indent + ", ".join(f'"{name}"' for name in row) + ",\n" for row in rows)
    array: Any = tomlkit.parse(f"tenants = [\n{text}]\n")["tenants"]
    return array  # type: ignore[no-any-return]


def _lines(text: str, tenants: Sequence[str]) -> str:
    """A list's file: its head of comments, then a tenant a line."""
    head = []
    for line in text.splitlines(keepends=True):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        head.append(line)
    return "".join(head) + "".join(f"{name}\n" for name in tenants)
