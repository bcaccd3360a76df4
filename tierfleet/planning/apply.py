"""Write a plan into the fleet file. Comments and order stay, and the file is checked before it is replaced.

change = pinned(change, config, ["m07=2026-11-14"], catalog_reader(config))    # pins.py
write(file_edits(path, config, change))
"""

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
from tierfleet.planning.change import FleetChange
from tierfleet.planning.search.proposed import dedicated_tenants, dedicated_tier_name, proposed_tail
from tierfleet.runtime.names import WORD_PATTERN


@dataclass(frozen=True)
class FileEdit:
    """One file before and after the change."""

    path: Path
    before: str
    after: str

    @property
    def diff(self) -> str:
        """Unified; empty if nothing changes."""
        old, new = (text.replace("\r\n", "\n").splitlines(keepends=True) for text in (self.before, self.after))
        return "".join(difflib.unified_diff(old, new, str(self.path), f"{self.path} (planned)"))


def file_edits(path: Path, config: FleetConfig, change: FleetChange) -> list[FileEdit]:
    """The changed files: the fleet file, and the file of its warm-up list if it has one.

    Raises InputError if a promoted tenant has no pin or no tier to join.
    """
    before = _text(path)
    document: Any = tomlkit.parse(_without_tables(before, config, change))
    name = config.default_tier
    tail = config.multi_model_tiers[name]
    table = document["tiers"][name]
    new = proposed_tail(tail, change.instance_type, change.instances)
    if new.instance_type != tail.instance_type:
        table["instance_type"] = new.instance_type
    for key in ("min", "max", "initial"):
        if getattr(new.instances, key) != getattr(tail.instances, key):
            table["instances"][key] = getattr(new.instances, key)
    if new.scaling.max_requests_per_second != tail.scaling.max_requests_per_second:
        rate = new.scaling.max_requests_per_second
        table["scaling"]["max_requests_per_second"] = int(rate) if rate == int(rate) else rate
    if new.volume_size_in_gb != tail.volume_size_in_gb:
        # The new type has local disks, for which SageMaker takes no volume.
        del table["volume_size_in_gb"]
    if change.models_per_instance not in (None, tail.models_per_instance):
        _set(table, "models_per_instance", change.models_per_instance)
    _tenants(document, config, change)
    changed = []
    if change.warm_up is not None and tail.warm_up is not None and change.warm_up != tail.warm_up.tenants:
        if tail.warm_up.tenants_file is None:
            table["warm_up"]["tenants"] = _array(table["warm_up"]["tenants"], change.warm_up)
        else:
            file = path.parent / tail.warm_up.tenants_file
            text = _text(file)
            changed.append(FileEdit(file, text, _same_ends(text, _lines(text, change.warm_up))))
    changed.insert(0, FileEdit(path, before, _same_ends(before, tomlkit.dumps(document))))
    return [edit for edit in changed if edit.before != edit.after]


def write(edits: Sequence[FileEdit]) -> None:
    """Check the changed files together, then replace each of them whole.

    Raises ConfigError if the result is invalid and InputError if a file has changed meanwhile; nothing is written then.
    """
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
        # A plan takes minutes, and an editor may have saved the file meanwhile.
        if _text(edit.path) != edit.before:
            raise InputError(f"{edit.path} was changed meanwhile; plan again")
    for edit in edits:
        write_whole(edit.path, edit.after)


def _text(file: Path) -> str:
    """The text with its own line ends."""
    return file.read_bytes().decode()


def _same_ends(before: str, after: str) -> str:
    """`after` with CRLF if all lines of `before` end so."""
    windows = before.count("\r\n") == before.count("\n") > 0
    return after.replace("\r\n", "\n").replace("\n", "\r\n") if windows else after


def _copy_siblings(directory: Path, folder: Path) -> None:
    """Copy the text files that a fleet file may refer to."""
    for file in directory.glob("*.txt"):
        (folder / file.name).write_bytes(file.read_bytes())


def _without_tables(text: str, config: FleetConfig, change: FleetChange) -> str:
    """The text without the tables of demoted tenants, if each has a table of its own.

    tomlkit counts the comments below a table as part of it, although they are about what follows.
    """
    today = dedicated_tenants(config)
    for tenant in change.demoted(config):
        header = re.escape(f"[tiers.{today[tenant]}.tenants.{tenant}]")
        text = re.sub(rf"^{header}[^\n]*\n(?:[^\[#\s][^\n]*\n)*", "", text, flags=re.MULTILINE)
    return text


def _tenants(document: Any, config: FleetConfig, change: FleetChange) -> None:
    today = dedicated_tenants(config)
    for tenant in change.demoted(config):
        document["tiers"][today[tenant]].get("tenants", {}).pop(tenant, None)
    promoted = change.promoted(config)
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
    missing = [tenant for tenant in promoted if tenant not in change.pins]
    if missing:
        options = " ".join(f"--pin {tenant}=VERSION" for tenant in missing)
        raise InputError(
            f"{', '.join(missing)} become{'s' * (len(missing) == 1)} dedicated, which needs the version of the model; "
            f"give {options}"
        )
    table = document["tiers"][joins]
    if "tenants" not in table:
        table["tenants"] = tomlkit.table()
    as_tables = any(_has_header(table["tenants"], item) for item in table["tenants"].values())
    for tenant in promoted:
        _pin(table["tenants"], tenant, change.pins[tenant], as_tables=as_tables)


def _pin(tenants: Any, tenant: str, model: str, *, as_tables: bool) -> None:
    """Add a tenant in the form of the others: a line, or a table of its own below the last one."""
    if as_tables:
        last: Any = list(tenants.values())[-1]
        own = tomlkit.table()
        own["model"] = model
        # Comments and blank lines at the end of the last table are about what follows it.
        follows = len(last.value.body)
        while follows and last.value.body[follows - 1][0] is None:
            follows -= 1
        own.value.body.extend(last.value.body[follows:])
        del last.value.body[follows:]
        last.add(tomlkit.nl())
        tenants[tenant] = own
        return
    # Parsed, so that it has the same spaces as the other lines.
    _set(tenants, tenant, tomlkit.parse(f'{tenant} = {{ model = "{model}" }}\n')[tenant])


def _has_header(parent: Any, item: Item) -> bool:
    """Whether an item is a table that begins with its name in brackets; others are values, or have dotted keys."""
    return isinstance(item, Table) and item.display_name is not None and f"[{item.display_name}]" in parent.as_string()


def _set(table: Any, key: str, value: Any) -> None:
    """Set a key. A new one goes below the table's last value, above comments and tables that follow."""
    values = [name for name, item in table.items() if not _has_header(table, item)]
    if key not in table and values and isinstance(table, Table):
        # tomlkit has no public method for it; its append goes behind the comments.
        table.value._insert_after(values[-1], key, value)
    else:
        table[key] = value


def _array(old: Array, tenants: Sequence[str]) -> Item:
    """In the form of the old array: as many tenants a line as in its first line."""
    lines = [line for line in old.as_string().splitlines() if '"' in line]
    if len(lines) <= 1 and "\n" not in old.as_string():
        return tomlkit.item(list(tenants))
    per_line = max(lines[0].count('"') // 2, 1)
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())] or "    "
    rows = [tenants[start : start + per_line] for start in range(0, len(tenants), per_line)]
    text = "".join(indent + ", ".join(f'"{name}"' for name in row) + ",\n" for row in rows)
    array: Any = tomlkit.parse(f"tenants = [\n{text}]\n")["tenants"]
    return array  # type: ignore[no-any-return]


def _lines(text: str, tenants: Sequence[str]) -> str:
    """The text of a list's file: its leading comments, then a tenant a line."""
    head = []
    for line in text.splitlines(keepends=True):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        head.append(line)
    return "".join(head) + "".join(f"{name}\n" for name in tenants)
