"""The configuration of a fleet: one TOML file per fleet and environment, checked before anything is built."""

from tierfleet.config.container import Container
from tierfleet.config.instance_tier import Guardrail, Scaling, Tier
from tierfleet.config.load import CheckedFile, check_file, check_files, load, load_all
from tierfleet.config.model import DedicatedTenant, DedicatedTier, FleetConfig, MultiModelTier, ScaleOnCache
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
