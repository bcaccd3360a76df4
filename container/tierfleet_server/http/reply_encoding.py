"""A reply as the bytes of HTTP/1.1."""

from http import HTTPStatus

from ..contract import Reply

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


def encoded(reply: Reply, method: bytes, date: bytes, closing: bytes) -> bytes:
    """Head and body; the head alone as the reply to HEAD."""
    head = head_of(reply, date, closing)
    return head if method == b"HEAD" else b"%s%s" % (head, reply.body)


def head_of(reply: Reply, date: bytes, closing: bytes) -> bytes:
    """Status line and headers. date, closing: lines of the head, or nothing."""
    return b"%scontent-type: %s\r\ncontent-length: %d\r\n%s%s%s\r\n" % (
        _STATUS_LINES[reply.status], reply.content_type.encode(), len(reply.body), date, reply.headers, closing
    )  # fmt: skip
