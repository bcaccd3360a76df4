"""The body that `tierfleet invoke` sends."""

import csv
import sys
from pathlib import Path

from tierfleet.cli.console import fail
from tierfleet.runtime.client.reply import CSV, csv_rows
from tierfleet.runtime.number_text import is_plain
from tierfleet.runtime.route_document import RouteDocument


def given_body(
    body: str | None, body_file: Path | None, rows: Path | None, content_type: str | None
) -> tuple[bytes, str | None] | None:
    """The body and content type that the options give; None if they give no body, or no type.

    Contradicting options, or a file that cannot be read, end the command with exit code 2.
    """
    if sum(option is not None for option in (body, body_file, rows)) > 1:
        fail("--body, --body-file and --rows all give the body: give one of them")
    if rows is not None and content_type not in {None, CSV}:
        fail(f"--rows are sent as {CSV}, not as {content_type}: use --body-file")
    try:
        if body is not None:
            return body.encode(), content_type
        if body_file is not None:
            content = sys.stdin.buffer.read() if str(body_file) == "-" else body_file.read_bytes()
            return content, content_type
        if rows is not None:
            return _rows(rows), CSV
    except OSError as error:
        fail(f"{error.filename} cannot be read: {error.strerror}")
    return None


def probe_body(
    routes: RouteDocument, tenant: str, content_type: str | None, container: str | None = None
) -> tuple[bytes, str]:
    """A valid request of the tenant's tier, or of its primary container. Ends the command if there is none."""
    probe = routes.probe_of(routes.tier_of(tenant))
    if probe is None:
        fail("the deployed routes have no probe to send: give --body, --body-file or --rows")
    listed = routes.tenants.get(tenant)
    if listed is not None and container in listed.containers and container != listed.primary:
        fail(
            f"the probe is a row of the container {listed.primary}: give --body, --body-file or --rows for {container}"
        )
    return probe.body.encode(), content_type or probe.content_type


def _rows(file: Path) -> bytes:
    try:
        # utf-8-sig: spreadsheets put a byte order mark first.
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = [line for line in csv.reader(stream) if line]
        return csv_rows([_number(cell) for cell in line] for line in lines)
    except UnicodeDecodeError as error:
        fail(f"{file} is not UTF-8 text: {error.reason} at byte {error.start:,}; save it as UTF-8")
    except (ValueError, csv.Error) as error:
        fail(f"{file}: {error}; expected rows of numbers without a header")


def _number(cell: str) -> float | None:
    """None for an empty cell. Raises ValueError."""
    if not is_plain(cell):
        raise ValueError(f"{cell[:40]!r} is no number")
    return float(cell) if cell.strip() else None
