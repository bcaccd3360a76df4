"""multi-container: an endpoint with instances for one tenant, whose 2 to 15 containers each hold another model."""

import re
from typing import Final

from tierfleet.runtime.hosting.shape import HostingShape

# Source: SageMaker's API, ContainerDefinition.ContainerHostname. At most 63 characters.
HOSTNAME_PATTERN: Final = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
MAX_HOSTNAME_CHARACTERS: Final = 63

PRIMARY: Final = "primary"
"""What callers name for the container that the fleet file calls `primary`, and for any other endpoint's only model.

A caller that uses it loses no call while its tenant moves to a multi-container endpoint or away from one.
"""

MULTI_CONTAINER: Final = HostingShape(
    hosting="multi-container", name_word="mce", shared=False, always_in_memory=True, names_container=True
)


def is_hostname(text: object) -> bool:
    """Whether SageMaker takes it for the hostname of a container."""
    return (
        isinstance(text, str)
        and len(text) <= MAX_HOSTNAME_CHARACTERS
        and re.fullmatch(HOSTNAME_PATTERN, text) is not None
    )
