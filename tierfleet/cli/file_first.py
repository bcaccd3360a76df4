"""Commands whose first argument is the fleet file accept `--config` instead, and `--local` to call the local emulator.

The functions of these commands have neither option. The command puts the file where its function expects it. With
--local it makes the function's AWS clients call the local emulator.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import typer
from typer.core import TyperCommand
from typer.main import get_command

from tierfleet.cli.console import fail
from tierfleet.cli.emulator import emulator_or_fail, running_emulator
from tierfleet.cli.fleet_choice import Local
from tierfleet.cli.fleet_file import ConfigOption, remembered

_FILE: Final = ".toml"
_options_app = typer.Typer(add_completion=False)


@_options_app.command()
def _options(config: ConfigOption = None, local: Local = False) -> None:
    """Both options, built by Typer."""


class FileFirst(TyperCommand):
    """A command whose FILE may be given as `--config FILE`, anywhere among the arguments."""

    calls_aws = False

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for option in get_command(_options_app).params:
            if option.name == "config" or (option.name == "local" and self.calls_aws):
                # Their values are read before the function's own arguments.
                option.expose_value = False
                self.params.append(option)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        left, file, local = _taken(args, with_local=self.calls_aws)
        given = any(word.endswith(_FILE) for word in left if not word.startswith("-"))
        if local and file is None and not given and (kept := remembered()):
            file = str(kept)
        ctx.meta["tierfleet.local"] = local
        return super().parse_args(ctx, [*([file] if file is not None else []), *left])

    def invoke(self, ctx: Any) -> Any:
        if not ctx.meta["tierfleet.local"]:
            return super().invoke(ctx)
        with _calls_to_emulator():
            return super().invoke(ctx)


class FileFirstAws(FileFirst):
    """The same for a command that calls AWS, so it has --local too."""

    calls_aws = True


def put_file_first(app: typer.Typer, commands: Sequence[str], *, calls_aws: bool) -> None:
    """Give these commands of the group --config, and --local if they call AWS."""
    for command in app.registered_commands:
        if command.name in commands:
            command.cls = FileFirstAws if calls_aws else FileFirst


def _taken(args: Sequence[str], *, with_local: bool) -> tuple[list[str], str | None, bool]:
    """The arguments without --config and --local, and the values of these two."""
    left: list[str] = []
    file, local, words = None, False, iter(args)
    for word in words:
        if word == "--":
            # What comes after -- is no option, even if it looks like one.
            left += [word, *words]
        elif word == "--config":
            file = next(words, None)
            if file is None:
                fail("--config needs a fleet file, for example --config config/fraud-dev.toml")
        elif word.startswith("--config="):
            file = word.partition("=")[2]
        elif word == "--local" and with_local:
            local = True
        else:
            left.append(word)
    return left, file, local


@contextmanager
def _calls_to_emulator() -> Iterator[None]:
    """Set the SDK's variables to the local emulator, and ignore the user's profiles."""
    from local_cloud.host.cdk_cli import environment

    cloud = running_emulator()
    before = dict(os.environ)
    # A profile of the user's would send the call to AWS, with real credentials.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environment(cloud, cloud.account))
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    try:
        with emulator_or_fail(cloud):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
