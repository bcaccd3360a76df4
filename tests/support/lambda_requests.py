"""Functions, as tests create them."""

import io
import zipfile
from urllib.parse import urlparse

from local_cloud import LocalCloud


def port_of(cloud: LocalCloud) -> int:
    return int(urlparse(cloud.endpoint_url).port or 0)


def make_function(cloud: LocalCloud, code: str) -> None:
    """A function f of this code, with time for all tests."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", code)
    cloud.client("lambda").create_function(
        FunctionName="f",
        Runtime="python3.11",
        Timeout=600,
        Role="arn:aws:iam::000000000000:role/lambda-role",
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
    )
