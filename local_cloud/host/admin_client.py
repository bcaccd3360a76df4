"""Calls the local emulator's own paths: one request, with one deadline for all of it."""

import contextlib
import http
import http.client
import io
import json
import socket
import threading
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

_LARGEST_ANSWER_BYTES = 256 * 1024 * 1024


def ask(url: str, request: dict[str, Any] | None, *, seconds: float) -> Any:
    """The answer's JSON: GET without a request, POST with one.

    Raises HTTPError for what is refused, TimeoutError where the answer is not whole in time, also when it drips, and
    ConnectionError where nothing listens or what listens is no local emulator.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=seconds)
    late = threading.Event()
    sockets: list[socket.socket] = []  # the connection forgets its own where the answer ends with it

    def end() -> None:
        late.set()
        for opened in sockets:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    # The timeout of a socket starts again with each byte, so an answer that drips would never be late.
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        sockets.append(connection.sock)
        body = None if request is None else json.dumps(request)
        connection.request("GET" if body is None else "POST", f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        text = answer.read(_LARGEST_ANSWER_BYTES)
        if late.is_set():
            raise TimeoutError(f"no answer within {seconds:g} s")
    except (OSError, http.client.HTTPException) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        raise ConnectionError(f"{type(error).__name__}: {error}") from None
    finally:
        timer.cancel()
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise HTTPError(url, answer.status, answer.reason, answer.headers, io.BytesIO(text))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ConnectionError("the process that answers there is not a local emulator") from None
