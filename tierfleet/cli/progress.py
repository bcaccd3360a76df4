"""Progress bars for long work, with rate and remaining time. Silent if the output is not a terminal. Thread-safe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tierfleet.cli.console import err


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s")


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """A bar; call the function with (number done, total)."""
    with _bars() as bars:
        task = bars.add_task(what, total=total)
        yield lambda done, of: bars.update(task, completed=done, total=of if of is not None else total)


@contextmanager
def counter(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar; each call of the function, with any arguments, advances it by one."""
    with _bars() as bars:
        task = bars.add_task(what, total=total)
        yield lambda *_: bars.advance(task)


@contextmanager
def advancing(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar; call the function with the number of further steps. total: None if unknown."""
    with _bars() as bars:
        task = bars.add_task(what, total=total)
        yield lambda more: bars.advance(task, more)


@contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each kind of work; call the function with (name, number done, total), or (name, further steps, 0)."""
    with _bars() as bars:
        tasks = {}

        def told(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of or None)
            if of:
                bars.update(tasks[what], completed=done, total=of)
            else:
                bars.advance(tasks[what], done)

        yield told


def _bars() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
