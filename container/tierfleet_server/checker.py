"""Model files are read and checked in a process of their own, so that no check holds the server's interpreter.

`python -m tierfleet_server.checker SOCKET VERSION` answers one url at a time: what `prepared.prepare` found, with the
very bytes that were checked, or the refusal. Whatever a file does to it, the server lives on.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress

from .model_file import ModelFacts, Version
from .prepared import Prepared, close, prepare
from .refusal import BadModel, Refusal

_TIMEOUT_SECONDS = 600
_HEAD = struct.Struct(">QQ")  # the lengths of the text and of the bytes that follow
_END_SECONDS = 30  # it has closed its end; how soon it is gone is up to a busy machine
_NICE = 10  # where processors are short, invocations go before loads


class Checker:
    """The server's end; to be used by one thread at a time. A process that ended is started again by the next load."""

    def __init__(self, server: Version) -> None:
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self) -> socket.socket:
        """Start the process unless it runs, and wait until it is ready; it ends when this one does."""
        if self._socket is not None:
            return self._socket
        mine, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, str(its.fileno()), json.dumps(self._server)],
                pass_fds=[its.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        # The kernel's own timeout: with Python's each call costs two, and none can wait for all of the bytes.
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _TIMEOUT_SECONDS, 0))
        self._socket = mine
        try:
            _receive(mine)
        except OSError:
            raise self._ended() from None
        return mine

    def prepare(self, url: str) -> Prepared:
        """As `prepared.prepare`, in the other process; raises Refusal, BadModel or MemoryError."""
        connection = self.start()
        try:
            _send(connection, os.fsencode(url))
            text, held = _receive(connection)
        except OSError:
            raise self._ended() from None
        answer = json.loads(text)
        if "refused" in answer:
            status, message = answer["refused"]
            if status is None:
                raise MemoryError(message)
            raise BadModel(message) if status == 400 else Refusal(status, message)
        facts = answer["facts"]
        for name in ("feature_names", "version"):
            facts[name] = tuple(facts[name])
        return Prepared(held, ModelFacts(**facts), answer["steps"], tuple(answer["names"]))

    def close(self) -> None:
        """End the process."""
        self._ended()

    def _ended(self) -> Exception:
        # It is ended here if it did not answer in time. SIGKILL is what the kernel ends a process with for its memory.
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        code: int | None = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(_END_SECONDS)
            self._process.kill()
            self._process.wait()
        if code == -signal.SIGKILL:
            return MemoryError("the check of the model was ended by the system")
        return BadModel(f"the check of the model ended without an answer (exit code {code}); publish the model again")


def _send(connection: socket.socket, text: bytes, held: bytes | int = b"") -> None:
    data, rights = (b"", [held]) if isinstance(held, int) else (held, [])
    parts = [_HEAD.pack(len(text), len(data)), text, data]
    sent = socket.send_fds(connection, parts, rights)
    if sent < _HEAD.size + len(text) + len(data):
        connection.sendall(b"".join(parts)[sent:])


def _receive(connection: socket.socket) -> tuple[bytes, bytes | int]:
    head, files, _, _ = socket.recv_fds(connection, _HEAD.size, 1)
    try:
        if len(head) != _HEAD.size:
            raise ConnectionError("the other end is closed")
        text, data = (_exactly(connection, length) for length in _HEAD.unpack(head))
    except BaseException:
        for file in files:
            os.close(file)
        raise
    return text, files[0] if files else data


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = connection.recv(length, socket.MSG_WAITALL) if length else b""
    if len(data) != length:
        raise ConnectionError("the other end closed in the middle of a message")
    return data


def _answer(url: bytes, server: Version) -> tuple[bytes, bytes | int]:
    try:
        found = prepare(os.fsdecode(url), server)
    except Refusal as refusal:
        return json.dumps({"refused": (refusal.status, refusal.message)}).encode(), b""
    except MemoryError:
        return json.dumps({"refused": (None, "the check of the model ran out of memory")}).encode(), b""
    fields = {"facts": vars(found.facts), "steps": found.steps, "names": found.names}
    return json.dumps(fields).encode(), found.held


def main() -> int:
    """Answer until the server closes its end. The platform's SIGTERM is for the server, which drains first."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    server: Version = tuple(json.loads(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as connection, suppress(ConnectionError):
        _send(connection, b"")
        while True:
            url, _ = _receive(connection)
            text, held = _answer(url, server)
            try:
                _send(connection, text, held)
            finally:
                close(held)
    return 0


if __name__ == "__main__":
    sys.exit(main())
