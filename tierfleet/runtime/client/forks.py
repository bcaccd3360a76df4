"""Cleans up in a forked child: the parent's connections, locks that other threads held, counts not yet written."""

import os
import weakref
from typing import Protocol

from tierfleet.runtime import connections


class _Forgetful(Protocol):
    def forget_in_child(self) -> None: ...


_clients: "weakref.WeakSet[_Forgetful]" = weakref.WeakSet()


def forget_in_child(client: _Forgetful) -> None:
    """Call client.forget_in_child() in every child that this process forks, before it starts threads."""
    _clients.add(client)


def _in_child() -> None:
    # First, so that nothing freed below can send a TLS close on the parent's connections.
    connections.forget_in_child()
    for client in list(_clients):
        client.forget_in_child()


os.register_at_fork(after_in_child=_in_child)
