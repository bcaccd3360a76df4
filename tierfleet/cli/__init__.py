"""The tierfleet command: each module reads arguments, calls one function and prints. No logic."""

import typer

from tierfleet.cli import (
    calibrate_command,
    config_commands,
    cost_commands,
    diff_command,
    invoke_command,
    local_commands,
    models_commands,
    plan_commands,
    plan_fleet_command,
    preflight_command,
    prices_commands,
    warm_command,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Tiered hosting of many small models on SageMaker.")
app.add_typer(config_commands.app, name="config")
app.add_typer(models_commands.app, name="models")
app.add_typer(local_commands.app, name="local")
plan_commands.app.command("fleet")(plan_fleet_command.plan_fleet)
plan_commands.app.command("calibrate")(calibrate_command.calibrate)
app.add_typer(plan_commands.app, name="plan")
app.add_typer(prices_commands.app, name="prices")
app.command("diff")(diff_command.diff)
app.command("cost")(cost_commands.cost)
app.command("invoke")(invoke_command.invoke)
app.command("warm")(warm_command.warm)
app.command("preflight")(preflight_command.preflight)


def main() -> None:
    """Entry point of the `tierfleet` command."""
    app()
