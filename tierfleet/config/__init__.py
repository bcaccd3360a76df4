"""The configuration of a fleet: one TOML file per fleet and environment, checked before anything is built."""

from tierfleet.config.load import CheckedFile, check_file, check_files, load, load_all
from tierfleet.config.model import (
    Container,
    DedicatedTenant,
    DedicatedTier,
    FleetConfig,
    Guardrail,
    MultiModelTier,
    ScaleOnCache,
    Scaling,
    Tier,
)
from tierfleet.config.problems import ConfigError, Problem

__all__ = [
    "CheckedFile",
    "ConfigError",
    "Container",
    "DedicatedTenant",
    "DedicatedTier",
    "FleetConfig",
    "Guardrail",
    "MultiModelTier",
    "Problem",
    "ScaleOnCache",
    "Scaling",
    "Tier",
    "check_file",
    "check_files",
    "load",
    "load_all",
]
