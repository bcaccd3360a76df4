"""A DuckDB that stays within its memory: what does not fit goes to files in a folder."""

from pathlib import Path

import duckdb

from tierfleet.errors import InputError

# DuckDB's own default is 80 % of the machine, which the simulation needs too.
MEMORY_MIB = 1024


def connect(folder: Path, *, memory_mib: int = MEMORY_MIB) -> duckdb.DuckDBPyConnection:
    """Open a new database in a folder. Times without a zone are read as UTC, unless SET TimeZone says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(str(folder / "planner.duckdb"))
    connection.execute(f"SET memory_limit = '{memory_mib}MiB'")
    connection.execute(f"SET temp_directory = {quoted(str(folder / 'spill'))}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection


def quoted(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A SQL name."""
    return '"' + name.replace('"', '""') + '"'


def allow_s3(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    """Load DuckDB's extension for S3 and give it the credentials that boto3 finds.

    Raises InputError if the extension is neither installed nor to be had, or there are no credentials.
    """
    try:
        connection.execute("INSTALL httpfs")
        connection.execute("LOAD httpfs")
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{source} is on S3, and DuckDB's extension httpfs cannot be loaded ({reason}); install it once where "
            'there is a network, with duckdb.sql("INSTALL httpfs"), or copy the trace here with `aws s3 cp`'
        ) from error
    import boto3

    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        raise InputError(f"{source} is on S3 and no AWS credentials were found; set AWS_PROFILE")
    frozen = credentials.get_frozen_credentials()
    fields = {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key, "SESSION_TOKEN": frozen.token}
    fields["REGION"] = session.region_name
    listed = ", ".join(f"{name} {quoted(value)}" for name, value in fields.items() if value)
    connection.execute(f"CREATE SECRET (TYPE s3, {listed})")
