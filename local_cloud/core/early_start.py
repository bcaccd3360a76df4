"""Which resources of a stack let others begin before they are ready. services/stacks implements it."""

from typing import Literal, get_args

# off      every resource waits for an endpoint's end, as before 2024
# creation an endpoint that is created lets others begin: AWS's announcement speaks of creation
# always   one that is updated too: not announced, and not ruled out
EarlyStart = Literal["off", "creation", "always"]
DEFAULT: EarlyStart = "creation"


def check(given: object) -> EarlyStart:
    """Raises ValueError for a mode that does not exist."""
    for known in get_args(EarlyStart):
        if given == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"early_start must be {', '.join(get_args(EarlyStart))}; got {given!r}")
