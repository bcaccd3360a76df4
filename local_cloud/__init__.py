"""The embedded AWS local emulator: an emulator on loopback that deploys our templates, without an AWS account."""

from local_cloud.data_plane.settings import SettingsError
from local_cloud.host.processes import LocalCloud, NotRunningError, find, running, start

__all__ = ["LocalCloud", "NotRunningError", "SettingsError", "find", "running", "start"]
