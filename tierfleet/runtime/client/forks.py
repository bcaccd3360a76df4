"""What a fork must not hand to the child: connections, locks that another thread held, counts not yet written."""

import os
import weakref
from typing import Protocol

from tierfleet.runtime import connections


class _Forgetful(Protocol):
    def forget_in_child(self) -> None: ...


_clients: "weakref.WeakSet[_Forgetful]" = weakref.WeakSet()


def forget_in_child(client: _Forgetful) -> None:
    """Call client.forget_in_child() in every child that this process forks, while the child has one thread."""
    _clients.add(client)


def _in_child() -> None:
    # First: nothing that is freed below may find a connection to say goodbye on.
    connections.forget_in_child()
    for client in list(_clients):
        client.forget_in_child()


os.register_at_fork(after_in_child=_in_child)
