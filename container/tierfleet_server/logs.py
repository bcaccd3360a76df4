"""JSON lines on standard output, written by a separate thread so that a blocked reader stops no request."""

import json
import logging
import logging.handlers
import queue
import sys
import threading
import time
from collections.abc import Callable

from .metrics import Metrics

logger = logging.getLogger("tierfleet")
_FIELDS = ("model", "request_id", "status", "seconds", "bytes", "form", "url")
_QUEUE_LINES = 10_000
_FINISH_SECONDS = 2.0


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "message": record.getMessage(),
        }
        line.update((name, getattr(record, name)) for name in _FIELDS if getattr(record, name, None) is not None)
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line)


class _Queue(logging.handlers.QueueHandler):
    """Drops and counts lines when the reader is too slow."""

    def __init__(self, lines: "queue.Queue[logging.LogRecord]", metrics: Metrics) -> None:
        super().__init__(lines)
        self._metrics = metrics

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        if record.exc_info:
            # Its frames would keep a request's body for as long as the line waits.
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._metrics.log_records_dropped += 1


def start_logging(level: int, metrics: Metrics) -> Callable[[], None]:
    """Send the server's log lines of `level` and above to standard output.

    Call the result at the end: it writes what is left, for at most 2 s if the reader is blocked.
    """
    stream = logging.StreamHandler(sys.stdout)
    stream.setFormatter(_JsonFormatter())
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_QUEUE_LINES)
    listener = logging.handlers.QueueListener(lines, stream)
    logger.handlers = [_Queue(lines, metrics)]
    logger.setLevel(level)
    logger.propagate = False
    listener.start()

    def finish() -> None:
        writing = threading.Thread(target=lines.join, daemon=True)
        writing.start()
        writing.join(_FINISH_SECONDS)

    return finish
