"""Messages between the server and the processes that check models: a text, and either bytes or open files."""

import errno
import os
import socket
import struct

_HEAD = struct.Struct(">QQ")  # the lengths of the text and of the bytes that follow
_MOST_FILES = 2


def send(connection: socket.socket, text: bytes, held: bytes | list[int] = b"") -> None:
    """Send a text with bytes or with open files, which stay open here."""
    data, files = (b"", held) if isinstance(held, list) else (held, [])
    parts = [_HEAD.pack(len(text), len(data)), text, data]
    sent = socket.send_fds(connection, parts, files)
    if sent < _HEAD.size + len(text) + len(data):
        connection.sendall(b"".join(parts)[sent:])


def receive_files(connection: socket.socket) -> tuple[bytes, bytes, list[int]]:
    """The next message: text, bytes, open files. ConnectionError if the other end closed."""
    head, files, flags, _ = socket.recv_fds(connection, _HEAD.size, _MOST_FILES)
    try:
        if flags & socket.MSG_CTRUNC:
            raise OSError(errno.EMFILE, "this process may open no more files: one that was sent is lost")
        if len(head) != _HEAD.size:
            raise ConnectionError("the other end is closed")
        text, data = (_exactly(connection, length) for length in _HEAD.unpack(head))
    except BaseException:
        for file in files:
            os.close(file)
        raise
    return text, data, files


def receive(connection: socket.socket) -> tuple[bytes, bytes | int]:
    """The next message: text, and the bytes or the one open file that came with it."""
    text, data, files = receive_files(connection)
    return text, files[0] if files else data


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = connection.recv(length, socket.MSG_WAITALL) if length else b""
    if len(data) != length:
        raise ConnectionError("the other end closed in the middle of a message")
    return data
