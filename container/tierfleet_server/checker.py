"""The server's end of the process that reads, checks and tries model files (`check_process`).

A file that crashes that process affects neither the server nor other loads.
"""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import OrderedDict
from contextlib import suppress

from .messages import receive, send
from .model.load_limits import Admitted
from .model.memory_file import SMALL_BYTES
from .model.model_file import ModelFacts, Version
from .model.prepared import Prepared, close, read_small
from .model.preprocessing import Preprocessing
from .model.refusal import BadModel, Refusal

_MARGIN_SECONDS = 30  # after the process's own time limit, until we assume that it hangs
_START_SECONDS = 120  # on a busy machine
# One thread because it forks. Huge pages for glibc's heap cut the trial of a large model to a third of the time.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "GLIBC_TUNABLES": ":".join([*filter(None, [os.environ.get("GLIBC_TUNABLES")]), "glibc.malloc.hugetlb=1"]),
}
_ATTEMPTS = 3
_SURVIVED_BYTES, _SURVIVED_TEXT_BYTES, _SURVIVED_ENTRY_BYTES = 8 << 20, 64 << 10, 400
_STATUS = struct.Struct("=i?")


class _GoneError(Exception):
    """The process that starts the checks has ended."""


class Checker:
    """Safe for several threads. The next load restarts a process that has ended."""

    def __init__(self, server: Version) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._survived = _Survived()

    def start(self) -> None:
        """Start the process unless it runs, and wait until it is ready. It ends with this process."""
        with self._lock:
            self._start()

    def prepare(self, url: str, admitted: Admitted) -> Prepared:
        """Do `prepared.prepare` in the other process, where XGBoost also loads and uses the model.

        A small model whose bytes have passed before is not sent again. Raises Refusal, MemoryError, or BadModel, also
        for a model that takes more than was `admitted`.
        """
        if admitted.form == "ubj" and admitted.size_bytes <= SMALL_BYTES:
            data, fingerprint = read_small(url, admitted.size_bytes)
            known = self._survived.get(fingerprint)
            if known is not None:
                return _prepared(data, *known)
        for _ in range(_ATTEMPTS):
            # The whole process was ended, which says nothing about this model. The next attempt restarts it.
            with suppress(_GoneError):
                return self._prepare(url, admitted)
        raise MemoryError("the check of the model was ended by the system")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _prepare(self, url: str, admitted: Admitted) -> Prepared:
        mine, its = socket.socketpair()
        read_status, write_status = os.pipe()
        try:
            with its:
                try:
                    self._ask(json.dumps([url, *admitted]).encode(), its.fileno(), write_status)
                finally:
                    os.close(write_status)
            # The kernel's timeout: with Python's, each receive takes two system calls and cannot wait for all bytes.
            wait = admitted.clock_seconds + _MARGIN_SECONDS
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", wait, 0))
            return self._answer(mine, read_status, admitted)
        finally:
            mine.close()
            os.close(read_status)

    def _ask(self, job: bytes, *files: int) -> None:
        with self._lock:
            try:
                send(self._start(), job, list(files))
            except OSError:
                self._end()
                raise _GoneError from None

    def _answer(self, reply: socket.socket, status: int, admitted: Admitted) -> Prepared:
        held: bytes | int = b""
        try:
            text, held = receive(reply)
            answer = json.loads(text[: text.find(b"\n")] if b"\n" in text else text)
            if "refused" not in answer:
                verdict = json.loads(receive(reply)[0])
                if "refused" not in verdict:
                    if isinstance(held, int):  # the trial's memory is in use until its process has ended
                        _read(status)
                    prepared = _prepared(held, text, verdict["heap_bytes"])
                    if prepared.fingerprint:
                        self._survived.add(prepared.fingerprint, text, prepared.heap_bytes)
                    return prepared
                answer = verdict
        except BlockingIOError:
            close(held)
            self.close()
            raise BadModel("the process that checks models hangs; it is started again; load the model again") from None
        except OSError:
            close(held)
            raise _ended(_read(status), admitted) from None
        except BaseException:
            close(held)
            raise
        close(held)
        code, message = answer["refused"]
        if code is None:
            raise MemoryError(message)
        raise BadModel(message) if code == 400 else Refusal(code, message)

    def _start(self) -> socket.socket:
        if self._control is not None:
            return self._control
        mine, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.check_process", str(its.fileno()), json.dumps(self._server)],
                pass_fds=[its.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **_ENVIRONMENT},
            )
        self._control = mine
        mine.settimeout(_START_SECONDS)
        try:
            receive(mine)
        except OSError:
            self._end()
            raise BadModel("the process that checks models does not start; see the log") from None
        return mine

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self._process.kill()
            self._process.wait()
            self._process = None


class _Survived:
    """Facts of small models that passed, by the fingerprint of their files: the latest ones, some MiB."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[bytes, tuple[bytes, int | None]] = OrderedDict()
        self._left = _SURVIVED_BYTES

    def get(self, fingerprint: bytes) -> tuple[bytes, int | None] | None:
        with self._lock:
            if fingerprint in self._found:
                self._found.move_to_end(fingerprint)
            return self._found.get(fingerprint)

    def add(self, fingerprint: bytes, text: bytes, heap_bytes: int | None) -> None:
        if len(text) > _SURVIVED_TEXT_BYTES:
            return
        with self._lock:
            if fingerprint not in self._found:
                self._left -= len(text) + _SURVIVED_ENTRY_BYTES
            self._found[fingerprint] = text, heap_bytes
            while self._left < 0:
                _, (oldest, _) = self._found.popitem(last=False)
                self._left += len(oldest) + _SURVIVED_ENTRY_BYTES


def _prepared(held: bytes | int, text: bytes, heap_bytes: int | None) -> Prepared:
    head, *steps = text.split(b"\n")
    fields = json.loads(head)
    facts = fields["facts"]
    for name in ("feature_names", "version"):
        facts[name] = tuple(facts[name])
    fingerprint = bytes.fromhex(fields["fingerprint"])
    return Prepared(held, ModelFacts(**facts), Preprocessing.from_pieces(steps), heap_bytes, fingerprint)


def _read(status: int) -> bytes:
    """Wait until a load's process ends: its status, or nothing if its parent ended too."""
    poll = select.poll()
    poll.register(status, select.POLLIN)
    return os.read(status, _STATUS.size) if poll.poll(_MARGIN_SECONDS * 1000) else b""


def _ended(status: bytes, admitted: Admitted) -> Exception:
    """The error to raise when a load's process ended without an answer."""
    if len(status) != _STATUS.size:
        return _GoneError()
    code, too_long = _STATUS.unpack(status)
    if too_long or code == -signal.SIGXCPU:
        spent = f"{admitted.clock_seconds} s" if too_long else f"{admitted.cpu_seconds} s of processor time"
        return BadModel(
            f"reading the model takes more than {spent}, far more than one of {admitted.size_bytes} bytes needs; "
            "save it as UBJ with Booster.save_model('model.ubj') and publish it again"
        )
    if code == -signal.SIGKILL:  # the kernel's signal when memory runs out
        return MemoryError("the check of the model was ended by the system")
    what = f"with signal {-code}" if code < 0 else f"with code {code}"
    return BadModel(f"XGBoost ended {what} while it read the model; publish it again")
