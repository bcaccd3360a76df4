"""The tierfleet command. Each module reads arguments, calls one function and prints the result."""

from tierfleet.cli import startup  # first, since the other imports take a second

# isort: split

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tierfleet.cli import config_commands, diff_command, preflight_command, shapes_command, terminal, warm_command
from tierfleet.cli.cost import cost_command, prices_commands
from tierfleet.cli.examples import add_examples
from tierfleet.cli.file_first import put_file_first
from tierfleet.cli.invoke import batch_command
from tierfleet.cli.invoke import command as invoke_command
from tierfleet.cli.local import commands as local_commands
from tierfleet.cli.models import commands as models_commands
from tierfleet.cli.plan import backtest_command, calibrate_command, fleet_command, replay_command
from tierfleet.cli.plan import commands as plan_commands
from tierfleet.cli.values import check_values

# The order in which a new user needs them, as --help lists them.
_IN_ORDER_OF_USE = (
    "local",
    "config",
    "shapes",
    "diff",
    "cost",
    "models",
    "invoke",
    "batch",
    "warm",
    "plan",
    "prices",
    "preflight",
)
_MODELS_IN_ORDER_OF_USE = ("validate", "package", "convert", "publish", "list", "rollback", "remove", "gc")
_PLAN_IN_ORDER_OF_USE = ("fleet", "curve", "synthesize", "calibrate")


class _InOrderOfUse(TyperGroup):
    order: tuple[str, ...] = _IN_ORDER_OF_USE

    def list_commands(self, ctx: Any) -> list[str]:
        known = {name: place for place, name in enumerate(self.order)}
        return sorted(super().list_commands(ctx), key=lambda name: known.get(name, len(known)))


class _Commands(_InOrderOfUse):
    """The commands of the first level, whose options are checked before they begin."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            check_values(command)
        return command


class _ModelsInOrderOfUse(_InOrderOfUse):
    order = _MODELS_IN_ORDER_OF_USE


class _PlanInOrderOfUse(_InOrderOfUse):
    order = _PLAN_IN_ORDER_OF_USE


app = typer.Typer(cls=_Commands, no_args_is_help=True, help="Host many small models on SageMaker, in tiers.")
app.add_typer(local_commands.app, name="local")
app.add_typer(config_commands.app, name="config")
app.add_typer(models_commands.app, name="models", cls=_ModelsInOrderOfUse)
plan_commands.app.command("fleet")(fleet_command.plan_fleet)
plan_commands.app.command("replay")(replay_command.plan_replay)
plan_commands.app.command("backtest")(backtest_command.plan_backtest)
plan_commands.app.command("calibrate")(calibrate_command.calibrate)
app.add_typer(plan_commands.app, name="plan", cls=_PlanInOrderOfUse)
app.add_typer(prices_commands.app, name="prices")
app.command("shapes")(shapes_command.shapes)
app.command("diff")(diff_command.diff)
app.command("cost")(cost_command.cost)
app.command("invoke")(invoke_command.invoke)
app.command("batch")(batch_command.batch)
app.command("warm")(warm_command.warm)
app.command("preflight")(preflight_command.preflight)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tierfleet {version('tierfleet')}")
        raise typer.Exit


@app.callback(epilog="Start with: tierfleet local up config/fraud-dev.toml --deploy --sample-models")
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


put_file_first(config_commands.app, ("check", "show"), calls_aws=False)
put_file_first(models_commands.app, ("publish", "list", "rollback", "remove", "gc"), calls_aws=True)
add_examples(app)


def main() -> None:
    """Entry point of the `tierfleet` command."""
    terminal.make_printable()
    startup.finish()
    try:
        app()
    except OSError as error:
        sys.exit(terminal.problem(error))
