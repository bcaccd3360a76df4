"""The account of a request, and whether it may invoke. ministack knows both, and is asked if needed."""

import json
import re

from local_cloud.data_plane.answers import Answer, Headers, refused
from local_cloud.data_plane.desired import Scope
from local_cloud.data_plane.instances.container_client import ContainerClient, ContainerGoneError
from local_cloud.data_plane.invocation_errors import no_instance

PERMIT_HEADER = b"x-tierfleet-permit"
_CREDENTIAL = re.compile(rb"Credential=([^/,\s]+)/[^/]*/([^/]+)/")
_ACCOUNT = re.compile(rb"[0-9]{12}")
_ASK_SECONDS = 30.0


class Callers:
    """An access key that is an account's number is known; any other key is asked about once.

    With IAM enforced, ministack gets every request whole, and permits it or answers the error.
    """

    def __init__(self, ministack: ContainerClient, *, enforce_iam: bool) -> None:
        self._ministack, self._enforce_iam = ministack, enforce_iam
        self._known: dict[tuple[bytes, bytes], Scope] = {}

    async def identify(self, path: bytes, headers: Headers, body: bytes) -> Scope | Answer:
        """The caller's account and region, or the answer that refuses it."""
        match = _CREDENTIAL.search(headers.get(b"authorization", b""))
        key, region = (match[1], match[2]) if match else (b"", b"")
        if not self._enforce_iam and _ACCOUNT.fullmatch(key):
            return key.decode(), region.decode()
        if not self._enforce_iam and (key, region) in self._known:
            return self._known[key, region]
        passed = [(name, value) for name, value in headers.items() if name != b"content-length"]  # host is signed
        try:
            reply = await self._ministack.ask(b"POST", path, headers=passed, body=body, timeout_seconds=_ASK_SECONDS)
        except (ContainerGoneError, TimeoutError) as error:
            return refused(no_instance(f"the control plane does not answer: {error}"))
        if PERMIT_HEADER not in reply.headers:
            names = (b"content-type", b"x-amzn-errortype")
            return Answer(reply.status, [(n, reply.headers[n]) for n in names if n in reply.headers], reply.body)
        account, region_name = json.loads(reply.headers[PERMIT_HEADER])
        scope = (str(account), str(region_name))
        self._known[key, region] = scope
        return scope
