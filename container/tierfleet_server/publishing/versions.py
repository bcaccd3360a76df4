"""XGBoost's versions, in a module that imports nothing: the command line names them without NumPy."""

Version = tuple[int, int, int]

# What the dense server's image has (container/requirements.txt). A server with a newer XGBoost reads its files exactly.
IMAGE_XGBOOST: Version = (3, 0, 5)


def dotted(version: Version) -> str:
    """`3.0.5`."""
    return ".".join(map(str, version))
