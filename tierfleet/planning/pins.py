"""The model version of each tenant that a plan promotes: as given, or the catalog's current one."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from boto3 import Session
from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.aws_problem import aws_problem
from tierfleet.config import FleetConfig
from tierfleet.errors import InputError
from tierfleet.planning.change import FleetChange
from tierfleet.runtime.catalog import CatalogError, read_pointer
from tierfleet.runtime.clients import s3_client
from tierfleet.runtime.names import models_bucket


def pinned(
    change: FleetChange, config: FleetConfig, versions: Sequence[str], from_catalog: Callable[[str], str]
) -> FleetChange:
    """The change with a model for each promoted tenant: TENANT=VERSION as given, else the catalog's current one.

    from_catalog: tenant to model key. Raises InputError that names every tenant without a model.
    """
    pins: dict[str, str] = {}
    for pair in versions:
        tenant, equals, version = pair.partition("=")
        if not (tenant and equals and version) or "/" in version:
            raise InputError(f"--pin {pair}: write TENANT=VERSION, such as m07=2026-11-14")
        if tenant in pins:
            raise InputError(f"--pin {tenant} is given twice: give it once")
        pins[tenant] = f"{tenant}/{version.removesuffix('.tar.gz')}.tar.gz"
    promoted = change.promoted(config)
    if idle := sorted(pins.keys() - change.dedicated):
        who = ", ".join(sorted(change.dedicated)) or "no tenant"
        raise InputError(
            f"--pin names {', '.join(idle)}, and the plan gives dedicated endpoints to {who}: pin only those"
        )
    missing: dict[str, str] = {}
    for tenant in promoted:
        if tenant not in pins:
            try:
                pins[tenant] = from_catalog(tenant)
            except InputError as error:
                missing[tenant] = str(error)
    if missing:
        reasons = "; ".join(sorted(set(missing.values())))
        options = " ".join(f"--pin {tenant}=VERSION" for tenant in missing)
        raise InputError(
            f"{', '.join(missing)} would get an endpoint, and a dedicated model is pinned; the catalog cannot say "
            f"which: {reasons}; give {options}"
        )
    return replace(change, pins=pins)


def catalog_reader(config: FleetConfig) -> Callable[[str], str]:
    """A function from tenant to the key of its current model, which reads the fleet's bucket."""
    bucket = models_bucket(config.fleet, config.environment, config.account, config.region)

    def read(tenant: str) -> str:
        try:
            s3 = s3_client(connections=1, session=Session(region_name=config.region))
            return read_pointer(s3, bucket=bucket, tenant=tenant).target_model
        except (BotoCoreError, ClientError) as error:
            raise InputError(aws_problem(error, bucket)) from error
        except CatalogError as error:
            raise InputError(str(error)) from error

    return read
