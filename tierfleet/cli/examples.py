"""The help of each command: its docstring, wrapped by the terminal, and an example at the end."""

import inspect
from typing import Final

import typer

EXAMPLES: Final = {
    "local up": "config/fraud-dev.toml --deploy --sample-models",
    "local deploy": "--models models",
    "local status": "--watch",
    "local drive": "--seconds 20",
    "local events": "--since 40",
    "local down": "",
    "config check": "config/fraud-dev.toml",
    "config show": "config/fraud-prod.toml",
    "config schema": "> config/fleet.schema.json",
    "config reference": "",
    "shapes": "--reference-fleets",
    "diff": "config/fraud-prod.toml",
    "cost": "config/fraud-prod.toml --diff",
    "models package": "models -o artefacts",
    "models convert": "trained.json -o m07.ubj --to 1.7-1",
    "models validate": "models --config config/fraud-dev.toml",
    "models publish": "config/fraud-dev.toml models",
    "models list": "config/fraud-dev.toml",
    "models rollback": "config/fraud-dev.toml m07",
    "models remove": "config/fraud-dev.toml m07",
    "models gc": "config/fraud-dev.toml",
    "invoke": "m07 --local --explain",
    "batch": "m07 rows.csv -o scores.csv --local",
    "warm": "--local --tenants m07,m08",
    "plan fleet": "churn.parquet --config config/churn-prod.toml --budget-usd 3000 --html plan.html",
    "plan replay": "churn.parquet --config config/churn-prod.toml",
    "plan backtest": "churn.parquet --config config/churn-prod.toml --split 0.5",
    "plan curve": "churn.parquet --capacity-models 500",
    "plan synthesize": "churn --out churn.parquet",
    "plan calibrate": "artefacts/m07/1.tar.gz --out profiles.toml",
    "prices show": "--region eu-west-1",
    "prices refresh": "--region eu-west-1",
    "preflight": "config/fraud-prod.toml",
}


def add_examples(app: typer.Typer, above: str = "") -> None:
    """Complete the help of all commands of the group and of its subgroups."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, f"{group.name} ")
    for command in app.registered_commands:
        if command.help is None and command.callback is not None:
            # Typer keeps the line breaks of a docstring, which are those of our editor, not of the terminal.
            paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
            command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        arguments = EXAMPLES.get(f"{above}{command.name}")
        if arguments is not None:
            command.epilog = f"Example: tierfleet {above}{command.name} {arguments}".rstrip()
