"""A progress bar for long work: on a terminal with rate and time left, elsewhere silent."""

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
    """A bar that is told (how many are done, of how many); thread-safe."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, of: bar.update(task, completed=done, total=of if of is not None else total)


@contextmanager
def counter(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar that moves on by one at each call, whatever it is called with."""
    with progress(what, total) as moved:
        done = 0

        def one(*_: object) -> None:
            nonlocal done
            done += 1
            moved(done, None)

        yield one
