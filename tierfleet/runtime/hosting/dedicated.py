"""dedicated: an endpoint with instances for one tenant."""

from typing import Final

from tierfleet.runtime.hosting.shape import HostingShape

DEDICATED: Final = HostingShape(hosting="dedicated", name_word="dedicated", shared=False, always_in_memory=True)
