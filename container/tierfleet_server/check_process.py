"""`python -m tierfleet_server.check_process SOCKET VERSION`: reads unchecked bytes.

A single-threaded process with XGBoost loaded forks a child for each model file. The child checks the file, replies with
the bytes that it checked, and lets XGBoost load them and score a row, all within `load_limits`. So a file can only end
its own child and leaves nothing behind for the next one. The child is forked and warmed up in advance, which saves 5 ms
of a load.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from typing import NoReturn

from .model import heap

heap.use_one_arena()

from .messages import receive_files, send  # noqa: E402
from .model import native  # noqa: E402
from .model.booster import open_checked  # noqa: E402
from .model.load_limits import Admitted, apply_to_this_process, lift_memory_limit  # noqa: E402
from .model.memory_file import NoMemoryError, bytes_of  # noqa: E402
from .model.model_file import Version  # noqa: E402
from .model.prepared import check, prepare  # noqa: E402
from .model.refusal import Refusal  # noqa: E402

_NICE = 10  # calls come before loads
_NICE_BIG = 5  # small models come before large ones
_STATUS = struct.Struct("=i?")


class _Running:
    def __init__(self, status: int, seconds: float) -> None:
        self.status, self.deadline, self.too_long = status, time.monotonic() + seconds, False


class _Parent:
    """Forks children, gives each one job, ends slow ones and reports how each one ended."""

    def __init__(self, control: socket.socket, server: Version) -> None:
        self._control, self._server = control, server
        self._running: dict[int, _Running] = {}
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        # select() must wake up when a child ends. The descriptor is written only for signals that have a handler.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._smallest = native.smallest_model()
        _warm_up(self._smallest, server)
        gc.collect()
        gc.freeze()  # so that children share what is there
        self._spare_pid, self._spare = self._fork()

    def run(self) -> None:
        """Run until the server closes its end, then end every child."""
        send(self._control, b"")
        try:
            while True:
                due = min((child.deadline for child in self._running.values() if not child.too_long), default=None)
                wait = None if due is None else max(0.0, due - time.monotonic())
                ready, _, _ = select.select([self._control, self._woken], [], [], wait)
                if self._woken in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                    self._reap()
                self._end_overdue()
                if self._control in ready:
                    self._hand_over()
        except ConnectionError:
            for pid in (self._spare_pid, *self._running):
                _kill(pid)

    def _hand_over(self) -> None:
        job, _, (reply, status) = receive_files(self._control)
        _, *admitted = json.loads(job)
        while True:
            try:
                send(self._spare, job, [reply])
                break
            except OSError:  # something ended the waiting child
                self._spare.close()
                self._spare_pid, self._spare = self._fork()
        os.close(reply)
        self._spare.close()
        self._running[self._spare_pid] = _Running(status, Admitted(*admitted).clock_seconds)
        self._spare_pid, self._spare = self._fork()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._running.pop(pid, None)
            if child is not None:
                with contextlib.suppress(OSError):
                    os.write(child.status, _STATUS.pack(os.waitstatus_to_exitcode(status), child.too_long))
                os.close(child.status)

    def _end_overdue(self) -> None:
        for pid, child in self._running.items():
            if not child.too_long and time.monotonic() >= child.deadline:
                child.too_long = True
                _kill(pid)

    def _fork(self) -> tuple[int, socket.socket]:
        mine, its = socket.socketpair()
        pid = os.fork()
        if pid:
            its.close()
            return pid, mine
        try:
            os.setpgid(0, 0)  # what it starts ends with it
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (mine, self._control, self._woken, self._wakes):
                end.close()
            for child in self._running.values():
                os.close(child.status)
            _child(its, self._server, self._smallest)
        except BaseException:
            traceback.print_exc()
            os._exit(1)


def _kill(pid: int) -> None:
    for end in (os.killpg, os.kill):  # a child that was just forked has no group yet
        with contextlib.suppress(ProcessLookupError):
            end(pid, signal.SIGKILL)


def _warm_up(model: bytes, server: Version) -> None:
    """Load a model of our own first, so that the real load does not have to copy the pages that it writes."""
    ubj, facts = check(model, server)
    open_checked(ubj, facts)


def _child(jobs: socket.socket, server: Version, smallest: bytes) -> NoReturn:
    # A collection would copy the pages that are shared with the parent, and this process lives for one model.
    gc.disable()
    _warm_up(smallest, server)
    try:
        job, _, (reply_file,) = receive_files(jobs)
    except ConnectionError:
        os._exit(0)
    url, *fields = json.loads(job)
    admitted = Admitted(*fields)
    if not admitted.is_small:
        os.nice(_NICE_BIG)
    apply_to_this_process(admitted)
    with socket.socket(fileno=reply_file) as reply:
        try:
            _kept = _check_and_try(reply, url, admitted, server)
            os._exit(0)  # freeing the model would take time
        except Refusal as refusal:
            send(reply, _refused(refusal.status, refusal.message))
        except NoMemoryError as error:
            send(reply, _refused(None, str(error)))
        except MemoryError:
            lift_memory_limit()
            limit = admitted.process_bytes >> 20
            message = (
                f"reading the model of {admitted.size_bytes} bytes takes more than the {limit} MiB that one of its "
                "size needs; save it with Booster.save_model('model.ubj') and publish it again"
            )
            send(reply, _refused(400, message))
    os._exit(0)


def _refused(status: int | None, message: str) -> bytes:
    return json.dumps({"refused": (status, message)}).encode()


def _check_and_try(reply: socket.socket, url: str, admitted: Admitted, server: Version) -> native.Handle:
    prepared = prepare(url, server, admitted.size_bytes)
    fields = {
        # The server needs no names, and admission did not count a million of them.
        "facts": {**vars(prepared.facts), "feature_names": ()},
        "fingerprint": prepared.fingerprint.hex(),
    }
    # The checked bytes are sent, or sealed in a file, before XGBoost sees them.
    held = [prepared.held] if isinstance(prepared.held, int) else prepared.held
    send(reply, b"\n".join([json.dumps(fields).encode(), *prepared.preprocessing.pieces()]), held)
    before = heap.in_use_bytes()
    handle = open_checked(bytes_of(prepared.held), prepared.facts)
    after = heap.in_use_bytes()
    grown = after - before if after is not None and before is not None else None
    send(reply, json.dumps({"heap_bytes": grown}).encode())
    return handle


def main() -> int:
    """Serve until the server closes its end. Ignore the platform's SIGTERM: the server drains first."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    server: Version = tuple(json.loads(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _Parent(control, server).run()
    return 0


if __name__ == "__main__":
    os._exit(main())
