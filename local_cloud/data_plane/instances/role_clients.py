"""boto3 clients with the credentials of an execution role, against the emulator's own services."""

import os
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from local_cloud.data_plane.desired import Scope

Reader = tuple[Scope, tuple[str, str, str] | None]
"""Whose objects, and by which credentials; None: the account's own."""


@dataclass
class RoleClients:
    """Makes each client once: `RoleClients(url, 8).client("s3", reader)` has eight connections."""

    ministack_url: str
    connections: int
    _clients: dict[tuple[str, Reader], Any] = field(default_factory=dict)

    def client(self, service: str, reader: Reader) -> Any:
        """The client of a service, such as `s3`, for this role."""
        key = service, reader
        if key not in self._clients:
            (account, region), credentials = reader
            access_key, secret_key, token = credentials or (account, "local", None)
            # The user's profile and configuration must not decide whose objects are read.
            variables = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
            session = boto3.Session(botocore_session=botocore.session.Session(session_vars=variables))
            self._clients[key] = session.client(
                service,
                region_name=region,
                endpoint_url=self.ministack_url,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                aws_session_token=token,
                # 127.0.0.1 has no subdomains for buckets.
                config=Config(s3={"addressing_style": "path"}, max_pool_connections=self.connections),
            )
        return self._clients[key]
