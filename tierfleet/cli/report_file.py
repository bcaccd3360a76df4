"""The HTML report of a plan, a replay or a backtest: checked before the work, written after it."""

from collections.abc import Callable
from pathlib import Path

from tierfleet.cli.console import fail
from tierfleet.cli.progress import advancing


def check_report(html: Path | None, *inputs: Path | None) -> None:
    """Refuse a file that cannot be written, or that is an input of the command."""
    from tierfleet.files import check_writable

    if html is None:
        return
    if html.exists() and any(html.samefile(path) for path in inputs if path is not None and path.exists()):
        fail(f"--html {html} would overwrite an input of the command: give another file")
    check_writable(html, "--html")


def write_report(html: Path | None, draw: Callable[[], str]) -> None:
    """Draw the page and write it, if one is asked for."""
    from tierfleet.files import write_whole

    if html is not None:
        with advancing("drawing the report", None):
            page = draw()
            try:
                write_whole(html, page)
            except OSError as error:
                fail(f"--html {html} cannot be written: {error.strerror}; give another file")
