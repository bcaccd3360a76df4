"""The control plane's end of the socket to the data plane: a question, an answer, one at a time."""

import contextlib
import json
import socket
import threading
from typing import Any

_ANSWER_SECONDS = 120.0


class DataPlaneError(RuntimeError):
    """The data plane refused a question, or has ended."""


class DataPlaneLink:
    """It may be used from any thread. The data plane never waits for the control plane before it answers."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(_ANSWER_SECONDS)
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._lock = threading.Lock()

    def ask(self, question: str, **details: Any) -> Any:
        """The answer; raises DataPlaneError."""
        line = json.dumps({"ask": question, **details}).encode() + b"\n"
        try:
            with self._lock:
                self._connection.sendall(line)
                answer = self._lines.readline()
        except OSError as error:
            raise DataPlaneError(f"the data plane does not answer: {error}") from None
        if not answer:
            raise DataPlaneError("the data plane is gone")
        read: dict[str, Any] = json.loads(answer)
        if "error" in read:
            raise DataPlaneError(read["error"])
        return read["result"]

    def close(self) -> None:
        """The data plane ends when it sees this."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for an answer
        self._connection.close()
        self._lines.close()
