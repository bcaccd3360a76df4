"""The local emulator: AWS's services and model servers on loopback, into which our templates are deployed."""

from local_cloud.data_plane.settings import SettingsError
from local_cloud.host.processes import LocalCloud, NotRunningError, find, running
from local_cloud.host.start import start

__all__ = ["LocalCloud", "NotRunningError", "SettingsError", "find", "running", "start"]
