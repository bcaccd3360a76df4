"""A command on a pseudo-terminal of a given width, and what a person would see on it."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_PART = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]|\x1b.|[^\x1b]", re.DOTALL)


class Screen:
    """What written characters and cursor movements leave on a terminal; `wrapped` has each line that did not fit.

    `written` is all of it, with the control sequences.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[list[str]] = [[]]
        self.wrapped: list[str] = []
        self.written = ""
        self._row = self._column = 0

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.rows]

    def write(self, text: str) -> None:
        self.written += text
        for part in _PART.findall(text):
            if part.startswith("\x1b["):
                self._control(part[-1], part[2:-1])
            elif part == "\r":
                self._column = 0
            elif part == "\n":
                self._to(self._row + 1)
            elif part.isprintable():
                self._put(part)

    def _put(self, character: str) -> None:
        if self._column == self.width:
            self.wrapped.append(self.lines[self._row])
            self._to(self._row + 1)
            self._column = 0
        row = self.rows[self._row]
        row.extend(" " * (self._column + 1 - len(row)))
        row[self._column] = character
        self._column += 1

    def _control(self, command: str, parameters: str) -> None:
        number = int(parameters) if parameters.isdigit() else 1
        if command == "A":
            self._row = max(0, self._row - number)
        elif command == "H":
            self._row = self._column = 0
        elif command == "K":
            self.rows[self._row] = [] if parameters == "2" else self.rows[self._row][: self._column]
        elif command == "J":
            self.rows[self._row + 1 :] = []

    def _to(self, row: int) -> None:
        self._row = row
        self.rows.extend([] for _ in range(row + 1 - len(self.rows)))


def on_terminal(
    command: list[str],
    directory: Path,
    *,
    width: int = 80,
    interrupt_when: Callable[[Screen], bool] | None = None,
    **variables: str,
) -> tuple[Screen, int]:
    """The screen at the end of a command, and its exit code; Ctrl-C once `interrupt_when` is true of the screen.

    variables: added to the environment.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=directory,
        env={**environment, "TERM": "xterm-256color", **variables},
    )
    os.close(theirs)
    late = threading.Timer(120, process.kill)
    late.start()
    screen, interrupted = Screen(width), False
    for text in _written(ours):
        screen.write(text)
        if interrupt_when and not interrupted and interrupt_when(screen):
            process.send_signal(signal.SIGINT)
            interrupted = True
    os.close(ours)
    late.cancel()
    return screen, process.wait()


def _written(terminal: int) -> Iterator[str]:
    rest = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:  # the terminal's other end is closed
            return
        if not block:
            return
        whole, rest = _whole_characters(rest + block)
        yield whole


def _whole_characters(data: bytes) -> tuple[str, bytes]:
    """What is there in whole, without a character or an escape sequence that the next block completes."""
    end = len(data)
    if (escape := data.rfind(b"\x1b", max(0, end - 16))) >= 0 and not re.match(
        rb"\x1b(\[[?0-9;]*[A-Za-z]|[^\[])", data[escape:]
    ):
        end = escape
    while True:
        try:
            return data[:end].decode(), data[end:]
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                raise
            end = error.start
